"""What the offline author cannot write, said before anything is written."""

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Final

from builder.core.recipe import Incorrect, Scenario
from builder.core.stage_cache import Drop
from builder.harm.authors.question_intent import intent
from builder.harm.authors.tables import pattern
from builder.harm.candidates import WriteOne
from builder.harm.text_checks import is_english
from mllmu_med_dataset import Record, UserError

_SAMPLE: Final = 200
_LEAST: Final = 0.2  # of the sample must come out sound
#: Some of them are in nearly every English question; one in ten words is one of them.
_SMALL: Final = pattern("small_words")
_MODEL: Final = "a language model is needed: --author llm --model NAME"


async def check_offline(
    records: Sequence[Record], scenario: Scenario, name: str, write: WriteOne
) -> None:
    """Raise a UserError where the first candidates' questions are not English, or where the offline
    author, who writes by `write`, has an incorrect answer for fewer than a fifth of them."""
    candidates = sorted((r for r in records if r.split == "candidate"), key=lambda r: r.rank)
    sample = list(islice(candidates, _SAMPLE))
    asked = " ".join(record.clean_question for record in sample)
    if sample and (not is_english(asked) or 10 * len(_SMALL.findall(asked)) < len(asked.split())):
        raise UserError(
            f"{name}: the questions are not English, which the offline author writes: {_MODEL}"
        )
    if not isinstance(scenario, Incorrect):
        return
    unfit = [record for record in sample if isinstance((await write(record)).result, Drop)]
    written = len(sample) - len(unfit)
    if written < _LEAST * len(sample):
        kinds = Counter(intent(record.clean_question) for record in unfit)
        most = ", ".join(f"{kind} ({times:,})" for kind, times in kinds.most_common(3))
        raise UserError(
            f"{name}: the offline author finds an incorrect answer for {written:,} of the first "
            f"{len(sample):,} candidates; none fits questions about {most}: {_MODEL}"
        )
