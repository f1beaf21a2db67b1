"""The card's plots: the shares of the paper's Figure 3c-e, answer lengths and ratings, as PNG.

The same facts give the same bytes (with one version of matplotlib): its settings are its own
defaults, whatever the machine has, and no version or time is written into a file.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from builder.dataset_folder.card import numbers
from builder.dataset_folder.card.words import share
from builder.dataset_folder.read import Facts
from mllmu_med_dataset import SPLITS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe and Ito's colours, as in eval's plots; every bar is labelled as well.
COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
GREY: Final = "#8a9097"
_WIDTH: Final = 5.4  # inches: readable on a phone, too
_LONGEST: Final = 0.99  # of each set's answers are inside the plot
_LINES: Final[dict[str, dict[str, Any]]] = {
    "forget": {"color": COLOURS[5], "linewidth": 2.2},
    "forget, before": {"color": COLOURS[5], "linewidth": 1.4, "linestyle": ":"},
    "retain": {"color": COLOURS[0], "linewidth": 1.6},
    "test": {"color": COLOURS[2], "linewidth": 1.6, "linestyle": "--"},
}
_STYLE: Final = str(Path(__file__).with_name("plots.mplstyle"))


def plots(facts: Facts) -> dict[str, bytes]:
    """Every plot of the card by its path in the folder."""
    from matplotlib import style

    makers = {
        **({"privacy": _privacy} if "privacy" in facts.main else {}),
        **({"incorrect": _incorrect} if "incorrect" in facts.main else {}),
        **({"modalities": _modalities} if numbers.with_modality(facts) else {}),
        "answer-lengths": _answer_lengths,
        **({"calibration": _calibration} if facts.ratings else {}),
    }
    with style.context(_STYLE, after_reset=True):
        return {f"card/{name}.png": _png(make(facts)) for name, make in makers.items()}


def _privacy(facts: Facts) -> Figure:
    places, kinds = numbers.places(facts), numbers.kinds(facts)
    tables = {"Where the private values stand": places, "Rows with each kind of value": kinds}
    return _forget_rows(facts, "privacy", tables)


def _incorrect(facts: Facts) -> Figure:
    return _forget_rows(facts, "incorrect", {"What is wrong with the answer": numbers.harms(facts)})


def _forget_rows(facts: Facts, name: str, tables: dict[str, list[numbers.Row]]) -> Figure:
    """Below each title a bar for each row of its table: the row's name and its first number."""
    whole, heights = numbers.sizes(facts.main[name])[0], [len(rows) for rows in tables.values()]
    height = 0.42 * sum(heights) + 0.4 * len(tables) + 0.7
    figure, panels = _panels(len(tables), height, height_ratios=heights)
    for axes, colour, (title, rows) in zip(panels, COLOURS, tables.items(), strict=False):
        values = [int(row[1]) for row in rows]
        drawn = axes.barh([str(row[0]) for row in rows], values, height=0.68, color=colour)
        axes.bar_label(drawn, [f"{n:,} ({share(n, whole)})" for n in values], padding=4)
        axes.invert_yaxis()
        axes.set_xlim(0, max(values) * 1.3)
        axes.set_title(title)
    panels[-1].set_xlabel(f"forget rows of {name} ({whole:,})")
    return figure


def _modalities(facts: Facts) -> Figure:
    shown = numbers.with_modality(facts)
    figure, panels = _panels(len(shown), 1.9 * len(shown) + 0.2)
    for axes, (name, config) in zip(panels, shown.items(), strict=True):
        left = [0.0] * len(SPLITS)
        for index, (value, *counts, _) in enumerate(numbers.by_set(config, "modality")):
            sizes = zip(counts, numbers.sizes(config), strict=True)
            parts = [100 * int(count) / size for count, size in sizes]
            colour = GREY if value == "unknown" else COLOURS[index % len(COLOURS)]
            drawn = axes.barh(SPLITS, parts, left=left, height=0.7, color=colour, label=value)
            texts = [f"{part:.0f} %" if part >= 6 else "" for part in parts]
            axes.bar_label(drawn, texts, label_type="center", color=_on(colour))
            left = [a + b for a, b in zip(left, parts, strict=True)]
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_title(f"{name}: modalities", pad=24)
        axes.legend(loc="lower left", bbox_to_anchor=(0, 0.97), ncols=4, borderpad=0.1)
    panels[-1].set_xlabel("share of the set's rows (%)")
    return figure


def _on(colour: str) -> str:
    """Black or white, whichever is easier to read on a colour."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 130 else "black"


def _answer_lengths(facts: Facts) -> Figure:
    figure, panels = _panels(len(facts.main), 2.2 * len(facts.main) + 0.3)
    for axes, (name, config) in zip(panels, facts.main.items(), strict=True):
        lengths = numbers.words_in(config, "answer")
        for label, counts in lengths.items():
            axes.ecdf(counts, label=label, **_LINES[label])
        # The last few long answers would press all others together.
        ends = (sorted(counts)[int(_LONGEST * (len(counts) - 1))] for counts in lengths.values())
        axes.set_xlim(0, max(ends) + 1)
        axes.locator_params(axis="x", integer=True)
        axes.set_ylim(0, 1.03)
        axes.grid(visible=True)
        axes.yaxis.set_major_formatter("{x:.0%}")
        axes.set_title(f"{name}: length of the answers")
    figure.supylabel("answers with at most so many words", fontsize=9.5)
    panels[0].legend(loc="lower right")
    panels[-1].set_xlabel("words")
    return figure


def _calibration(facts: Facts) -> Figure:
    figure, panels = _panels(len(facts.ratings), 2.0 * len(facts.ratings) + 0.4)
    for axes, (name, rows) in zip(panels, facts.ratings.items(), strict=True):
        ratings, kept, lost = zip(*numbers.by_rating(rows), strict=True)
        totals = [a + b for a, b in zip(kept, lost, strict=True)]
        axes.barh(ratings, kept, height=0.7, color=COLOURS[0], label="kept")
        drawn = axes.barh(ratings, lost, left=kept, height=0.7, color="#c9ced3", label="dropped")
        axes.bar_label(drawn, [f"{total:,}" for total in totals], padding=4)
        axes.invert_yaxis()
        axes.set_xlim(0, max(totals) * 1.12)
        axes.locator_params(axis="x", integer=True)
        axes.set_ylabel("rating")
        axes.set_title(f"{name}: ratings of {len(rows):,} candidates")
    panels[0].legend(loc="lower right")
    panels[-1].set_xlabel("candidates")
    return figure


def _panels(count: int, height: float, **more: Any) -> tuple[Figure, Sequence[Axes]]:
    """A figure of so many plots, one below the other; `height` in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, height), dpi=160, layout="constrained")
    return figure, figure.subplots(count, 1, squeeze=False, **more)[:, 0]


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
