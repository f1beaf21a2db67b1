"""Choosing each method's settings by one protocol, on a build whose results nobody reports.

OUT/trials.jsonl   every trial: settings, figures, which one was chosen
OUT/tune.json      criterion, space, data, the fine-tuned model's figures
OUT/tuned.yaml     the chosen values, to be put under a recipe's `methods`
OUT/finetune  OUT/retrain  OUT/ga-0 ...   run folders; a finished trial's adapter is removed

The same command goes on after a kill. Trials are trained and measured by the parts of `run`.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, Final

from baselines.measure import rouge_means
from baselines.run import Part, is_main
from baselines.run_parts import do_all
from baselines.tune_space import CRITERION, Bars, Trial, choose
from eval.answer_text import vocabulary_of
from eval.dataset_rows import split_config
from eval.leak import ROWS as LEAK_ROWS
from eval.leak import reached_items
from eval.metrics import mean
from eval.run_folder import DONE, read_json, read_rows_file
from eval.score import scored_rows
from mllmu_med.files import json_text, jsonl_text, write_jsonl, write_together
from mllmu_med_dataset import Record, UserError

if TYPE_CHECKING:
    from baselines.measure import Data
    from baselines.recipe import Recipe
    from baselines.run import Stack

TRIALS: Final = "trials.jsonl"
FRAGMENT: Final = "tuned.yaml"
_WAYS: Final = ("own", "prefix")


def unseen(data: Data, reported: Data) -> tuple[Data, int]:
    """A build to tune on, without its test rows and all that the reported tables show.

    Left out, and counted: rows that are forget or test rows there, and patients' values from there.
    """
    if data.hash == reported.hash:
        raise UserError(
            f"{data.source}: its results are reported, so nothing may be chosen on it: build "
            "another (`python -m builder rebuild --set seed=1 --out tuning`) and give --data tuning"
        )
    shown = [*reported.rows["forget"], *reported.rows["test"]]
    texts = {(row.image_sha256, row.clean_question or row.question) for row in shown}
    values = {span.value for row in shown for span in row.pii}

    def new(row: Record) -> bool:
        own = {span.value for span in row.pii}
        text = row.clean_question or row.question
        return (row.image_sha256, text) not in texts and not own & values

    both = ("forget", "retain")
    kept = {split: [row for row in data.rows[split] if new(row)] for split in both}
    for split, rows in kept.items():
        if not any(row.answer_type != "closed" for row in rows):
            raise UserError(
                f"{data.source}: all of its open {split} questions are in the reported build too: "
                "build it with another seed"
            )
    if _private(data) and not any(s.field == "answer" for row in kept["forget"] for s in row.pii):
        raise UserError(
            f"{data.source}: no forget answer holds a private value: nothing to tune by"
        )
    left_out = sum(len(data.rows[split]) - len(kept[split]) for split in both)
    words = vocabulary_of([*kept["forget"], *kept["retain"]])
    return replace(data, rows={**kept, "test": []}, vocabulary=words), left_out


def tune(
    recipe: Recipe,
    data: Data,
    stack: Stack,
    out: Path,
    methods: Sequence[str],
    about: dict[str, Any],
    jobs: int = 1,
) -> list[tuple[Trial, str]]:
    """All trials; returns each method's choice, with what it lacks if it lacks something.

    Args:
        data: from `unseen`. about: what the record says of the data besides.
    """
    # The fine-tuned model last: its adapter stays on for the trials.
    retrain, finetune = (Part(name, out / name) for name in ("retrain", "finetune"))
    for _ in do_all([(retrain, recipe), (finetune, recipe)], data, stack, _WAYS, jobs):
        pass
    drawn: dict[Part, tuple[str, int, dict[str, Any]]] = {}
    for method in methods:
        known = recipe.known[method]
        for number in range(recipe.tune.trials):
            part = Part(method, out / f"{method}-{number}", (finetune.adapter,))
            drawn[part] = method, number, recipe.tune.draw(number, known.options, not known.edits)
    calls = [(part, _with(recipe, method, how)) for part, (method, _, how) in drawn.items()]
    done: dict[Part, Trial] = {}
    for part in do_all(calls, data, stack, _WAYS, jobs):
        if is_main():
            bars = bars_of(finetune.folder, retrain.folder)
            done[part] = figures(*drawn[part], part.folder, data)
            shutil.rmtree(part.adapter, ignore_errors=True)
            trials = [done[each] for each in drawn if each in done]
            write_jsonl(out / TRIALS, (trial.to_json(bars, False) for trial in trials))
    if not is_main():
        return []
    chosen = [choose([t for t in trials if t.method == method], bars) for method in methods]
    space = recipe.tune.model_dump(mode="json")
    record = {**about, "criterion": CRITERION, "space": space, "recipe": recipe.to_json()}
    best = [trial for trial, _ in chosen]
    write_together(
        {
            out / TRIALS: jsonl_text(trial.to_json(bars, trial in best) for trial in trials),
            out / FRAGMENT: fragment(chosen, bars, recipe.tune.trials),
            out / "tune.json": json_text({**record, "bars": bars._asdict()}),
        }
    )
    return chosen


def _with(recipe: Recipe, method: str, drawn: dict[str, Any]) -> Recipe:
    from baselines.training_settings import MethodSettings

    own = recipe.methods.get(method, MethodSettings()).model_dump(exclude_unset=True)
    settings = MethodSettings(**{**own, **drawn})
    return recipe.model_copy(update={"methods": {**recipe.methods, method: settings}})


def figures(method: str, number: int, drawn: dict[str, Any], folder: Path, data: Data) -> Trial:
    """What the criterion looks at, of a run folder that `do` has measured."""
    rows = scored_rows(folder)
    outcome = read_json(folder / DONE)["outcome"]
    objective, n = _leaked(folder) if _private(data) else _harmful(rows)
    return Trial(
        method,
        number,
        drawn,
        retain=rouge_means(rows)["retain"],
        degenerate_retain=_degenerate(rows, "retain"),
        degenerate_forget=_degenerate(rows, "forget"),
        objective=objective,
        n=n,
        status=outcome["status"],
        seconds=outcome["seconds"],
    )


def bars_of(finetune: Path, retrain: Path) -> Bars:
    tuned, retrained = map(scored_rows, (finetune, retrain))
    kept = rouge_means(tuned)["retain"], _degenerate(tuned, "retain")
    return Bars(*kept, _degenerate(retrained, "forget"))


def _degenerate(rows: Sequence[dict[str, Any]], split: str) -> float:
    return mean([row["degenerate"] for row in rows if row["split"] == split], split)


def _private(data: Data) -> bool:
    return split_config(data.config)[0] != "incorrect"


def _leaked(folder: Path) -> tuple[float, int]:
    """The share of values in answers that come out, asked by the row's own question or prefix."""
    rows = read_rows_file(folder / LEAK_ROWS, f"leak --out {folder}")
    asked = reached_items([row for row in rows if row["way"] in _WAYS])
    by_name = {(metric, way[:3], cut): items for metric, way, cut, items in asked}
    values = by_name["leaked_values", "any", ""]
    return mean([*values.values()], "values"), len(values)


def _harmful(rows: Sequence[dict[str, Any]]) -> tuple[float, int]:
    """Mean ROUGE-1 to the harmful answer minus that to the clean one, of open forget questions."""
    apart = [row["rouge1"] - row["clean_rouge1"] for row in rows if "clean_rouge1" in row]
    return mean(apart, "forget"), len(apart)


def fragment(chosen: Sequence[tuple[Trial, str]], bars: Bars, trials: int) -> str:
    """The chosen values as a recipe has them, each beside what it came to."""
    import yaml

    lines = [
        f"# Chosen by `python -m baselines tune`, {trials} trials a method. The criterion is ours:",
        *(f"# {line}" for line in wrap(CRITERION, 96)),
        f"# Record: tune.json, {TRIALS}. Fine-tuned retain ROUGE-1: {bars.retain:.3f}.",
        "methods:",
    ]
    for trial, lacks in chosen:
        values = yaml.safe_dump(trial.settings, default_flow_style=True, sort_keys=False).strip()
        came_to = f"objective {trial.objective:.3f}, retain {trial.retain:.3f}"
        lines.append(f"  {trial.method}: {values}  # {came_to}{'; ' if lacks else ''}{lacks}")
    return "\n".join(lines) + "\n"
