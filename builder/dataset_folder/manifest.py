"""provenance/manifest.json: what a folder holds, what it was made of and by what.

Nothing of the machine that built it is in there: no path, no time, no name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from platform import python_version_tuple
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError

from builder.core.corpus import Corpus
from builder.core.job import Job
from builder.core.recipe import Recipe, Scenario
from builder.core.stage_cache import ChainPlan, StageState
from builder.dataset_folder.text_quality import TextQuality, measure
from builder.dataset_folder.write import MANIFEST, Part, build_id, config_files
from builder.review.stage import read_summary
from mllmu_med.files import digest, parse_json, write_atomic
from mllmu_med.image_bytes import ImageError, check_relative
from mllmu_med_dataset import CONFIGS, SPLITS, UserError

#: Packages whose version decides bytes: of the rows, the files, the images, the plots.
_VERSIONS: Final = "mllmu-med datasets faker matplotlib numpy pillow pyarrow PyYAML".split()
#: Where ratings are made on the spot, also these.
_RATING: Final = "accelerate nltk peft rouge-score torch transformers".split()
_REPLIES: Final = "replies of "
_TABLES: Final = ".json .jsonl .csv .tsv .txt .xlsx .parquet .arrow .zip".split()
MISSING: Final = "is not there"


class ManifestError(UserError):
    """A folder has no manifest, or none that can be used; `why` says which, without the place."""

    def __init__(self, folder: Path, why: str) -> None:
        self.why = why
        super().__init__(
            f"{folder}: not a built dataset (no {MANIFEST}): build it with `python -m builder "
            "rebuild`, or name its folder with --out"
            if why == MISSING
            else f"{folder / MANIFEST}: cannot be read: build the dataset again"
        )


class _Section(BaseModel):
    """Keys that only the card reads are kept as they are."""

    model_config = ConfigDict(extra="allow", frozen=True)


def _inside(path: str) -> str:
    try:
        check_relative(path)
    except ImageError as error:
        raise ValueError(f"{path!r} {error}") from error
    return path


_Inside = Annotated[str, AfterValidator(_inside)]
_Config = Annotated[str, StringConstraints(pattern=rf"^({'|'.join(CONFIGS)})(_|$)")]
_Split = Annotated[str, StringConstraints(pattern=rf"^({'|'.join(SPLITS)})$")]


class FileEntry(_Section):
    bytes: int
    sha256: str
    rows: int | None = None  # of data files


class StageCounts(_Section):
    kept: int
    dropped: dict[str, int]
    notes: dict[str, Any] = {}


class Reviewed(_Section):
    """One scenario's review by people."""

    mode: Literal["people", "accept-all"]
    items: int
    accepted: int
    edited: int
    rejected: dict[str, int] = {}
    unseen: int = 0


class Manifest(_Section):
    """The manifest, by scenario where a key is not named otherwise.

    Besides, the card is told `sources`, `author` and, with calibration, `calibration`.
    """

    build: str
    recipe: Recipe
    configs: dict[_Config, dict[_Split, list[str]]]  # config -> split -> data files
    pictures: dict[str, int]
    stages: dict[str, dict[str, StageCounts]]
    files: dict[_Inside, FileEntry]  # every file but the manifest, by its path
    versions: dict[str, str]  # by package
    images: dict[str, Literal["embed", "reference"]] = {}
    review: dict[str, Reviewed] = {}
    text_quality: dict[str, TextQuality] = {}
    left_out: dict[str, dict[str, Any]] = {}  # file -> requests that it lacks, and why

    @property
    def scenarios(self) -> dict[str, Scenario]:
        return self.recipe.scenarios()

    @property
    def data(self) -> dict[str, FileEntry]:
        """The files of rows."""
        return {name: entry for name, entry in self.files.items() if entry.rows is not None}

    def rebuilt(self) -> Manifest:
        """With the build id of its data files and configs."""
        return self.model_copy(update={"build": self.made_build()})

    def made_build(self) -> str:
        """The id that the data files and configs make."""
        names = [name for name, *_ in config_files(self.scenarios) if name in self.configs]
        hashes = {name: entry.sha256 for name, entry in self.data.items()}
        return build_id(hashes, {name: self.configs[name] for name in names})

    def tree(self) -> dict[str, Any]:
        """As plain JSON values: what the file holds, key for key."""
        return self.model_dump(mode="json", exclude_unset=True)

    def write(self, folder: Path) -> None:
        text = json.dumps(self.tree(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        write_atomic(folder / MANIFEST, text)


class AnyBuild(BaseModel):
    """What the manifest of a build of any version tells: which it is and what belongs to it."""

    build: str
    files: dict[str, dict[str, Any]]
    configs: dict[str, Any] = {}
    images: dict[str, str] = {}


def any_build(folder: Path) -> AnyBuild | None:
    """The build that a folder holds; None where it has no manifest of ours."""
    try:
        return AnyBuild.model_validate_json((folder / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return None


def scenario_of(config: str) -> str:
    """The scenario that a config is a forget ratio of: `privacy_r05` belongs to `privacy`."""
    return config.partition("_")[0]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a written folder; a ManifestError where there is none that can be read."""
    try:
        return Manifest.model_validate(parse_json((folder / MANIFEST).read_text("utf-8")))
    except FileNotFoundError as error:
        raise ManifestError(folder, MISSING) from error
    except OSError as error:
        raise ManifestError(folder, f"cannot be read ({error.strerror})") from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ManifestError(
            folder, f"{place}: {first['msg']}" if place else first["msg"]
        ) from error
    except ValueError as error:  # no UTF-8, no JSON
        raise ManifestError(folder, f"is no JSON ({error})") from error


def draft(
    job: Job,
    plans: Sequence[ChainPlan],
    parts: Sequence[Part],
    files: Mapping[str, Mapping[str, Any]],
    left_out: Mapping[str, Any],
) -> Manifest:
    """The manifest but for the files that are made from it (card, plots, Croissant)."""
    states = {item.name: item.states() for item in plans}
    recipe = written_recipe(job.recipe)
    made_by = [*_VERSIONS, *(_RATING if job.recipe.calibration is not None else [])]
    versions = {name: version(name) for name in made_by}
    tree = {
        "build": "",  # of the rest, below
        "recipe": recipe,
        "configs": {config.name: config.files for config in config_files(job.recipe.scenarios())},
        "pictures": {part.name: len({r.image_sha256 for r in part.records}) for part in parts},
        "images": {part.name: "embed" for part in parts},
        "sources": {
            item.name: _source(
                item.scenario, states[item.name]["ingest"], job.corpora.get(item.name)
            )
            for item in plans
        },
        "author": _author(job.recipe, states),
        "stages": {
            name: {stage: state.counts() for stage, state in stages.items()}
            for name, stages in states.items()
        },
        "files": dict(files),
        "versions": {"python": ".".join(python_version_tuple()[:2]), **versions},
        "text_quality": {
            part.name: measure(part.name, part.scenario, part.records)
            for part in parts
            if part.name != "own"  # nothing was written
        },
        **({"left_out": left_out} if left_out else {}),
    }
    if job.recipe.calibration is not None:
        how = job.recipe.calibration
        tree["calibration"] = {
            "model": recipe["calibration"]["model"],
            "rater": how.rater if how.rater == "offline" else job.recipe.llm.model,
            "replies": _replies(states, ("calibrate",)),
            "elsewhere": [],  # scenarios of which another machine made the answers: none
        }
    reviewed = [item for item in plans if item.scenario.review]
    if reviewed:
        tree["review"] = {item.name: read_summary(item.chain) for item in reviewed}
    return Manifest.model_validate(tree).rebuilt()


def written_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe in full; of a model's folder the name alone."""
    tree: dict[str, Any] = recipe.model_dump(mode="json")
    how = tree["calibration"]
    if how is not None:
        path = Path(how["model"]).expanduser()
        if path.is_absolute() or path.is_dir():
            how["model"] = path.name
    return tree


def _source(scenario: Scenario, ingest: StageState, corpus: Corpus | None) -> dict[str, Any]:
    """What the first stage read: annotations and archives one by one, images together.

    Of a keyed corpus neither a file nor a repository is named.
    """
    from builder.ingest.slake import HUB_REVISION

    read = {name: stamp for name, stamp in ingest.inputs.items() if stamp is not None}
    single = {n: s.sha256 for n, s in sorted(read.items()) if Path(n).suffix.lower() in _TABLES}
    keyed = corpus is not None and corpus.mapping.names == "keyed"
    revision = None if keyed or corpus is None else corpus.revision
    if corpus is not None and corpus.path.name == HUB_REVISION:
        revision = HUB_REVISION
    names = (f"corpus-{number}" if keyed else name for number, name in enumerate(single, 1))
    source: dict[str, Any] = {
        "source": scenario.source,
        "revision": revision,
        "files": dict(zip(names, single.values(), strict=True)),
    }
    image_files = {name: stamp for name, stamp in read.items() if name not in single}
    if image_files:
        together = digest({name: stamp.sha256 for name, stamp in image_files.items()})
        source["pictures"] = {"files": len(image_files), "sha256": together}
    return source


def _author(recipe: Recipe, states: Mapping[str, Mapping[str, StageState]]) -> dict[str, Any]:
    if recipe.author == "offline":
        return {"author": "offline"}
    from builder.harm.prompts import INCORRECT_VERSION, PRIVACY_VERSION

    prompts = {"privacy": PRIVACY_VERSION, "incorrect": INCORRECT_VERSION}
    return {
        "author": "llm",
        "model": recipe.llm.model,
        "replies": _replies(states, ("inject", "corrupt")),
        "prompts": {name: prompts[name] for name in states},
    }


def _replies(
    states: Mapping[str, Mapping[str, StageState]], stages: Sequence[str]
) -> dict[str, dict[str, int]]:
    """Scenario -> model, as its replies name it -> replies that were used in these stages."""
    return {
        name: {
            note.removeprefix(_REPLIES): count
            for stage in stages
            if stage in ran
            for note, count in ran[stage].notes.items()
            if note.startswith(_REPLIES)
        }
        for name, ran in states.items()
    }
