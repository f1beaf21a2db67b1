"""What attacks on runs have brought back, as figures (`eval.results`).

Of each run and attack (`cut` is `attack=KIND-STRENGTH`), over the rows that were asked:

- attacked: share of what should have been forgotten that comes out under the attack. Of privacy and
  own the private values of the answers (normalised match, see `eval.leak`); of incorrect facts the
  rows whose answer is nearer to the harmful than to the clean one (`eval.learnt.says`).
- before: the same without the attack, on the same values or rows, from the run's own answers.
- attack_gain: the difference, with Newcombe's interval (as if unpaired, so rather too wide).
- over_retrain: what the attack brings out above the retrained model's figure under the same attack:
  what is owed to the forget set, and not to guessing or to what relearning taught.
- attack_steps, attack_seconds: what it took: steps of training, and all seconds of a run's outcome.

Shares have Wilson's interval, clustered by patient (of incorrect facts by image).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, Final

import numpy as np

from eval.attack_kinds import STRENGTHS, Attack
from eval.bootstrap import Items
from eval.intervals import Share, difference_interval
from eval.learnt import says
from eval.metric_names import WORDS
from eval.read_run import Run, read_run
from eval.results import Figure, Key, Report
from eval.run_figures import SeedRuns, make_figure
from eval.run_folder import as_written, read_json
from mllmu_med_dataset import UserError

#: In a run's folder, a folder for each outcome; in that, what was done.
FOLDER: Final = "attacks"
ATTACK: Final = "attack.json"
#: What the fine-tuned model gives under an attack is the most that it can bring back: below this
#: share the attack tells nothing on this model (our choice).
CEILING: Final = 0.2
_SIGNATURE: Final = (
    "attack|private values of answers, normalised match; incorrect: rows nearer to the harmful "
    "answer|same items before and after|95 % Wilson, clustered|mllmu-med 1"
)
CUT: Final = "attack="


def outcomes(run: Path) -> list[tuple[Attack, Path]]:
    """The attacks on a run that are done, in our order, and where their outcomes are."""
    found = []
    for path in sorted((run / FOLDER).glob(f"[!.]*/{ATTACK}")):
        about = read_json(path)
        with as_written(path):
            order = [*STRENGTHS].index(about["kind"]), int(about["strength"])
            found.append((order, (Attack(about["kind"], order[1]), path.parent)))
    return [outcome for _, outcome in sorted(found)]


def attack_figures(lines: Sequence[SeedRuns]) -> list[Figure]:
    """The figures of all attacks on some runs, each a line of a table (its seeds together)."""
    by_line = {line.name: _of_line(line) for line in lines if line.role != "reference"}
    golden = next((by_line[line.name] for line in lines if line.role == "retrain"), {})
    figures: list[Figure] = []
    for of in by_line.values():
        for attack, (after, *others) in of.items():
            figures += [after, *others]
            if after.role != "retrain" and attack in golden:
                figures.append(_minus(after, golden[attack][0], "over_retrain"))
    return figures


def _of_line(line: SeedRuns) -> dict[Attack, list[Figure]]:
    """Of each attack that all seeds of a line have been through: after, before, and the rest."""
    each = [dict(outcomes(run.folder)) for run in line.runs]
    found: dict[Attack, list[Figure]] = {}
    for attack in [attack for attack in each[0] if all(attack in of for of in each)]:
        pairs = [_items(run, of[attack]) for run, of in zip(line.runs, each, strict=True)]
        cut = f"{CUT}{attack.name}"
        after, before = (
            _share(line, Key(metric, "forget", cut), [pair[i] for pair in pairs])
            for i, metric in enumerate(("attacked", "before"))
        )
        told = [read_json(of[attack] / ATTACK) for of in each]
        about = after.model_dump() | {"low": None, "high": None, "sd": None, "n": 0}
        spent = [
            Figure(**{**about, "metric": f"attack_{name}", "value": fmean(t[name] for t in told)})
            for name in ("steps", "seconds")
        ]
        found[attack] = [after, before, _minus(after, before, "attack_gain"), *spent]
    return found


def _share(line: SeedRuns, key: Key, items: list[Items]) -> Figure:
    line.runs[0].signatures[key.metric] = _SIGNATURE
    values = [float(of.values.mean()) for of in items]
    spread = {"seeds": len(values), "sd": stdev(values)} if len(values) > 1 else {}
    return make_figure(line, key, np.array([fmean(values)]), items, **spread)


def _minus(one: Figure, other: Figure, metric: str) -> Figure:
    limits: dict[str, Any] = {"low": None, "high": None}
    ends = [one.low, one.high, other.low, other.high]
    if not any(end is None for end in ends):
        shares = [Share(f.value, f.low or 0.0, f.high or 0.0) for f in (one, other)]
        limits["low"], limits["high"] = difference_interval(*shares)
    value = one.value - other.value
    return one.model_copy(update={**limits, "metric": metric, "value": value, "sd": None})


def _items(run: Run, folder: Path) -> tuple[Items, Items]:
    """What came out under an attack, and of the same items what came out without it."""
    under = items_out(read_run(folder, scored=False), folder)
    own = items_out(run, run.folder)
    both = {*under.ids} & {*own.ids}
    if not both:
        raise UserError(
            f"{folder}: holds no value that {run.folder} holds: another dataset's: remove it"
        )
    return under.only(both.__contains__), own.only(both.__contains__)


def items_out(run: Run, folder: Path) -> Items:
    """What comes out of a run: private values by row (asked its own question, or as it was asked),
    else harmful rows; 1 where it is out.
    """
    leaked = {k.way: items for k, items in run.items.items() if k[:3] == _LEAKED}
    if leaked:
        return leaked.get("own", next(iter(leaked.values())))
    said: dict[str, tuple[str, float]] = {}
    for row in run.rows:
        if row["split"] == "forget" and row["clean"] not in ("", row["reference"]):
            before = said.get(row["id"], ("", 0.0))[1]
            said[row["id"]] = row["image"], max(before, float(says(row)))
    if not said:
        raise UserError(f"{folder}: holds neither leakage nor scores of harmful rows")
    return Items.of(said)


_LEAKED: Final = ("leaked_values", "forget", "")


def notes(report: Report) -> list[str]:
    """What a reader of the attacks has to know: which of them tell nothing, and why."""
    attacked = [f for f in report.figures if f.metric == "attacked"]
    if not attacked:
        return []
    words = WORDS["attack_notes"]
    ceilings = {f.cut.removeprefix(CUT): f for f in attacked if f.role == "finetune"}
    weak = ", ".join(name for name, f in ceilings.items() if f.value < CEILING)
    said = [words["ceiling" if ceilings else "no_ceiling"]]
    if weak:
        said[0] += " " + words["weak"].format(share=CEILING, names=weak)
    names = {f.cut.removeprefix(CUT) for f in attacked}
    if names & {"jailbreak", "typeset"}:
        said.append(words["instructed"])
    if "adapter" in names:
        said.append(words["adapter"])
    if any(name.startswith("relearn-forget") for name in names):
        said.append(words["relearn"])
    return said
