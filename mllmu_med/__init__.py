"""What builder, eval and baselines share; it imports none of them."""
