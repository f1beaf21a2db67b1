"""The paper's two studies as figures: rounds of unlearning (Table 3), forget ratios (Figure 4).

A round or a ratio is a point: the runs there, and which forget rows count. Its figures are those of
`collect`, with the point as their cut (`round=2`, `ratio=15`), so that one table shows them all.
Of rounds also what comes back: the rows of all earlier rounds, as they are after this round
(`earlier=3`) and as each was after its own (`then=3`).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from eval.bootstrap import Draws, Items
from eval.collect_results import collect, lines_of
from eval.dataset_rows import split_config
from eval.paper_tables import paper_rounds
from eval.plots import STYLE, empty_plot, line_style, name, write_png_svg
from eval.read_run import RECORD, read_run
from eval.report_html import page
from eval.report_tables import DAGGER, Column, Section, Table, ues_in_words
from eval.results import BROKEN, ROLES, Figure, Key, Report, to_csv
from eval.run_figures import SeedRuns, make_figure
from eval.run_folder import read_json
from mllmu_med.files import write_atomic
from mllmu_med_dataset import SPLITS

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Plot

_ROUGE: Final = {split: Key("rouge1", split) for split in SPLITS}
_LEAKED: Final = Key("leaked_values", "forget", "", "own")
_BROKEN: Final = Key("degenerate", "forget")
_SHOWN: Final = (*_ROUGE.values(), Key("ues"), _LEAKED, _BROKEN)
#: What a study of rounds, and one of ratios, shows over its points; `earlier`: of earlier requests.
PANELS: Final[dict[str, tuple[tuple[str, Key], ...]]] = {
    "rounds": (
        ("UES, its own rows", Key("ues")),
        ("Its own forget rows", _ROUGE["forget"]),
        ("Forget rows of earlier rounds", _ROUGE["forget"]._replace(cut="earlier")),
        ("Retain", _ROUGE["retain"]),
    ),
    "ratios": (("UES", Key("ues")), *((s.capitalize(), key) for s, key in _ROUGE.items())),
}
#: Rounds side by side in a table: the paper's, and as many as a terminal is wide.
_ABREAST: Final = 3


class Point(NamedTuple):
    """A round or a ratio: its cut, its runs, and the ids of the forget rows that count (all)."""

    cut: str
    folders: Sequence[Path]
    forget: tuple[str, ...] = ()

    @property
    def at(self) -> int:
        return int(self.cut.partition("=")[2])

    @property
    def title(self) -> str:
        return f"Round {self.at}" if self.cut.startswith("round") else f"{self.at} %"


def study(points: Sequence[Point]) -> Report:
    """The figures of all points as one report; of rounds also what has come back."""
    figures: list[Figure] = []
    for point in points:
        part = collect(point.folders, forget=point.forget)
        figures += [
            figure.model_copy(update={"cut": point.cut})
            for figure in part.figures
            if figure.key in _SHOWN and figure.role in ROLES[:-1] and not figure.versus
        ]
    report = Report(split_config(part.config)[0], figures, models=part.models)
    if points[0].forget:
        figures += came_back(points)
        if report.config == "privacy" and len(points) == len({f.cut for f in paper_rounds()}):
            figures += paper_rounds()
    else:
        figures += exposures(points)
        report.notes.extend(_unequal(report))
    if broken := _broken(report, points):
        told = "; ".join(f"{label} ({', '.join(at)})" for label, at in broken.items())
        report.notes.append(
            f"{DAGGER} More than {BROKEN:.0%} of its forget outputs are no language: low figures on "
            f"forget, and a high UES, come from that: {told}."
        )
    return report


def _unequal(report: Report) -> list[str]:
    """The runs that forget rows were not shown to equally often at all ratios."""
    counts = {
        line.label: {round(f.value, 6) for f in line.figures.values() if f.metric == "exposures"}
        for line in report.lines()
    }
    uneven = ", ".join(label for label, of in counts.items() if len(of) > 1)
    return [f"Not exposed equally often at all ratios: {uneven}."] if uneven else []


def _broken(report: Report, points: Sequence[Point]) -> dict[str, list[str]]:
    """The methods whose forget outputs are no language, and at which points."""
    found = {}
    for line in report.lines("ours", "method"):
        shares = {p.title: line.value(_BROKEN._replace(cut=p.cut)) or 0 for p in points}
        if at := [title.lower() for title, share in shares.items() if share > BROKEN]:
            found[line.label] = at
    return found


def exposures(points: Sequence[Point]) -> list[Figure]:
    """How often each forget row was trained on: while learning, or of a method while unlearning."""
    figures: dict[tuple[str, str], Figure] = {}
    for point in points:
        for folder in [f for f in point.folders if (f / RECORD).is_file()]:
            record = read_json(folder / RECORD)
            data, cost = record["data"], record["outcome"]["compute"]
            if n := data["forget"]:
                role = folder.name if folder.name in ROLES else "method"
                about = {"config": data["config"], "run": folder.name, "role": role, "n": n}
                key = Key("exposures", "forget", point.cut)._asdict()
                made = Figure(**about, **key, value=cost["forget_exposures"] / n)
                figures.setdefault((folder.name, point.cut), made)  # of the first seed
    return [*figures.values()]


def came_back(points: Sequence[Point]) -> list[Figure]:
    """Of each round after the first: forget ROUGE and leaked values of all earlier rounds' rows.

    Also what they were after each row's own round, and the paired difference.
    """
    figures: list[Figure] = []
    own: dict[tuple[str, int | None, Key], list[Items]] = {}  # of earlier rounds, after each
    for k, point in enumerate(points):
        earlier = [row for before in points[:k] for row in before.forget]
        for line in lines_of([read_run(f, forget=earlier) for f in point.folders], {}) if k else ():
            for key in (_ROUGE["forget"], _LEAKED):
                now = [run.items[key] for run in line.runs if key in run.items]
                then = [own[line.name, run.seed, key] for run in line.runs] if now else []
                figures += _then_and_now(line, key, now, [*map(_joined, then)], point.at)
        for run in [read_run(folder, forget=point.forget) for folder in point.folders]:
            for key in (_ROUGE["forget"], _LEAKED):
                if key in run.items:
                    own.setdefault((run.name, run.seed, key), []).append(run.items[key])
    return figures


def _joined(parts: Sequence[Items]) -> Items:
    ids, clusters = ([x for part in parts for x in part[i]] for i in (0, 1))
    return Items(ids, clusters, np.concatenate([part.values for part in parts]))


def _then_and_now(
    line: SeedRuns, key: Key, now: list[Items], then: list[Items], at: int
) -> list[Figure]:
    """The figures of one run: those of a model that learns are the same in every round."""
    if not now:
        return []
    draws = Draws(dict.fromkeys(now[0].clusters, ""))
    after, before = (draws.over_seeds([*map(draws.mean, items)]) for items in (now, then))
    made = [make_figure(line, key._replace(cut=f"earlier={at}"), after, now)]
    if line.role == "method":
        made.append(make_figure(line, key._replace(cut=f"then={at}"), before, then))
        change = key._replace(metric="resurgence", cut=f"earlier={at}")
        made.append(make_figure(line, change, after - before, []))
    return made


def round_tables(report: Report, points: Sequence[Point]) -> list[Table]:
    """The paper's Table 3, and what of earlier requests comes back."""
    made = []
    layout = "in the layout of the paper's Table 3 (Xu et al., arXiv 2508.04192)"
    text = (
        f"{report.config}: each round's own forget rows, with retain and test, {layout}. Percent; "
        f"UES is a sum of fractions. {ues_in_words(report)}"
    )
    keys = (*((split.capitalize(), key) for split, key in _ROUGE.items()), ("", Key("ues")))
    for i in range(0, len(points), _ABREAST):
        some = points[i : i + _ABREAST]
        columns = [Column(k._replace(cut=p.cut), p.title, h) for p in some for h, k in keys]
        label = f"rounds-{i}" if i else "rounds"
        made.append(_table(report, points, label, "Rounds", text, columns))
    text = (
        "Percent. The forget rows of all rounds before: as each was after its own round (then), "
        "and after this one (now); leaked: private values, asked the row's own question. What "
        "comes back was hidden, not removed; the interval of the difference is paired."
    )
    for i in range(1, len(points), _ABREAST):
        columns = []
        for p in points[i : i + _ABREAST]:
            for key, head in ((_ROUGE["forget"], "ROUGE"), (_LEAKED, "leaked")):
                change = key._replace(metric="resurgence", cut=f"earlier={p.at}")
                columns += [
                    Column(key._replace(cut=f"then={p.at}"), p.title, f"{head} then"),
                    Column(key._replace(cut=f"earlier={p.at}"), p.title, "now"),
                    Column(change, p.title),
                ]
        made.append(_table(report, points, f"earlier-{i}", "Earlier requests", text, columns))
    return made


def ratio_tables(report: Report, points: Sequence[Point]) -> list[Table]:
    """A table for each panel of the paper's Figure 4, and how often forget rows were trained on."""

    def table(label: str, title: str, text: str, key: Key) -> Table:
        columns = [Column(key._replace(cut=p.cut), "", p.title) for p in points]
        return _table(report, points, label, title, text, columns)

    text = f"{report.config}, as the paper's Figure 4; columns: forget ratio."
    made = [table("ratios", "UES by forget ratio", f"{text} {ues_in_words(report)}", Key("ues"))]
    for title, key in PANELS["ratios"][1:]:
        made.append(table(f"ratios-{key.split}", f"{title} by forget ratio", "Percent.", key))
    text = (
        "How often each forget row was trained on, as counted in the steps: by Finetune while "
        "learning, by a method while unlearning. n: forget rows, closed questions too."
    )
    return [*made, table("exposures", "Exposures", text, Key("exposures", "forget"))]


def _table(
    report: Report,
    points: Sequence[Point],
    label: str,
    title: str,
    text: str,
    columns: Sequence[Column],
) -> Table:
    """Our runs, and the paper's where it has any of these figures."""
    sections = [
        Section(report.lines("ours", *ROLES[:-1])),
        Section(report.lines("paper"), "Paper, Table 3, as printed"),
    ]
    kept = [s for s in sections if any(c.key in x.figures for x in s.lines for c in columns)]
    broken = _broken(report, points)
    methods = [line for line in report.lines("ours", "method") if line.label in broken]
    labels = {line.run: f"{line.label} {DAGGER}" for line in methods}
    return Table(label, title, text, [*columns], kept, labels)


def study_plot(report: Report, points: Sequence[Point], kind: str) -> Plot:
    """Four panels over rounds or ratios, a line a run; kind: of `PANELS`."""
    from matplotlib import style

    with style.context(STYLE):
        plot = empty_plot(13.5, 3.6)
        panels: Any = plot.subplots(1, 4)
        drawn: dict[str, Any] = {}
        lines = report.lines("ours", "finetune", "method", "retrain")
        for panel, (title, key) in zip(panels, PANELS[kind], strict=True):
            percent = 1 if key.metric == "ues" else 100
            panel.set_title(title, fontsize=10)
            panel.set_ylabel("UES" if percent == 1 else "ROUGE-1 (%)")
            panel.set_xlabel("round" if kind == "rounds" else "forget ratio (%)")
            panel.set_xticks([point.at for point in points])
            for line in lines:
                cuts = {p.at: f"{key.cut}={p.at}" if key.cut else p.cut for p in points}
                values = {at: line.value(key._replace(cut=cut)) for at, cut in cuts.items()}
                at = {x: percent * value for x, value in values.items() if value is not None}
                (drawn[line.run],) = panel.plot([*at], [*at.values()], **line_style(line))
        named = [name(line) for line in lines]
        handles = [drawn[line.run] for line in lines]
        plot.legend(handles, named, loc="outside right upper", labelspacing=0.7)
        what = "rounds of unlearning" if kind == "rounds" else "forget ratios"
        plot.suptitle(f"{report.config}, over {what} (intervals: in the tables)")
    return plot


def write_study(report: Report, tables: Sequence[Table], plot: Plot, out: Path, kind: str) -> str:
    """KIND.csv, .png, .svg and report.html in a folder; their names."""
    title = "Unlearning in rounds" if kind == "rounds" else "Forget ratios"
    alt = f"Lines of {', '.join(head for head, _ in PANELS[kind])} over {kind}, one for each run; "
    alt += "the same numbers are in the tables."
    write_atomic(out / f"{kind}.csv", to_csv(report))
    from matplotlib import style

    with style.context(STYLE):
        names = write_png_svg(plot, out, kind)
        html = page(report, f"{title}: {report.config}", {kind: (plot, alt)}, True, tables)
    write_atomic(out / "report.html", html)
    return ", ".join(["report.html", f"{kind}.csv", *names])
