"""What the card's plots show, in words, for who cannot see them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from builder.dataset_folder.card import numbers
from builder.dataset_folder.card.markdown import listed, share
from builder.dataset_folder.read import Facts
from mllmu_med.markdown import plain

if TYPE_CHECKING:
    from builder.core.ratings import Rated


def alt_texts(facts: Facts) -> dict[str, str]:
    """By plot, under its name in `card/`."""
    found = {}
    if "privacy" in facts.scenarios:
        places = numbers.placements(facts)
        kinds = numbers.kinds(facts)
        whole = sum(places.values())
        found["privacy"] = (
            f"Two bar charts of the {whole:,} forget rows of privacy. Place of the private values: "
            f"question {places['question']:,}, answer {places['answer']:,}, both "
            f"{places['both']:,}. Rows with each kind of value: "
            + listed(f"{numbers.KINDS[kind]} {n[0]:,}" for kind, n in kinds.items())
            + "."
        )
    if "incorrect" in facts.scenarios:
        harms = numbers.harms(facts)
        found["incorrect"] = (
            f"Bar chart of the {sum(harms.values()):,} forget rows of incorrect: "
            + listed(f"{numbers.HARMS[harm]} {n:,}" for harm, n in harms.items())
            + "."
        )
    told = []
    for name, config in numbers.with_modality(facts).items():
        counts = numbers.modalities(config)
        whole = sum(sum(some.values()) for some in counts.values())
        shares = (
            f"{plain(value)} {share(sum(some.values()), whole)}" for value, some in counts.items()
        )
        told.append(f"{name}: {listed(shares)}")
    if told:
        found["modalities"] = (
            "Stacked bars: share of each kind of picture by set. All sets together, "
            f"{'; '.join(told)}."
        )
    if facts.ratings:
        counted = (f"{name}: {_rated(rows)}" for name, rows in facts.ratings.items())
        found["calibration"] = (
            f"Stacked bars: candidates by rating, kept and dropped. {'; '.join(counted)}."
        )
    medians = []
    for name, config in facts.main.items():
        rows = numbers.length_table(config).rows
        medians.append(f"{name}: {listed(f'{row[0]} {row[2]}' for row in rows)}")
    found["answer-lengths"] = (
        "Lines: share of the answers with at most so many words, by set. Medians, "
        + "; ".join(medians)
        + "."
    )
    return found


def _rated(rows: Sequence[Rated]) -> str:
    pairs = zip(numbers.by_rating(rows, True), numbers.by_rating(rows, False), strict=True)
    told = (
        f"rating {rating or 'none'}: {kept:,} kept, {lost:,} dropped"
        for rating, (kept, lost) in zip(range(5, -1, -1), pairs, strict=True)
        if kept or lost
    )
    return ", ".join(told)
