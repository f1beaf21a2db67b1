"""A decision as a file gives it, before anything of it is checked."""

from __future__ import annotations

from typing import Final, NamedTuple

#: What the page's exports say of themselves.
PAGE_FORMAT: Final = "mllmu-med review"
PAGE_VERSION: Final = 1


class RawDecision(NamedTuple):
    """What every format is parsed into; `builder.review.import_files` checks it against the items.

    row: its place in the file, for messages. question, answer: the edited texts, None where the
    format gives none.
    """

    row: str
    id: str
    content: str
    reviewer: str
    verdict: str
    reasons: tuple[str, ...]
    note: str
    question: str | None
    answer: str | None
    decided_at: str
