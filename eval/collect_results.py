"""Collect the figures of run folders: scores, UES, leakage, likelihoods, with their intervals."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from statistics import stdev
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from eval.attack_results import attack_figures
from eval.attack_results import notes as attack_notes
from eval.attacks import NEEDS_CLEAN
from eval.bootstrap import Draws
from eval.compare_methods import differences, mark_best
from eval.derived_figures import by_itself, derive
from eval.leak import NO_CHANCE
from eval.learnt import learn, narrow, notes
from eval.meta_evaluation import meta_figures
from eval.meta_evaluation import notes as meta_notes
from eval.metric_names import METRICS, WORDS
from eval.paper_tables import paper_figures
from eval.read_run import Run, find_runs, read_run
from eval.references import OF_FINETUNED, PRIOR, lacks_clean, no_images_needed, references
from eval.results import ROLES, Figure, Key, Report
from eval.run_figures import SeedRuns, make_figure, sign_of
from eval.ues import same_rows
from mllmu_med_dataset import UsageError, UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: A mean of p-values is none.
_MEDIAN: Final = "forget_quality"
#: Cuts whose figures are compared between methods; of the others only the intervals are kept.
_KEPT: Final = ("", "harm=", "kind=", "learnt=")


def collect_all(
    folders: Sequence[Path],
    base: Path | None = None,
    finetuned: Path | None = None,
    retrain: Path | None = None,
    *,
    paper: bool = False,
    seeds: Path | None = None,
) -> list[Report]:
    """A report for each config of which these folders hold runs (see `collect`).

    seeds: fine-tuned and retrained models of several seeds, for `eval.meta_evaluation`.
    """
    of_seeds = {each.config: each for each in collect_all([seeds])} if seeds else {}
    named = {"base": base, "finetune": finetuned, "retrain": retrain}
    reports = []
    for runs in _by_config(folders, named):
        here = {run.folder.resolve() for run in runs}
        own = {r: path if path and path.resolve() in here else None for r, path in named.items()}
        reports.append(_collect(runs, own, paper, of_seeds.get(runs[0].config)))
    return reports


def collect(
    runs: Sequence[Path],
    base: Path | None = None,
    finetuned: Path | None = None,
    retrain: Path | None = None,
    *,
    paper: bool = False,
    forget: Collection[str] = (),
) -> Report:
    """Read run folders of one config: scores, and leakage and likelihoods where there are any.

    Args:
        runs: folders that `eval score` wrote, in the order in which tables list them.
        base, finetuned, retrain: which run is which; default: the one of that name.
        paper: also the paper's own table of this config.
        forget: ids of the forget rows that count, e.g. of one round; none: all do.

    Raises:
        UsageError: no runs, or one run in two roles.
        UserError: a file is missing or damaged, runs of different rows, two runs of one name.
    """
    named = {"base": base, "finetune": finetuned, "retrain": retrain}
    for i, folder in enumerate(runs):
        if folder.resolve() in [other.resolve() for other in runs[:i]]:
            raise UserError(f"{folder}: this run is given twice: leave one out")
    return _collect(_read(runs, named, forget), named, paper)


def runs_and_learnt(folders: Sequence[Path]) -> list[Run]:
    """The runs of these folders, each with what the fine-tuned one of its seed has learnt."""
    lines = [line for runs in _by_config(folders, {}) for line in _learnt(lines_of(runs, {}))]
    return [run for line in lines for run in line.runs]


def check_names(folders: Sequence[Path]) -> None:
    """Raise UserError where two runs cannot stand in one table."""
    lines_of([read_run(folder, scored=False) for folder in folders], {})


def collect_attacks(folders: Sequence[Path]) -> Report:
    """The attacks on the runs of one config alone; leakage without scores will do."""
    runs = [read_run(folder, scored=False) for folder in find_runs(folders)]
    lines = lines_of(runs, {})
    report = Report(runs[0].config, attack_figures(lines))
    report.notes.extend(attack_notes(report))
    return report


def figures_of_run(folder: Path) -> list[Figure]:
    """The figures that one run has by itself; scores, leakage or likelihoods alone will do."""
    run = read_run(folder, scored=False)
    report, line = Report(run.config, []), SeedRuns(run.name, "method", [run])
    draws = Draws(_strata([run]))
    _resample(line, draws, report)
    line.by_run[0] |= by_itself(run, line.by_run[0], draws)
    _finish(line, draws, {}, report)
    return sorted(report.figures, key=lambda figure: bool(figure.cut))


def _by_config(folders: Sequence[Path], named: dict[str, Path | None]) -> list[list[Run]]:
    by_config: dict[str, list[Run]] = {}
    for run in _read(find_runs(folders), named):
        by_config.setdefault(run.config, []).append(run)
    return [*by_config.values()]


def _read(
    folders: Sequence[Path], named: dict[str, Path | None], forget: Collection[str] = ()
) -> list[Run]:
    """Each folder once."""
    for role in ("base", "retrain"):
        if (path := named.get(role)) and not path.exists():
            raise UserError(f"--{role} {path}: no such folder; the option can be left out")
    each = {path.resolve(): path for path in (*folders, *named.values()) if path}
    if not each:
        raise UsageError("no runs: give the folders that `eval score` wrote, e.g. runs/ga")
    return [read_run(folder, forget=forget) for folder in each.values()]


def _collect(
    runs: list[Run], named: dict[str, Path | None], paper: bool, seeds: Report | None = None
) -> Report:
    same_rows(runs)
    lines = lines_of(runs, named)
    report = Report(runs[0].config, [])
    for line in lines:
        about = {"role": line.role, "folder": str(line.runs[0].folder), **line.runs[0].model}
        report.models[line.name] = about
    known = {line.role: line for line in lines if line.role != "method"}
    shown = known.get("finetune", lines[0])
    for made in zip(*(references(r, "finetune" in known) for r in shown.runs), strict=True):
        alike = made if made[0].name in OF_FINETUNED else made[:1]
        lines.append(SeedRuns(made[0].name, "reference", [*alike]))
    draws = Draws(_strata([run for line in lines for run in line.runs]))
    for line in _learnt(lines):
        _resample(line, draws, report)
    for line in lines:
        for run, arrays in zip(line.runs, line.by_run, strict=True):
            at = {role: other.of_seed(run.seed) for role, other in known.items()}
            others = {
                role: (known[role].runs[i], known[role].by_run[i])
                for role, i in at.items()
                if known[role] is not line
            }
            arrays.update(derive(line.name, line.role, run, arrays, others, draws))
    for line in lines:
        _finish(line, draws, known, report)
    mark_best(lines, report)
    report.figures.extend(differences(lines, report))
    report.figures.extend(attack_figures(lines))
    report.figures.extend(meta_figures(report, lines, seeds))
    _note(lines, known, report)
    if paper:
        report.figures.extend(paper_figures(report.config, report.notes))
    return report


def _learnt(lines: list[SeedRuns]) -> list[SeedRuns]:
    """The same lines; each run knows what the fine-tuned run of its seed has learnt."""
    for finetuned in [line for line in lines if line.role == "finetune"]:
        said = [learn(run) for run in finetuned.runs]
        for run in [run for line in lines for run in line.runs]:
            narrow(run, said[finetuned.of_seed(run.seed)])
    return lines


def lines_of(runs: Sequence[Run], named: Mapping[str, Path | None]) -> list[SeedRuns]:
    """Runs as rows of a table; runs of one name and several seeds are one row."""
    given = {role: path.resolve() for role, path in named.items() if path}
    if len({*given.values()}) < len(given):
        twice = next(path for path in given.values() if [*given.values()].count(path) > 1)
        raise UsageError(f"{twice}: this run is given in two roles: it can be one of them")
    lines: dict[str, SeedRuns] = {}
    for run in runs:
        role = next((r for r, path in given.items() if path == run.folder.resolve()), "method")
        if role == "method" and run.name in ("base", "finetune", "retrain"):
            role = run.name if run.name not in given else role
        line = lines.setdefault(run.name, SeedRuns(run.name, role, []))
        if run.seed in [other.seed for other in line.runs]:
            raise UserError(
                f"{run.folder}: its name is {run.name}, and so is that of {line.runs[0].folder}: "
                "leave one out, or `eval score` it again with another --name"
            )
        _check_seed_alone(run, line.runs)
        line.runs.append(run)
    for line in lines.values():
        line.runs.sort(key=lambda run: run.seed or 0)
    return sorted(lines.values(), key=lambda line: ROLES.index(line.role))


def _check_seed_alone(run: Run, others: Sequence[Run]) -> None:
    """Refuse to take two runs for seeds of one that differ in more than that."""
    for other in others[:1]:
        for key in {**run.trained, **other.trained}:
            if run.trained.get(key) != other.trained.get(key):
                raise UserError(
                    f"{run.folder}: is called {run.name} as {other.folder} is, but its {key} is "
                    f"{run.trained.get(key)}, not {other.trained.get(key)}: no other seed of the "
                    "same; leave one out, or `eval score` it again with another --name"
                )


def _strata(runs: Sequence[Run]) -> dict[str, str]:
    """Of each image the splits that it is in; patients are a stratum of their own."""
    splits: dict[str, set[str]] = {}
    for run in runs:
        for key, items in run.items.items():
            patients = key.metric.startswith("leaked_")
            for cluster in set(items.clusters):
                splits.setdefault(cluster, set()).add("patients" if patients else key.split)
    return {cluster: " ".join(sorted(of)) for cluster, of in splits.items()}


def _resample(line: SeedRuns, draws: Draws, report: Report) -> None:
    """The means of all items, and at once the figures of cuts that nothing else is made of."""
    for run in line.runs:
        arrays: dict[Key, NDArray[Any]] = {}
        for key, items in run.items.items():
            array = draws.mean(items)
            if key.cut.startswith(_KEPT[1:]) or not key.cut or len(line.runs) > 1:
                arrays[key] = array
            elif key.metric in METRICS:
                report.figures.append(make_figure(line, key, array, [items]))
        line.by_run.append(arrays)


def _finish(line: SeedRuns, draws: Draws, known: dict[str, SeedRuns], report: Report) -> None:
    """All figures of a line, over its seeds, and of each seed."""
    several = len(line.runs) > 1
    for key in dict.fromkeys(key for arrays in line.by_run for key in arrays):
        runs = [run for run, of in zip(line.runs, line.by_run, strict=True) if key in of]
        each = [arrays[key] for arrays in line.by_run if key in arrays]
        line.arrays[key] = draws.over_seeds(each)
        if key.metric == _MEDIAN:
            line.arrays[key] = np.median(each, axis=0)
        if key.metric not in METRICS:
            continue
        items = [run.items[key] for run in runs if key in run.items]
        values = [float(array[0]) for array in each]
        sd = stdev(values) if len(values) > 1 and key.metric != _MEDIAN else None
        more: dict[str, Any] = {"seeds": len(each), "sd": sd} if several else {}
        more |= {} if several else {"seed": line.runs[0].seed}
        report.figures.append(make_figure(line, key, line.arrays[key], items, **more))
        for run, array in zip(runs, each, strict=True) if several else ():
            alone = SeedRuns(line.name, "seed", [run])
            own = [run.items[key]] if key in run.items else []
            report.figures.append(make_figure(alone, key, array, own, seed=run.seed))
    gain, forget = line.arrays.get(Key("gain")), Key("rouge1", "forget")
    if gain is not None and line.role == "method":
        report.figures.append(sign_of(line, Key("effect"), gain))
    if "base" in known and line.role not in ("base", "reference"):
        lower = line.arrays[forget] - known["base"].arrays[forget]
        report.figures.append(sign_of(line, Key("below_base", "forget"), lower))


def _note(lines: list[SeedRuns], known: dict[str, SeedRuns], report: Report) -> None:
    if "finetune" in known:
        report.notes.extend(notes(known["finetune"].runs))
        prior = next(line.runs[0] for line in lines if line.name == PRIOR)
        report.notes.extend(no_images_needed(known["finetune"].runs[0], prior))
    report.notes.extend(text for role, text in WORDS["missing"].items() if role not in known)
    report.notes.extend([*attack_notes(report), *meta_notes(report)])
    leaks = {key.metric for line in lines for key in line.arrays if key.way}
    if "leaked_values" in leaks and "leaked_chance" not in leaks:
        report.notes.append(NO_CHANCE)
    if lacking := lacks_clean(lines[0].runs[0].rows):
        without = f"{lacking:,} forget rows have no clean answer; what is compared with one"
        report.notes.append(f"{without}, and the clean oracle, {NEEDS_CLEAN}.")
    first: dict[str, str] = {}
    for line in lines:
        for metric, signature in line.runs[0].signatures.items():
            if first.setdefault(metric, signature) != signature:
                report.notes.append(
                    f"{metric} of {line.name} was made another way ({signature}) than the first "
                    "run's: not compared."
                )
    asked = {
        line.name: sorted({k.way for k in line.arrays if k.metric == "leaked_rows"})
        for line in lines
    }
    ways = {name: ", ".join(w for w in of if w[:3] != "any") for name, of in asked.items() if of}
    if len(set(ways.values())) > 1:
        each = "; ".join(f"{name}: {of}" for name, of in ways.items())
        report.notes.append(f"Runs were asked for leaks in different ways: {each}.")
