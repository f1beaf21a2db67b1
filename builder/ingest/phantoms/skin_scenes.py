"""Draws a `Skin`: a clinical-like photograph, a dermoscopy-like or a histology-like image.

canvas = render(skin)                           # colour, 3x320x320, from 0 to 1
bare = render(replace(skin, spots=()))          # clinical: the skin without its lesions
"""

import colorsys
import math

import numpy as np
from numpy.typing import NDArray

from builder.ingest.phantoms.draw import (
    SIZE,
    Colour,
    Field,
    Line,
    Shape,
    X,
    Y,
    blurred,
    dots,
    ellipse,
    fill,
    mix,
    noise,
    outline,
    plain,
    relief,
    ring,
    spot,
    strokes,
    union,
)
from builder.ingest.phantoms.morphology import COLOURS, Skin, shape_of


def render(skin: Skin) -> Field:
    rng = np.random.default_rng(skin.texture)
    draw = {"clinical": _clinical, "dermoscopy": _dermoscopy, "histopathology": _histology}
    return draw[skin.modality](skin, rng)


def _shade(colour: Colour, by: float) -> Colour:
    return colour[0] * by, colour[1] * by, colour[2] * by


# ---- clinical ------------------------------------------------------------------------------------


def _clinical(skin: Skin, rng: np.random.Generator) -> Field:
    canvas = plain(skin.tone)
    blotch = noise(rng, 7)
    canvas += np.asarray((0.010, -0.006, -0.005), np.float32)[:, None, None] * blotch
    lines = np.clip(1 - np.abs(noise(rng, 34, 22)) * 5, 0, 1)
    lines += np.clip(1 - np.abs(noise(rng, 20, 40)) * 5, 0, 1)
    bumps = noise(rng, 80) * np.float32(0.008)
    draw = {
        "macule": _macule,
        "plaque": _plaque,
        "papules": _papules,
        "ring": _ring,
        "ulcer": _ulcer,
        "vesicles": _vesicles,
    }[skin.form]
    if skin.spots:
        # Numbers of their own, so that the skin around is the same without them.
        draw(canvas, skin, np.random.default_rng(skin.texture + 1))
    light = 1 + 0.13 * (-X * math.cos(skin.background * 9) - Y * math.sin(skin.background * 9))
    light = light - lines * np.float32(0.045) + bumps
    if skin.background < 0.4:
        _limb(canvas, light, skin.background, rng)
    canvas *= light
    return canvas


def _limb(canvas: Field, light: Field, hue: float, rng: np.random.Generator) -> None:
    """A limb before a cloth instead of skin up to the edges."""
    upright = hue < 0.2
    along, over = (Y, X) if upright else (X, Y)
    sway = np.float32(rng.uniform(-0.06, 0.06)) * along + np.float32(0.03) * np.sin(along * 3)
    edge = np.abs(over + sway) - np.float32(0.86)
    light *= 1.06 - np.float32(0.3) * np.square(np.square(over + sway))
    cloth = colorsys.hsv_to_rgb(0.5 + hue * 0.5, 0.45, 0.42)
    mix(canvas, cloth, fill(-edge, 0.03))
    light *= 1 - np.float32(0.45) * np.clip(1 - np.abs(edge - 0.02) * 7, 0, 1)


def _macule(canvas: Field, skin: Skin, rng: np.random.Generator) -> None:
    colour = COLOURS[skin.colour]
    distance = union([outline(shape_of(skin, lesion)) for lesion in skin.spots])
    inside = fill(distance, 0.04)
    mix(canvas, colour, inside * np.float32(0.95))
    mix(canvas, _shade(colour, 0.82), np.clip(noise(rng, 16) * 0.4, 0, 0.8) * inside)
    mix(canvas, _shade(colour, 0.85), fill(distance + np.float32(0.1), 0.2) * np.float32(0.5))


def _raise(canvas: Field, distance: Field, height: float, soft: float) -> None:
    """Slanting light on lesions that stand out of the skin."""
    canvas *= 1 + relief(fill(distance, soft)) * np.float32(height)


def _domes(canvas: Field, skin: Skin, height: float) -> None:
    deep = np.zeros((SIZE, SIZE), np.float32)
    for lesion in skin.spots:
        inside = np.clip(-outline(shape_of(skin, lesion)) / np.float32(lesion.radius * 0.8), 0, 1)
        deep += inside * (2 - inside)
    canvas *= 1 + relief(deep) * np.float32(height)


def _plaque(canvas: Field, skin: Skin, rng: np.random.Generator) -> None:
    distance = union([outline(shape_of(skin, lesion), 0.22) for lesion in skin.spots])
    mix(canvas, _shade(COLOURS[skin.colour], 1.12), fill(distance - np.float32(0.04), 0.1) * 0.35)
    mix(canvas, COLOURS[skin.colour], fill(distance, 0.025))
    flakes = np.clip(noise(rng, 26, 30) + noise(rng, 60) * np.float32(0.7) - 0.75, 0, 1)
    mix(canvas, (0.95, 0.92, 0.9), flakes * fill(distance + np.float32(0.05), 0.05))
    _raise(canvas, distance, 0.12, 0.07)


def _papules(canvas: Field, skin: Skin, rng: np.random.Generator) -> None:
    colour = COLOURS[skin.colour]
    for lesion in skin.spots:
        shape = shape_of(skin, lesion)
        spot(canvas, colour, shape, 0.03)
        spot(canvas, _shade(colour, 1.08), shape, lesion.radius, lesion.radius * -0.4)
    _domes(canvas, skin, 0.16)
    for lesion in skin.spots:
        x, y, r = lesion.x, lesion.y, lesion.radius
        spot(canvas, (1.0, 0.95, 0.92), Shape(x - r * 0.3, y - r * 0.32, 0.03, 0.02, -0.7), 0.03)


def _ring(canvas: Field, skin: Skin, rng: np.random.Generator) -> None:
    distance = union([outline(shape_of(skin, lesion), 0.22) for lesion in skin.spots])
    middle = fill(distance + np.float32(0.08), 0.05)
    mix(canvas, _shade(COLOURS[skin.colour], 1.1), middle * np.float32(0.12))
    band = ring(distance + np.float32(0.035), 0.085, 0.03)
    rough = 1 - np.clip(noise(rng, 30) * np.float32(0.25), 0, 0.4)
    mix(canvas, COLOURS[skin.colour], band * rough)
    canvas *= 1 + relief(blurred(band, 3)) * np.float32(0.07)


def _ulcer(canvas: Field, skin: Skin, rng: np.random.Generator) -> None:
    distance = union([outline(shape_of(skin, lesion), 0.3) for lesion in skin.spots])
    rim = _shade((skin.tone[0] * 1.05, skin.tone[1] * 0.72, skin.tone[2] * 0.72), 0.92)
    mix(canvas, rim, fill(distance - np.float32(0.07), 0.08) * np.float32(0.85))
    mix(canvas, (0.33, 0.07, 0.07), fill(distance, 0.03))
    floor = fill(distance + np.float32(0.035), 0.04)
    mix(canvas, COLOURS[skin.colour], floor)
    clots = np.clip(noise(rng, 22) * np.float32(0.8) - np.float32(0.3), 0, 1)
    mix(canvas, _shade(COLOURS[skin.colour], 0.68), clots * floor)
    wet = np.clip(noise(rng, 40) * np.float32(1.5) - np.float32(2.2), 0, 1)
    mix(canvas, (1.0, 0.9, 0.86), wet * floor * np.float32(0.6))
    _raise(canvas, -distance, 0.14, 0.08)
    _raise(canvas, distance - np.float32(0.08), 0.08, 0.08)


def _vesicles(canvas: Field, skin: Skin, rng: np.random.Generator) -> None:
    fluid = COLOURS[skin.colour]
    for lesion in skin.spots:
        spot(canvas, (0.8, 0.22, 0.2), shape_of(skin, lesion), 0.09, 0.045)
    for lesion in skin.spots:
        shape = shape_of(skin, lesion)
        spot(canvas, _shade(fluid, 0.72), shape, 0.02)
        spot(canvas, fluid, shape, 0.05, -0.025)
    _domes(canvas, skin, 0.10)
    for lesion in skin.spots:
        x, y, r = lesion.x, lesion.y, lesion.radius
        spot(canvas, (1, 1, 1), Shape(x - r * 0.35, y - r * 0.35, 0.03, 0.018, -0.7), 0.015)


# ---- dermoscopy ----------------------------------------------------------------------------------


def _dermoscopy(skin: Skin, rng: np.random.Generator) -> Field:
    canvas = plain(skin.tone)
    canvas += noise(rng, 12) * np.float32(0.012)
    mole, r, colour = skin.spots[0], skin.spots[0].radius, COLOURS[skin.colour]
    toward = {"left": math.pi, "right": 0.0, "upper": -math.pi / 2, "lower": math.pi / 2}[
        skin.where
    ]
    uneven = skin.shape == "asymmetric"
    waves = [(1, 0.2, -toward), (3, 0.13, mole.turn)] if uneven else [(2, 0.1, 0.0)]
    if skin.border == "irregular":
        waves += (
            [(5, 0.08, mole.turn * 3), (8, 0.08, mole.turn), (13, 0.05, mole.turn * 7)]
            if uneven
            else [(4, 0.06, math.pi), (8, 0.07, 0.0), (14, 0.05, 0.0)]
        )
    # Symmetric lesions keep their axes upright, so that both halves match at a glance.
    shape = Shape(mole.x, mole.y, r, r * (0.9 if uneven else 0.85), 0, tuple(waves))
    distance = outline(shape, 0.2)
    body = fill(distance, 0.035)
    mix(canvas, _shade(colour, 1.25), fill(distance - np.float32(0.02), 0.12) * np.float32(0.5))
    mix(canvas, colour, body * np.float32(0.9))
    core = fill(distance + np.float32(r * 0.35), r * 0.7)
    mix(canvas, _shade(colour, 0.78), core * np.float32(0.6))
    _pattern(canvas, skin, distance, rng)
    if uneven:
        x, y = mole.x + 0.24 * math.cos(toward), mole.y + 0.24 * math.sin(toward)
        dark = Shape(x, y, r * 0.5, r * 0.42, mole.turn, ((3, 0.15, mole.turn),))
        mix(canvas, _shade(COLOURS["dark brown"], 0.45), fill(outline(dark, 0.1), 0.1) * body)
    hairs: list[Line] = []
    for _ in range(int(rng.integers(0, 4))):
        x, y, way, bend = rng.uniform(-1, 1, 4)
        turns = 6 * way + bend * np.linspace(0, 2, 14)
        steps = np.stack((np.cos(turns), np.sin(turns))) * 0.07
        path = np.cumsum(steps, axis=1) + np.asarray([[x * 0.7], [y * 0.7]])
        hairs.append(([(float(px), float(py)) for px, py in path.T], 0.012))
    mix(canvas, (0.12, 0.09, 0.08), strokes(hairs) * np.float32(0.7))
    radius = ellipse(0, 0, 1, 1)
    canvas *= 1.04 - np.float32(0.12) * np.square(radius + 1) + noise(rng, 70) * np.float32(0.008)
    mix(canvas, (0.01, 0.01, 0.01), 1 - fill(radius + np.float32(0.03), 0.03))
    return canvas


def _pattern(canvas: Field, skin: Skin, distance: Field, rng: np.random.Generator) -> None:
    warp = noise(rng, 6) * np.float32(0.35)
    dark = _shade(COLOURS[skin.colour], 0.42)
    inside, mole = fill(distance + np.float32(0.03), 0.06), skin.spots[0]
    if skin.form == "network":
        pitch = np.float32(2 * math.pi / 0.105)
        mesh = np.zeros((SIZE, SIZE), np.float32)
        for turn in (0.2, 0.2 + math.pi / 3, 0.2 + 2 * math.pi / 3):
            mesh += np.cos((X * math.cos(turn) + Y * math.sin(turn)) * pitch + warp)
        mix(canvas, _shade(skin.tone, 0.9), np.clip(mesh + 0.2, 0, 0.5) * inside)
        mix(canvas, dark, np.clip(-mesh * 1.5 - 0.5, 0, 1) * inside)
    elif skin.form == "globules":
        shake = 0.0 if skin.shape == "symmetric" else 0.035
        for x in np.linspace(-0.75, 0.75, 11):
            for y in np.linspace(-0.75, 0.75, 11):
                px, py = np.asarray((mole.x + x, mole.y + y)) + rng.uniform(-shake, shake, 2)
                column, row = int((px + 1) * SIZE / 2), int((py + 1) * SIZE / 2)
                if distance[row, column] < -0.05:
                    spot(canvas, dark, Shape(px, py, 0.042, 0.042), 0.02)
    else:
        veil = ellipse(mole.x, mole.y, mole.radius * 0.62, mole.radius * 0.56)
        veil += warp * np.float32(0.08)
        haze = np.float32(0.85) + warp * np.float32(0.3)
        mix(canvas, (0.52, 0.61, 0.78), fill(veil, 0.12) * inside * np.clip(haze, 0, 1))


# ---- histology -----------------------------------------------------------------------------------

_NUCLEUS = (0.30, 0.17, 0.45)


def _histology(skin: Skin, rng: np.random.Generator) -> Field:
    """Horny layer, epidermis with its ridges, dermis, and one finding.

    The finding is nests of cells, a band of inflammatory cells, a thickened epidermis or a cleft.
    """
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
    values: Field = field[((y + 1) * SIZE / 2).astype(int), ((x + 1) * SIZE / 2).astype(int)]
    return values
