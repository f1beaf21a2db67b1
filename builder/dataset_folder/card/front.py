"""The card's YAML: what the Hub shows and filters by, and what `load_dataset` reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from builder.dataset_folder.card.markdown import listed
from builder.dataset_folder.card.sources import SOURCES
from builder.dataset_folder.read import Config, Facts
from mllmu_med_dataset import SPLITS

#: The Hub's classes of size, by the first number of rows that is too many.
_SIZES: Final = (
    (1_000, "n<1K"),
    (10_000, "1K<n<10K"),
    (100_000, "10K<n<100K"),
    (1_000_000, "100K<n<1M"),
)
_DOMAINS: Final = {"privacy": "radiology", "incorrect": "dermatology"}
#: Asked for only once gating is switched on in the repository's settings.
_HOLDS: Final = {
    "privacy": "data of fictional patients",
    "incorrect": "answers that are medically wrong on purpose",
}
_GATE: Final = (
    "This dataset is made for research on machine unlearning. It holds {holds}. By asking for "
    "access you agree to use it for that research alone, to train no model on it that gives "
    "medical advice, and to pass it on only with this card."
)
_GATE_FIELDS: Final = {
    "Name": "text",
    "Affiliation": "text",
    "Country": "country",
    "What I will use it for": "text",
    "I use it for research on unlearning and give nobody medical advice with it": "checkbox",
}


def dump(front: Mapping[str, Any]) -> list[str]:
    """Front matter with its fences, without YAML's anchors."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    text = yaml.dump(dict(front), Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)
    return ["---", text.rstrip(), "---", ""]


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


def front_matter(facts: Facts) -> list[str]:
    """The card's head."""
    sources = [SOURCES[name] for name in facts.sources]
    licences = list(dict.fromkeys(source.licence for source in sources))
    front: dict[str, Any] = {
        "pretty_name": "MLLMU-Med",
        "license": licences[0] if len(licences) == 1 else licences,
    }
    other = next((source for source in sources if source.licence == "other"), None)
    if other is not None:
        front |= {
            "license_name": f"{other.name.lower()}-states-none",
            "license_link": other.licence_url,
        }
    reviews = facts.manifest.get("review", {}).values()
    reviewed = any(one["unseen"] < one["items"] for one in reviews)
    made = ["machine-generated", *(["expert-generated"] if reviewed else [])]
    found = [] if facts.sources == ["phantom"] else ["found"]
    front |= {
        "language": ["en"],
        "multilinguality": ["monolingual"],
        "task_categories": ["visual-question-answering"],
        "task_ids": ["visual-question-answering"],
        "size_categories": [size_category(sum(len(facts.records(n)) for n in facts.scenarios))],
        "source_datasets": [source.hub_source for source in sources],
        "annotations_creators": [*found, *made],
        "language_creators": [*found, "machine-generated"],
        "tags": tags(facts),
        "extra_gated_prompt": _GATE.format(holds=listed(_HOLDS[n] for n in facts.scenarios)),
        "extra_gated_fields": _GATE_FIELDS,
        "configs": config_entries(
            {
                config.name: {s: [file.path for file in config.files[s]] for s in SPLITS}
                for config in facts.configs
            },
            facts.build,
        ),
        "dataset_info": [_info(config, facts) for config in facts.configs],
    }
    return dump(front)


def tags(facts: Facts) -> list[str]:
    """What it is found by."""
    domains = [_DOMAINS[name] for name in facts.scenarios]
    private = ["privacy", "synthetic-pii"] if "privacy" in facts.scenarios else []
    return ["machine-unlearning", "medical", *domains, *private, "multimodal", "synthetic"]


def size_category(rows: int) -> str:
    """The Hub's name for a number of rows."""
    return next((name for end, name in _SIZES if rows < end), "1M<n<10M")


def _info(config: Config, facts: Facts) -> dict[str, Any]:
    sizes = {split: sum(file.cached for file in config.files[split]) for split in SPLITS}
    return {
        "config_name": config.name,
        "features": facts.features._to_yaml_list(),
        "splits": [
            {"name": split, "num_bytes": size, "num_examples": len(config.rows(split))}
            for split, size in sizes.items()
        ],
        "download_size": sum(file.size for file in config.every_file()),
        "dataset_size": sum(sizes.values()),
    }
