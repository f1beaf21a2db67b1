"""Plots of a report: ROUGE-1 by split, forget against retain, leakage by kind.

Colours are those of Okabe and Ito, which colour-blind people can tell apart; nothing is told by
colour alone. Percent on every axis.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eval.attack_tables import attack_plot
from eval.references import GIBBERISH, PERFECT, PRIOR
from eval.report_tables import DAGGER, widest_way
from eval.results import LABELS, ROLES, Figure, Key, Line, Report
from mllmu_med.files import stable_hash, write_together
from mllmu_med.folders import make_folder
from mllmu_med.progress import say
from mllmu_med_dataset import PII_KINDS, SPLITS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Plot

METHODS: Final = ("#0072B2", "#E69F00", "#CC79A7", "#56B4E9", "#D55E00")
GREEN: Final = "#009E73"  # kept for the retrained model
KINDS: Final = (*METHODS, GREEN)
MARKERS: Final = "os^DvPX"  # not as many as colours: 35 pairs
_KNOWN: Final = [*LABELS][2:-1]  # the shipped methods
_OF_ROLES: Final = {
    **{"base": ("#b4bac0", "x"), "finetune": ("#6c7279", "s")},
    **{"retrain": (GREEN, "*"), "reference": ("#9b59b6", "x")},
}
INK: Final = "#1b1f23"
PAPER: Final = "#ffffff"
LONGEST: Final = 28  # characters of a name
STYLE: Final = str(Path(__file__).with_name("plots.mplstyle"))


def look(line: Line) -> tuple[str, str]:
    """A run's colour and marker, the same in every plot: by its role, or of a method by its name.

    Each shipped method has a pair that no other has; one's own has one of those that are left.
    """
    if line.role in _OF_ROLES:
        return _OF_ROLES[line.role]
    name = line.run.lower().replace("_", "-")
    own = len(_KNOWN) + stable_hash("look", name) % (35 - len(_KNOWN))
    place = _KNOWN.index(name) if name in _KNOWN else own
    return METHODS[place % 5], MARKERS[place % 7]


def line_style(line: Line) -> dict[str, Any]:
    """Of what goes on over strengths, rounds or ratios: dashed where it is no method."""
    colour, marker = look(line)
    return {"color": colour} | ({"marker": marker} if line.role == "method" else {"ls": "--"})


def plots(report: Report) -> dict[str, Plot]:
    """Each plot under its name: `rouge1`, `tradeoff`, and `leakage` where any run was asked."""
    from matplotlib import style

    with style.context(STYLE):
        drawn = {"rouge1": rouge1(report), "tradeoff": tradeoff(report)}
        if _asked_for_leaks(report):
            drawn["leakage"] = leakage(report)
        if attacked := attack_plot(report):
            drawn["attacks"] = attacked
        return drawn


def _asked_for_leaks(report: Report) -> list[Line]:
    key = Key("leaked_values", "forget", "", widest_way(models(report)))
    return [line for line in models(report) if key in line.figures]


def models(report: Report) -> list[Line]:
    return report.lines("ours", *ROLES[:-1])


def rouge1(report: Report) -> Plot:
    """A panel a split, a bar a run; base and finetune go on as lines to compare with."""
    lines = models(report)
    plot = empty_plot(10.5, 1.4 + 0.34 * len(lines))
    panels: Sequence[Axes] = plot.subplots(1, 3, sharey=True)
    # Behind a number, so that a line of reference does not cross it.
    halo = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.8}
    for panel, split in zip(panels, SPLITS, strict=True):
        better = "lower" if split == "forget" else "higher"
        panel.set_title(f"{split.capitalize()} ({better} is better)", fontsize=10)
        panel.set_xlabel("ROUGE-1 (%)")
        figures = [line.figures[Key("rouge1", split)] for line in lines]
        values = [100 * figure.value for figure in figures]
        panel.barh(
            range(len(lines)),
            values,
            height=0.66,
            color=[look(line)[0] for line in lines],
            xerr=_errors(figures),
            error_kw={"elinewidth": 1.1, "capsize": 2.5, "ecolor": INK},
        )
        for line, value in zip(lines, values, strict=True):
            if line.role in ("base", "finetune"):
                style = "--" if line.role == "finetune" else ":"
                panel.axvline(value, color=look(line)[0], linestyle=style, linewidth=1.2)
        for i, (figure, value) in enumerate(zip(figures, values, strict=True)):
            end = max(value, 100 * (figure.high or 0))
            panel.text(end + 1.5, i, f"{value:.1f}", va="center", fontsize=8, bbox=halo)
        panel.set_xlim(0, 116)  # room for the number of a full bar
        panel.set_xticks(range(0, 101, 20))
        panel.margins(y=0.01)
        panel.grid(axis="y", visible=False)
    panels[0].set_yticks(range(len(lines)), [name(line) for line in lines])
    panels[0].invert_yaxis()
    drawn = {line.role for line in lines}
    styles = [
        f"{role} {kind}"
        for role, kind in (("base", "dotted"), ("finetune", "dashed"))
        if role in drawn
    ]
    plot.suptitle(f"ROUGE-1 (%) of open questions on {report.config}{_legend(report, *styles)}")
    return plot


def tradeoff(report: Report) -> Plot:
    """Forget across, retain up: upper left is good; finetune is the no-op."""
    plot = empty_plot(7.6, max(4.6, 1.6 + 0.27 * len(models(report))))
    panel: Axes = plot.subplots()
    handles, labels = [], []
    answered = [line for line in report.lines("ours", "reference") if line.run != PERFECT]
    for line in [*models(report), *answered]:
        forget, retain = (line.figures[Key("rouge1", split)] for split in ("forget", "retain"))
        label = name(line)
        colour, marker = look(line)
        marker = {PRIOR: "+", GIBBERISH: "1"}.get(line.run, marker)
        size = {"method": 8.0, "retrain": 15.0}.get(line.role, 9.0)
        label += {"finetune": " (no-op)", "retrain": " (reference)"}.get(line.role, "")
        drawn = panel.errorbar(
            [100 * forget.value],
            [100 * retain.value],
            xerr=_errors([forget]),
            yerr=_errors([retain]),
            marker=marker,
            markersize=size,
            markeredgewidth=2 if marker in "x+1" else 0.8,
            markeredgecolor=colour if marker in "x+1" else PAPER,
            color=colour,
            elinewidth=0.9,
            linestyle="none",
        )
        handles.append(drawn[0])
        labels.append(label)
    panel.set_xlabel("ROUGE-1 on forget (%): lower is better, down to the retrained model")
    panel.set_ylabel("ROUGE-1 on retain (%): higher is better")
    panel.margins(0.12)
    for limits, narrow in ((panel.get_xlim(), panel.set_xlim), (panel.get_ylim(), panel.set_ylim)):
        narrow(max(limits[0], -4), min(limits[1], 104))
    panel.annotate(
        "better",
        xy=(0.4, 0.58),  # the middle is empty: models are at the edges
        xytext=(0.5, 0.48),
        xycoords="axes fraction",
        arrowprops={"arrowstyle": "->", "color": INK},
        fontsize=9,
    )
    panel.legend(handles, labels, loc="upper left", bbox_to_anchor=(1.02, 1), labelspacing=0.7)
    panel.set_title(f"ROUGE-1 (%), forget against retain, on {report.config}{_legend(report)}")
    return plot


def leakage(report: Report) -> Plot:
    """A group of bars a run, a bar a kind of private value, asked in any way."""
    lines = _asked_for_leaks(report)
    way = widest_way(lines)
    keys = {kind: Key("leaked_values", "forget", f"kind={kind}", way) for kind in PII_KINDS}
    kinds = [kind for kind in PII_KINDS if any(keys[kind] in line.figures for line in lines)]
    plot = empty_plot(8.4, 1.3 + 0.14 * len(lines) * (len(kinds) + 1))
    panel: Axes = plot.subplots()
    height = 0.84 / max(1, len(kinds))
    for k, kind in enumerate(kinds):
        figures = {
            i + (k - (len(kinds) - 1) / 2) * height: line.figures[keys[kind]]
            for i, line in enumerate(lines)
            if keys[kind] in line.figures
        }
        values = [100 * figure.value for figure in figures.values()]
        bars = panel.barh(
            [*figures],
            values,
            height=height * 0.92,
            color=KINDS[k],
            label=f"{kind} (n={max(figure.n for figure in figures.values())})",
            xerr=_errors([*figures.values()]),
            error_kw={"elinewidth": 0.6, "ecolor": INK, "alpha": 0.6},
        )
        # The number stands behind the whisker: a dot shows where the value itself is, 0 too.
        panel.plot(values, [*figures], ".", color=INK, markersize=3, zorder=4)
        panel.bar_label(bars, [f"{value:.0f}" for value in values], fontsize=6.5, padding=2)
    panel.set_yticks(range(len(lines)), [name(line) for line in lines])
    panel.set_ylim(len(lines) - 0.5, -0.5)
    panel.set_xlim(0, 108)
    panel.set_xlabel("private values that come out, in any way of asking (%): lower is better")
    panel.grid(axis="y", visible=False)
    panel.legend(loc="upper left", bbox_to_anchor=(1.01, 1))
    panel.set_title(
        f"Private values leaked (%) by kind on {report.config}, normalised match{_legend(report)}"
    )
    return plot


def name(line: Line) -> str:
    """A label that matplotlib takes as plain text: no mathematics, no leading underscore."""
    text = " ".join(line.label.split())
    text = text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
    text += f" {DAGGER}" if line.is_broken else ""
    return (" " if text.startswith("_") else "") + text.replace("$", r"\$")


def write_plots(report: Report, folder: Path) -> list[Path]:
    """Each plot as PNG, 160 dots an inch, and as PDF for a paper."""
    make_folder(folder, "plots")
    files: dict[Path, bytes] = {}
    for title, plot in plots(report).items():
        for form in ("png", "pdf"):
            stream = io.BytesIO()
            metadata = {"CreationDate": None} if form == "pdf" else None
            plot.savefig(stream, format=form, dpi=160, metadata=metadata)
            files[folder / f"{title}.{form}"] = stream.getvalue()
    write_together(files)
    paths = [*files]
    missing = "" if folder / "leakage.png" in paths else "; no leakage: no run has a leak.json"
    say(f"plots: {', '.join(str(path) for path in paths)}{missing}")
    return paths


def png_svg(plot: Plot, title: str) -> dict[str, bytes]:
    """A plot in both forms, by the file's name."""
    stream = io.BytesIO()
    plot.savefig(stream, format="png", dpi=160)
    return {f"{title}.png": stream.getvalue(), f"{title}.svg": to_svg(plot)}


def to_svg(plot: Plot) -> bytes:
    """One SVG, the same for the same figures; its letters are paths and need no font."""
    import matplotlib

    stream = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "mllmu-med"}):
        plot.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def empty_plot(width: float, height: float) -> Plot:
    """Width and height in inches; without pyplot, so nothing stays open."""
    from matplotlib.figure import Figure as Plot

    return Plot(figsize=(width, height), layout="constrained")


def _errors(figures: Sequence[Figure]) -> list[list[float]] | None:
    """What matplotlib wants of intervals: how far below and above the value, in percent."""
    if any(figure.low is None or figure.high is None for figure in figures):
        return None
    below = [100 * max(0.0, figure.value - (figure.low or 0)) for figure in figures]
    above = [100 * max(0.0, (figure.high or 0) - figure.value) for figure in figures]
    return [below, above]


def _legend(report: Report, *styles: str) -> str:
    """In brackets: what lines and whiskers are."""
    if models(report)[0].figures[Key("rouge1", "forget")].low is not None:
        styles = (*styles, "whiskers: 95 % interval")
    return f" ({'; '.join(styles)})" if styles else ""
