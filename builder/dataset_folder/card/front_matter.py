"""The card's YAML: what the Hub shows and filters by, and what `load_dataset` reads."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from builder.core.corpus import about
from builder.dataset_folder.card import numbers
from builder.dataset_folder.card.words import listed, words
from builder.dataset_folder.read import Config, Facts
from mllmu_med_dataset import SPLITS

#: The Hub's classes of size: up to three digits, four, five and so on.
_SIZES: Final = ("n<1K", "1K<n<10K", "10K<n<100K", "100K<n<1M", "1M<n<10M")
_ENGLISH: Final = {"language": ["en"], "multilinguality": ["monolingual"]}


def head(front: Mapping[str, Any]) -> str:
    """Front matter between its fences."""
    from huggingface_hub import DatasetCardData

    return f"---\n{DatasetCardData(**front).to_yaml(original_order=[*front])}\n---\n"


def config_entries(
    configs: Mapping[str, Mapping[str, Sequence[str]]], build: str
) -> list[dict[str, Any]]:
    """`configs` as `load_dataset` reads it, the first one being the default.

    The build id is in every entry, as `datasets`' cache key covers the card and not the files.
    """
    return [
        {
            "config_name": name,
            **({"default": True} if index == 0 else {}),
            "description": f"build {build}",
            "data_files": [{"split": s, "path": list(paths)} for s, paths in files.items()],
        }
        for index, (name, files) in enumerate(configs.items())
    ]


def front_matter(facts: Facts) -> dict[str, Any]:
    """What the card's head says."""
    parts = [words()[name] for name in facts.scenarios]
    sources = [about(name) for name in facts.sources]
    licences = list(dict.fromkeys(source.licence for source in sources))
    human = [] if facts.sources == ["phantom"] else ["found"]
    reviewed = len(numbers.unreviewed(facts)) < len(parts)
    unstated = {}
    if other := [source for source in sources if source.licence == "other"]:
        slug = re.sub(r"[^a-z0-9]+", "-", other[0].name.lower())
        unstated = {"license_name": f"{slug}-states-none", "license_link": other[0].licence_url}
    origins = list(filter(None, (source.hub_source for source in sources)))
    rows = sum(len({row.id for row in numbers.every_row(c)}) for c in facts.main.values())
    files = {
        config.name: {split: [t.path for t in tables] for split, tables in config.files.items()}
        for config in facts.configs
    }
    # Of real patients (own) nothing is made, and nobody is given access.
    own = "own" in facts.scenarios
    gate = {} if own else dict(words()["gate"])
    if gate:
        holds = listed(part["holds"] for part in parts)
        gate["extra_gated_prompt"] = gate["extra_gated_prompt"].format(holds=holds)
    made = [] if own else ["machine-generated", *(["expert-generated"] if reviewed else [])]
    tags = ["machine-unlearning", "medical", "multimodal", *([] if own else ["synthetic"])]
    tags += [tag for part in parts for tag in part["tags"]]
    return {
        "pretty_name": "MLLMU-Med",
        "license": licences[0] if len(licences) == 1 else licences,
        **unstated,
        **(_ENGLISH if all(source.language for source in sources) else {}),
        "task_categories": ["visual-question-answering"],
        "task_ids": ["visual-question-answering"],
        "size_categories": [_SIZES[min(max(0, len(str(rows)) - 3), len(_SIZES) - 1)]],
        **({"source_datasets": origins} if origins else {}),
        "annotations_creators": [*human, *made],
        "language_creators": [*human, *made[:1]],
        "tags": list(dict.fromkeys([*tags, *(tag for source in sources for tag in source.tags)])),
        **gate,
        "configs": config_entries(files, facts.build),
        "dataset_info": [_info(config, facts) for config in facts.configs],
    }


def _info(config: Config, facts: Facts) -> dict[str, Any]:
    sizes = {split: sum(file.cached for file in config.files[split]) for split in SPLITS}
    return {
        "config_name": config.name,
        "features": facts.features._to_yaml_list(),
        "splits": [
            {"name": split, "num_bytes": size, "num_examples": len(config.rows(split))}
            for split, size in sizes.items()
        ],
        "download_size": sum(file.entry.bytes for file in config.every_file()),
        "dataset_size": sum(sizes.values()),
    }
