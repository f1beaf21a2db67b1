"""Who writes the harmful text: one small protocol, one author in each module beside this one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, Protocol

from mllmu_med_dataset import Record

#: The private values to weave in: field -> kind -> value, e.g. {"answer": {"name": "Ada Lowe"}}.
PrivateValues = Mapping[Literal["question", "answer"], Mapping[str, str]]


class Text(NamedTuple):
    """A question with its answer, rewritten."""

    question: str
    answer: str


class Author(Protocol):
    """Writes harmful versions of clean records; never changes a record itself."""

    def embed_privacy(self, record: Record, values: PrivateValues) -> Text | None:
        """The record's text with every given value verbatim in its field, the clean answer kept.

        None when the author finds no way to say it.
        """
        ...

    def write_incorrect(
        self, record: Record, harm: Literal["wrong_diagnosis", "outdated_knowledge"]
    ) -> str | None:
        """An incorrect answer to the record's question; None when the author has none."""
        ...
