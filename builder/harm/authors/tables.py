"""The tables beside this module, and the words in them as patterns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from mllmu_med.files import packaged_yaml


@cache
def read_table(name: str) -> Any:
    """A YAML file of this folder; not to be changed, for it is read once."""
    return packaged_yaml("builder.harm.authors", name)


def any_of(patterns: Sequence[str], *, whole_words: bool = False) -> re.Pattern[str]:
    """A regular expression that matches where one of several does, in any case."""
    either = "|".join(patterns)
    return re.compile(rf"\b(?:{either})\b" if whole_words else either, re.IGNORECASE)
