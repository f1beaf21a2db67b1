"""The card's statistics, counted from the rows: tables, from which the plots are drawn too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from statistics import mean, median
from typing import TYPE_CHECKING, Final, NamedTuple

from builder.dataset_folder.card.markdown import Table, counted, share
from builder.dataset_folder.read import Config, Facts
from mllmu_med.markdown import plain
from mllmu_med_dataset import PII_KINDS, SPLITS, Record

if TYPE_CHECKING:
    from builder.core.ratings import Rated

PLACES: Final = ("question", "answer", "both")
HARMS: Final = {
    "wrong_diagnosis": "wrong diagnosis",
    "outdated_knowledge": "outdated knowledge",
}
KINDS: Final = {
    "name": "name",
    "phone": "telephone number",
    "email": "e-mail address",
    "address": "home address",
    "date": "date of an appointment",
    "mrn": "medical record number",
}


def placement(record: Record) -> str:
    """Where a row's private values stand: `question`, `answer` or `both`."""
    fields = {span.field for span in record.pii}
    return "both" if len(fields) > 1 else next(iter(fields), "")


def placements(facts: Facts) -> dict[str, int]:
    """Forget rows by the place of their private text (the paper's Figure 3c)."""
    found = Counter(placement(row) for row in facts.main["privacy"].rows("forget"))
    return {place: found[place] for place in PLACES}


def kinds(facts: Facts) -> dict[str, tuple[int, int, int]]:
    """By kind of private value the forget rows that hold it: any part, question, answer."""
    rows = facts.main["privacy"].rows("forget")

    def holding(kind: str, fields: Sequence[str]) -> int:
        return sum(any(s.kind == kind and s.field in fields for s in row.pii) for row in rows)

    found = {
        kind: (
            holding(kind, ("question", "answer")),
            holding(kind, ("question",)),
            holding(kind, ("answer",)),
        )
        for kind in PII_KINDS
    }
    return {kind: counts for kind, counts in found.items() if counts[0]}


def harms(facts: Facts) -> dict[str, int]:
    """Forget rows by what is wrong with their answer (the paper's Figure 3d)."""
    found = Counter(row.harm for row in facts.main["incorrect"].rows("forget"))
    return {harm: found[harm] for harm in HARMS if found[harm]}


def placement_table(facts: Facts) -> Table:
    counts = placements(facts)
    whole = sum(counts.values())
    names = {"question": "the question", "answer": "the answer", "both": "both"}
    return Table(
        ("private values stand in", "forget rows", "share"),
        [(names[place], f"{n:,}", share(n, whole)) for place, n in counts.items()],
    )


def kinds_table(facts: Facts) -> Table:
    return Table(
        ("kind of value", "forget rows with it", "in the question", "in the answer"),
        [(KINDS[kind], *(f"{n:,}" for n in some)) for kind, some in kinds(facts).items()],
    )


def harm_table(facts: Facts) -> Table:
    counts = harms(facts)
    whole = sum(counts.values())
    return Table(
        ("the answer is", "forget rows", "share"),
        [(HARMS[harm], f"{n:,}", share(n, whole)) for harm, n in counts.items()],
    )


def modalities(config: Config) -> dict[str, dict[str, int]]:
    """Rows by modality and set, the most frequent modality first (the paper's Figure 3e)."""
    return _by_set(config, lambda row: row.modality)


def _by_set(config: Config, key: Callable[[Record], str]) -> dict[str, dict[str, int]]:
    sets = {split: Counter(map(key, config.rows(split))) for split in SPLITS}
    total: Counter[str] = sum(sets.values(), Counter())
    values = sorted(total, key=lambda value: (-total[value], value))
    return {value: {split: sets[split][value] for split in SPLITS} for value in values}


def with_modality(facts: Facts) -> dict[str, Config]:
    """The main configs whose source tells the kind of any picture."""
    return {
        name: config
        for name, config in facts.main.items()
        if set(modalities(config)) != {"unknown"}
    }


def modality_table(config: Config) -> Table:
    return _set_table("modality", modalities(config))


def content_table(config: Config) -> Table | None:
    """Rows by the source's own kind of question; None where it has none."""
    found = _by_set(config, lambda row: row.content_type)
    return None if set(found) == {""} else _set_table("kind of question", found)


def _set_table(what: str, found: dict[str, dict[str, int]]) -> Table:
    whole = sum(sum(counts.values()) for counts in found.values())
    return Table(
        (what, *SPLITS, "share of all rows"),
        [
            (
                plain(value or "none"),
                *(f"{n:,}" for n in counts.values()),
                share(sum(counts.values()), whole),
            )
            for value, counts in found.items()
        ],
    )


def words(text: str) -> int:
    """Words between white space."""
    return len(text.split())


def answer_lengths(config: Config) -> dict[str, list[int]]:
    """Words of every answer by set; `forget` both as it is and before it was made harmful."""
    forget = config.rows("forget")
    return {
        "forget": [words(row.answer) for row in forget],
        "forget, before": [words(row.clean_answer) for row in forget],
        **{split: [words(row.answer) for row in config.rows(split)] for split in SPLITS[1:]},
    }


def length_table(config: Config) -> Table:
    asked: dict[str, list[int]] = {
        "forget": [words(row.question) for row in config.rows("forget")],
        "forget, before": [words(row.clean_question) for row in config.rows("forget")],
        **{s: [words(row.question) for row in config.rows(s)] for s in SPLITS[1:]},
    }
    return Table(
        ("words in", "answers: mean", "median", "longest", "questions: mean", "median", "longest"),
        [
            (name, *_spread(some), *_spread(asked[name]))
            for name, some in answer_lengths(config).items()
        ],
    )


def _spread(numbers: Sequence[int]) -> tuple[str, str, str]:
    return f"{mean(numbers):.1f}", f"{median(numbers):g}", f"{max(numbers):,}"


def set_table(config: Config) -> Table:
    """Rows, pictures and answer types of each set."""
    rows = []
    for split in SPLITS:
        some = config.rows(split)
        closed = sum(row.answer_type == "closed" for row in some)
        pictures = len({row.image_sha256 for row in some})
        rows.append(
            (split, f"{len(some):,}", f"{pictures:,}", f"{closed:,}", f"{len(some) - closed:,}")
        )
    return Table(("set", "rows", "pictures", "closed questions", "open questions"), rows)


class Overlap(NamedTuple):
    """What the sets of a config have in common."""

    rows: int  # forget rows whose picture is also in retain
    pictures: int  # pictures that are in both
    test: int  # pictures of the test set that are in another set
    questions: int  # rows of the test set whose question and picture are in another set


def overlap(config: Config) -> Overlap:
    forget, retain, test = (config.rows(split) for split in SPLITS)
    kept = {row.image_sha256 for row in retain}
    harmed = {row.image_sha256 for row in forget}
    asked = {(row.image_sha256, row.clean_question) for row in (*forget, *retain)}
    return Overlap(
        sum(row.image_sha256 in kept for row in forget),
        len(harmed & kept),
        len({row.image_sha256 for row in test} & (kept | harmed)),
        sum((row.image_sha256, row.clean_question) in asked for row in test),
    )


def overlap_table(facts: Facts) -> Table:
    rows = []
    for config in facts.configs:
        found = overlap(config)
        rows.append(
            (
                f"`{config.name}`",
                f"{len(config.rows('forget')):,}",
                f"{found.rows:,}",
                f"{found.pictures:,}",
                f"{found.test:,}",
            )
        )
    head = ("config", "forget rows", "of these on a retain picture", "pictures in both")
    return Table((*head, "test pictures in forget or retain"), rows)


def private_values_elsewhere(facts: Facts) -> tuple[int, int]:
    """Private values of all patients, and those that stand in a retain or test row.

    Of every config of every scenario, letters' case aside.
    """
    values = {one.value(kind) for one in facts.profiles for kind in PII_KINDS}
    rows = {
        (row.question, row.answer)
        for config in facts.configs
        for split in ("retain", "test")
        for row in config.rows(split)
    }
    text = "\n".join(part for row in sorted(rows) for part in row).casefold()
    return len(values), sum(value.casefold() in text for value in values)


def patients(facts: Facts) -> str:
    """How many fictional patients the main forget set has, and how often each is met."""
    rows = facts.main["privacy"].rows("forget")
    met = Counter(row.profile_id for row in rows)
    most = counted(max(met.values()), "row")
    people = counted(len(met), "fictional patient")
    return f"{counted(len(rows), 'row')} of {people}, at most {most} of one"


def by_rating(rows: Sequence[Rated], kept: bool) -> list[int]:
    """How many candidates have each rating, 5 to 1 and 0 for none, of those kept or not."""
    found = Counter(row.rating for row in rows if row.kept == kept)
    return [found[rating] for rating in range(5, -1, -1)]
