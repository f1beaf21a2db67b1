"""Phantom pictures: drawn by code, with questions that only the picture answers."""

from typing import Final

VERSION: Final = 1  # of what is drawn and asked
