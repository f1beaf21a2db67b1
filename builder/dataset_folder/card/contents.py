"""What is in the dataset: the card's sections about structure, statistics and overlaps."""

from __future__ import annotations

from typing import Any

from builder.dataset_folder.card import numbers, text
from builder.dataset_folder.card.alt import alt_texts
from builder.dataset_folder.card.markdown import Table, counted, listed, megabytes
from builder.dataset_folder.read import Facts
from mllmu_med.markdown import code, escaped, plain
from mllmu_med_dataset import MAIN_RATIO, SPLITS, Record


def structure(facts: Facts) -> list[str]:
    """Configs, columns and a row of each scenario."""
    rows = []
    for config in facts.configs:
        size = megabytes(sum(file.size for file in config.every_file()))
        sizes = (f"{len(config.rows(split)):,}" for split in SPLITS)
        rows.append((f"`{config.name}`", f"{config.ratio} %", *sizes, size))
    table = Table(("config", "forget ratio", *SPLITS, "download"), rows)
    lines = [
        "Each config has the splits `forget`, `retain` and `test`.",
        "",
        *table.lines(),
    ]
    if len(facts.configs) > len(facts.main):
        lines += [
            "A forget ratio is |forget| over |retain|, with the sum of both fixed. Forget sets are "
            f"nested: a smaller one is part of each larger one. The configs of about {MAIN_RATIO} "
            "% are the paper's main sets.",
            "",
        ]
    rounds = []
    for name, config in facts.main.items():
        parts = [sum(row.round == r for row in config.rows("forget")) for r in (1, 2, 3)]
        rounds.append(f"that of `{name}` into {listed(f'{size:,}' for size in parts)} rows")
    lines += [
        "For unlearning requests that arrive one after another, the column `round` cuts the "
        f"forget set in three: {listed(rounds)}.",
        "",
    ]
    schema = Table(
        ("column", "type", "what it holds"),
        [(f"`{c}`", _type(f), text.COLUMNS[c]) for c, f in facts.features.items()],
    )
    lines += ["### Columns", "", *schema.lines(3)]
    for name, config in facts.main.items():
        row = min(config.rows("forget"), key=lambda row: row.rank)
        table = Table(
            ("", "before", "in `forget`"),
            [
                ("question", plain(row.clean_question), _marked(row, "question")),
                ("answer", plain(row.clean_answer), _marked(row, "answer")),
            ],
        )
        lines += [f"### A forget row of `{name}`", "", *table.lines(3)]
        lines += [f"{code(row.id)}: {plain(row.modality)}, harm `{row.harm}`.", ""]
    return lines


def _type(feature: Any) -> str:
    kind = type(feature).__name__
    return {"Image": "image", "List": "list of structs"}.get(kind) or str(feature.dtype)


def _marked(row: Record, field: str) -> str:
    """A text of a row with its private values in bold."""
    told: str = getattr(row, field)
    found, at = "", 0
    for span in (span for span in row.pii if span.field == field):
        found += f"{escaped(told[at : span.start])}**{escaped(span.value)}**"
        at = span.end
    return " ".join((found + escaped(told[at:])).split())


def statistics(facts: Facts) -> list[str]:
    """Tables and plots of the main configs."""
    alt = alt_texts(facts)
    lines = ["Of the main configs; the plots show what the tables hold.", ""]
    if "privacy" in facts.main:
        lines += ["### Private values", "", f"![{alt['privacy']}](card/privacy.png)", ""]
        lines += [*numbers.placement_table(facts).lines()]
        lines += [*numbers.kinds_table(facts).lines()]
        lines += [f"The forget set of `privacy`: {numbers.patients(facts)}.", ""]
    if "incorrect" in facts.main:
        lines += ["### Incorrect answers", "", f"![{alt['incorrect']}](card/incorrect.png)", ""]
        lines += [*numbers.harm_table(facts).lines()]
    lines += ["### Pictures and questions", ""]
    if "modalities" in alt:
        lines += [f"![{alt['modalities']}](card/modalities.png)", ""]
    for name, config in facts.main.items():
        lines += [f"`{name}`:", "", *numbers.modality_table(config).lines()]
        lines += numbers.set_table(config).lines()
        content = numbers.content_table(config)
        lines += content.lines() if content else []
    lines += ["### Lengths", "", f"![{alt['answer-lengths']}](card/answer-lengths.png)", ""]
    for name, config in facts.main.items():
        lines += [f"`{name}`:", "", *numbers.length_table(config).lines()]
    return lines


def overlaps(facts: Facts) -> list[str]:
    """What forget, retain and test have in common."""
    lines = [*numbers.overlap_table(facts).lines()]
    asked = sum(numbers.overlap(config).questions for config in facts.configs)
    lines += [
        "Pictures are compared by the sha256 of their bytes. "
        + (
            f"{counted(asked, 'test row')} asks the same of the same picture as another set."
            if asked
            else "No test row asks the same of the same picture as a row of another set."
        ),
        "",
    ]
    if facts.profiles:
        values, found = numbers.private_values_elsewhere(facts)
        lines += [
            f"Of the {values:,} values of the {counted(len(facts.profiles), 'fictional patient')}, "
            f"{counted(found, 'stands', 'stand') if found else 'none stands'} in a retain or test "
            "row.",
            "",
        ]
    return lines
