"""The dataset's README.md: the configs that `load_dataset` reads, and what a reader must know."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from builder.publish import ConfigFiles, Part
from builder.recipe import Recipe

_PAPER: Final = (
    "Xu et al., *From Learning to Unlearning: Biomedical Security Protection in Multimodal Large "
    "Language Models*, arXiv 2508.04192"
)
_SOURCES: Final = {
    "slake": "SLAKE (Liu et al. 2021), English rows, CC BY 4.0",
    "mm_skin": "MM-Skin (Zeng et al. 2025), no licence stated, pictures from textbooks",
    "phantom": "phantom pictures drawn by the builder, free of rights",
}


def render_card(
    recipe: Recipe,
    parts: Sequence[Part],
    configs: Sequence[ConfigFiles],
    build: str,
    notes: dict[str, dict[str, int]],
    extra: Sequence[str] = (),
) -> str:
    """The card's text.

    Args:
        recipe: the resolved recipe.
        parts: the scenarios with their records.
        configs: every config, the default one first.
        build: the build id; in each config it makes `datasets` see that a rebuilt folder is new
            (its cache key covers the card, not the files).
        notes: counts worth telling, by scenario.
        extra: lines of a section at the end.
    """
    import yaml

    sources = {scenario.source for scenario in recipe.scenarios().values()}
    front = {
        "pretty_name": "MLLMU-Med",
        "license": _licence(sources),
        "language": ["en"],
        "task_categories": ["visual-question-answering"],
        "tags": ["medical", "machine-unlearning", "privacy", "synthetic"],
        "configs": [
            {
                "config_name": config.name,
                **({"default": True} if index == 0 else {}),
                "description": f"build {build}",
                "data_files": [
                    {"split": split, "path": paths} for split, paths in config.files.items()
                ],
            }
            for index, config in enumerate(configs)
        ],
    }
    lines = [
        "---",
        yaml.safe_dump(front, sort_keys=False, allow_unicode=True, width=100).rstrip(),
        "---",
        "",
        "# MLLMU-Med",
        "",
        "A benchmark for machine unlearning in biomedical multimodal models: rows that a model "
        "should forget, rows that it should retain, and a test set of unseen pictures. "
        f"Method: {_PAPER}.",
        "",
        f"Build `{build}`, recipe `{recipe.name}`, seed {recipe.seed}, author of the harmful text: "
        f"`{recipe.author}`" + (f" ({recipe.llm.model})." if recipe.author == "llm" else "."),
        "",
        "| config | source | forget | retain | test | pictures | forget rows on retain pictures |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(_row(part) for part in parts),
        "",
        "```python",
        "from datasets import load_dataset",
        "",
        f'data = load_dataset("mllmu-med", "{parts[0].name}")  # this folder, from beside it',
        "```",
        "",
        *_ratio_lines(parts),
        "**Every person in this dataset is fictional.** Telephone numbers end in 555-0100 to "
        "555-0199, e-mail addresses lie under example.com, example.org or example.net, record "
        "numbers begin with MRN-MM-, addresses have no postcode. A name can equal a living "
        "person's by chance. **Answers marked `wrong_diagnosis` or `outdated_knowledge` are "
        "wrong on purpose**: never use them as medical advice.",
        "",
        "Sources:",
        "",
        *(f"- {_SOURCES[source]}" for source in sorted(sources)),
        "",
        *(
            f"- {name}: {note}: {count:,}"
            for name, counts in notes.items()
            for note, count in counts.items()
        ),
        "",
        *extra,
    ]
    return "\n".join(lines).rstrip() + "\n"


def _licence(sources: set[str]) -> str:
    if "mm_skin" in sources:
        return "other"
    return "cc-by-4.0" if "slake" in sources else "cc0-1.0"


def _row(part: Part) -> str:
    scenario = part.scenario
    forget = [r for r in part.records if r.split == "forget" and r.rank < scenario.forget]
    others = {r.image_id for r in part.records if r.split == "retain"}
    others |= {r.image_id for r in part.records if r.rank >= scenario.forget}
    shared = sum(record.image_id in others for record in forget)
    pictures = len({record.image_id for record in part.records})
    source = part.records[0].source
    overlap = f"{shared:,} of {len(forget):,} forget rows" if shared else "none"
    return (
        f"| `{part.name}` | {source} | {scenario.forget:,} | {scenario.retain:,} "
        f"| {scenario.test:,} | {pictures:,} | {overlap} |"
    )


def _ratio_lines(parts: Sequence[Part]) -> list[str]:
    lines = []
    for part in parts:
        scenario = part.scenario
        if len(scenario.ratios) > 1:
            total = scenario.forget + scenario.retain
            sizes = ", ".join(
                f"{ratio} %: {scenario.forget_at(ratio):,} / {total - scenario.forget_at(ratio):,}"
                for ratio in scenario.ratios
            )
            lines += [
                f"Forget ratios of `{part.name}` (forget / retain, the sum fixed; configs "
                f"`{part.name}_r05` and so on): {sizes}.",
                "",
            ]
    return lines
