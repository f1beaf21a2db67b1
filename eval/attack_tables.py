"""The tables and the plot of attacks: what comes back, by method and attack."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eval import meta_evaluation
from eval.attack_kinds import STRENGTHS, Attack
from eval.attack_results import CUT
from eval.metric_names import WORDS
from eval.report_tables import Column, Section, Table, table_of
from eval.results import ROLES, Key, Line, Report, to_csv
from mllmu_med.files import write_together

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Plot

_UNITS: Final[dict[str, str]] = WORDS["attack_units"]


def tables(report: Report) -> list[Table]:
    """A table for each group of attacks, and one of what they took; none without attacks."""
    lines = report.lines("ours", *ROLES[:-1])
    made: list[Table] = []
    for number, (title, text, kinds) in enumerate(WORDS["attacks"]):
        attacks = [attack for attack in _attacks(lines) if attack.kind in kinds.split()]
        if attacks:
            before = Column(Key("before", "forget", f"{CUT}{attacks[-1].name}"), head="before")
            columns = [before, *(_column("attacked", attack) for attack in attacks)]
            label = "attacks" if not made else f"attacks-{number}"
            done = {attack.kind for attack in attacks}
            each = zip(text.split(". "), kinds.split(), strict=True)
            text = " ".join(f"{what}." for what, kind in each if kind in done)
            text = text if made else f"{text} {WORDS['attacked']}"
            made.append(table_of(label, title, text, columns, _whose(columns, lines)))
    return [*made, *meta_evaluation.table(report)]


def details(report: Report) -> list[Table]:
    """How much each attack brings back, above the retrained model too, and what it took."""
    lines = report.lines("ours", *ROLES[:-1])
    made = []
    for metric, title in (
        ("attack_gain", "What attacks bring back"),
        ("over_retrain", "Attacks against the retrained model"),
        ("attack_seconds", "Seconds of attacks"),
    ):
        columns = [_column(metric, attack) for attack in _attacks(lines)]
        if columns:
            made.append(table_of(metric, title, "", columns, _whose(columns, lines)))
    return made


def _whose(columns: list[Column], lines: list[Line]) -> list[Section]:
    return [Section([line for line in lines if any(c.key in line.figures for c in columns)])]


def _attacks(lines: list[Line]) -> list[Attack]:
    held = {
        k.cut.removeprefix(CUT) for line in lines for k in line.figures if k.metric == "attacked"
    }
    every = [Attack(kind, strength) for kind, of in STRENGTHS.items() for strength in of]
    return [attack for attack in every if attack.name in held]


def _column(metric: str, attack: Attack) -> Column:
    kind = attack.kind.replace("-", " ").capitalize()
    unit = _UNITS.get(attack.kind, _UNITS.get(attack.group, ""))
    key = Key(metric, "forget", f"{CUT}{attack.name}")
    head = f"{attack.strength} {unit}".strip()
    return Column(key, kind, head) if len(STRENGTHS[attack.kind]) > 1 else Column(key, head=kind)


def attack_plot(report: Report) -> Plot | None:
    """Recovery over strength, a panel for each kind that has several, a line a run.

    None where no such attack is done. Changes of an image are not attacks that grow with them.
    """
    from eval import plots

    lines = [line for line in plots.models(report) if _attacks([line])]
    panels: dict[str, list[Attack]] = {}
    for attack in _attacks(lines):
        if attack.group != "image" and len(STRENGTHS[attack.kind]) > 1:
            panels.setdefault(attack.kind, []).append(attack)
    if not panels:
        return None
    plot = plots.empty_plot(2.7 * len(panels) + 1.9, 4.0)
    axes: Any = plot.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    drawn: dict[str, Any] = {}
    for axis, (kind, attacks) in zip(axes, panels.items(), strict=True):
        unit = _UNITS.get(kind, _UNITS.get(attacks[0].group, ""))
        axis.set_title(kind.replace("-", " ").capitalize(), fontsize=10)
        axis.set_xlabel({"bit": "bits", "%": "% of the beginning"}.get(unit, unit))
        for line in lines:
            style = plots.line_style(line)
            points = _points(line, attacks)
            if points:
                (drawn[line.run],) = axis.plot(*zip(*points, strict=True), **style)
        strengths = sorted({attack.strength for attack in attacks})
        zero = [] if kind == "quantise" else [0]
        axis.set_xticks([*zero, *strengths])
        if kind == "quantise":
            axis.invert_xaxis()
    axes[0].set_ylabel("comes out (%)")
    axes[0].set_ylim(-3, 103)
    shown = [line for line in lines if line.run in drawn]
    handles = [drawn[line.run] for line in shown]
    plot.legend(handles, [*map(plots.name, shown)], loc="outside right upper", labelspacing=0.7)
    title = f"What attacks bring back on {report.config}, by strength"
    plot.suptitle(title, x=0.01, ha="left", fontsize=10)
    return plot


def write_attacks(report: Report, folder: Path) -> str:
    """The figures as CSV, the plot as PNG and SVG where a kind has several strengths."""
    from eval.plots import STYLE, png_svg

    files: dict[str, str | bytes] = {"attacks.csv": to_csv(report)}
    from matplotlib import style

    with style.context(STYLE):
        if plot := attack_plot(report):
            files |= png_svg(plot, "attacks")
    write_together({folder / name: content for name, content in files.items()})
    return f"{folder}: {', '.join(files)}"


def _points(line: Line, attacks: list[Attack]) -> list[tuple[int, float]]:
    """Strength and percent; before them, at 0, what comes out without the attack."""
    points: list[tuple[int, float]] = []
    for attack in sorted(attacks, key=lambda attack: attack.strength):
        value = line.value(Key("attacked", "forget", f"{CUT}{attack.name}"))
        before = line.value(Key("before", "forget", f"{CUT}{attack.name}"))
        if value is not None and before is not None:
            if not points and attack.kind != "quantise":
                points.append((0, 100 * before))
            points.append((attack.strength, 100 * value))
    return points
