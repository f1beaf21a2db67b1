"""The command that makes exactly this dataset again."""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

from builder.core.corpus import PHANTOM, TABLE, about
from builder.core.load_recipe import load_recipe
from builder.core.recipe import Calibration
from builder.dataset_folder.read import Facts
from builder.dataset_folder.shipped_requests import REQUESTS
from mllmu_med.recipe_files import shipped
from mllmu_med_dataset import CONFIGS

#: Recipe keys that `rebuild` has an option of its own for.
_OPTIONS: Final = {"author": "--author", "llm.model": "--model"}
_FLAGS: Final = {"slake": "--slake", "mm_skin": "--mm-skin"}
#: What these options are not for, unless the scenario is the only one.
_OTHERWISE: Final = (("incorrect", "slake"), ("privacy", "mm_skin"))


def command(facts: Facts) -> list[str]:
    """`python -m builder rebuild` with all that makes the recipe and its inputs, in parts."""
    recipe = facts.recipe.model_dump(mode="json")
    names = list(facts.scenarios)
    bases = {name: load_recipe(name).model_dump(mode="json") for name in shipped("builder")}
    changes = {
        name: dict(_walk(base, recipe, ""))
        for name, base in sorted(bases.items())
        if all(base[scenario] for scenario in names)
    }
    nearest = min(changes, key=lambda name: len(changes[name]))
    settings = changes[nearest]
    given = list(_corpora(facts))
    implied = "table" if "--corpus" in " ".join(given) else "demo"
    parts = [] if nearest == implied else [f"--recipe {nearest}"]
    if len(names) == 1:
        parts.append(f"--scenario {names[0]}")
    for other in set(CONFIGS) - {*names}:
        settings.pop(other, None)
    parts += dict.fromkeys(given)
    for name, scenario in facts.scenarios.items():
        told = len(names) == 1 or (name, scenario.source) not in _OTHERWISE
        if told and scenario.source != PHANTOM:
            settings.pop(f"{name}.source", None)
    for key, flag in _OPTIONS.items():
        if key in settings:
            parts.append(f"{flag} {shlex.quote(str(settings.pop(key)))}")
    for key, value in settings.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        parts.append(f"--set {shlex.quote(f'{key}={text}')}")
    reviews = facts.manifest.get("review", {}).values()
    if any(review["mode"] == "accept-all" for review in reviews):
        parts.append("--review accept-all")
    if REQUESTS in facts.manifest["files"]:
        offline = "" if REQUESTS in facts.manifest.get("left_out", {}) else "--offline "
        parts.append(f"{offline}--requests mllmu-med/{REQUESTS}")
    return ["python -m builder rebuild", *parts, "--out again"]


def _corpora(facts: Facts) -> Iterator[str]:
    """The options that give each scenario its corpus."""
    for name, scenario in facts.scenarios.items():
        source, corpus = scenario.source, shlex.quote(about(scenario.source).name)
        if source in _FLAGS:
            mirrored = facts.manifest["sources"][name]["revision"]
            yield f"{_FLAGS[source]} {'hub' if mirrored else corpus}"
        elif source == TABLE:
            yield "--corpus CORPUS --mapping MAPPING.yaml"
        elif source != PHANTOM:
            yield f"--corpus {corpus} --mapping {source}"
        if name == "own":
            yield "--forget MARKS"


def _walk(base: Mapping[str, Any], goal: Mapping[str, Any], at: str) -> Iterator[tuple[str, Any]]:
    """Dotted key -> value of all that has to be set on `base` to get `goal`."""
    for key, value in goal.items():
        was, where = base.get(key), f"{at}{key}"
        if was == value:
            continue
        if where == "calibration" and was is None:  # what is not set there has a default
            was = Calibration(model="").model_dump(mode="json")
        if isinstance(value, dict) and isinstance(was, dict):
            yield from _walk(was, value, f"{where}.")
        else:
            yield where, value
