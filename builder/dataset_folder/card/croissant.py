"""croissant.json: the folder described in MLCommons' Croissant 1.1, with its responsible-AI terms.

Every Parquet file stands with its sha256; a record set for each config is read from the files of
its three splits, and which split a record is in is told by its file's name.
"""

from __future__ import annotations

import json
from typing import Any, Final

from builder.core.corpus import about
from builder.dataset_folder.card import numbers
from builder.dataset_folder.card.render import render_block
from builder.dataset_folder.card.words import listed, words
from builder.dataset_folder.read import Config, Facts
from mllmu_med.files import text_lines
from mllmu_med_dataset import SPLITS

_PARQUET: Final = "application/x-parquet"  # the name that mlcroissant knows it by
_TYPES: Final = {"string": "sc:Text", "int32": "sc:Integer"}
_SPLITS: Final = "splits"  # the record set of the splits' names
#: As Croissant 1.1 prescribes it: terms of its own, and how others are to be read.
_TERMS: Final = (
    "arrayShape citeAs column containedIn equivalentProperty extract field fileObject fileProperty "
    "fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path recordSet "
    "references regex repeated replace samplingRate separator source subField transform"
)
_CONTEXT: Final = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    **{term: f"cr:{term}" for term in _TERMS.split()},
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
}


def render_croissant(facts: Facts, *, repo: str | None = None) -> str:
    """The metadata as JSON-LD, for a folder or for a Hub repository ORG/NAME."""
    sources = [about(name) for name in facts.sources]
    cited = [words()["paper"], *(source.bibtex for source in sources)]
    what = listed(
        words()[name]["what"].format(shows=about(scenario.source).shows)
        for name, scenario in facts.scenarios.items()
    )
    author = repo.partition("/")[0] if repo else "mllmu-med"
    specification = "http://mlcommons.org/croissant/"
    metadata = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": [f"{specification}1.1", f"{specification}RAI/1.0"],
        "name": "MLLMU-Med",
        "description": "A benchmark for machine unlearning in biomedical vision-language models: "
        f"{what}. Build {facts.build}.",
        **({"url": f"https://huggingface.co/datasets/{repo}"} if repo else {}),
        "creator": {"@type": "sc:Organization", "name": author},
        "license": [source.licence_url for source in sources],
        "citeAs": "\n\n".join(filter(None, cited)),
        **({"inLanguage": "en"} if all(source.language for source in sources) else {}),
        "keywords": ["machine unlearning", "medical", "visual question answering", "synthetic"],
        "version": facts.manifest["versions"]["mllmu-med"],
        **_responsible(facts),
        "distribution": [*_files(facts), *map(_file_set, facts.configs)],
        "recordSet": [_split_names(), *(_record_set(config, facts) for config in facts.configs)],
    }
    return json.dumps(metadata, indent=1, ensure_ascii=False) + "\n"


def _responsible(facts: Facts) -> dict[str, Any]:
    wrote = "the builder's offline author (fixed rules)"
    if facts.manifest["author"]["author"] == "llm":
        wrote = listed(sorted(numbers.replies(facts)))
    ranges = "; ".join(f"{kind}: {_words(text)}" for kind, text in words()["ranges"].items())
    fictional = f"All personal data in the text are fictional and lie in reserved ranges: {ranges}."
    private = [fictional] if "privacy" in facts.scenarios else []
    private += _items("people", facts)
    if "own" in facts.scenarios:
        private.append(_words(words()["own"]["warning"]))
    sources = [about(name) for name in facts.sources]
    written = [f"Harmful text: {wrote}"] if {*facts.scenarios} != {"own"} else []
    return {
        "rai:dataCollection": " ".join(f"{source.name}: {source.what}" for source in sources),
        "rai:machineAnnotationTools": written,
        "rai:dataUseCases": _items("intended", facts),
        "rai:dataLimitations": _items("limits", facts),
        "rai:dataSocialImpact": f"Out of scope: {' '.join(_items('forbidden', facts))}",
        **({"rai:personalSensitiveInformation": " ".join(private)} if private else {}),
    }


def _items(block: str, facts: Facts) -> list[str]:
    """A list of the card, item by item, in plain words."""
    lines = text_lines(render_block(block, facts))
    return [_words(line.removeprefix("- ")) for line in lines if line]


def _words(markdown: str) -> str:
    return markdown.replace("`", "")


def _node(kind: str, at: str, name: str = "", **more: Any) -> dict[str, Any]:
    return {"@type": f"cr:{kind}", "@id": at, "name": name or at, **more}


def _files(facts: Facts) -> list[dict[str, Any]]:
    files = {file.path: file for config in facts.configs for file in config.every_file()}
    nodes = []
    for path, file in sorted(files.items()):
        content = {"contentUrl": path, "contentSize": f"{file.size} B", "sha256": file.sha256}
        nodes.append(_node("FileObject", path, encodingFormat=_PARQUET, **content))
    return nodes


def _file_set(config: Config) -> dict[str, Any]:
    what = f"The files of config {config.name}."
    includes = [file.path for file in config.every_file()]
    at = f"files-{config.name}"
    return _node("FileSet", at, description=what, encodingFormat=_PARQUET, includes=includes)


def _split_names() -> dict[str, Any]:
    at = f"{_SPLITS}/name"
    field = _node("Field", at, "name", description="A split's name.", dataType="sc:Text")
    more: dict[str, Any] = {"dataType": "cr:Split", "key": {"@id": at}, "field": [field]}
    data = [{at: split} for split in SPLITS]
    return _node("RecordSet", _SPLITS, description="The splits of every config.", **more, data=data)


def _record_set(config: Config, facts: Facts) -> dict[str, Any]:
    name = config.name
    sizes = (f"{n:,} {split}" for n, split in zip(numbers.sizes(config), SPLITS, strict=True))
    # Also of a split's bare name: mlcroissant's join applies it twice.
    regex = f"^(?:{config.scenario}/)?({'|'.join(SPLITS)})(?:[-.].*)?$"
    split = {
        "description": "forget, retain or test",
        "dataType": "sc:Text",
        "source": {
            "fileSet": {"@id": f"files-{name}"},
            "extract": {"fileProperty": "fullpath"},
            "transform": {"regex": regex},
        },
        "references": {"field": {"@id": f"{_SPLITS}/name"}},
    }
    fields = [_node("Field", f"{name}/split", "split", **split)]
    fields += [_field(name, column, feature) for column, feature in facts.features.items()]
    key = [{"@id": f"{name}/split"}, {"@id": f"{name}/id"}]
    what = f"Config {name}: {listed(sizes)} rows."
    return _node("RecordSet", name, description=what, key=key, field=fields)


def _field(config: str, column: str, feature: Any) -> dict[str, Any]:
    at = f"{config}/{column}"
    source = {"fileSet": {"@id": f"files-{config}"}, "extract": {"column": column}}
    field = _node("Field", at, column, description=_words(words()["columns"][column]))
    if column == "image":
        source["transform"] = {"jsonPath": "bytes"}
        return {**field, "dataType": "sc:ImageObject", "source": source}
    if column != "pii":
        return {**field, "dataType": _TYPES[feature.dtype], "source": source}
    parts = []
    for part, kind in feature.feature.items():
        more = {
            "dataType": _TYPES[kind.dtype],
            "source": source | {"transform": {"jsonPath": part}},
        }
        parts.append(_node("Field", f"{at}/{part}", part, **more))
    return {**field, "isArray": True, "arrayShape": "-1", "subField": parts}
