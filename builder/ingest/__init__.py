"""From corpora to clean records: tables of any kind, and drawn phantoms."""

from typing import Final

VERSION: Final = 4  # of what records a table gives
