"""The card's statistics, counted from the rows: the tables' rows, which the plots are drawn of too.

Cells are texts of anybody and numbers, as they are: the template shows them.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import mean, median
from typing import Any, NamedTuple

from builder.core.ratings import Rated
from builder.dataset_folder.card.words import share, words
from builder.dataset_folder.read import Config, Facts
from mllmu_med.markdown import escaped
from mllmu_med_dataset import HARMS, PII_KINDS, SPLITS, Record

Row = tuple[str | int, ...]


def every_row(config: Config) -> list[Record]:
    return [row for split in SPLITS for row in config.rows(split)]


def sizes(config: Config) -> list[int]:
    """Rows of forget, retain and test."""
    return [len(config.rows(split)) for split in SPLITS]


def images(rows: Iterable[Record]) -> set[str]:
    """The images of rows, by their hash."""
    return {row.image_sha256 for row in rows}


def rounds(config: Config) -> list[int]:
    """Forget rows of each round of the sequential ablation."""
    return [sum(row.round == number for row in config.rows("forget")) for number in (1, 2, 3)]


def type_of(feature: Any) -> str:
    named = {"Image": "image", "List": "list of structs"}
    return named.get(type(feature).__name__) or str(feature.dtype)


def bold(row: Record, field: str) -> str:
    """A text of a row, in Markdown, with its private values in bold."""
    text: str = getattr(row, field)
    shown, at = "", 0
    for span in (span for span in row.pii if span.field == field):
        shown += f"{escaped(text[at : span.start])}**{escaped(span.value)}**"
        at = span.end
    return " ".join((shown + escaped(text[at:])).split())


def places(facts: Facts) -> list[Row]:
    """Forget rows by the place of their private text (the paper's Figure 3c), with shares."""
    held = [{span.field for span in row.pii} for row in facts.main["privacy"].rows("forget")]
    counts = Counter("both" if len(fields) > 1 else next(iter(fields), "") for fields in held)
    return _with_shares({place: counts[place] for place in ("question", "answer", "both")})


def kinds(facts: Facts, scenario: str = "privacy") -> list[Row]:
    """By kind of private value the forget rows that hold it: any part, question, answer."""
    names: dict[str, str] = words()["kinds"]
    rows = facts.main[scenario].rows("forget")
    whole = Counter(kind for row in rows for kind in {span.kind for span in row.pii})
    parts = Counter(pair for row in rows for pair in {(span.kind, span.field) for span in row.pii})
    return [
        (names[kind], whole[kind], parts[kind, "question"], parts[kind, "answer"])
        for kind in PII_KINDS
        if whole[kind]
    ]


def harms(facts: Facts) -> list[Row]:
    """Forget rows by what is wrong with their answer (the paper's Figure 3d), with shares."""
    counts = Counter(row.harm for row in facts.main["incorrect"].rows("forget"))
    return _with_shares({harm.replace("_", " "): counts[harm] for harm in HARMS if counts[harm]})


def _with_shares(counts: dict[str, int]) -> list[Row]:
    whole = sum(counts.values())
    return [(name, count, share(count, whole)) for name, count in counts.items()]


def by_set(config: Config, column: str) -> list[Row]:
    """By a column's value, the most frequent first: rows of each set and the share of all rows.

    By `modality` it is the paper's Figure 3e.
    """
    sets = [Counter(getattr(row, column) for row in config.rows(split)) for split in SPLITS]
    total: Counter[str] = sum(sets, Counter())
    values = sorted(total, key=lambda value: (-total[value], value))
    return [
        (value or "none", *(counts[value] for counts in sets), share(total[value], total.total()))
        for value in values
    ]


def unknown(config: Config) -> int:
    """Rows whose source does not state the modality."""
    return sum(row.modality == "unknown" for row in every_row(config))


def with_modality(facts: Facts) -> dict[str, Config]:
    """The main configs whose source states the modality of any row; of `own` no cell is shown."""
    others = {name: config for name, config in facts.main.items() if name != "own"}
    return {name: c for name, c in others.items() if unknown(c) < len(every_row(c))}


def answer_types(config: Config) -> list[Row]:
    """Rows, images, closed and open questions of each set."""
    table: list[Row] = []
    for split in SPLITS:
        rows = config.rows(split)
        closed = sum(row.answer_type == "closed" for row in rows)
        table.append((split, len(rows), len(images(rows)), closed, len(rows) - closed))
    return table


def words_in(config: Config, field: str) -> dict[str, list[int]]:
    """Words of a text by set; `forget` both as it is and before it was made harmful."""
    forget = config.rows("forget")
    texts: dict[str, list[str]] = {
        "forget": [getattr(row, field) for row in forget],
        "forget, before": [getattr(row, f"clean_{field}") for row in forget],
        **{split: [getattr(row, field) for row in config.rows(split)] for split in SPLITS[1:]},
    }
    if config.scenario == "own":  # nothing was made harmful
        del texts["forget, before"]
    return {name: [len(text.split()) for text in group] for name, group in texts.items()}


def lengths(config: Config) -> list[Row]:
    """Mean, median and longest, of the answers and of the questions."""
    asked, answered = words_in(config, "question"), words_in(config, "answer")
    return [(name, *_spread(answered[name]), *_spread(asked[name])) for name in answered]


def _spread(counts: Sequence[int]) -> Row:
    return f"{mean(counts):.1f}", f"{median(counts):g}", max(counts)


class Overlap(NamedTuple):
    """What the sets of a config have in common."""

    rows: int  # forget rows whose image is also in retain
    images: int  # images that are in both
    test: int  # images of the test set that are in another set
    questions: int  # rows of the test set whose question and image are in another set


def overlap(config: Config) -> Overlap:
    forget, retain, test = (config.rows(split) for split in SPLITS)
    kept, harmed = images(retain), images(forget)
    asked = {(r.image_sha256, r.clean_question or r.question) for r in (*forget, *retain)}
    return Overlap(
        sum(row.image_sha256 in kept for row in forget),
        len(harmed & kept),
        len(images(test) & (kept | harmed)),
        sum((row.image_sha256, row.clean_question) in asked for row in test),
    )


def private_values_elsewhere(facts: Facts) -> tuple[int, int]:
    """Private values of all patients, and those that stand in a retain or test row.

    Of every config of every scenario, letters' case aside.
    """
    values = {person.value(kind) for person in facts.profiles for kind in PII_KINDS}
    rows = {
        (row.question, row.answer)
        for config in facts.configs
        for split in SPLITS[1:]
        for row in config.rows(split)
    }
    text = "\n".join(part for row in sorted(rows) for part in row).casefold()
    return len(values), sum(value.casefold() in text for value in values)


def patients(facts: Facts, scenario: str = "privacy") -> tuple[int, int]:
    """Patients of the main forget set, and the most rows that one of them has."""
    met = Counter(row.profile_id for row in facts.main[scenario].rows("forget"))
    return len(met), max(met.values())


def by_rating(rows: Sequence[Rated]) -> list[tuple[str, int, int]]:
    """Candidates kept and dropped of each rating, 5 to 1, and of those without one, where any."""
    counts = Counter((row.rating, row.kept) for row in rows)
    table = [(str(r or "none"), counts[r, True], counts[r, False]) for r in range(5, -1, -1)]
    return table if any(table[-1][1:]) else table[:-1]


def replies(facts: Facts) -> Counter[str]:
    """Replies that wrote the harmful text, by the name that the server gives its model."""
    by_scenario = facts.manifest["author"]["replies"].values()
    return sum(map(Counter, by_scenario), Counter[str]())


def raters(facts: Facts) -> list[str]:
    """The models that rated the candidates, by the names that their servers give them."""
    by_scenario = facts.manifest["calibration"]["replies"].values()
    return sorted({model for replies in by_scenario for model in replies})


def unreviewed(facts: Facts) -> list[str]:
    """Scenarios of whose harmful text no person has seen any."""
    reviews = facts.manifest.get("review", {})
    seen = {name for name, review in reviews.items() if review["unseen"] < review["items"]}
    return [name for name in facts.scenarios if name not in seen]
