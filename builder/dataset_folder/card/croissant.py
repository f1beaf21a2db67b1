"""croissant.json: the folder described in MLCommons' Croissant 1.1, with its responsible-AI terms.

Every Parquet file stands with its sha256; a record set for each config is read from the files of
its three splits, and which split a record is in is told by its file's name.
"""

from __future__ import annotations

import json
from typing import Any, Final

from builder.dataset_folder.card import text
from builder.dataset_folder.card.limits import limits, people_shown
from builder.dataset_folder.card.markdown import listed
from builder.dataset_folder.card.sources import PAPER_BIBTEX, SOURCES
from builder.dataset_folder.read import Config, Facts
from mllmu_med_dataset import SPLITS

_PARQUET: Final = "application/x-parquet"  # the name that mlcroissant knows it by
_TYPES: Final = {"string": "sc:Text", "int32": "sc:Integer"}
_SPLITS: Final = "splits"  # the record set of the splits' names
#: As Croissant 1.1 prescribes it.
_CONTEXT: Final = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}


def render_croissant(facts: Facts, *, repo: str | None = None) -> str:
    """The metadata as JSON-LD, for a folder or for a Hub repository ORG/NAME."""
    where = {"url": f"https://huggingface.co/datasets/{repo}"} if repo else {}
    author = repo.partition("/")[0] if repo else "mllmu-med"
    what = listed(text.WHAT[name] for name in facts.scenarios)
    found = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [
            "http://mlcommons.org/croissant/1.1",
            "http://mlcommons.org/croissant/RAI/1.0",
        ],
        "name": "MLLMU-Med",
        "description": "A benchmark for machine unlearning in biomedical vision-language models: "
        f"{what}. Build {facts.build}.",
        **where,
        "creator": {"@type": "sc:Organization", "name": author},
        "license": [SOURCES[name].licence_url for name in facts.sources],
        "citeAs": "\n\n".join([PAPER_BIBTEX, *_cited(facts)]),
        "inLanguage": "en",
        "keywords": ["machine unlearning", "medical", "visual question answering", "synthetic"],
        "version": facts.manifest["versions"]["mllmu-med"],
        **_responsible(facts),
        "distribution": [*_files(facts), *map(_file_set, facts.configs)],
        "recordSet": [_split_names(), *(_record_set(config, facts) for config in facts.configs)],
    }
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _cited(facts: Facts) -> list[str]:
    return [SOURCES[name].bibtex for name in facts.sources if SOURCES[name].bibtex]


def _responsible(facts: Facts) -> dict[str, Any]:
    author = facts.manifest["author"]
    wrote = "the builder's offline author (fixed rules)"
    if author["author"] == "llm":
        wrote = listed(sorted({name for some in author["replies"].values() for name in some}))
    private = people_shown(facts)
    if "privacy" in facts.scenarios:
        ranges = "; ".join(f"{kind}: {_words(told)}" for kind, told in text.RANGES.items())
        private.insert(
            0, f"All personal data in the text are fictional and lie in reserved ranges: {ranges}."
        )
    return {
        "rai:dataCollection": " ".join(
            f"{SOURCES[name].name}: {SOURCES[name].what}" for name in facts.sources
        ),
        "rai:machineAnnotationTools": [f"Harmful text: {wrote}"],
        "rai:dataUseCases": list(text.INTENDED),
        "rai:dataLimitations": [_words(one) for one in limits(facts)],
        "rai:dataSocialImpact": "Not to be used for: "
        + " ".join(
            _words(use)
            for name, use in text.FORBIDDEN.items()
            if not name.strip() or name in facts.scenarios
        ),
        **({"rai:personalSensitiveInformation": " ".join(private)} if private else {}),
    }


def _words(markdown: str) -> str:
    return markdown.replace("`", "")


def _files(facts: Facts) -> list[dict[str, Any]]:
    files = {file.path: file for config in facts.configs for file in config.every_file()}
    return [
        {
            "@type": "cr:FileObject",
            "@id": path,
            "name": path,
            "contentUrl": path,
            "contentSize": f"{file.size} B",
            "encodingFormat": _PARQUET,
            "sha256": file.sha256,
        }
        for path, file in sorted(files.items())
    ]


def _file_set(config: Config) -> dict[str, Any]:
    return {
        "@type": "cr:FileSet",
        "@id": f"files-{config.name}",
        "name": f"files-{config.name}",
        "description": f"The files of config {config.name}.",
        "encodingFormat": _PARQUET,
        "includes": [file.path for file in config.every_file()],
    }


def _split_names() -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": _SPLITS,
        "name": _SPLITS,
        "description": "The splits of every config.",
        "dataType": "cr:Split",
        "key": {"@id": f"{_SPLITS}/name"},
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{_SPLITS}/name",
                "name": "name",
                "description": "A split's name.",
                "dataType": "sc:Text",
            }
        ],
        "data": [{f"{_SPLITS}/name": split} for split in SPLITS],
    }


def _record_set(config: Config, facts: Facts) -> dict[str, Any]:
    sizes = (f"{len(config.rows(split)):,} {split}" for split in SPLITS)
    name = config.name
    split = {
        "@type": "cr:Field",
        "@id": f"{name}/split",
        "name": "split",
        "description": "forget, retain or test",
        "dataType": "sc:Text",
        "source": {
            "fileSet": {"@id": f"files-{name}"},
            "extract": {"fileProperty": "fullpath"},
            # Also of a split's bare name: mlcroissant's join applies it twice.
            "transform": {"regex": f"^(?:{config.scenario}/)?({'|'.join(SPLITS)})(?:[-.].*)?$"},
        },
        "references": {"field": {"@id": f"{_SPLITS}/name"}},
    }
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"Config {name}: {listed(sizes)} rows.",
        "key": [{"@id": f"{name}/split"}, {"@id": f"{name}/id"}],
        "field": [split, *(_field(name, c, kind) for c, kind in facts.features.items())],
    }


def _field(config: str, column: str, feature: Any) -> dict[str, Any]:
    found: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{config}/{column}",
        "name": column,
        "description": _words(text.COLUMNS[column]),
    }
    source = {"fileSet": {"@id": f"files-{config}"}, "extract": {"column": column}}
    if column == "image":
        source["transform"] = {"jsonPath": "bytes"}
        return {**found, "dataType": "sc:ImageObject", "source": source}
    if column == "pii":
        parts = [
            {
                "@type": "cr:Field",
                "@id": f"{config}/{column}/{part}",
                "name": part,
                "dataType": _TYPES[kind.dtype],
                "source": {**source, "transform": {"jsonPath": part}},
            }
            for part, kind in feature.feature.items()
        ]
        return {**found, "isArray": True, "arrayShape": "-1", "subField": parts}
    return {**found, "dataType": _TYPES[feature.dtype], "source": source}
