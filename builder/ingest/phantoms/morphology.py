"""What is decided about a skin phantom before it is drawn: form, colour, border, place, number.

`skin_scenes` draws a `Skin` and `skin` asks about it; neither decides anything, so
they agree. Sides are those of the image.

    skin = plan(seed=0, index=7)
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from builder.ingest.phantoms.draw import Colour, Shape, generator, pick
from mllmu_med.files import packaged_yaml

_DRAWN: Final[dict[str, Any]] = packaged_yaml(__package__, "morphology.yaml")
COLOURS: Final[dict[str, Colour]] = {name: tuple(c) for name, c in _DRAWN["colours"].items()}
_TONES: Final[list[Colour]] = [tuple(tone) for tone in _DRAWN["tones"]]
_PLACES: Final[dict[str, tuple[float, float]]] = _DRAWN["places"]
_SEVERAL: Final = ("papules", "vesicles")  # small, many and smooth


@dataclass(frozen=True, slots=True)
class Spot:
    x: float
    y: float
    radius: float
    turn: float


@dataclass(frozen=True, slots=True)
class Skin:
    modality: str
    texture: int  # seeds what no question asks about: skin lines, fibres, nuclei
    tone: Colour
    form: str
    colour: str
    shape: str  # round or oval; dermoscopy: symmetric or asymmetric; histology: long or flat ridges
    border: str  # smooth or irregular
    where: str  # center, left, right, upper, lower; all over, whole
    flipped: bool  # histology: the surface at the bottom of the image
    background: float  # clinical: below 0.4 a limb before a cloth of this hue
    spots: tuple[Spot, ...]


def plan(seed: int, index: int) -> Skin:
    rng = generator(seed, "skin", index)
    modality = pick(rng, _DRAWN["modalities"], _DRAWN["shares"])
    form = pick(rng, _DRAWN["forms"][modality])
    level = float(rng.uniform(0, 1.2 if modality == "dermoscopy" else len(_TONES) - 1))
    low, share = _TONES[int(level)], level % 1
    high = _TONES[min(int(level) + 1, len(_TONES) - 1)]
    r, g, b = (start + (end - start) * share for start, end in zip(low, high, strict=True))
    tone = (r, g, b)
    colour, shapes = "purple", ("long", "flat")
    if modality == "clinical":
        visible = [
            name for name in _DRAWN["colours of"][form] if math.dist(COLOURS[name], tone) > 0.34
        ]
        colour, shapes = pick(rng, visible), ("round", "oval")
    elif modality == "dermoscopy":
        colour, shapes = pick(rng, ("light brown", "dark brown")), ("symmetric", "asymmetric")
    shape = pick(rng, shapes)
    where, spots = _spots(modality, form, rng)
    return Skin(
        modality=modality,
        texture=int(rng.integers(2**32)),
        tone=tone,
        form=form,
        colour=colour,
        shape=shape,
        border=pick(rng, ("smooth", "irregular") if form not in _SEVERAL else ("smooth",)),
        where=where,
        flipped=bool(rng.random() < 0.3),
        background=float(rng.random()),
        spots=spots,
    )


def _spots(modality: str, form: str, rng: np.random.Generator) -> tuple[str, tuple[Spot, ...]]:
    """Where the lesions lie, in a word and in numbers."""
    if modality == "dermoscopy":
        radius = float(rng.uniform(0.42, 0.54))
        where = pick(rng, ("left", "right", "upper", "lower"))
        x, y = rng.uniform(-0.06, 0.06, 2)
        return where, (Spot(float(x), float(y), radius, float(rng.uniform(0, math.pi))),)
    if modality == "histopathology":
        where = pick(rng, ("left", "right", "whole"))
        if form != "nests":
            return where, ()
        low, high = {"left": (-0.84, -0.18), "right": (0.18, 0.84), "whole": (-0.84, 0.84)}[where]
        count = int(rng.integers(3, 6) if where == "whole" else rng.integers(2, 5))
        return where, _scatter(rng, count, (low, high), (0.14, 0.82), (0.105, 0.13), where)
    several = form in _SEVERAL
    if not several and rng.random() < 0.75:
        where = pick(rng, tuple(_PLACES))
        x, y = _PLACES[where]
        radius = float(rng.uniform(0.25, 0.34) if where == "center" else rng.uniform(0.22, 0.29))
        shift = rng.uniform(-0.05, 0.05, 2)
        turn = float(rng.uniform(0, math.pi))
        return where, (Spot(x + float(shift[0]), y + float(shift[1]), radius, turn),)
    where = pick(rng, ("left", "right", "upper", "lower", "all over"))
    near, far, full = (-0.66, -0.2), (0.2, 0.66), (-0.66, 0.66)
    across = {"left": near, "right": far}.get(where, full)
    down = {"upper": near, "lower": far}.get(where, full)
    sizes, count = ((0.1, 0.13), int(rng.integers(3, 7))) if several else ((0.15, 0.18), 2)
    if where == "all over":
        count = max(count, 4) if several else 3
    return where, _scatter(rng, count, across, down, sizes, where)


def _scatter(
    rng: np.random.Generator,
    count: int,
    across: tuple[float, float],
    down: tuple[float, float],
    sizes: tuple[float, float],
    where: str,
) -> tuple[Spot, ...]:
    """Spots that do not touch; where they shall lie everywhere, some on either side."""
    spots: list[Spot] = []
    for attempt in range(60 * count):
        x, y = float(rng.uniform(*across)), float(rng.uniform(*down))
        if where in ("all over", "whole"):
            x = math.copysign(max(abs(x), 0.2), 1 if len(spots) % 2 else -1)
        radius = float(rng.uniform(*sizes))
        gap = 0.1 if attempt < 40 * count else 0.07
        if all(math.hypot(x - s.x, y - s.y) > 1.25 * (radius + s.radius) + gap for s in spots):
            spots.append(Spot(x, y, radius, float(rng.uniform(0, math.pi))))
            if len(spots) == count:
                break
    return tuple(spots)


def shape_of(skin: Skin, spot: Spot) -> Shape:
    """The outline of one lesion or nest."""
    rx, ry = (spot.radius * 1.3, spot.radius * 0.72) if skin.shape == "oval" else (spot.radius,) * 2
    turn, rough = spot.turn, 0.7 if skin.shape == "oval" else 1.0
    if skin.border == "smooth":
        return Shape(spot.x, spot.y, rx, ry, turn)
    waves = ((3, 0.11, turn * 5), (5, 0.09, turn * 9), (7, 0.08, turn * 3), (11, 0.055, turn))
    return Shape(spot.x, spot.y, rx, ry, turn, tuple((n, h * rough, p) for n, h, p in waves))
