"""Collect the figures of run folders: scores, UES, leakage, likelihoods."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from eval import likelihood
from eval.leak import LEAK
from eval.paper_tables import paper_lines
from eval.results import ROLES, Figure, Key, Line, Report, label_of
from eval.run_folder import as_written, read_json
from eval.score import CUTS, SCORES
from eval.terminal_tables import HEADS
from eval.ues import Run, compare, distance, over_forgets, read_run, rouge_intervals, same_rows, ues
from mllmu_med_dataset import UsageError, UserError

#: Which of a leakage audit's three levels a report shows.
LEVEL: Final = "normalised"


def collect(
    runs: Sequence[Path],
    base: Path | None = None,
    finetuned: Path | None = None,
    retrain: Path | None = None,
    *,
    intervals: bool = False,
    paper: bool = False,
) -> Report:
    """Read run folders: scores, and leakage and likelihoods where there are any.

    Args:
        runs: folders that `eval score` wrote, in the order in which tables list them.
        base, finetuned, retrain: which run is which; default: the one of that name.
        intervals: 95 % intervals of ROUGE-1, UES and its gain (paired bootstrap of `eval.ues`).
        paper: also the paper's own table of this config.

    Raises:
        UsageError: no runs, or one run in two roles.
        UserError: a file is missing or damaged, runs of different rows, two runs of one name.
    """
    found = _by_role(runs, {"base": base, "finetune": finetuned, "retrain": retrain})
    same_rows([run for _, run in found])
    lines: list[Line] = []
    signatures: dict[str, str] = {}
    notes: list[str] = []
    for role, run in found:
        with as_written(run.folder / SCORES):
            lines.append(
                Line(
                    run.name,
                    label_of(run.name, role),
                    role,
                    _scores(run),
                    str(run.folder),
                    run.summary["model"],
                )
            )
            _sign(signatures, notes, run, run.summary["signatures"])
        _leakage(lines[-1], run, signatures, notes)
        _likelihood(lines[-1], run, signatures, notes)
    _against_references(lines, dict(found), found, intervals, signatures, notes)
    config = found[0][1].config
    _compare_ways(lines, notes)
    return Report(config, lines, paper_lines(config, notes) if paper else [], signatures, notes)


def _by_role(runs: Sequence[Path], references: dict[str, Path | None]) -> list[tuple[str, Run]]:
    """Each run with its role, in a table's order."""
    given = {role: path.resolve() for role, path in references.items() if path}
    folders = list(runs)
    for path in [path for path in references.values() if path]:
        if path.resolve() not in [folder.resolve() for folder in folders]:
            folders.append(path)
        if list(given.values()).count(path.resolve()) > 1:
            raise UsageError(f"{path}: this run is given in two roles: it can be one of them")
    if not folders:
        raise UsageError("no runs: give the folders that `eval score` wrote, e.g. runs/ga")
    names: dict[str, Path] = {}
    found = []
    for folder in folders:
        if folder.resolve() in [one.resolve() for one in names.values()]:
            raise UserError(f"{folder}: this run is given twice: leave one out")
        run = read_run(folder)
        if run.name in names:
            raise UserError(
                f"{folder}: its name is {run.name}, and so is that of {names[run.name]}: leave one "
                "out, or `eval score` it again with another --name"
            )
        names[run.name] = folder
        role = next((r for r, path in given.items() if path == folder.resolve()), "method")
        if role == "method" and run.name in references and run.name not in given:
            role = run.name
        found.append((role, run))
    return sorted(found, key=lambda one: ROLES.index(one[0]))


def _figure(measure: dict[str, Any], where: str, level: str = "value") -> Figure:
    value = measure[level]
    if not 0 <= value <= 1 + 1e-9:  # a perfect corpus BLEU of sacrebleu is 1 + 4e-16
        raise UserError(f"{where} is {value:g}: a fraction in 0..1 is due: make this file again")
    return Figure(value, measure["n"])


def _scores(run: Run) -> dict[Key, Figure]:
    figures = {}
    for split, found in run.summary["splits"].items():
        parts = {"": found}
        for column, cut in CUTS.items():
            parts |= {f"{column}={value}": some for value, some in found[cut].items()}
        for part, some in parts.items():
            for metric in [name for name in HEADS if name in some]:
                where = f"{run.folder / SCORES}: {metric} of {split}"
                figures[Key(metric, split, part)] = _figure(some[metric], where)
    return figures


def _leakage(line: Line, run: Run, signatures: dict[str, str], notes: list[str]) -> None:
    path = run.folder / LEAK
    if not path.is_file():
        return
    found = read_json(path)
    with as_written(path):
        if found["config"] != run.config:
            raise UserError(
                f"{path}: leakage of config {found['config']}, but {SCORES} beside it is of "
                f"{run.config}: keep a run of each in a folder of its own"
            )
        for way, measures in {**found["ways"], "any": found["any_way"]}.items():
            counted = {
                Key(f"leaked_{what}", "forget", f"way={way}"): measures[what]
                for what in ("rows", "values", "persons", "others")
            } | {
                Key("leaked_values", "forget", f"way={way},kind={kind}"): measure
                for kind, measure in measures["by_kind"].items()
            }
            for key, measure in counted.items():
                if measure["n"]:
                    where = f"{path}: {key.metric} ({key.part})"
                    line.figures[key] = _figure(measure, where, LEVEL)
        signature = f"{found['signature']}|{LEVEL}"
        names = ("leaked_rows", "leaked_values", "leaked_persons", "leaked_others")
        _sign(signatures, notes, run, dict.fromkeys(names, signature))


def _likelihood(line: Line, run: Run, signatures: dict[str, str], notes: list[str]) -> None:
    path = run.folder / likelihood.SUMMARY
    if not path.is_file():
        return
    found = read_json(path)
    with as_written(path):
        for split, one in found["probability"].items():
            scored = run.summary["splits"][split]["refusals"]["n"]
            if one["n"] != scored:
                raise UserError(
                    f"{path}: likelihoods of {one['n']:,} {split} rows, but {SCORES} beside it is "
                    f"of {scored:,}: keep a run of each config in a folder of its own"
                )
        measured = {Key("probability", split): one for split, one in found["probability"].items()}
        for metric in ("truth_ratio", "forget_quality"):
            if metric in found:
                measured[Key(metric, "forget")] = found[metric]
        for attack, one in found.get("attacks", {}).items():
            measured[Key(f"auc_{attack}")] = one
        for key, one in measured.items():
            line.figures[key] = _figure(one, f"{path}: {key.metric}")
            _sign(signatures, notes, run, {key.metric: found["signature"]})


def _sign(signatures: dict[str, str], notes: list[str], run: Run, found: dict[str, str]) -> None:
    """Keep each metric's signature; numbers of two kinds in one column are named."""
    for metric, signature in found.items():
        if signatures.setdefault(metric, signature) != signature:
            notes.append(
                f"{metric} of {run.name} was made another way ({signature}) than the first run's."
            )


def _against_references(
    lines: list[Line],
    references: dict[str, Run],
    found: list[tuple[str, Run]],
    intervals: bool,
    signatures: dict[str, str],
    notes: list[str],
) -> None:
    """UES and what stands beside it, for every run that is not itself what it is compared with."""
    base, finetuned, retrained = (references.get(r) for r in ("base", "finetune", "retrain"))
    of = {line.name: line.figures for line in lines}
    for run in [run for role, run in found if role != "base"]:
        if base:
            below = over_forgets(run, base)
            of[run.name][Key("below_base", "forget")] = Figure(float(below))
        if retrained and run is not retrained:
            of[run.name][Key("distance_to_retrain")] = Figure(distance(run, retrained))
    if finetuned:
        rest = [run for role, run in found if role in ("method", "retrain")]
        compared = compare(rest, finetuned)
        for one in compared["runs"]:
            for name, interval in (("ues", "interval"), ("gain", "gain_interval")):
                limits = one[interval] if intervals else (None, None)
                of[one["name"]][Key(name)] = Figure(one[name], 0, *limits)
        signatures["ues"] = signatures["gain"] = compared["signature"]
        means = finetuned.means()
        notes.append(f"Changing nothing (no-op) scores UES {ues(means, means).value:.2f}.")
    else:
        notes.append("No UES: no fine-tuned run (--finetuned RUN, or a run named finetune).")
    if not base:
        notes.append("Forgetting below base is not flagged: no base run.")
    if not retrained:
        notes.append("Distance to retrain is not shown: no run retrained without the forget set.")
    if intervals:
        runs = [run for _, run in found]
        for run, some in zip(runs, rouge_intervals(runs), strict=True):
            for split, (low, high) in some.items():
                key = Key("rouge1", split)
                was = of[run.name][key]
                of[run.name][key] = Figure(was.value, was.n, low, high)
        notes.append("In brackets: 95 % interval, paired bootstrap over questions.")


def _compare_ways(lines: list[Line], notes: list[str]) -> None:
    """`any way` of a run that was asked in fewer ways is no less leaky: say so."""
    asked = {
        line.label: sorted(
            key.part.removeprefix("way=") for key in line.figures if key.metric == "leaked_rows"
        )
        for line in lines
    }
    asked = {label: ways for label, ways in asked.items() if ways}
    if len({tuple(ways) for ways in asked.values()}) > 1:
        told = "; ".join(
            f"{label}: {', '.join(way for way in ways if way != 'any')}"
            for label, ways in asked.items()
        )
        notes.append(
            f"Runs were asked for leaks in different ways, do not compare any way: {told}."
        )
