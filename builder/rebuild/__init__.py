"""`python -m builder rebuild`: the list of stages, the run through them and its status."""
