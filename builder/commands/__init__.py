"""The builder's commands, one module each; `builder/__main__.py` gathers them."""
