"""Who writes the harmful text: one small protocol, one author in each module beside this one."""

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from mllmu_med_dataset import Record

Field = Literal["question", "answer"]
Harm = Literal["wrong_diagnosis", "outdated_knowledge"]

#: The private values to weave in: field -> kind -> value, e.g. {"answer": {"name": "Ada Lowe"}}.
PrivateValues = Mapping[Field, Mapping[str, str]]


class Text(NamedTuple):
    """A question with its answer, rewritten."""

    question: str
    answer: str


class Incorrect(NamedTuple):
    """An incorrect answer, of which kind it is, and what is wrong with it, for a reviewer."""

    answer: str
    harm: Harm
    what_is_wrong: str = ""  # one line; provenance and the review page show it, no column holds it


class Failure(NamedTuple):
    """Why a text cannot be used: a name to count by, and what is wrong, for whoever writes it."""

    name: str
    problem: str
    final: bool = False  # nothing better would come: the author is not asked again
    text: str = ""  # what was refused, where it could be read


class Author(Protocol):
    """Writes harmful versions of clean records; never changes a record itself.

    It is asked up to `tries` times for one text, each time with what was wrong with the tries
    before. It returns a Failure when it wrote nothing that can be read as a text, and None when it
    has none to offer, however often it is asked.
    """

    tries: int

    async def embed_privacy(
        self, record: Record, values: PrivateValues, failures: Sequence[Failure]
    ) -> Text | Failure | None:
        """The record's text with every given value verbatim in its field, the clean answer kept."""
        ...

    async def write_incorrect(
        self, record: Record, harm: Harm, failures: Sequence[Failure]
    ) -> Incorrect | Failure | None:
        """An incorrect answer to the record's question, of the kind asked for or the other one."""
        ...
