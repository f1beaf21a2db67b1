"""The card's plots: the shares of the paper's Figure 3c-e, answer lengths and ratings, as PNG.

The same facts give the same bytes (with one version of matplotlib): its settings are its own
defaults, whatever the machine has, and no version or time is written into a file.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from builder.dataset_folder.card import numbers
from builder.dataset_folder.card.markdown import share
from builder.dataset_folder.read import Facts
from mllmu_med_dataset import SPLITS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


#: Okabe and Ito's colours, as in eval's plots; every bar is labelled as well.
COLOURS: Final = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
GREY: Final = "#8a9097"
_INK: Final = "#1b1f23"
_WIDTH: Final = 5.4  # inches: readable on a phone, too
_LONGEST: Final = 0.99  # of each set's answers are inside the plot


def plots(facts: Facts) -> dict[str, bytes]:
    """Every plot of the card by its path in the folder."""
    with _style():
        found = {f"card/{name}.png": _png(make(facts)) for name, make in _makers(facts).items()}
    return found


def _makers(facts: Facts) -> dict[str, Any]:
    return {
        **({"privacy": _privacy} if "privacy" in facts.scenarios else {}),
        **({"incorrect": _incorrect} if "incorrect" in facts.scenarios else {}),
        **({"modalities": _modalities} if numbers.with_modality(facts) else {}),
        "answer-lengths": _answer_lengths,
        **({"calibration": _calibration} if facts.ratings else {}),
    }


def _privacy(facts: Facts) -> Figure:
    places, kinds = numbers.placements(facts), numbers.kinds(facts)
    figure = _figure(0.42 * (len(places) + len(kinds)) + 1.5)
    above, below = figure.subplots(2, 1, height_ratios=[len(places), len(kinds)])
    whole = sum(places.values())
    _bars(above, list(places), list(places.values()), whole, COLOURS[0])
    above.set_title("Where the private values stand", loc="left")
    names = [numbers.KINDS[kind] for kind in kinds]
    _bars(below, names, [some[0] for some in kinds.values()], whole, COLOURS[1])
    below.set_title("Rows with each kind of value", loc="left")
    below.set_xlabel(f"forget rows of privacy ({whole:,})")
    return figure


def _incorrect(facts: Facts) -> Figure:
    harms = numbers.harms(facts)
    figure = _figure(0.42 * len(harms) + 1.1)
    axes = figure.subplots()
    whole = sum(harms.values())
    _bars(axes, [numbers.HARMS[h] for h in harms], list(harms.values()), whole, COLOURS[0])
    axes.set_title("What is wrong with the answer", loc="left")
    axes.set_xlabel(f"forget rows of incorrect ({whole:,})")
    return figure


def _bars(axes: Axes, names: list[str], values: Sequence[int], whole: int, colour: str) -> None:
    drawn = axes.barh(range(len(names)), values, height=0.68, color=colour)
    axes.bar_label(drawn, [f"{n:,} ({share(n, whole)})" for n in values], padding=4, fontsize=9)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, max(values) * 1.3)
    axes.grid(axis="y", visible=False)


def _modalities(facts: Facts) -> Figure:
    shown = numbers.with_modality(facts)
    figure = _figure(1.9 * len(shown) + 0.2)
    panels = figure.subplots(len(shown), 1, squeeze=False)[:, 0]
    for axes, (name, config) in zip(panels, shown.items(), strict=True):
        left = [0.0] * len(SPLITS)
        totals = [len(config.rows(split)) for split in SPLITS]
        counts = numbers.modalities(config)
        for index, (value, some) in enumerate(counts.items()):
            parts = [100 * some[s] / n for s, n in zip(SPLITS, totals, strict=True)]
            colour = GREY if value == "unknown" else COLOURS[index % len(COLOURS)]
            drawn = axes.barh(range(3), parts, left=left, height=0.7, color=colour, label=value)
            told = [f"{part:.0f} %" if part >= 6 else "" for part in parts]
            axes.bar_label(drawn, told, label_type="center", fontsize=9, color=_on(colour))
            left = [a + b for a, b in zip(left, parts, strict=True)]
        axes.set_yticks(range(3), SPLITS)
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.grid(visible=False)
        axes.set_title(f"{name}: kinds of picture", loc="left", pad=24)
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 0.97), ncols=4, frameon=False, borderpad=0.1
        )
    panels[-1].set_xlabel("share of the set's rows (%)")
    return figure


def _on(colour: str) -> str:
    """Black or white, whichever is easier to read on a colour."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 130 else _INK


def _answer_lengths(facts: Facts) -> Figure:
    figure = _figure(2.2 * len(facts.main) + 0.3)
    panels = figure.subplots(len(facts.main), 1, squeeze=False)[:, 0]
    styles: dict[str, Any] = {
        "forget": {"color": COLOURS[5], "linewidth": 2.2},
        "forget, before": {"color": COLOURS[5], "linewidth": 1.4, "linestyle": ":"},
        "retain": {"color": COLOURS[0], "linewidth": 1.6},
        "test": {"color": COLOURS[2], "linewidth": 1.6, "linestyle": "--"},
    }
    for axes, (name, config) in zip(panels, facts.main.items(), strict=True):
        lengths = numbers.answer_lengths(config)
        end = max(max(some) for some in lengths.values()) + 1
        for label, some in lengths.items():
            parts = [100 * sum(n <= at for n in some) / len(some) for at in range(end + 1)]
            axes.step(range(end + 1), parts, where="post", label=label, **styles[label])
        # The last few long answers would press all others together.
        ends = (sorted(some)[int(_LONGEST * (len(some) - 1))] for some in lengths.values())
        axes.set_xlim(0, max(ends) + 1)
        axes.set_ylim(0, 103)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_title(f"{name}: length of the answers", loc="left")
    figure.supylabel("answers with at most so many words (%)", fontsize=9.5)
    panels[0].legend(frameon=False, loc="lower right")
    panels[-1].set_xlabel("words")
    return figure


def _calibration(facts: Facts) -> Figure:
    figure = _figure(2.0 * len(facts.ratings) + 0.4)
    panels = figure.subplots(len(facts.ratings), 1, squeeze=False)[:, 0]
    for axes, (name, rows) in zip(panels, facts.ratings.items(), strict=True):
        kept, lost = numbers.by_rating(rows, True), numbers.by_rating(rows, False)
        names = ["5", "4", "3", "2", "1", *(["none"] if kept[5] or lost[5] else [])]
        places = range(len(names))
        kept, lost = kept[: len(names)], lost[: len(names)]
        axes.barh(places, kept, height=0.7, color=COLOURS[0], label="kept")
        drawn = axes.barh(places, lost, left=kept, height=0.7, color="#c9ced3", label="dropped")
        told = [f"{a + b:,}" for a, b in zip(kept, lost, strict=True)]
        axes.bar_label(drawn, told, padding=4, fontsize=9)
        axes.set_yticks(places, names)
        axes.invert_yaxis()
        axes.set_xlim(0, max(a + b for a, b in zip(kept, lost, strict=True)) * 1.12)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(axis="y", visible=False)
        axes.set_ylabel("rating")
        axes.set_title(f"{name}: ratings of {len(rows):,} candidates", loc="left")
    panels[0].legend(frameon=False, loc="lower right")
    panels[-1].set_xlabel("candidates")
    return figure


def _figure(height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(_WIDTH, height), dpi=160, layout="constrained")


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()


@contextmanager
def _style() -> Iterator[None]:
    import matplotlib

    settings: Any = {
        "text.color": _INK,
        "axes.edgecolor": "#c5c9ce",
        "axes.labelcolor": _INK,
        "xtick.color": _INK,
        "ytick.color": _INK,
        "axes.titlesize": 10.5,
        "axes.labelsize": 9.5,
        "xtick.labelsize": 9.5,
        "ytick.labelsize": 9.5,
        "legend.fontsize": 9,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#e3e6e9",
        "grid.linewidth": 0.7,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "ytick.left": False,
    }
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**settings, "text.parse_math": False})
        yield
