"""croissant.json: the folder described in MLCommons' Croissant 1.1, with its responsible-AI terms.

Every Parquet file stands with its sha256; a record set for each config is read from the files of
its three splits, and which split a record is in is told by its file's name.
"""

import json
from typing import Final

from builder.core.corpus import about
from builder.dataset_folder.card import numbers
from builder.dataset_folder.card.render import render_block
from builder.dataset_folder.card.words import listed, words
from builder.dataset_folder.read import Config, Facts
from mllmu_med.files import read_yaml, text_lines
from mllmu_med.templates import environment
from mllmu_med_dataset import SPLITS

_TYPES: Final = {"string": "sc:Text", "int32": "sc:Integer"}
#: As Croissant 1.1 prescribes it: terms of its own.
_TERMS: Final = (
    "arrayShape citeAs column containedIn equivalentProperty extract field fileObject fileProperty "
    "fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path recordSet "
    "references regex repeated replace samplingRate separator source subField transform"
)


def render_croissant(facts: Facts, *, repo: str | None = None) -> str:
    """The metadata as JSON-LD, for a folder or for a Hub repository ORG/NAME."""
    sources = [about(name) for name in facts.sources]
    text = (
        environment(__package__)
        .get_template("croissant.yaml.jinja")
        .render(
            facts=facts,
            repo=repo,
            sources=sources,
            what=listed(
                words()[name]["what"].format(shows=about(scenario.source).shows)
                for name, scenario in facts.scenarios.items()
            ),
            collected=" ".join(f"{source.name}: {source.what}" for source in sources),
            wrote=_wrote(facts),
            private=_private(facts),
            files=sorted(
                {f.path: f for config in facts.configs for f in config.every_file()}.items()
            ),
            counts=_counts,
            items=_items,
            plain=_words,
            words=words(),
            terms=_TERMS,
            SPLITS=SPLITS,
            TYPES=_TYPES,
        )
    )
    return json.dumps(read_yaml(text), indent=1, ensure_ascii=False) + "\n"


def _wrote(facts: Facts) -> str:
    """Who wrote the harmful text; nobody of `own`."""
    if {*facts.scenarios} == {"own"}:
        return ""
    if facts.manifest["author"]["author"] == "llm":
        return listed(sorted(numbers.replies(facts)))
    return "the builder's offline author (fixed rules)"


def _private(facts: Facts) -> list[str]:
    ranges = "; ".join(f"{kind}: {_words(text)}" for kind, text in words()["ranges"].items())
    fictional = f"All personal data in the text are fictional and lie in reserved ranges: {ranges}."
    own = [_words(words()["own"]["warning"])] if "own" in facts.scenarios else []
    return [*([fictional] if "privacy" in facts.scenarios else []), *_items("people", facts), *own]


def _counts(config: Config) -> str:
    return listed(f"{n:,} {s}" for n, s in zip(numbers.sizes(config), SPLITS, strict=True))


def _items(block: str, facts: Facts) -> list[str]:
    """A list of the card, item by item, in plain words."""
    lines = text_lines(render_block(block, facts))
    return [_words(line.removeprefix("- ")) for line in lines if line]


def _words(markdown: str) -> str:
    return markdown.replace("`", "")
