"""What comes out of the patients who asked to be forgotten, and the report that shows it.

Counted are private values of the answers (normalised match, `eval.leak`) or, where there are none,
incorrect answers (`eval.learnt.says`): of the model before and after unlearning, of one that was
never trained on these rows, and by chance. Intervals: 95 %; of shares Wilson's, clustered by
patient and, of one patient, by row; of the rest a bootstrap over images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from baselines.request_log import Entry, Log
from eval.attack_results import CEILING, items_out, outcomes
from eval.bootstrap import Draws, Items, interval
from eval.intervals import share_interval
from eval.leak import SIGNATURE
from eval.neighbours import NEAR, near_forget
from eval.read_run import Run, read_run
from eval.report_templates import fill
from eval.results import Key
from mllmu_med.files import write_atomic

if TYPE_CHECKING:
    from mllmu_med_dataset import Record

_WAYS: Final = {
    "own": "the question it was trained on",
    "direct": "asked directly for each value",
    "prefix": "the beginning of the answer, too",
    "clean": "the question as it was before",
    "no_picture": "the question without the image",
    "any": "any of these",
}
_ATTACKS: Final = {
    "quantise": "weights rounded to {} bits",
    "relearn-retain": "{} more training steps on other rows",
    "prefix": "given {} % of what precedes a value",
    "paraphrase": "asked in four other wordings",
}


class Share(NamedTuple):
    """How many of n items came out, and the interval of the share."""

    out: int
    n: int
    low: float
    high: float


def _share(items: Items | None, cluster: Callable[[Any], str] | None = None) -> Share | None:
    """None of nothing; cluster: of an item's id, by default the items' own."""
    if items is None or not items.ids:
        return None
    groups: dict[str, list[bool]] = {}
    for item, own, value in zip(items.ids, items.clusters, items.values.tolist(), strict=True):
        groups.setdefault(cluster(item) if cluster else own, []).append(bool(value))
    return Share(int(items.values.sum()), len(items.ids), *share_interval(groups.values()))


def check(folder: Path, asked: Sequence[tuple[Entry, list[Record]]]) -> dict[str, Any]:
    """What the runs of a round hold, for the template; `folder`: of what was unlearned.

    Shares by column: `before`, `after`, `retrained` and `chance`; of one patient also `own` (after,
    its own question) and `attacked` (after, under any attack).
    """
    places = {"before": folder.parent / "finetune", "after": folder}
    places["retrained"] = folder.parent / "retrain"
    runs = {name: read_run(place) for name, place in places.items() if place.is_dir()}
    ways = {}
    for way, head in _WAYS.items():
        of = {name: _leaked(run, "leaked_values", way) for name, run in runs.items()}
        if of["after"]:
            ways[head] = {**of, "chance": _leaked(runs["after"], "leaked_chance", way)}
    what = "private values" if ways else "incorrect answers"
    if not ways and any(row["clean"] not in ("", row["reference"]) for row in runs["after"].rows):
        ways[_WAYS["own"]] = {name: items_out(run, run.folder) for name, run in runs.items()}
    every, own = (list(ways.values())[i] if ways else {} for i in (-1, 0))
    done = {name: dict(outcomes(run.folder)) for name, run in runs.items()}
    attacks = {
        attack: {n: items_out(read_run(of[attack], False), of[attack]) for n, of in done.items()}
        for attack in done["after"]
    }
    came: dict[Any, tuple[str, float]] = {}
    for items in [of["after"] for of in attacks.values()]:
        for item, cluster, value in zip(items.ids, items.clusters, items.values, strict=True):
            came[item] = cluster, max(came.get(item, ("", 0.0))[1], float(value))
    every = {
        **dict.fromkeys((*places, "chance")),
        **every,
        "own": own.get("after"),
        "attacked": Items.of(came),
    }
    people = []
    for request, rows in asked:
        mine = {row.id for row in rows}
        cells = {n: _only(items, mine) for n, items in every.items()}
        people.append((request, {name: _share(items, _row) for name, items in cells.items()}))
    named = {_ATTACKS.get(a.kind, a.name).format(a.strength): of for a, of in attacks.items()}
    return {
        "what": what,
        "people": people,
        "all": {name: _share(items) for name, items in every.items()},
        "ways": {way: {n: _share(items) for n, items in of.items()} for way, of in ways.items()},
        "attacks": {a: {n: _share(items) for n, items in of.items()} for a, of in named.items()},
        "kept": list(_kept(runs["before"], runs["after"])),
    }


def _leaked(run: Run, metric: str, way: str) -> Items | None:
    """By one way of asking; `any`: by all that were asked in."""
    found = (k for k in run.items if (k.metric, k.cut, k.way.split()[:1]) == (metric, "", [way]))
    return next((run.items[key] for key in found), None)


def _row(item: Any) -> str:
    """The row that an item is of: of a private value's id the third part."""
    return str(item[2] if isinstance(item, tuple) else item)


def _only(items: Items | None, rows: set[str]) -> Items | None:
    return items and items.only(lambda item: _row(item) in rows)


def _kept(before: Run, after: Run) -> Any:
    """What is to be kept: its name, n, and means before and after, and change, with intervals."""
    near = near_forget(before.rows)
    heads = {"rouge1": "ROUGE-1, open questions", "accuracy": "accuracy, yes or no"}
    for split, (metric, head) in product(("retain", "test"), heads.items()):
        for group in ("", *NEAR) if (split, metric) == ("retain", "rouge1") else ("",):
            every = (run.items.get(Key(metric, split), Items.of({})) for run in (before, after))
            pair = [items.only(lambda i: not group or near[i] == group) for items in every]  # noqa: B023
            if pair[0].ids:
                draws = Draws(dict.fromkeys(pair[0].clusters, ""))
                first, second = map(draws.mean, pair)
                means = [(float(a[0]), *interval(a)) for a in (first, second, second - first)]
                yield f"{split}: {head}{f', {group}' * bool(group)}", len(pair[0].ids), means


def write_evidence(path: Path, log: Log, checked: dict[str, Any], folder: Path) -> None:
    """The report as one HTML page: pseudonyms, figures and hashes."""
    after = {entry["round"]: entry["people"] for entry in log.of("checked")}
    page = fill(
        "evidence.html",
        **checked,
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}",
        log=log,
        patients=[(request["id"], cells) for request, cells in checked["people"]],
        rounds=log.of("unlearned"),
        later={n: {one["id"]: one.get("after") for one in of} for n, of in after.items()},
        ceiling=CEILING,
        signature=SIGNATURE,
        folder=folder,
    )
    write_atomic(path, page)
