"""MLLMU-Med as tasks of lmms-eval: see README.md beside this file."""
