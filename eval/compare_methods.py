"""Which methods are the best of a figure, and by how much each two differ."""

from collections.abc import Iterator
from itertools import combinations
from typing import Final

from eval.bootstrap import apart
from eval.intervals import Share, difference_interval
from eval.metric_names import METRICS
from eval.results import Figure, Key, Report
from eval.run_figures import SeedRuns, make_figure
from mllmu_med_dataset import SPLITS

#: Figures whose differences between the methods are shown, each with its interval.
COMPARED: Final = (
    Key("ues"),
    *(Key("rouge1", split) for split in SPLITS),
    *(Key("leaked_values", "forget", "", way) for way in ("own", "prefix", "any")),
    Key("probability", "forget"),
)


def mark_best(lines: list[SeedRuns], report: Report) -> None:
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


def differences(lines: list[SeedRuns], report: Report) -> Iterator[Figure]:
    """Of each two methods; where no image tells two shares apart, from the shares' own intervals.

    That (Newcombe's hybrid score) is wider than a paired interval, which would be a point.
    """
    methods = [line for line in lines if line.role == "method"]
    alone = {(f.run, f.key): f for f in report.figures if f.role == "method"}
    for first, second in combinations(methods, 2):
        for key in COMPARED:
            if key in first.arrays and key in second.arrays:
                array = first.arrays[key] - second.arrays[key]
                figure = make_figure(first, key, array, [], versus=second.name)
                shares = [_share(alone[line.name, key]) for line in (first, second)]
                if figure.low == figure.high and shares[0] and shares[1]:
                    low, high = difference_interval(shares[0], shares[1])
                    figure = figure.model_copy(update={"low": low, "high": high})
                yield figure


def _share(figure: Figure) -> Share | None:
    if not METRICS[figure.metric].share or figure.low is None or figure.high is None:
        return None
    return Share(figure.value, figure.low, figure.high)
