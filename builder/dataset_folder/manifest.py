"""provenance/manifest.json: what a folder holds, what it was made of and by what.

Nothing of the machine that built it is in there: no path, no time, no name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from platform import python_version_tuple
from typing import TYPE_CHECKING, Any, Final

from builder.core.recipe import Recipe, Scenario
from builder.review.stage import read_summary
from mllmu_med.files import digest

if TYPE_CHECKING:
    from builder.core.job import Job
    from builder.core.plan import ChainPlan
    from builder.core.stage_cache import StageState, Stamp
    from builder.dataset_folder.write import ConfigFiles, Part

#: Packages whose version decides bytes: of the rows, the files, the pictures, the plots.
_VERSIONS: Final = "mllmu-med datasets faker matplotlib numpy pillow pyarrow PyYAML".split()
#: Where ratings are made on the spot, also these.
_RATING: Final = "accelerate nltk peft rouge-score torch transformers".split()
_REPLIES: Final = "replies of "


def draft(
    job: Job,
    plans: Sequence[ChainPlan],
    parts: Sequence[Part],
    configs: Sequence[ConfigFiles],
    files: Mapping[str, Mapping[str, Any]],
    build: str,
) -> dict[str, Any]:
    """The manifest but for the files that are made from it (card, plots, Croissant)."""
    states = {item.name: item.states() for item in plans}
    recipe = published_recipe(job.recipe)
    found = {
        "build": build,
        "recipe": recipe,
        "configs": {config.name: config.files for config in configs},
        "pictures": {part.name: len({r.image_sha256 for r in part.records}) for part in parts},
        "images": {part.name: "embed" for part in parts},
        "sources": {
            item.name: _source(item.scenario, states[item.name]["ingest"], job.slake)
            for item in plans
        },
        "author": _author(job.recipe, states),
        "stages": {
            name: {
                stage: {"kept": state.kept, "dropped": state.dropped, "notes": state.notes}
                for stage, state in some.items()
            }
            for name, some in states.items()
        },
        "files": dict(files),
        "versions": _versions(job.recipe),
    }
    if job.recipe.calibration is not None:
        how = job.recipe.calibration
        found["calibration"] = {
            "model": recipe["calibration"]["model"],
            "rater": how.rater if how.rater == "offline" else job.recipe.llm.model,
            "replies": _replies(states, ("calibrate",)),
            "elsewhere": [name for name in job.adapted if name in states],
        }
    reviewed = [item for item in plans if item.scenario.review]
    if reviewed:
        found["review"] = {item.name: read_summary(item.chain) for item in reviewed}
    return found


def published_recipe(recipe: Recipe) -> dict[str, Any]:
    """The recipe in full; of a model's folder the name alone."""
    tree: dict[str, Any] = recipe.model_dump(mode="json")
    how = tree["calibration"]
    if how is not None:
        path = Path(how["model"]).expanduser()
        if path.is_absolute() or path.is_dir():
            how["model"] = path.name
    return tree


def _versions(recipe: Recipe) -> dict[str, str]:
    names = [*_VERSIONS, *(_RATING if recipe.calibration is not None else [])]
    return {"python": ".".join(python_version_tuple()[:2]), **{n: version(n) for n in names}}


def _source(scenario: Scenario, ingest: StageState, slake: Path | None) -> dict[str, Any]:
    """What the first stage read: annotations and archives one by one, pictures together."""
    from builder.ingest.slake import HUB_REVISION

    read = {name: stamp for name, stamp in ingest.inputs.items() if stamp is not None}
    single = {n: s.sha256 for n, s in read.items() if n.endswith((".json", ".csv", ".zip"))}
    pinned = scenario.source == "slake" and slake is not None and slake.name == HUB_REVISION
    found: dict[str, Any] = {
        "source": scenario.source,
        "revision": HUB_REVISION if pinned else None,
        "files": dict(sorted(single.items())),
    }
    pictures = {name: stamp for name, stamp in read.items() if name not in single}
    if pictures:
        found["pictures"] = {"files": len(pictures), "sha256": _together(pictures)}
    return found


def _together(stamps: Mapping[str, Stamp]) -> str:
    return digest({name: stamp.sha256 for name, stamp in stamps.items()})


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
            if stage in some
            for note, count in some[stage].notes.items()
            if note.startswith(_REPLIES)
        }
        for name, some in states.items()
    }
