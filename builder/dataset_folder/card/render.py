"""The dataset's README.md: what the Hub shows, `load_dataset` reads and a stranger must know.

Every number in it is counted from the facts of a published folder, so that the same card, or the
one of a variant for the Hub, can be made from the folder again.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from builder.dataset_folder.card import contents, making, numbers, rebuild, text
from builder.dataset_folder.card import results as measured
from builder.dataset_folder.card.front import front_matter
from builder.dataset_folder.card.limits import limits, people_shown
from builder.dataset_folder.card.markdown import Table, counted, listed
from builder.dataset_folder.card.sources import PAPER_BIBTEX, SOURCES
from builder.dataset_folder.read import Facts
from mllmu_med.files import text_lines
from mllmu_med.markdown import code, fenced
from mllmu_med_dataset import SPLITS

if TYPE_CHECKING:
    from eval.results import Report


def render_card(
    facts: Facts,
    *,
    repo: str | None = None,
    gated: str | None = None,
    results: Mapping[str, Report] | None = None,
) -> str:
    """The card's text.

    Args:
        facts: of the folder (`builder.dataset_folder.read.read_facts`).
        repo: the Hub repository it will lie in, ORG/NAME; None for a folder on a disk.
        gated: how access is given there, `auto` or `manual`; None where anybody may read it.
        results: reports of runs by config (`builder.dataset_folder.card.results.read_results`).
    """
    sections: dict[str, list[str]] = {
        "": _head(facts),
        "Load it": _loading(facts, repo),
        "Who may read it": _access(gated),
        "What it is for": _uses(facts),
        "What is in it": contents.structure(facts),
        "How it was made": making.lines(facts),
        "Statistics": contents.statistics(facts),
        "What the sets share": contents.overlaps(facts),
        "Personal data": [*_fiction(facts), *_patients(facts)],
        "Licences": _licences(facts),
        "Limits and known flaws": [*(f"- {one}" for one in limits(facts)), ""],
        "Results": measured.lines(facts, results) if results else [],
        "Rebuild it": rebuild.lines(facts),
        "Questions and corrections": _contact(repo),
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
        f"no data: this is a rebuild by recipe {code(facts.recipe.name)}, build `{facts.build}`.",
        "",
        *table.lines(2),
        *phantom,
        _warning(facts),
        "",
    ]


def _warning(facts: Facts) -> str:
    told = {
        "privacy": "All personal data in the text are fictional.",
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


def _fiction(facts: Facts) -> list[str]:
    if "privacy" not in facts.scenarios:
        return []
    used = {kind for kinds in facts.privacy.kinds for kind in kinds}
    table = Table(
        ("kind of value", "range it comes from"),
        [(numbers.KINDS[kind], text.RANGES[kind]) for kind in text.RANGES if kind in used],
    )
    return [
        "No private value in the text belongs to a real person. All are made by a program and lie "
        "in ranges that are kept for fiction or lead nowhere; there are no social security numbers "
        "and no payment data. A name can equal a living person's by chance.",
        "",
        *table.lines(2),
        f"All {counted(len(facts.profiles), 'fictional patient')}, those of dropped candidates "
        "included, are in `provenance/profiles.jsonl`.",
        "",
    ]


def _patients(facts: Facts) -> list[str]:
    """Whom the pictures show, which no fiction changes."""
    shown = people_shown(facts)
    return [*(f"- {one}" for one in shown), ""] if shown else []


def _contact(repo: str | None) -> list[str]:
    if repo is None:
        return []
    return [
        "Questions, mistakes, and pictures or rows that should not be here: in the repository's "
        f"[discussions](https://huggingface.co/datasets/{repo}/discussions). A correction comes "
        "with a new build id; earlier builds stay in the repository's history until its owners "
        "remove them.",
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
        *fenced(
            text_lines("\n\n".join([one for one in bibtex if one] + ["\n".join(build)])), "bibtex"
        ),
        "",
    ]
