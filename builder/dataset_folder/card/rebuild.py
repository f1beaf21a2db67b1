"""How to make exactly this dataset again: one command, the versions and the inputs it needs."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

from builder.core.recipe import Calibration, load_recipe
from builder.dataset_folder.card.markdown import Table, counted, listed
from builder.dataset_folder.card.sources import SOURCES
from builder.dataset_folder.read import Facts
from builder.dataset_folder.replies import REQUESTS
from mllmu_med.files import text_lines
from mllmu_med.markdown import code, fenced
from mllmu_med.recipe_files import shipped

#: Recipe keys that `rebuild` has an option of its own for.
_OPTIONS: Final = {"author": "--author", "llm.model": "--model"}


def command(facts: Facts) -> list[str]:
    """`python -m builder rebuild` with all that makes the recipe and its inputs, in parts."""
    recipe = facts.recipe.model_dump(mode="json")
    names = list(facts.scenarios)
    found = []
    for name in shipped("builder"):
        base = load_recipe(name).model_dump(mode="json")
        if all(base[scenario] for scenario in names):
            found.append((_differences(base, recipe), name))
    settings, base_name = min(found, key=lambda one: (len(one[0]), one[1]))
    parts = [] if base_name == "demo" else [f"--recipe {base_name}"]
    if len(names) == 1:
        parts.append(f"--scenario {names[0]}")
        other = {"privacy": "incorrect", "incorrect": "privacy"}[names[0]]
        settings.pop(other, None)
    for name, scenario in facts.scenarios.items():
        flag = SOURCES[scenario.source].flag
        if flag:
            parts.append(f"{flag} {_where(facts, name)}")
            settings.pop(f"{name}.source", None)
    for key, flag in _OPTIONS.items():
        if key in settings:
            parts.append(f"{flag} {shlex.quote(str(settings.pop(key)))}")
    parts += [f"--set {shlex.quote(f'{k}={_yaml(value)}')}" for k, value in settings.items()]
    reviews = facts.manifest.get("review", {}).values()
    if any(one["mode"] == "accept-all" for one in reviews):
        parts.append("--review accept-all")
    if REQUESTS in facts.manifest["files"]:
        offline = "" if REQUESTS in facts.manifest.get("left_out", {}) else "--offline "
        parts.append(f"{offline}--requests mllmu-med/{REQUESTS}")
    elsewhere = facts.manifest.get("calibration", {}).get("elsewhere", [])
    parts += [f"--adapted {name}={name}-answers.jsonl" for name in elsewhere]
    return ["python -m builder rebuild", *parts, "--out again"]


def _where(facts: Facts, scenario: str) -> str:
    source = facts.manifest["sources"][scenario]
    if source["source"] == "slake":
        return "hub" if source["revision"] else "SLAKE"
    return "MM-Skin"


def _differences(base: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key -> value of all that has to be set on `base` to get `wanted`."""
    return dict(_walk(base, wanted, ""))


def _walk(base: Mapping[str, Any], wanted: Mapping[str, Any], at: str) -> Iterator[tuple[str, Any]]:
    for key, value in wanted.items():
        was, where = base.get(key), f"{at}{key}"
        if was == value:
            continue
        if where == "calibration" and was is None:  # what is not set there has a default
            was = Calibration(model="").model_dump(mode="json")
        if isinstance(value, dict) and isinstance(was, dict):
            yield from _walk(was, value, f"{where}.")
        else:
            yield where, value


def _yaml(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value


def lines(facts: Facts) -> list[str]:
    """The card's section."""
    parts = command(facts)
    told = [
        "With the versions and the inputs below, this command gives the same bytes again, beside "
        "this folder: every choice comes from a hash of the seed and a row's own id.",
        "",
        *fenced(text_lines(" \\\n  ".join(parts)), "sh"),
        "",
        f"Recipe {code(facts.recipe.name)}, seed {facts.recipe.seed}, build `{facts.build}`. "
        "`provenance/manifest.json` holds the recipe in full and the sha256 of every file.",
        "",
    ]
    if facts.referenced:
        names = listed(f"`{name}`" for name in facts.referenced)
        told += [
            f"That folder holds the pictures of {names}; publishing it with their pictures by "
            "reference gives this one.",
            "",
        ]
    missing = facts.manifest.get("left_out", {}).get(REQUESTS)
    if missing:
        told += [
            f"{counted(missing['requests'], 'request')} to the language model and the replies "
            f"are left out of `{REQUESTS}`, as {missing['why']}: these the command asks for again, "
            "and texts differ where the model answers otherwise.",
            "",
        ]
    reviews = facts.manifest.get("review", {})
    decided = [
        n for n in facts.scenarios if n in reviews and reviews[n]["unseen"] < reviews[n]["items"]
    ]
    if decided:
        told += [
            f"It stops for the review of {listed(f'`{name}`' for name in decided)} until the "
            "decisions in "
            f"{listed(f'`provenance/{name}-review.jsonl`' for name in decided)} are made again.",
            "",
        ]
    given = facts.manifest.get("calibration", {}).get("elsewhere", [])
    if given:
        told += [
            f"The adapted model answered the candidates of {listed(given)} on another machine; "
            "`--until calibrate` says how to make such answers, which are as equal as that machine "
            "computes.",
            "",
        ]
    if facts.ratings and not given:
        told += [
            "What the adapted model answers can differ in the last digits between kinds of "
            "processors; the answers of this build are in `provenance/`, with their ratings.",
            "",
        ]
    versions = facts.manifest["versions"]
    table = Table(("package", "version"), [(name, versions[name]) for name in sorted(versions)])
    return [*told, *table.lines(2), *_inputs(facts)]


def _inputs(facts: Facts) -> list[str]:
    rows = []
    sources = {name: facts.manifest["sources"][name] for name in facts.scenarios}
    for name, source in sources.items():
        rows += [(f"`{name}`", code(path), f"`{h}`") for path, h in source["files"].items()]
        pictures = source.get("pictures")
        if pictures:
            what = counted(pictures["files"], "picture file")
            rows.append((f"`{name}`", f"{what}, together", f"`{pictures['sha256']}`"))
    if not rows:
        return []
    revisions = [
        f"{SOURCES[source['source']].name}: Hub mirror `{SOURCES[source['source']].hub_source}` at "
        f"revision `{source['revision']}`."
        for source in sources.values()
        if source["revision"]
    ]
    return [
        *Table(("for", "input", "sha256"), rows).lines(3),
        *revisions,
        *([""] if revisions else []),
    ]
