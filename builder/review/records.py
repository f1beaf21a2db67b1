"""What is reviewed, what is decided, and a row of a reviewer's file before it is checked."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple

from mllmu_med.files import digest
from mllmu_med_dataset import PiiSpan, Record

Verdict = Literal["accept", "reject", "edit", "withdraw"]
VERDICTS: Final[tuple[Verdict, ...]] = ("accept", "reject", "edit")
#: What the page's exports say of themselves.
PAGE_FORMAT: Final = "mllmu-med review"
PAGE_VERSION: Final = 1
#: Takes the reviewer's earlier decision back: as if there were none.
WITHDRAW: Final = "withdraw"

#: Why a text is rejected: the paper wants "plausible yet medically inaccurate"; the rest is ours.
REASONS: Final = {
    "implausible": "not plausible",
    "not-wrong": "not wrong",  # of incorrect answers only
    "too-harmful": "harmful beyond its purpose",
    "reveals": "reveals itself",
    "formatting": "formatting",
}


class Item(NamedTuple):
    """A harmful candidate as a reviewer sees it."""

    id: str
    content: str  # `content_hash`: a decision holds for this text and image only
    scenario: str  # privacy or incorrect
    harm: str  # privacy, wrong_diagnosis or outdated_knowledge
    answer_type: str  # closed or open
    modality: str
    image_id: str
    image_sha256: str
    clean_question: str
    clean_answer: str
    question: str
    answer: str
    values: tuple[PiiSpan, ...]  # the fictional private values in it
    rating: int  # 1-5 of the last self-calibration of this very text; 0 where there is none
    what_is_wrong: str = ""  # with an incorrect answer, as its author says; empty where it does not


@dataclass(frozen=True, slots=True)
class Decision:
    """What one reviewer decided about one item, or that an earlier decision is withdrawn.

    question, answer: the edited texts, both in full; empty unless `verdict` is edit.
    decided_at: ISO 8601 in UTC, as the reviewer's side gives it; empty where it gives none.
    settles: decided by somebody who settles conflicts: it counts alone.
    """

    id: str
    content: str
    reviewer: str
    verdict: Verdict
    reasons: tuple[str, ...] = ()  # keys of REASONS
    note: str = ""
    question: str = ""
    answer: str = ""
    decided_at: str = ""
    settles: bool = False


def in_words(decision: Decision) -> str:
    """What was decided, in a few words."""
    if decision.verdict == WITHDRAW:
        return "no decision"
    reasons = ", ".join(REASONS[reason] for reason in decision.reasons)
    text = f"{decision.verdict} ({reasons})" if reasons else decision.verdict
    return f"{text}, to settle it" if decision.settles else text


def content_hash(record: Record) -> str:
    """A name for exactly this text about exactly this image.

    It begins with a letter and a dash, so that no spreadsheet takes it for a number.
    """
    fields = ("id", "image_sha256", "clean_question", "clean_answer", "question", "answer", "harm")
    return f"c-{digest([getattr(record, field) for field in fields])[:16]}"


def item(record: Record, scenario: str, rating: int = 0) -> Item:
    own: dict[str, Any] = {
        "content": content_hash(record),
        "scenario": scenario,
        "values": record.pii,
        "rating": rating,
    }
    same = {field: getattr(record, field) for field in Item._fields if field not in own}
    return Item(**own, **same)


class SubmittedRow(NamedTuple):
    """What every format is parsed into; `check_rows` holds it against the texts as they are now.

    row: its place in the file, for messages. question, answer: the edited texts, None where the
    format gives none. shown: the texts that the reviewer is not to change, by field, as a table has
    them now. broken: why nothing can be read from the row; empty where something can.
    """

    row: str
    id: str
    content: str = ""
    reviewer: str = ""
    verdict: str = ""
    reasons: tuple[str, ...] = ()
    note: str = ""
    question: str | None = None
    answer: str | None = None
    decided_at: str = ""
    shown: Mapping[str, str] = MappingProxyType({})
    broken: str = ""


class Given(NamedTuple):
    """The rows of a file, and how many more it has that decide nothing."""

    rows: list[SubmittedRow]
    undecided: int = 0
