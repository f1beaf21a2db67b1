"""What is decided about a radiology phantom before it is drawn: anatomy, variants, lesions.

`scans` draws a `Scan` and `radiology` asks about it; neither decides anything, so
they agree. Sides are those of the image: "left" is the viewer's left.

    scan = plan(seed=0, index=7)
"""

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from builder.ingest.phantoms.draw import generator, pick

#: SLAKE's shares in the paper: CT 47 %, X-ray 30 %, MRI 23 %.
_KINDS: Final = ("chest CT", "abdomen CT", "chest X-Ray", "brain MRI")
_SHARES: Final = (0.25, 0.22, 0.30, 0.23)
_SHAPES: Final = ("Round", "Oval", "Irregular")
Place = tuple[float, float, float, float]  # centre x, y and radii of an ellipse


@dataclass(frozen=True, slots=True)
class Lesion:
    organ: str
    x: float
    y: float
    radius: float
    turn: float


@dataclass(frozen=True, slots=True)
class Scan:
    kind: str
    texture: int  # seeds what no question asks about: vessels, folds, noise
    width: float
    height: float
    x: float
    y: float
    tissue: float  # brightness
    mirrored: bool  # heart apex and liver: True puts them on the side where they rarely are
    enlarged: bool  # heart (chest) or ventricles (brain)
    missing_kidney: str  # "", "left" or "right"
    gas: bool  # in the stomach
    weighting: str  # T1 or T2
    shape: str  # of all lesions, like size and brightness
    size: str
    brighter: bool
    lesions: tuple[Lesion, ...] = ()


def plan(seed: int, index: int) -> Scan:
    rng = generator(seed, "radiology", index)
    kind = pick(rng, _KINDS, _SHARES)
    wide, high = {
        "chest CT": (0.88, 0.66),
        "abdomen CT": (0.86, 0.68),
        "chest X-Ray": (0.92, 0.92),
        "brain MRI": (0.68, 0.84),
    }[kind]
    stretch = 1.0 if kind == "chest X-Ray" else float(rng.uniform(0.92, 1.06))
    scan = Scan(
        kind=kind,
        texture=int(rng.integers(2**32)),
        width=wide * stretch * float(rng.uniform(0.95, 1.04)),
        height=high * stretch * float(rng.uniform(0.95, 1.04)),
        x=float(rng.uniform(-0.04, 0.04)),
        y=float(rng.uniform(-0.05, 0.05)),
        tissue=float(rng.uniform(0.92, 1.08)),
        mirrored=bool(rng.random() < 0.4),
        enlarged=bool(rng.random() < 0.4),
        missing_kidney=pick(rng, ("", "left", "right"), (0.56, 0.22, 0.22)),
        gas=bool(rng.random() < 0.5),
        weighting=pick(rng, ("T1", "T2")),
        shape=pick(rng, _SHAPES),
        size=pick(rng, ("Small", "Large")),
        brighter=kind == "chest CT" or bool(rng.random() < 0.55),
    )
    count = pick(rng, (0, 1, 2, 3), (0.2, 0.48, 0.18, 0.14))
    for attempt in (scan, replace(scan, size="Small")):
        lesions = _lesions(attempt, count, rng)
        if len(lesions) == count:
            break
    return replace(attempt, lesions=lesions)


def anatomy(scan: Scan) -> dict[str, Place]:
    """Where the organs lie: the drawing and the lesions use the same places."""
    side = -1 if scan.mirrored else 1
    wide, high = scan.width, scan.height
    grown = 1.0 if scan.enlarged else 0.0
    organs: dict[str, Place] = {
        "chest CT": {
            "Left Lung": (-0.5, -0.02, 0.36, 0.62),
            "Right Lung": (0.5, -0.02, 0.36, 0.62),
            "heart": (side * (0.1 + 0.07 * grown), -0.2, 0.24 + 0.15 * grown, 0.32 + 0.08 * grown),
        },
        "abdomen CT": {
            "Liver": (side * -0.42, -0.14, 0.43, 0.56),
            "Spleen": (side * 0.66, 0.08, 0.2, 0.4),
            "stomach": (side * 0.3, -0.38, 0.26, 0.27),
            "Left Kidney": (-0.44, 0.46, 0.18, 0.27),
            "Right Kidney": (0.44, 0.46, 0.18, 0.27),
        },
        "chest X-Ray": {
            "Left Lung": (-0.47, -0.04, 0.34, 0.68),
            "Right Lung": (0.47, -0.04, 0.34, 0.68),
            "heart": (side * (0.14 + 0.08 * grown), 0.3, 0.26 + 0.17 * grown, 0.31 + 0.08 * grown),
            "aorta": (side * 0.13, -0.24, 0.11, 0.11),
        },
        "brain MRI": {
            "Left Brain": (-0.42, 0.0, 0.4, 0.68),
            "Right Brain": (0.42, 0.0, 0.4, 0.68),
            "ventricles": (0.0, 0.0, 0.22 + 0.12 * grown, 0.38 + 0.12 * grown),
        },
    }[scan.kind]
    return {
        organ: (scan.x + x * wide, scan.y + y * high, rx * wide, ry * high)
        for organ, (x, y, rx, ry) in organs.items()
        if organ.split()[0].lower() != scan.missing_kidney or "Kidney" not in organ
    }


def _lesions(scan: Scan, count: int, rng: np.random.Generator) -> tuple[Lesion, ...]:
    places = anatomy(scan)
    blocked = [name for name in places if name.islower() or "Kidney" in name]
    big = (0.16, 0.185) if scan.kind == "brain MRI" else (0.2, 0.23)
    if scan.shape == "Irregular" and scan.kind != "brain MRI":
        big = (0.18, 0.205)
    radius = float(rng.uniform(*((0.1, 0.115) if scan.size == "Small" else big)))
    reach = radius * {"Round": 1.1, "Oval": 1.3, "Irregular": 1.45}[scan.shape]
    room = [
        organ
        for organ, (_, _, rx, ry) in places.items()
        if organ.istitle()
        and min(rx, ry) > reach
        # Other shapes would spill over a kidney's edge.
        and ("Kidney" not in organ or scan.shape == "Round")
    ]
    if not room:
        return ()

    lesions: list[Lesion] = []
    for _ in range(80 * count):
        organ = pick(rng, room)
        x, y, rx, ry = places[organ]
        angle, far = float(rng.uniform(0, 2 * math.pi)), math.sqrt(float(rng.uniform(0, 1)))
        x += max(rx - reach, 0) * far * math.cos(angle)
        y += max(ry - reach, 0) * far * math.sin(angle)
        others = [places[name] for name in blocked if name != organ]
        clear = all(
            math.hypot((x - bx) / (brx + 0.9 * reach), (y - by) / (bry + 0.9 * reach)) > 1
            for bx, by, brx, bry in others
        )
        apart = all(math.hypot(x - other.x, y - other.y) > 2 * reach + 0.06 for other in lesions)
        if clear and apart and abs(x) > max(0.14, 0.8 * radius):
            lesions.append(Lesion(organ, x, y, radius, float(rng.uniform(0, math.pi))))
            if len(lesions) == count:
                break
    return tuple(lesions)
