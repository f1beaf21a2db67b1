"""Draws a histology-like image: horny layer, epidermis with its ridges, dermis, and one finding.

The finding is nests of cells, a band of inflammatory cells, a thickened epidermis or a cleft.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from builder.ingest.phantoms.draw import (
    SIZE,
    Field,
    X,
    Y,
    dots,
    fill,
    mix,
    noise,
    outline,
    plain,
    ring,
    union,
)
from builder.ingest.phantoms.morphology import Skin, shape_of

_NUCLEUS = (0.30, 0.17, 0.45)


def histology(skin: Skin, rng: np.random.Generator) -> Field:
    side = {"left": -1.0, "right": 1.0, "whole": 0.0}[skin.where]
    window = fill(-X * np.float32(side), 0.5) if side else np.ones((1, SIZE), np.float32)
    sway = noise(rng, 5, 1)[:1] * np.float32(0.025)
    thick = window if skin.form == "thickened" else np.zeros((1, SIZE), np.float32)
    surface = np.float32(-0.72) + sway
    granular = surface + np.float32(0.09) + np.float32(0.13) * thick
    amplitude = np.float32(0.2 if skin.shape == "long" else 0.025)
    phase = X * np.float32(rng.uniform(17, 21)) + noise(rng, 6, 1)[:1]
    ridges = amplitude * (np.sin(phase) * np.float32(0.5) + np.float32(0.5))
    base = granular + np.float32(0.2) + np.float32(0.36) * thick + ridges
    fuzz = noise(rng, 30) * np.float32(0.012)
    depth = Y - base + fuzz  # below the epidermis
    gap = np.float32(0.26) * window if skin.form == "blister" else np.zeros_like(window)

    canvas = plain((0.97, 0.955, 0.97))
    fibres = np.abs(noise(rng, 9, 34) + noise(rng, 5) * np.float32(0.8))
    mix(canvas, (0.93, 0.66, 0.78), fill(surface - Y, 0.02))
    mix(canvas, (0.985, 0.88, 0.93), np.clip(1 - fibres * 2.2, 0, 1) * fill(-depth, 0.02))
    mix(canvas, (0.87, 0.52, 0.68), np.clip(fibres - 1, 0, 0.6) * fill(-depth, 0.02))
    epidermis = fill(depth, 0.015) * fill(granular - Y, 0.02)
    mix(canvas, (0.72, 0.46, 0.70), epidermis)
    mix(canvas, (0.50, 0.29, 0.58), ring(depth + np.float32(0.03), 0.05, 0.04) * epidermis)
    layers = np.abs(noise(rng, 4, 70))
    horn = fill(surface - Y, 0.02) * fill(Y - granular, 0.02)
    mix(canvas, (0.88, 0.40, 0.55), horn)
    mix(canvas, (0.96, 0.70, 0.78), np.clip(0.8 - layers * 2, 0, 1) * horn)
    cleft = fill(-depth, 0.015) * fill(depth - gap, 0.02) * (gap > 0.02)

    x, y = _sites(rng, 9.5)
    under, above = _at(depth, x, y), _at(np.broadcast_to(Y - granular, (SIZE, SIZE)), x, y)
    chance = np.where((under < -0.01) & (above > 0.03), 0.85, np.where(under > 0, 0.1, 0.0))
    keep = rng.random(len(x)) < chance
    nuclei = dots(x[keep], y[keep], 1.7)
    if skin.form == "band":
        crowd = fill(-depth, 0.04) * fill(depth - np.float32(0.34) + fuzz * 6, 0.12) * window
        mix(canvas, (0.66, 0.52, 0.76), crowd * np.float32(0.6))
        x, y = _sites(rng, 6.5)
        keep = rng.random(len(x)) < _at(crowd, x, y) * 0.9
        nuclei = np.maximum(nuclei, dots(x[keep], y[keep], 1.5))
    if skin.spots:
        nests = union([outline(shape_of(skin, nest)) for nest in skin.spots])
        mix(canvas, (0.99, 0.95, 0.97), ring(nests, 0.04, 0.03) * np.float32(0.8))
        mix(canvas, (0.56, 0.38, 0.68), fill(nests, 0.02))
        x, y = _sites(rng, 6.5)
        keep = (_at(nests, x, y) < -0.01) & (rng.random(len(x)) < 0.95)
        nuclei = np.maximum(nuclei * (1 - fill(nests, 0.02)), dots(x[keep], y[keep], 1.5))
    mix(canvas, _NUCLEUS, nuclei * np.float32(0.9))
    mix(canvas, (0.98, 0.965, 0.98), cleft)
    canvas += noise(rng, 10) * np.float32(0.006)
    return canvas[:, ::-1] if skin.flipped else canvas


def _sites(
    rng: np.random.Generator, pitch: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places on a shaken grid, so that nuclei keep their distance; pitch in pixels."""
    ticks = np.arange(-1, 1, pitch * 2 / SIZE)
    x, y = np.meshgrid(ticks, ticks)
    shake = pitch * 0.7 / SIZE
    points = np.stack((x.ravel(), y.ravel())) + rng.uniform(-shake, shake, (2, x.size))
    clipped = np.clip(points, -0.999, 0.999)
    return clipped[0], clipped[1]


def _at(field: Field, x: NDArray[np.float64], y: NDArray[np.float64]) -> Field:
    """The field's values at these places."""
    values: Field = field[((y + 1) * SIZE / 2).astype(int), ((x + 1) * SIZE / 2).astype(int)]
    return values
