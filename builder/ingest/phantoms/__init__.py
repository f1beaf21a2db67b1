"""Phantom images: drawn by code, with questions that only the image answers."""

from typing import Final

VERSION: Final = 1  # of what is drawn and asked
