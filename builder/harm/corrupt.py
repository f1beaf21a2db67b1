"""Incorrect facts: give the candidates a wrong diagnosis or an outdated practice as answer."""

from dataclasses import replace
from functools import partial
from typing import Final

from builder.core.recipe import Incorrect
from builder.harm.candidates import Written, rejected, until_sound
from builder.harm.text_checks import check_incorrect
from builder.harm.texts import Author, Harm
from mllmu_med.files import stable_share
from mllmu_med_dataset import Record

VERSION: Final = 2
NO_ANSWER = "the author found no incorrect answer for it"


async def corrupt(record: Record, author: Author, incorrect: Incorrect, seed: int) -> Written:
    """Make a candidate's answer incorrect.

    A candidate for which the author has no answer of the drawn kind gets one of the other kind; one
    whose answers fail the checks is dropped.
    """
    kinds: list[Harm] = ["wrong_diagnosis", "outdated_knowledge"]
    if stable_share(seed, record.id, "harm") < incorrect.outdated_share:
        kinds.reverse()

    for harm in kinds:
        write = partial(author.write_incorrect, record, harm)
        text, failures = await until_sound(
            write, lambda text: check_incorrect(record, text.answer), author.tries
        )
        if text is not None:
            return Written(replace(record, **text._asdict()), tuple(failures))
        if failures:
            break
    return rejected(record, failures, NO_ANSWER)
