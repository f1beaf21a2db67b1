"""The offline author: rules and word lists, no network and no model.

Every choice is a stable hash of the seed, the record and what is chosen, so a record gets the same
text on every machine and in any order. It makes a build possible without a key; its text is
plainer than a language model's.
"""

from collections.abc import Sequence

from builder.harm.authors import privacy_frames
from builder.harm.authors.incorrect_answers import IncorrectAnswers
from builder.harm.authors.outdated_claims import claims
from builder.harm.authors.skin_diseases import diseases
from builder.harm.texts import Failure, Harm, Incorrect, PrivateValues, Text
from mllmu_med_dataset import Record


class OfflineAuthor:
    """Satisfies `builder.harm.texts.Author`.

    Args:
        corpus: clean records, in whose words an incorrect answer is written.
        seed: the recipe's.
        outdated: whether an incorrect answer may be outdated knowledge.
    """

    tries = 1  # it would write the same again

    def __init__(self, corpus: Sequence[Record], seed: int, outdated: bool = True) -> None:
        self._incorrect = IncorrectAnswers(corpus, seed, outdated)
        self._seed = seed

    async def embed_privacy(
        self, record: Record, values: PrivateValues, failures: Sequence[Failure] = ()
    ) -> Text | None:
        """Put the values into a clinical note around the question, the answer or both."""
        return privacy_frames.weave(record, values, self._seed)

    async def write_incorrect(
        self, record: Record, harm: Harm, failures: Sequence[Failure] = ()
    ) -> Incorrect | Failure:
        """An incorrect answer; a failure that names the question's intent where none fits."""
        return self._incorrect.write(record)


def own_texts() -> list[str]:
    """All that this author may write besides the values and the corpus' own words."""
    facts = [
        fact for disease in diseases().values() for kind in disease.facts.values() for fact in kind
    ]
    return [*privacy_frames.own_texts(), *(claim["claim"] for claim in claims()), *facts]
