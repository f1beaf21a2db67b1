"""The tables beside this module, and the words in them as patterns."""

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


@cache
def pattern(name: str, flags: int = re.IGNORECASE) -> re.Pattern[str]:
    """An expression of `patterns.yaml`."""
    return re.compile("".join(read_table("patterns.yaml")[name]), flags)


@cache
def words_in(name: str, form: str = r"\b(?:{})\b") -> re.Pattern[str]:
    """One of the words (or of the expressions) of a list of `words.yaml`, in any case."""
    words = read_table("words.yaml")[name]
    either = "|".join(words.split() if isinstance(words, str) else words)
    return re.compile(form.replace("{}", either), re.IGNORECASE)


@cache
def word_set(name: str) -> frozenset[str]:
    """The words of `words.yaml` under a name."""
    return frozenset(read_table("words.yaml")[name].split())
