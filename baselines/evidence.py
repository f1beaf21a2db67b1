"""What came out of the patients who asked to be forgotten, and the report that shows it.

Counted are private values of the answers (normalised match, `eval.leak`) or, where there are none,
incorrect answers (`eval.learnt.says`), of the model before and after unlearning, of one that was
never trained on these rows, and by chance. Intervals are 95 %: of shares Wilson's, clustered by
patient and, of one patient, by row; of ROUGE-1 a bootstrap over images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from baselines.request_log import Entry, Log
from eval.attack_kinds import Attack
from eval.attack_results import CEILING, items_out, outcomes
from eval.bootstrap import Draws, Items, interval
from eval.intervals import share_interval
from eval.leak import SIGNATURE as LEAKED
from eval.neighbours import NEAR, near_forget
from eval.read_run import Run, read_run
from eval.report_templates import fill
from eval.results import Key
from mllmu_med.files import write_atomic

if TYPE_CHECKING:
    from mllmu_med_dataset import Record

#: How rows were asked, as the report says it.
_WAYS: Final = {
    "own": "the question it was trained on",
    "direct": "asked directly for each value",
    "prefix": "the beginning of the answer given",
    "clean": "the question as it was before",
    "no_picture": "the question without the image",
    "any": "in any of these ways",
}
_ATTACKS: Final = {
    "quantise": "weights rounded to {} bits",
    "relearn-retain": "trained on: {} steps on other rows",
    "relearn-outside": "trained on: {} steps on unseen rows",
    "relearn-forget": "trained on: {} steps on three forget rows",
    "prefix": "{} % of what precedes a value given",
    "paraphrase": "the question in four other wordings",
}
MODELS: Final = ("before", "after", "retrained")


class Share(NamedTuple):
    """How many of n items came out, and the interval of the share."""

    out: int
    n: int
    low: float
    high: float

    @classmethod
    def of(cls, items: Items | None, cluster: Callable[[Any], Any] | None = None) -> Share | None:
        """None of nothing. cluster: of an item's id; by default as the items have it."""
        if items is None or not items.ids:
            return None
        groups: dict[Any, list[bool]] = {}
        for name, own, value in zip(items.ids, items.clusters, items.values.tolist(), strict=True):
            groups.setdefault(cluster(name) if cluster else own, []).append(bool(value))
        low, high = share_interval(groups.values())
        return cls(int(items.values.sum()), len(items.ids), low, high)


class Change(NamedTuple):
    """A mean before and after with their difference, each with its interval if it has one."""

    what: str
    n: int
    values: list[tuple[float, float | None, float | None]]


@dataclass(frozen=True)
class Checked:
    """A round as it was checked; a share of None is of nothing, or of a model that is not there."""

    what: str  # private values, or incorrect answers
    people: list[tuple[Entry, dict[str, Share | None]]]
    ways: list[tuple[str, dict[str, Share | None]]]
    attacks: list[tuple[str, dict[str, Share | None]]]
    together: dict[str, Share | None]
    kept: list[Change]

    def to_json(self) -> dict[str, Any]:
        """For the log: of each patient or row what came out, as [out, of]."""
        told = [
            {"id": q["id"], **{name: [s.out, s.n] for name, s in of.items() if s}}
            for q, of in self.people
        ]
        kept = {change.what: [round(v, 4) for v, *_ in change.values] for change in self.kept}
        return {"people": told, "kept": kept}

    def columns(self) -> list[str]:
        return [name for name in MODELS if self.together.get(name)]


def check(place: Path, method: str, asked: Sequence[tuple[Entry, list[Record]]]) -> Checked:
    """Read what a round's runs hold about the rows that were asked for."""
    folders = dict(zip(MODELS, ("finetune", method, "retrain"), strict=True))
    runs = {m: read_run(place / name) for m, name in folders.items() if (place / name).is_dir()}
    leaks = any(key.metric == "leaked_values" for key in runs["after"].items)
    ways: dict[str, dict[str, Items | None]] = {}
    for way in _WAYS if leaks else ("own",):
        of = {m: _out(run, way) for m, run in runs.items()}
        ways[way] = {**of, "chance": _out(runs["after"], way, "leaked_chance")}
    every = ways["any" if leaks else "own"]
    done = {m: dict(outcomes(run.folder)) for m, run in runs.items()}
    attacks = {
        attack: {m: items_out(read_run(of[attack], False), of[attack]) for m, of in done.items()}
        for attack in done["after"]
        if all(attack in of for of in done.values())
    }
    attacked = {m: _any([of[m] for of in attacks.values()]) for m in runs if attacks}
    people = []
    for request, rows in asked:
        mine = {row.id for row in rows}
        cells = {**every, "own": ways["own"]["after"], "attacked": attacked.get("after")}
        people.append((request, {n: Share.of(_only(i, mine), _row) for n, i in cells.items()}))
    return Checked(
        "private values" if leaks else "incorrect answers",
        people,
        [(_WAYS[w], _shares(of)) for w, of in ways.items() if of["after"]],
        [(_named(attack), _shares(of)) for attack, of in attacks.items()],
        {**_shares(every), "attacked": Share.of(attacked.get("after"))},
        _kept(runs["before"], runs["after"]),
    )


def _out(run: Run, way: str, metric: str = "leaked_values") -> Items | None:
    """What came out of a run in one way of asking; `any`: in all that it was asked in."""
    found = [k for k in run.items if (k.metric, k.cut) == (metric, "")]
    key = next((k for k in found if k.way == way or (way == "any" and k.way[:3] == "any")), None)
    if key or metric != "leaked_values" or found:
        return run.items[key] if key else None
    return items_out(run, run.folder)


def _row(item: Any) -> str:
    """The row that an item is of: of a private value's id its third part."""
    return str(item[2] if isinstance(item, tuple) else item)


def _only(items: Items | None, rows: set[str]) -> Items | None:
    return items and items.only(lambda item: _row(item) in rows)


def _any(several: Sequence[Items]) -> Items:
    """What came out in any of several outcomes, an item each."""
    out: dict[Any, tuple[str, float]] = {}
    for items in several:
        for item, cluster, value in zip(items.ids, items.clusters, items.values, strict=True):
            out[item] = cluster, max(out.get(item, ("", 0.0))[1], float(value))
    return Items.of(out)


def _shares(of: dict[str, Items | None]) -> dict[str, Share | None]:
    return {name: Share.of(items) for name, items in of.items()}


def _named(attack: Attack) -> str:
    return _ATTACKS.get(attack.kind, attack.name).format(attack.strength)


def _kept(before: Run, after: Run) -> list[Change]:
    """ROUGE-1 and accuracy of retain and test; of retain, ROUGE-1 also by how near a row is."""
    near = near_forget(before.rows)
    heads = {"rouge1": "ROUGE-1, open questions", "accuracy": "accuracy, yes or no"}
    changes = []
    for split, (metric, head) in product(("retain", "test"), heads.items()):
        groups = ("", *NEAR) if (split, metric) == ("retain", "rouge1") else ("",)
        for group in groups:
            pair = [run.items.get(Key(metric, split)) for run in (before, after)]
            if group:
                pair = [_only(i, {row for row, of in near.items() if of == group}) for i in pair]
            if pair[0] and pair[1] and pair[0].ids:
                draws = Draws(dict.fromkeys(pair[0].clusters, ""))
                first, second = (draws.mean(items) for items in pair if items)
                values = []
                for array in (first, second, second - first):
                    low, high = interval(array)
                    limits = (low, high) if low < high else (None, None)
                    values.append((float(array[0]), *limits))
                what = f"{split}: {head}" + (f", of which {group}" if group else "")
                changes.append(Change(what, len(pair[0].ids), values))
    return changes


def write_evidence(path: Path, log: Log, checked: Checked, place: Path) -> None:
    """The report as one HTML page, of pseudonyms, figures and hashes alone."""
    page = fill(
        "evidence.html",
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        log=log,
        checked=checked,
        rounds=log.of("unlearned"),
        later=_later(log),
        ceiling=CEILING,
        signature=LEAKED,
        place=place,
        merged=f"python -m baselines merge {place / log.of('unlearned')[-1]['method']} "
        "--into-weights --out unlearned",
    )
    write_atomic(path, page)


def _later(log: Log) -> list[tuple[str, list[str]]]:
    """Of each patient or row what came out after each round, the last check of it."""
    checks = {entry["round"]: entry["people"] for entry in log.of("checked")}
    told = {n: {one["id"]: one.get("after") for one in of} for n, of in checks.items()}
    ids = list(dict.fromkeys(one for of in told.values() for one in of))
    return [
        (one, ["{} of {}".format(*of[one]) if of.get(one) else "–" for of in told.values()])
        for one in ids
    ]
