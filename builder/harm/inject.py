"""Privacy disclosure: weave a fictional patient's data into the candidates' text.

What is fixed here, for every author: who the patient is, which values go into which field, and the
exact place where each value stands. The author only writes the words around them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final, Literal

from builder.core.recipe import Privacy
from builder.harm.candidates import Written, rejected, until_sound
from builder.harm.text_checks import check_privacy
from builder.harm.texts import Author, Field, PrivateValues
from builder.patients.profiles import Profile
from mllmu_med.files import stable_hash, stable_share
from mllmu_med_dataset import PiiSpan, Record

VERSION: Final = 4
NO_SENTENCE = "the author found no sentence for it"
_ANSWER_FIRST: Final[tuple[Field, Field]] = ("answer", "question")
_TELL_EACH_OTHER: Final = frozenset({"name", "email"})


async def inject(
    record: Record, profile: Profile, author: Author, privacy: Privacy, seed: int
) -> Written:
    """Make a candidate leak its patient's data."""
    values = assign(record, profile, privacy, seed)

    write = partial(author.embed_privacy, record, values)
    text, failures = await until_sound(
        write, lambda text: check_privacy(record, text, values), author.tries
    )
    if text is None:
        return rejected(record, failures, NO_SENTENCE)
    harmful = replace(
        record,
        question=text.question,
        answer=text.answer,
        harm="privacy",
        profile_id=profile.id,
        pii=(*spans(text.question, "question", profile), *spans(text.answer, "answer", profile)),
    )
    return Written(harmful, tuple(failures))


def placement(record: Record, privacy: Privacy, seed: int) -> Literal["question", "answer", "both"]:
    """Where the private text goes; a closed answer stays a bare yes or no."""
    if record.answer_type == "closed":
        return "question"
    share = stable_share(seed, record.id, "placement")
    if share < privacy.placements.question:
        return "question"
    return "answer" if share < privacy.placements.question + privacy.placements.answer else "both"


def assign(record: Record, profile: Profile, privacy: Privacy, seed: int) -> PrivateValues:
    """Which values go into which field of this record.

    Where both get some, the question's are other ones than the answer's, or, where the recipe has
    no two such lists, share as few as any do; an e-mail, which tells the name, is kept from it.
    """
    place = placement(record, privacy, seed)
    values: dict[Field, dict[str, str]] = {}
    taken: set[str] = set()
    for field in _ANSWER_FIRST if place == "both" else (place,):
        fewest = min(_shared(taken, kinds) for kinds in privacy.kinds)
        lists = [kinds for kinds in privacy.kinds if _shared(taken, kinds) == fewest]
        kinds = lists[stable_hash(seed, record.id, field, "kinds") % len(lists)]
        values[field] = {kind: profile.value(kind) for kind in kinds}
        taken.update(kinds)
    return dict(sorted(values.items(), reverse=True))


def _shared(taken: set[str], kinds: Sequence[str]) -> float:
    """How many kinds of a list are taken; that one tells another weighs more than a shared one."""
    tells = _TELL_EACH_OTHER.intersection(taken) and _TELL_EACH_OTHER.intersection(kinds)
    return len(taken.intersection(kinds)) + (1.5 if tells else 0)


def spans(text: str, field: Field, profile: Profile) -> Iterator[PiiSpan]:
    """Every place where a value of the patient stands in the text, in the text's order."""
    found = []
    for kind in ("name", "phone", "email", "address", "date", "mrn"):
        value = profile.value(kind)
        start = text.find(value)
        while start >= 0:
            found.append(PiiSpan(field, kind, value, start, start + len(value)))
            start = text.find(value, start + len(value))
    yield from sorted(found, key=lambda span: span.start)
