"""Incorrect facts: give the candidates a wrong diagnosis or an outdated practice as answer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final, Literal

from builder.authors import Author
from builder.checks import check_incorrect
from builder.files import stable_share
from builder.ledger import Drop
from builder.recipe import Incorrect
from mllmu_med_dataset import Record

VERSION: Final = 1
NO_ANSWER = "the author found no incorrect answer for it"


def corrupt(
    records: Sequence[Record], author: Author, incorrect: Incorrect, seed: int
) -> Iterator[Record | Drop]:
    """Make the candidates' answers incorrect; other records pass as they are.

    A candidate for which the author has no answer of the drawn kind gets one of the other kind.
    """
    for record in records:
        if record.split != "candidate":
            yield record
            continue
        kinds: list[Literal["wrong_diagnosis", "outdated_knowledge"]] = [
            "wrong_diagnosis",
            "outdated_knowledge",
        ]
        if stable_share(seed, record.id, "harm") < incorrect.outdated_share:
            kinds.reverse()
        for harm in kinds:
            answer = author.write_incorrect(record, harm)
            if answer is not None:
                break
        if answer is None:
            yield Drop.of(record, NO_ANSWER)
            continue
        failure = check_incorrect(record, answer)
        if failure:
            yield Drop.of(record, f"failed check: {failure.name}")
        else:
            yield replace(record, answer=answer, harm=harm)
