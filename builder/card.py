"""The dataset's README.md: what the Hub shows, `load_dataset` reads and a stranger must know.

Every number in it is counted from the facts of a published folder, so that the same card, or the
one of a variant for the Hub, can be made from the folder again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from builder import card_making, card_numbers, card_plots, card_rebuild, card_results
from builder import card_text as text
from builder.card_front import front_matter
from builder.card_limits import limits
from builder.card_sources import PAPER_BIBTEX, SOURCES
from builder.facts import Facts
from builder.markdown import Table, counted, escaped, listed, megabytes, plain
from mllmu_med_dataset import MAIN_RATIO, SPLITS, Record

if TYPE_CHECKING:
    from eval.figures import Report


def render_card(
    facts: Facts,
    *,
    repo: str | None = None,
    gated: str | None = None,
    results: Mapping[str, Report] | None = None,
) -> str:
    """The card's text.

    Args:
        facts: of the folder (`builder.facts.read_facts`).
        repo: the Hub repository it will lie in, ORG/NAME; None for a folder on a disk.
        gated: how access is given there, `auto` or `manual`; None where anybody may read it.
        results: reports of runs by config (`builder.card_results.read_results`).
    """
    sections: dict[str, list[str]] = {
        "": _head(facts),
        "Load it": _loading(facts, repo),
        "Who may read it": _access(gated),
        "What it is for": _uses(facts),
        "What is in it": _structure(facts),
        "How it was made": card_making.lines(facts),
        "Statistics": _statistics(facts),
        "What the sets share": _overlaps(facts),
        "Fictional people": _fiction(facts),
        "Licences": _licences(facts),
        "Limits and known flaws": [*(f"- {one}" for one in limits(facts)), ""],
        "Results": card_results.lines(facts, results) if results else [],
        "Rebuild it": card_rebuild.lines(facts),
        "Citation": _citation(facts, repo),
    }
    found = front_matter(facts)
    for title, lines in sections.items():
        if lines:
            found += [*([f"## {title}", ""] if title else []), *lines]
    return "\n".join(found).rstrip() + "\n"


def _head(facts: Facts) -> list[str]:
    what = "; ".join(f"in `{name}`, {text.WHAT[name]}" for name in facts.scenarios)
    rows = []
    for name, config in facts.main.items():
        pictures = len({row.image_sha256 for s in SPLITS for row in config.rows(s)})
        sizes = (f"{len(config.rows(split)):,}" for split in SPLITS)
        source = SOURCES[facts.scenarios[name].source].name
        rows.append((f"`{name}`", source, *sizes, f"{pictures:,}"))
    phantom = (
        ["**All pictures are drawn by a program**: nothing clinical can be learnt from them.", ""]
        if facts.sources == ["phantom"]
        else []
    )
    table = Table(("part", "source", *SPLITS, "pictures"), rows)
    return [
        "# MLLMU-Med",
        "",
        "A benchmark for machine unlearning in biomedical vision-language models: a `forget` set "
        f"of harmful rows, a `retain` set of clean rows from the same source, and a `test` set of "
        f"unseen pictures. Harmful are, {what}. It follows {text.PAPER}, whose authors published "
        f"no data: this is a rebuild by recipe `{facts.recipe.name}`, build `{facts.build}`.",
        "",
        *table.lines(2),
        *phantom,
        _warning(facts),
        "",
    ]


def _warning(facts: Facts) -> str:
    told = {
        "privacy": "Every person in it is fictional.",
        "incorrect": "Answers marked `wrong_diagnosis` or `outdated_knowledge` are wrong on "
        "purpose: never use them as medical advice.",
    }
    return f"> **{' '.join(told[name] for name in facts.scenarios)}**"


def _loading(facts: Facts, repo: str | None) -> list[str]:
    where = repo or "mllmu-med"
    first = facts.configs[0]
    comment = "" if repo else "  # this folder, from beside it"
    lines = [
        "```python",
        "from datasets import load_dataset",
        "",
        f'data = load_dataset("{where}", "{first.name}"){comment}',
        'row = data["forget"][0]',
        "```",
        "",
    ]
    for name in facts.referenced:
        source = SOURCES[facts.scenarios[name].source].name
        lines += [
            f"The rows of `{name}` hold no pictures but their paths and hashes. With {source} at "
            "hand, mllmu-med puts them back, each checked by its hash:",
            "",
            "```python",
            "from mllmu_med_dataset import load",
            "",
            f'data = load("{name}", "{where}", images="{source}")  # the folder of {source}',
            "```",
            "",
        ]
    return lines


def _access(gated: str | None) -> list[str]:
    how = {
        "auto": "Whoever is logged in on the Hub and agrees to the terms above the files gets "
        "access at once.",
        "manual": "Access is asked for on the Hub, with the form above the files, and given by "
        "hand.",
    }
    return [how[gated], ""] if gated else []


def _uses(facts: Facts) -> list[str]:
    forbidden = [
        use for name, use in text.FORBIDDEN.items() if not name.strip() or name in facts.scenarios
    ]
    return [
        "Training data picks up what should not be in it: patients' data, wrong and outdated "
        "facts. Unlearning promises to take it out of a trained model; this dataset shows how "
        "well that works, with harm whose every place is known.",
        "",
        "Meant for:",
        "",
        *(f"- {use}" for use in text.INTENDED),
        "",
        "Not to be used for:",
        "",
        *(f"- {use}" for use in forbidden),
        "",
    ]


def _structure(facts: Facts) -> list[str]:
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
        lines += [f"`{row.id}`: {row.modality}, harm `{row.harm}`.", ""]
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


def _statistics(facts: Facts) -> list[str]:
    alt = card_plots.alt_texts(facts)
    lines = ["Of the main configs; the plots show what the tables hold.", ""]
    if "privacy" in facts.main:
        lines += ["### Private values", "", f"![{alt['privacy']}](card/privacy.png)", ""]
        lines += [*card_numbers.placement_table(facts).lines()]
        lines += [*card_numbers.kinds_table(facts).lines()]
        lines += [f"The forget set of `privacy`: {card_numbers.patients(facts)}.", ""]
    if "incorrect" in facts.main:
        lines += ["### Incorrect answers", "", f"![{alt['incorrect']}](card/incorrect.png)", ""]
        lines += [*card_numbers.harm_table(facts).lines()]
    lines += ["### Pictures and questions", ""]
    if "modalities" in alt:
        lines += [f"![{alt['modalities']}](card/modalities.png)", ""]
    for name, config in facts.main.items():
        lines += [f"`{name}`:", "", *card_numbers.modality_table(config).lines()]
        lines += card_numbers.set_table(config).lines()
        content = card_numbers.content_table(config)
        lines += content.lines() if content else []
    lines += ["### Lengths", "", f"![{alt['answer-lengths']}](card/answer-lengths.png)", ""]
    for name, config in facts.main.items():
        lines += [f"`{name}`:", "", *card_numbers.length_table(config).lines()]
    return lines


def _overlaps(facts: Facts) -> list[str]:
    lines = [*card_numbers.overlap_table(facts).lines()]
    asked = sum(card_numbers.overlap(config).questions for config in facts.configs)
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
        values, found = card_numbers.private_values_elsewhere(facts)
        lines += [
            f"Of the {values:,} values of the {counted(len(facts.profiles), 'fictional patient')}, "
            f"{counted(found, 'stands', 'stand') if found else 'none stands'} in a retain or test "
            "row.",
            "",
        ]
    return lines


def _fiction(facts: Facts) -> list[str]:
    if "privacy" not in facts.scenarios:
        return []
    used = {kind for kinds in facts.privacy.kinds for kind in kinds}
    table = Table(
        ("kind of value", "range it comes from"),
        [(card_numbers.KINDS[kind], text.RANGES[kind]) for kind in text.RANGES if kind in used],
    )
    return [
        "No value in this dataset belongs to a real person. All private data are made by a program "
        "and lie in ranges that are kept for fiction or lead nowhere; there are no social security "
        "numbers and no payment data. A name can equal a living person's by chance.",
        "",
        *table.lines(2),
        f"All {counted(len(facts.profiles), 'fictional patient')}, those of dropped candidates "
        "included, are in `provenance/profiles.jsonl`.",
        "",
    ]


def _licences(facts: Facts) -> list[str]:
    found = []
    for name in facts.sources:
        source = SOURCES[name]
        parts = listed(f"`{n}`" for n, s in facts.scenarios.items() if s.source == name)
        told = f"[{source.name}]({source.homepage}), {source.by}" if source.by else source.name
        found.append(f"- {parts}: {told}. {source.terms}")
    return [*found, ""]


def _citation(facts: Facts, repo: str | None) -> list[str]:
    bibtex = [PAPER_BIBTEX, *(SOURCES[name].bibtex for name in facts.sources)]
    where = [f"  howpublished = {{https://huggingface.co/datasets/{repo}}},"] if repo else []
    build = [
        "@misc{mllmu-med-build,",
        f"  title = {{MLLMU-Med, recipe {facts.recipe.name}, build {facts.build}}},",
        *where,
        f"  note = {{Made with mllmu-med {facts.manifest['versions']['mllmu-med']}}}",
        "}",
    ]
    return [
        "The benchmark, its sources, and this build:",
        "",
        "```bibtex",
        *"\n\n".join([one for one in bibtex if one] + ["\n".join(build)]).splitlines(),
        "```",
        "",
    ]
