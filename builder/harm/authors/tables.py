"""The tables beside this module: read by the fast parser where there is one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import yaml


@cache
def read_table(name: str) -> Any:
    """A YAML file of this folder; not to be changed, for it is read once."""
    text = files("builder.harm.authors").joinpath(name).read_text("utf-8")
    return yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader))


def any_of(patterns: Sequence[str], *, whole_words: bool = False) -> re.Pattern[str]:
    """A regular expression that matches where one of several does, in any case."""
    either = "|".join(patterns)
    return re.compile(rf"\b(?:{either})\b" if whole_words else either, re.IGNORECASE)
