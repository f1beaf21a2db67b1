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
_LEAKED: Final = ("rows", "values", "persons", "others", "chance", "question")


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
        intervals: 95 % intervals of ROUGE-1, UES and its gain (paired bootstrap of `eval.ues`), and
            of leakage.
        paper: also the paper's own table of this config.

    Raises:
        UsageError: no runs, or one run in two roles.
        UserError: a file is missing or damaged, runs of different rows, two runs of one name.
    """
    by_role = _by_role(runs, {"base": base, "finetune": finetuned, "retrain": retrain})
    same_rows([run for _, run in by_role])
    report = Report(by_role[0][1].config, [], [], {}, [])
    for role, run in by_role:
        with as_written(run.folder / SCORES):
            label, model = label_of(run.name, role), run.summary["model"]
            line = Line(run.name, label, role, _scores(run), str(run.folder), model)
            _sign(report, run, run.summary["signatures"])
        report.lines.append(line)
        _leakage(line, run, report, intervals)
        _likelihood(line, run, report)
    _against_references(report, by_role, intervals)
    _compare_ways(report)
    if paper:
        report.paper.extend(paper_lines(report.config, report.notes))
    return report


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
    by_role = []
    for folder in folders:
        if folder.resolve() in [other.resolve() for other in names.values()]:
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
        by_role.append((role, run))
    return sorted(by_role, key=lambda pair: ROLES.index(pair[0]))


def _figure(measure: dict[str, Any], where: str, level: str = "value") -> Figure:
    value = measure[level]
    if not 0 <= value <= 1 + 1e-9:  # a perfect corpus BLEU of sacrebleu is 1 + 4e-16
        raise UserError(f"{where} is {value:g}: a fraction in 0..1 is due: make this file again")
    return Figure(value, measure["n"])


def _scores(run: Run) -> dict[Key, Figure]:
    figures = {}
    for split, measures in run.summary["splits"].items():
        parts = {"": measures}
        for column, cut in CUTS.items():
            parts |= {f"{column}={value}": part for value, part in measures[cut].items()}
        for part, measured in parts.items():
            for metric in [name for name in HEADS if name in measured]:
                where = f"{run.folder / SCORES}: {metric} of {split}"
                figures[Key(metric, split, part)] = _figure(measured[metric], where)
    return figures


def _leakage(line: Line, run: Run, report: Report, intervals: bool) -> None:
    path = run.folder / LEAK
    if not path.is_file():
        return
    summary = read_json(path)
    with as_written(path):
        if summary["config"] != run.config:
            raise UserError(
                f"{path}: leakage of config {summary['config']}, but {SCORES} beside it is of "
                f"{run.config}: keep a run of each in a folder of its own"
            )
        in_question = _by_way(summary["question_only"])
        for way, measures in _by_way(summary).items():
            apart = {"chance": measures["values"]["chance"], "question": in_question[way]["values"]}
            counted = {
                Key(f"leaked_{what}", "forget", f"way={way}"): {**measures, **apart}[what]
                for what in _LEAKED
            } | {
                Key("leaked_values", "forget", f"way={way},kind={kind}"): measure
                for kind, measure in measures["by_kind"].items()
            }
            for key, measure in counted.items():
                if measure["n"]:
                    where = f"{path}: {key.metric} ({key.part})"
                    limits = measure["interval"][LEVEL] if intervals else ()
                    line.figures[key] = Figure(*_figure(measure, where, LEVEL)[:2], *limits)
        signature = f"{summary['signature']}|{LEVEL}"
        _sign(report, run, {f"leaked_{what}": signature for what in _LEAKED})


def _by_way(shares: dict[str, Any]) -> dict[str, Any]:
    return {**shares["ways"], "any": shares["any_way"]}


def _likelihood(line: Line, run: Run, report: Report) -> None:
    path = run.folder / likelihood.SUMMARY
    if not path.is_file():
        return
    summary = read_json(path)
    with as_written(path):
        measured = {}
        for split, measure in summary["probability"].items():
            scored = run.summary["splits"][split]["refusals"]["n"]
            if measure["n"] != scored:
                raise UserError(
                    f"{path}: likelihoods of {measure['n']:,} {split} rows, but {SCORES} beside it "
                    f"is of {scored:,}: keep a run of each config in a folder of its own"
                )
            measured[Key("probability", split)] = measure
        for metric in ("truth_ratio", "forget_quality"):
            if metric in summary:
                measured[Key(metric, "forget")] = summary[metric]
        for attack, measure in summary.get("attacks", {}).items():
            measured[Key(f"auc_{attack}")] = measure
        for key, measure in measured.items():
            line.figures[key] = _figure(measure, f"{path}: {key.metric}")
            _sign(report, run, {key.metric: summary["signature"]})


def _sign(report: Report, run: Run, signatures: dict[str, str]) -> None:
    """Keep each metric's signature; numbers of two kinds in one column are named."""
    for metric, signature in signatures.items():
        if report.signatures.setdefault(metric, signature) != signature:
            report.notes.append(
                f"{metric} of {run.name} was made another way ({signature}) than the first run's."
            )


def _against_references(report: Report, by_role: list[tuple[str, Run]], intervals: bool) -> None:
    """UES and what stands beside it, for every run that is not itself what it is compared with."""
    references = dict(by_role)
    base, finetuned, retrained = (references.get(r) for r in ("base", "finetune", "retrain"))
    figures = {line.name: line.figures for line in report.lines}
    for run in [run for role, run in by_role if role != "base"]:
        if base:
            figures[run.name][Key("below_base", "forget")] = Figure(float(over_forgets(run, base)))
        if retrained and run is not retrained:
            figures[run.name][Key("distance_to_retrain")] = Figure(distance(run, retrained))
    if finetuned:
        rest = [run for role, run in by_role if role in ("method", "retrain")]
        compared = compare(rest, finetuned)
        for entry in compared["runs"]:
            for name, interval in (("ues", "interval"), ("gain", "gain_interval")):
                limits = entry[interval] if intervals else ()
                figures[entry["name"]][Key(name)] = Figure(entry[name], 0, *limits)
        report.signatures["ues"] = report.signatures["gain"] = compared["signature"]
        means = finetuned.means()
        report.notes.append(f"Changing nothing (no-op) scores UES {ues(means, means).ues:.2f}.")
    for reference, note in (
        (finetuned, "No UES: no fine-tuned run (--finetuned RUN, or a run named finetune)."),
        (base, "Forgetting below base is not flagged: no base run."),
        (retrained, "Distance to retrain is not shown: no run retrained without the forget set."),
    ):
        if not reference:
            report.notes.append(note)
    if intervals:
        runs = [run for _, run in by_role]
        for run, by_split in zip(runs, rouge_intervals(runs), strict=True):
            for split, (low, high) in by_split.items():
                figure = figures[run.name][Key("rouge1", split)]
                figures[run.name][Key("rouge1", split)] = figure._replace(low=low, high=high)
        report.notes.append(
            "In brackets: 95 % interval, paired bootstrap over questions; of leakage Wilson's, "
            "clustered by patient."
        )


def _compare_ways(report: Report) -> None:
    """`any way` of a run that was asked in fewer ways is no less leaky: say so."""
    ways = {
        line.label: sorted(
            key.part.removeprefix("way=") for key in line.figures if key.metric == "leaked_rows"
        )
        for line in report.lines
    }
    asked = {
        label: ", ".join(w for w in parts if w != "any") for label, parts in ways.items() if parts
    }
    if len(set(asked.values())) > 1:
        each = "; ".join(f"{label}: {named}" for label, named in asked.items())
        report.notes.append(
            f"Runs were asked for leaks in different ways, do not compare any way: {each}."
        )
