"""Collect the figures of run folders: scores, UES, leakage, likelihoods, with their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eval.bootstrap import Draws, Items, apart, interval
from eval.derived_figures import SIGNATURES, by_itself, derive
from eval.intervals import Share, difference_interval, share_interval
from eval.learnt import learn, narrow, notes
from eval.metric_names import METRICS
from eval.paper_tables import paper_figures
from eval.read_run import Run, find_runs, read_run
from eval.references import PRIOR, no_images_needed, references
from eval.results import ROLES, Figure, Key, Report
from eval.ues import same_rows
from mllmu_med_dataset import SPLITS, UsageError, UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Figures whose differences between the methods are shown, each with its interval.
COMPARED: Final = (
    Key("ues"),
    *(Key("rouge1", split) for split in SPLITS),
    *(Key("leaked_values", "forget", "", way) for way in ("own", "prefix", "any")),
    Key("probability", "forget"),
)
#: Cuts whose figures are compared between methods; of the others only the intervals are kept.
_KEPT: Final = ("", "harm=", "kind=", "learnt=")


@dataclass
class Line:
    """A row of the tables on its way: its runs, one for each seed, and their resampled figures."""

    name: str
    role: str
    runs: list[Run]
    by_run: list[dict[Key, NDArray[Any]]] = field(default_factory=list)
    arrays: dict[Key, NDArray[Any]] = field(default_factory=dict)

    def of_seed(self, seed: int | None) -> int:
        """Which of its runs belongs to a seed; the first where none is of that seed."""
        return next((i for i, run in enumerate(self.runs) if run.seed == seed), 0)


def collect_all(
    folders: Sequence[Path],
    base: Path | None = None,
    finetuned: Path | None = None,
    retrain: Path | None = None,
    *,
    paper: bool = False,
) -> list[Report]:
    """A report for each config of which these folders hold runs (see `collect`)."""
    named = {"base": base, "finetune": finetuned, "retrain": retrain}
    return [_collect(runs, named, paper) for runs in _by_config(folders, named)]


def collect(
    runs: Sequence[Path],
    base: Path | None = None,
    finetuned: Path | None = None,
    retrain: Path | None = None,
    *,
    paper: bool = False,
) -> Report:
    """Read run folders of one config: scores, and leakage and likelihoods where there are any.

    Args:
        runs: folders that `eval score` wrote, in the order in which tables list them.
        base, finetuned, retrain: which run is which; default: the one of that name.
        paper: also the paper's own table of this config.

    Raises:
        UsageError: no runs, or one run in two roles.
        UserError: a file is missing or damaged, runs of different rows, two runs of one name.
    """
    named = {"base": base, "finetune": finetuned, "retrain": retrain}
    for i, folder in enumerate(runs):
        if folder.resolve() in [other.resolve() for other in runs[:i]]:
            raise UserError(f"{folder}: this run is given twice: leave one out")
    return _collect(_read(runs, named), named, paper)


def runs_and_learnt(folders: Sequence[Path]) -> list[Run]:
    """The runs of these folders, each with what the fine-tuned one of its seed has learnt."""
    lines = [line for runs in _by_config(folders, {}) for line in _learnt(_lines(runs, {}))]
    return [run for line in lines for run in line.runs]


def figures_of_run(folder: Path) -> list[Figure]:
    """The figures that one run has by itself; scores, leakage or likelihoods alone will do."""
    run = read_run(folder, scored=False)
    report, line = Report(run.config, []), Line(run.name, "method", [run])
    draws = Draws(_strata([run]))
    _resample(line, draws, report)
    line.by_run[0] |= by_itself(run, draws)
    _finish(line, draws, {}, report)
    return sorted(report.figures, key=lambda figure: bool(figure.cut))


def _by_config(folders: Sequence[Path], named: dict[str, Path | None]) -> list[list[Run]]:
    by_config: dict[str, list[Run]] = {}
    for run in _read(find_runs(folders), named):
        by_config.setdefault(run.config, []).append(run)
    return [*by_config.values()]


def _read(folders: Sequence[Path], named: dict[str, Path | None]) -> list[Run]:
    """Each folder once."""
    each = {path.resolve(): path for path in (*folders, *named.values()) if path}
    if not each:
        raise UsageError("no runs: give the folders that `eval score` wrote, e.g. runs/ga")
    return [*map(read_run, each.values())]


def _collect(runs: list[Run], named: dict[str, Path | None], paper: bool) -> Report:
    same_rows(runs)
    lines = _lines(runs, named)
    report = Report(runs[0].config, [])
    for line in lines:
        about = {"role": line.role, "folder": str(line.runs[0].folder), **line.runs[0].model}
        report.models[line.name] = about
    known = {line.role: line for line in lines if line.role != "method"}
    shown = known.get("finetune", lines[0]).runs[0]
    for run in references(shown, "finetune" in known):
        lines.append(Line(run.name, "reference", [run]))
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
    _mark(lines, report)
    report.figures.extend(_differences(lines, report))
    _note(lines, known, report)
    if paper:
        report.figures.extend(paper_figures(report.config, report.notes))
    return report


def _learnt(lines: list[Line]) -> list[Line]:
    """The same lines; each run knows what the fine-tuned run of its seed has learnt."""
    for finetuned in [line for line in lines if line.role == "finetune"]:
        said = [learn(run) for run in finetuned.runs]
        for run in [run for line in lines for run in line.runs]:
            narrow(run, said[finetuned.of_seed(run.seed)])
    return lines


def _lines(runs: Sequence[Run], named: dict[str, Path | None]) -> list[Line]:
    """Runs as rows of a table; runs of one name and several seeds are one row."""
    given = {role: path.resolve() for role, path in named.items() if path}
    if len({*given.values()}) < len(given):
        twice = next(path for path in given.values() if [*given.values()].count(path) > 1)
        raise UsageError(f"{twice}: this run is given in two roles: it can be one of them")
    lines: dict[str, Line] = {}
    for run in runs:
        role = next((r for r, path in given.items() if path == run.folder.resolve()), "method")
        if role == "method" and run.name in ("base", "finetune", "retrain"):
            role = run.name if run.name not in given else role
        line = lines.setdefault(run.name, Line(run.name, role, []))
        if run.seed in [other.seed for other in line.runs]:
            raise UserError(
                f"{run.folder}: its name is {run.name}, and so is that of {line.runs[0].folder}: "
                "leave one out, or `eval score` it again with another --name"
            )
        line.runs.append(run)
    return sorted(lines.values(), key=lambda line: ROLES.index(line.role))


def _strata(runs: Sequence[Run]) -> dict[str, str]:
    """Of each image the splits that it is in; patients are a stratum of their own."""
    splits: dict[str, set[str]] = {}
    for run in runs:
        for key, items in run.items.items():
            patients = key.metric.startswith("leaked_")
            for cluster in set(items.clusters):
                splits.setdefault(cluster, set()).add("patients" if patients else key.split)
    return {cluster: " ".join(sorted(of)) for cluster, of in splits.items()}


def _resample(line: Line, draws: Draws, report: Report) -> None:
    """The means of all items, and at once the figures of cuts that nothing else is made of."""
    for run in line.runs:
        arrays: dict[Key, NDArray[Any]] = {}
        for key, items in run.items.items():
            array = draws.mean(items)
            if key.cut.startswith(_KEPT[1:]) or not key.cut:
                arrays[key] = array
            elif run is line.runs[0] and key.metric in METRICS:
                report.figures.append(_figure(line, report.config, key, array, items))
        line.by_run.append(arrays)


def _figure(
    line: Line, config: str, key: Key, array: NDArray[Any], items: Items | None, **more: Any
) -> Figure:
    """A resampled figure's value and interval: Wilson's for a share of the items of one run."""
    run = line.runs[0]
    # One image tells nothing of how much others differ.
    alone = items is not None and len({*items.clusters}) == 1
    low: float | None = None
    high: float | None = None
    if items and METRICS[key.metric].share and len(line.runs) == 1:
        clusters: dict[str, list[bool]] = {}
        for cluster, value in zip(items.clusters, items.values.tolist(), strict=True):
            clusters.setdefault(cluster, []).append(bool(value))
        low, high = share_interval(clusters.values())
    elif len(array) > 1 and not alone:
        low, high = interval(array)
    n = len(items.ids) if items else run.counts.get(key, 0)
    signature = run.signatures.get(key.metric, SIGNATURES.get(key.metric, ""))
    about = {"config": config, "run": line.name, "role": line.role, "signature": signature}
    limits = {"value": float(array[0]), "low": low, "high": high}
    return Figure(**{**about, **limits, **key._asdict(), "n": n, **more})


def _finish(line: Line, draws: Draws, known: dict[str, Line], report: Report) -> None:
    """All figures of a line, over its seeds, and of each seed."""
    several = len(line.runs) > 1
    for key in dict.fromkeys(key for arrays in line.by_run for key in arrays):
        runs = [run for run, of in zip(line.runs, line.by_run, strict=True) if key in of]
        each = [arrays[key] for arrays in line.by_run if key in arrays]
        line.arrays[key] = draws.over_seeds(each)
        if key.metric not in METRICS:
            continue
        items = runs[0].items.get(key)
        values = [float(array[0]) for array in each]
        mean = sum(values) / len(values)
        sd = (sum((v - mean) ** 2 for v in values) / max(1, len(values) - 1)) ** 0.5
        more: dict[str, Any] = {"seeds": len(each), "sd": sd} if several else {}
        more |= {} if several else {"seed": line.runs[0].seed}
        report.figures.append(_figure(line, report.config, key, line.arrays[key], items, **more))
        for run, array in zip(runs, each, strict=True) if several else ():
            alone = Line(line.name, "seed", [run])
            items = run.items.get(key)
            report.figures.append(_figure(alone, report.config, key, array, items, seed=run.seed))
    gain, forget = line.arrays.get(Key("gain")), Key("rouge1", "forget")
    if gain is not None and line.role == "method":
        report.figures.append(_sign(line, report.config, Key("effect"), gain))
    if "base" in known and line.role not in ("base", "reference"):
        lower = line.arrays[forget] - known["base"].arrays[forget]
        report.figures.append(_sign(line, report.config, Key("below_base", "forget"), lower))


def _sign(line: Line, config: str, key: Key, array: NDArray[Any]) -> Figure:
    """-1, 0 or 1: whether a difference's interval lies below 0, holds it, or lies above."""
    low, high = interval(array)
    about = {"config": config, "run": line.name, "role": line.role, **key._asdict()}
    return Figure.model_validate({**about, "value": int(low > 0) - int(high < 0)})


def _mark(lines: list[Line], report: Report) -> None:
    """Mark the best method of each figure and all that cannot be told apart from it.

    Where that is every method, none is marked; on forget and in UES none that answers with what is
    no language, since its figures there are low for that.
    """
    broken = {line.run for line in report.lines("ours", "method") if line.is_broken}
    methods = {line.name: line for line in lines if line.role == "method"}
    by_key: dict[Key, list[Figure]] = {}
    for figure in report.figures:
        if figure.role == "method" and figure.key in methods[figure.run].arrays:
            by_key.setdefault(figure.key, []).append(figure)
    marks: dict[tuple[str, Key], str] = {}
    for key, figures in by_key.items():
        better = METRICS[key.metric].direction(key.split)
        rivals = [f for f in figures if f.signature == figures[0].signature]
        if key.split == "forget" or key.metric in ("ues", "gain"):
            rivals = [f for f in rivals if f.run not in broken]
        if not better or not rivals or key.cut == "harm=private question":
            continue
        best = max(rivals, key=lambda figure: better * figure.value)
        arrays = {figure.run: methods[figure.run].arrays[key] for figure in rivals}
        tied = [f.run for f in rivals if not apart(arrays[best.run], arrays[f.run])]
        if len(tied) < len(rivals):
            marks |= {(run, key): "tied" for run in tied} | {(best.run, key): "best"}
    report.figures[:] = [
        f.model_copy(update={"mark": marks[f.run, f.key]})
        if f.role == "method" and (f.run, f.key) in marks
        else f
        for f in report.figures
    ]


def _differences(lines: list[Line], report: Report) -> Iterator[Figure]:
    """Of each two methods; where no image tells two shares apart, from the shares' own intervals.

    That (Newcombe's hybrid score) is wider than a paired interval, which would be a point.
    """
    methods = [line for line in lines if line.role == "method"]
    alone = {(f.run, f.key): f for f in report.figures if f.role == "method"}
    for first, second in combinations(methods, 2):
        for key in COMPARED:
            if key in first.arrays and key in second.arrays:
                array = first.arrays[key] - second.arrays[key]
                figure = _figure(first, report.config, key, array, None, versus=second.name)
                shares = [_share(alone[line.name, key]) for line in (first, second)]
                if figure.low == figure.high and shares[0] and shares[1]:
                    low, high = difference_interval(shares[0], shares[1])
                    figure = figure.model_copy(update={"low": low, "high": high})
                yield figure


def _share(figure: Figure) -> Share | None:
    if not METRICS[figure.metric].share or figure.low is None or figure.high is None:
        return None
    return Share(figure.value, figure.low, figure.high)


def _note(lines: list[Line], known: dict[str, Line], report: Report) -> None:
    if "finetune" in known:
        report.notes.extend(notes(known["finetune"].runs))
        prior = next(line.runs[0] for line in lines if line.name == PRIOR)
        report.notes.extend(no_images_needed(known["finetune"].runs[0], prior))
    for role, missing in (
        ("finetune", "No UES: no fine-tuned run (--finetuned RUN, or a run named finetune)."),
        ("base", "Forget is not compared with base: no base run."),
        ("retrain", "Distance to retrain is not shown: no run retrained without the forget set."),
    ):
        if role not in known:
            report.notes.append(missing)
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
