"""The paper's two studies as figures: rounds of unlearning (Table 3), forget ratios (Figure 4).

A round or a ratio is a point: the runs there, and which forget rows count. Its figures are those of
`collect`, with the point as their cut (`round=2`, `ratio=15`), so that one table shows them all.
Of rounds also what comes back: the rows of all earlier rounds, as they are after this round
(`earlier=3`) and as each was after its own (`then=3`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eval.bootstrap import Draws, Items
from eval.collect_results import collect, lines_of
from eval.dataset_rows import split_config
from eval.metric_names import WORDS
from eval.paper_tables import paper_rounds
from eval.plots import STYLE, empty_plot, line_style, name, png_svg
from eval.read_run import read_run
from eval.report_html import identity, url
from eval.report_tables import DAGGER, Column, Section, Table, ues_in_words
from eval.report_templates import render
from eval.results import BROKEN, LABELS, ROLES, Figure, Key, Report, to_csv
from eval.run_figures import make_figure
from eval.run_folder import RECORD, read_json
from mllmu_med.files import write_together

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Plot

_UES, _FORGET, _RETAIN, _TEST = (
    Key("ues"),
    *(Key("rouge1", s) for s in ("forget", "retain", "test")),
)
_LEAKED: Final = Key("leaked_values", "forget", "", "own")
_BROKEN: Final = Key("degenerate", "forget")
#: The panels of a study's plot, each with its title.
_PANELS: Final = {
    "round": {
        "UES, its own rows": _UES,
        "Its own forget rows": _FORGET,
        "Forget rows of earlier rounds": _FORGET._replace(cut="earlier"),
        "Retain": _RETAIN,
    },
    "ratio": {"UES": _UES, "Forget": _FORGET, "Retain": _RETAIN, "Test": _TEST},
}
#: Rounds side by side in a table: the paper's, and as many as a terminal is wide.
_ABREAST: Final = 3


class Point(NamedTuple):
    """A round or a ratio (percent): its runs, and the ids of the forget rows that count (all)."""

    kind: str  # round, ratio
    at: int
    folders: Sequence[Path]
    forget: tuple[str, ...] = ()

    @property
    def cut(self) -> str:
        return f"{self.kind}={self.at}"

    @property
    def title(self) -> str:
        return f"Round {self.at}" if self.kind == "round" else f"{self.at} %"


def study(points: Sequence[Point]) -> Report:
    """The figures of all points as one report; of rounds also what has come back."""
    shown = (_UES, _FORGET, _RETAIN, _TEST, _LEAKED, _BROKEN)
    figures: list[Figure] = []
    for point in points:
        part = collect(point.folders, forget=point.forget)
        figures += [
            figure.model_copy(update={"cut": point.cut})
            for figure in part.figures
            if figure.key in shown and figure.role in ROLES[:-1] and not figure.versus
        ]
    report = Report(split_config(part.config)[0], figures, models=part.models)
    if points[0].kind == "round":
        figures += came_back(points)
        figures += paper_rounds() if (report.config, len(points)) == ("privacy", 3) else ()
    else:
        report.notes.append(_exposures(points))
    for folder in dict.fromkeys(folder for point in points for folder in point.folders):
        outcome = read_json(folder / RECORD)["outcome"] if (folder / RECORD).is_file() else {}
        if outcome.get("reason"):
            what = f"{folder.parent.name}/{folder.name}: stopped as collapsed"
            report.notes.append(f"{what}: {outcome['reason']}.")
    if broken := _broken(report, points):
        report.notes.append(
            f"{DAGGER} More than {BROKEN:.0%} of its forget outputs are no language, so that "
            f"figures on forget are low, and UES is high: {'; '.join(broken.values())}."
        )
    return report


def _broken(report: Report, points: Sequence[Point]) -> dict[str, str]:
    """The methods whose forget outputs are no language, and at which points."""
    found: dict[str, str] = {}
    for line in report.lines("ours", "method"):
        shares = {p.title.lower(): line.value(_BROKEN._replace(cut=p.cut)) or 0 for p in points}
        at = ", ".join(title for title, share in shares.items() if share > BROKEN)
        found |= {line.run: f"{line.label} ({at})"} if at else {}
    return found


def _exposures(points: Sequence[Point]) -> str:
    """How often each forget row was trained on, counted in the steps, of each run at each ratio."""
    counts: dict[str, dict[str, str]] = defaultdict(dict)
    for point in points:
        for folder in [folder for folder in point.folders if (folder / RECORD).is_file()]:
            record = read_json(folder / RECORD)
            rows, cost = record["data"]["forget"], record["outcome"]["compute"]
            if rows:
                times = f"{cost['forget_exposures'] / rows:.4g}"
                counts[LABELS.get(folder.name, folder.name)].setdefault(point.title, times)
    each = (
        f"{label} {'/'.join(of.values()) if len({*of.values()}) > 1 else next(iter(of.values()))}"
        for label, of in counts.items()
    )
    return (
        "Exposures: how often each forget row was trained on, by Finetune while learning, by a "
        f"method while unlearning; alike at all ratios unless several are named: {', '.join(each)}."
    )


def came_back(points: Sequence[Point]) -> Iterator[Figure]:
    """Of each round after the first: forget ROUGE and leaked values of all earlier rounds' rows.

    Of methods also what these were after each row's own round, and the paired difference.
    """
    own: dict[Any, dict[Any, tuple[str, float]]] = defaultdict(dict)  # after their own round
    for k, point in enumerate(points):
        earlier = [row for before in points[:k] for row in before.forget]
        lines = lines_of([read_run(f, forget=earlier) for f in point.folders], {}) if k else []
        for line in lines:
            for key in [key for key in (_FORGET, _LEAKED) if key in line.runs[0].items]:
                now = [run.items[key] for run in line.runs]
                then = [Items.of(own[line.name, run.seed, key]) for run in line.runs]
                draws = Draws(dict.fromkeys(now[0].clusters, ""))
                after, before = (draws.over_seeds([*map(draws.mean, of)]) for of in (now, then))
                at = key._replace(cut=f"earlier={point.at}")
                yield make_figure(line, at, after, now)
                if line.role == "method":
                    yield make_figure(line, key._replace(cut=f"then={point.at}"), before, then)
                    change = make_figure(line, at._replace(metric="resurgence"), after - before, [])
                    counted = {"n": len(now[0].ids), "seeds": len(now)}
                    yield change.model_copy(update=counted)
        for run in [read_run(folder, forget=point.forget) for folder in point.folders]:
            for key in [key for key in (_FORGET, _LEAKED) if key in run.items]:
                ids, *of = run.items[key]
                own[run.name, run.seed, key] |= zip(ids, zip(*of, strict=True), strict=True)


def study_tables(report: Report, points: Sequence[Point]) -> list[Table]:
    """The paper's Table 3 and what of earlier requests comes back, or Figure 4 panel by panel."""
    made = []
    if points[0].kind == "ratio":
        for title, key in _PANELS["ratio"].items():
            columns = [Column(key._replace(cut=p.cut), "", p.title) for p in points]
            made.append((f"{title} by ratio", WORDS["ratios"], columns))
    keys = {"Forget": _FORGET, "Retain": _RETAIN, "Test": _TEST, "": _UES}
    for title, text in WORDS["rounds"].items() if points[0].kind == "round" else ():
        shown = points if not made else points[1:]
        for first in range(0, len(shown), _ABREAST):
            columns = []
            for p in shown[first : first + _ABREAST]:
                own = [Column(k._replace(cut=p.cut), p.title, h) for h, k in keys.items()]
                columns += own if shown is points else _back(p)
            made.append((title, text, columns))
    rest = ues_in_words(report)
    sections = [
        Section(report.lines("ours", *ROLES[:-1])),
        Section(report.lines("paper"), "Paper, Table 3, as printed"),
    ]
    labels = {line.run: f"{line.label} {DAGGER}" for line in report.lines("ours", "method")}
    labels = {run: labels[run] for run in _broken(report, points)}
    tables = []
    for i, (title, text, columns) in enumerate(made):
        held = [s for s in sections if any(c.key in x.figures for x in s.lines for c in columns)]
        label = points[0].kind if not i else f"{points[0].kind}-{i}"
        text = f"{report.config}. {text} {rest}" if not i else text
        tables.append(Table(label, title, text, columns, held, labels))
    return tables


def _back(point: Point) -> Iterator[Column]:
    for key, head in ((_FORGET, "ROUGE"), (_LEAKED, "leaked")):
        at = key._replace(cut=f"earlier={point.at}")
        then = key._replace(cut=f"then={point.at}")
        yield from (Column(k, point.title, h) for k, h in ((then, f"{head} then"), (at, "now")))
        yield Column(at._replace(metric="resurgence"), point.title)


def study_plot(report: Report, points: Sequence[Point]) -> Plot:
    """Four panels over rounds or ratios, a line a run."""
    kind = points[0].kind
    plot = empty_plot(13.5, 3.6)
    panels: Any = plot.subplots(1, 4, sharex=True)
    lines = report.lines("ours", "finetune", "method", "retrain")
    drawn: dict[str, Any] = {}
    for panel, (title, key) in zip(panels, _PANELS[kind].items(), strict=True):
        scale = 1 if key == _UES else 100
        panel.set_title(title, fontsize=10)
        panel.set_ylabel("UES" if key == _UES else "ROUGE-1 (%)")
        panel.set_xlabel("round" if kind == "round" else "forget ratio (%)")
        panel.set_xticks([point.at for point in points])
        for line in lines:
            cuts = {p.at: f"{key.cut}={p.at}" if key.cut else p.cut for p in points}
            values = {at: line.value(key._replace(cut=cut)) for at, cut in cuts.items()}
            found = {at: scale * value for at, value in values.items() if value is not None}
            (drawn[line.run],) = panel.plot([*found], [*found.values()], **line_style(line))
    handles = [drawn[line.run] for line in lines]
    plot.legend(handles, [*map(name, lines)], loc="outside right upper", labelspacing=0.7)
    plot.suptitle(f"{report.config}, by {kind} (intervals: in the tables)")
    return plot


def write_study(report: Report, points: Sequence[Point], out: Path) -> str:
    """rounds.csv, .png, .svg (of ratios so called), and report.html in a folder; their names."""
    from matplotlib import style

    kind = points[0].kind
    alt = f"Lines by {kind}, one for each run: {', '.join(_PANELS[kind])}; the numbers are below."
    with style.context(STYLE):
        plot = study_plot(report, points)
        files: dict[str, str | bytes] = {f"{kind}s.csv": to_csv(report)}
        files |= png_svg(plot, f"{kind}s")
        files["report.html"] = render(
            *("report.html", report, True, False),
            title=f"{'Unlearning in rounds' if kind == 'round' else 'Forget ratios'}",
            plots={kind: (url(plot), alt)},
            tables=study_tables(report, points),
            lines=report.lines("ours", *ROLES[:-1]),
            identity=lambda line: identity(report, line),
        )
    write_together({out / name: content for name, content in files.items()})
    return ", ".join(files)
