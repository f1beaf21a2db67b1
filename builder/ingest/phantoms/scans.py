"""Draws a `Scan`: CT-like chest and abdomen, X-ray-like chest, MRI-like brain.

grey = render(scan)                          # 320x320, from 0 to 1
bare = render(replace(scan, lesions=()))     # the same image without its lesions
"""

import math

import numpy as np

from builder.ingest.phantoms.anatomy import Lesion, Place, Scan, anatomy
from builder.ingest.phantoms.draw import (
    SIZE,
    Field,
    Line,
    Shape,
    X,
    Y,
    ellipse,
    fill,
    grain,
    mix,
    noise,
    ring,
    spot,
    strokes,
    union,
)


def render(scan: Scan) -> Field:
    """The image as an array from 0 to 1."""
    rng = np.random.default_rng(scan.texture)
    draw = {
        "chest CT": _chest_ct,
        "abdomen CT": _abdomen_ct,
        "chest X-Ray": _chest_xray,
        "brain MRI": _brain_mri,
    }[scan.kind]
    canvas, dark, bright = draw(scan, rng)
    for lesion in scan.lesions:
        _draw_lesion(canvas, scan, lesion, bright if scan.brighter else dark)
    canvas *= np.float32(scan.tissue)
    canvas += noise(rng, 80) * np.float32(0.008)
    canvas += grain(rng) * (canvas * np.float32(0.013) + np.float32(0.005))
    return canvas


def _draw_lesion(canvas: Field, scan: Scan, lesion: Lesion, value: float) -> None:
    r, turn = lesion.radius, lesion.turn
    rx, ry = (r * 1.32, r * 0.72) if scan.shape == "Oval" else (r, r)
    waves = ((2, 0.16, turn * 5), (3, 0.2, turn * 7), (5, 0.2, turn * 3), (8, 0.08, 0.0))
    shape = Shape(lesion.x, lesion.y, rx, ry, turn, waves if scan.shape == "Irregular" else ())
    if scan.kind == "brain MRI":
        # A thin capsule sets the lesion off from fluid of the same brightness.
        spot(canvas, 0.3 if scan.brighter else 0.6, shape, 0.03, 0.016)
    spot(canvas, value, shape, 0.05 if scan.kind == "chest X-Ray" else 0.022)
    spot(canvas, value * 1.06 + 0.02, shape, r * 0.8, r * -0.45)


def _branches(rng: np.random.Generator, spot: Place, root: tuple[float, float]) -> list[Line]:
    """Vessels that fan out from a root and fork once."""
    x, y, rx, ry = spot
    lines: list[Line] = []
    for _ in range(13):
        angle, far = rng.uniform(0, 2 * math.pi), rng.uniform(0.55, 0.95)
        tip = (x + rx * far * math.cos(angle), y + ry * far * math.sin(angle))
        bend = rng.normal(0, 0.03, 2)
        fork = (0.45 * root[0] + 0.55 * tip[0] + bend[0], 0.45 * root[1] + 0.55 * tip[1] + bend[1])
        twin = (tip[0] + rng.normal(0, 0.09), tip[1] + rng.normal(0, 0.09))
        lines += [([root, fork], 0.022), ([fork, tip], 0.011), ([fork, twin], 0.009)]
    return lines


def _boxy(u: Field, v: Field, share: float) -> Field:
    """Distance from the centre, 1 on an outline between an ellipse and a rounded box."""
    u, v = u * u, v * v
    radial: Field = np.sqrt(u + v)
    boxy: Field = np.sqrt(np.sqrt(u * u + v * v))
    return radial + (boxy - radial) * np.float32(share)


def _body(scan: Scan, rng: np.random.Generator) -> tuple[Field, Field]:
    """A transverse body on its table: (canvas with skin, fat and muscle, distance to the skin)."""
    canvas = np.full((SIZE, SIZE), 0.015, np.float32)
    table = ellipse(0, scan.y + scan.height * 1.08 - 2.0, 3.0, 2.0)
    mix(canvas, 0.3, ring(table, 0.014) * (np.abs(X) < 0.8))
    wobble = noise(rng, 5) * np.float32(0.022)
    u, v = (X - scan.x) / scan.width, (Y - scan.y) / scan.height
    skin = (_boxy(u, v, 0.3) - 1) * np.float32(scan.height) + wobble
    mix(canvas, 0.3, fill(skin))
    mix(canvas, 0.55, ring(skin + np.float32(0.008), 0.014))
    return canvas, skin


def _spine(canvas: Field, scan: Scan, y: float) -> None:
    y = scan.y + y * scan.height
    for side in (-1, 1):
        spot(canvas, 0.85, Shape(scan.x + side * 0.13, y + 0.12, 0.12, 0.035, side * 0.5), 0.03)
    spot(canvas, 0.86, Shape(scan.x, y + 0.2, 0.03, 0.1), 0.03)
    body, canal = Shape(scan.x, y, 0.14, 0.115), Shape(scan.x, y + 0.135, 0.055, 0.045)
    spot(canvas, 0.97, body, 0.03)
    spot(canvas, 0.74, body, 0.05, -0.045)
    spot(canvas, 0.9, canal, 0.02, 0.03)
    spot(canvas, 0.42, canal)


def _chest_ct(scan: Scan, rng: np.random.Generator) -> tuple[Field, float, float]:
    organs, side = anatomy(scan), -1 if scan.mirrored else 1
    canvas, skin = _body(scan, rng)
    mix(canvas, 0.5 + noise(rng, 40) * np.float32(0.02), fill(skin + np.float32(0.075), 0.03))
    wave = noise(rng, 6) * np.float32(0.015)
    for angle in np.linspace(0.3, 2 * math.pi + 0.3, 15)[:-1] + rng.uniform(-0.06, 0.06, 14):
        x, y = scan.width * 0.885 * math.cos(angle), scan.height * 0.8 * math.sin(angle)
        rib = Shape(scan.x + x, scan.y + y, 0.085, 0.026, math.atan2(x * 0.5, -y * 0.9))
        spot(canvas, 0.95, rib, 0.025)
    lungs = [ellipse(*organs[name]) + wave for name in ("Left Lung", "Right Lung")]
    air = fill(union(lungs), 0.02)
    mix(canvas, 0.1 + noise(rng, 24) * np.float32(0.014), air)
    vessels: list[Line] = []
    for name, hand in (("Left Lung", 1), ("Right Lung", -1)):
        x, y, rx, ry = organs[name]
        vessels += _branches(rng, organs[name], (x + hand * rx * 0.75, y + ry * 0.1))
    mix(canvas, 0.42, strokes(vessels) * air * np.float32(0.7))
    x, y, rx, ry = organs["heart"]
    mix(canvas, 0.52, fill(ellipse(scan.x, scan.y - 0.02, 0.15, scan.height * 0.6) + wave, 0.03))
    heart = ellipse(x, y, rx, ry, side * 0.35) + wave
    mix(canvas, 0.36, fill(heart - np.float32(0.012), 0.02))
    mix(canvas, 0.62 + noise(rng, 9) * np.float32(0.02), fill(heart, 0.025))
    spot(canvas, 0.7, Shape(x + side * rx * 0.25, y, rx * 0.4, ry * 0.5, side * 0.5), 0.12)
    spot(canvas, 0.72, Shape(scan.x + side * 0.13, scan.y + 0.14, 0.065, 0.065), 0.02)
    spot(canvas, 0.03, Shape(scan.x - side * 0.03, scan.y + 0.08, 0.04, 0.035), 0.02)
    spot(canvas, 0.93, Shape(scan.x, scan.y - scan.height * 0.83, 0.13, 0.03), 0.025)
    _spine(canvas, scan, 0.52)
    return canvas, 0.0, 0.66


def _abdomen_ct(scan: Scan, rng: np.random.Generator) -> tuple[Field, float, float]:
    organs, side = anatomy(scan), -1 if scan.mirrored else 1
    canvas, skin = _body(scan, rng)
    wave = noise(rng, 6) * np.float32(0.018)
    soft = noise(rng, 30) * np.float32(0.02)
    mix(canvas, 0.52, ring(skin + np.float32(0.13) + wave, 0.055, 0.02))
    mix(canvas, 0.26 + soft, fill(skin + np.float32(0.165) + wave, 0.02))
    for hand in (-1, 1):
        mix(canvas, 0.5, fill(ellipse(scan.x + hand * 0.22, scan.y + 0.34, 0.1, 0.12) + wave, 0.03))
        back = Shape(scan.x + hand * 0.24, scan.y + scan.height * 0.8, 0.2, 0.1)
        spot(canvas, 0.52, back, 0.04)
    for _ in range(7):
        x, y = rng.uniform(-0.26, 0.26), rng.uniform(-0.12, 0.2)
        rx, ry = rng.uniform(0.06, 0.1, 2)
        loop = Shape(scan.x + side * 0.12 + x, scan.y + y, rx, ry, x * 9)
        spot(canvas, 0.5, loop)
        spot(canvas, rng.uniform(0.3, 0.6), loop, 0.02, -0.028)
    spleen, liver = ellipse(*organs["Spleen"], side * 0.2), ellipse(*organs["Liver"], side * 0.12)
    wall = fill(skin + np.float32(0.1), 0.04)
    mix(canvas, 0.6 + soft, fill(spleen + wave, 0.02) * wall)
    mix(canvas, 0.62 + soft, fill(liver + wave * 2, 0.02) * wall)
    x, y, rx, ry = organs["Liver"]
    veins = _branches(rng, (x, y, rx * 0.8, ry * 0.8), (x + side * rx * 0.6, y + ry * 0.3))
    mix(canvas, 0.72, strokes(veins) * fill(liver + np.float32(0.03)) * np.float32(0.6))
    stomach = ellipse(*organs["stomach"], side * -0.3) + wave
    mix(canvas, 0.6, fill(stomach, 0.02))
    mix(canvas, 0.01 if scan.gas else 0.42, fill(stomach + np.float32(0.03), 0.02))
    for name in (name for name in organs if "Kidney" in name):
        x, y, rx, ry = organs[name]
        mix(canvas, 0.74, fill(ellipse(x, y, rx, ry) + wave * np.float32(0.5), 0.02))
        inward = -math.copysign(0.05, x - scan.x)
        spot(canvas, 0.42, Shape(x + inward, y, rx * 0.32, ry * 0.42), 0.03)
    spot(canvas, 0.8, Shape(scan.x + side * 0.06, scan.y + 0.2, 0.06, 0.06), 0.02)
    spot(canvas, 0.66, Shape(scan.x - side * 0.1, scan.y + 0.19, 0.07, 0.05), 0.02)
    _spine(canvas, scan, 0.56)
    return canvas, 0.2, 0.98


def _chest_xray(scan: Scan, rng: np.random.Generator) -> tuple[Field, float, float]:
    organs, side = anatomy(scan), -1 if scan.mirrored else 1
    u, v = (X - scan.x) / scan.width, (Y - scan.y) / scan.height
    out = np.abs(u)
    canvas = np.full((SIZE, SIZE), 0.03, np.float32)
    torso = _boxy(out / np.float32(1.06), (v - 0.55) / np.float32(1.42), 0.75) - 1
    neck = ellipse(scan.x, -1.05, 0.27, 0.5)
    mix(canvas, 0.5, fill(np.minimum(torso, neck), 0.1))
    canvas += fill(torso + np.float32(0.12), 0.3) * np.float32(0.06)
    wave = noise(rng, 5) * np.float32(0.012)
    lungs = union([ellipse(*organs[name]) + wave for name in ("Left Lung", "Right Lung")])
    # A dome of the diaphragm under each lung, the one beside the liver a little higher.
    dome = v - 0.5 + 0.05 * side * np.sign(u) - 0.1 * np.square((out - 0.42) / 0.3)
    floor = fill(-(dome * np.float32(scan.height)).astype(np.float32), 0.03)
    air = fill(lungs, 0.07) * (1 - floor)
    mix(canvas, 0.22, air * np.float32(0.92))
    mix(canvas, 0.72, floor * fill(torso + np.float32(0.1), 0.2))
    vessels: list[Line] = []
    for name, hand in (("Left Lung", 1), ("Right Lung", -1)):
        x, y, rx, ry = organs[name]
        vessels += _branches(rng, (x, y, rx, ry * 0.8), (x + hand * rx * 0.85, y + 0.05))
    canvas += strokes(vessels) * air * np.float32(0.16)
    cage = fill(ellipse(scan.x, scan.y - 0.02, 0.86 * scan.width, 0.92 * scan.height), 0.06)
    back = np.cos((v - 0.42 * np.square(out - 0.2)) * (2 * math.pi / 0.185))
    front = np.cos((v + 0.75 * (out - 0.4) - 0.2 * out * out) * (2 * math.pi / 0.23))
    cage *= 1 - floor * np.float32(0.7)
    canvas += cage * np.clip(back * 3 - 1.1, 0, 1) * np.clip(out * 12 - 1, 0, 1) * 0.10
    canvas += cage * np.clip(front * 3 - 1.5, 0, 1) * np.clip(out * 6 - 2, 0, 1) * 0.05
    x, y, rx, ry = organs["heart"]
    heart = ellipse(x, y, rx, ry, side * 0.6) + wave
    mix(canvas, 0.7, fill(ellipse(scan.x, scan.y + 0.1, 0.16, 0.75) + wave, 0.06))
    mix(canvas, 0.78, fill(heart, 0.05) * np.float32(0.94))
    spot(canvas, 0.76, Shape(*organs["aorta"]), 0.06)
    discs = np.clip(np.cos(v * (2 * math.pi / 0.15)) * 2, 0, 1)
    canvas += discs * fill(np.abs(X - scan.x) - np.float32(0.09), 0.04) * np.float32(0.06)
    mix(canvas, 0.4, fill(ellipse(scan.x, -0.75, 0.055, 0.42), 0.05) * np.float32(0.6))
    points = ((0.09, -0.6), (0.25, -0.66), (0.45, -0.76), (0.66, -0.77), (0.84, -0.72))
    collars: list[Line] = [
        ([(scan.x + x * hand * scan.width, scan.y + y * scan.height) for x, y in points], 0.06)
        for hand in (-1, 1)
    ]
    canvas += strokes(collars) * np.float32(0.18)
    return canvas, 0.03, 0.74


def _brain_mri(scan: Scan, rng: np.random.Generator) -> tuple[Field, float, float]:
    t1 = scan.weighting == "T1"
    white, grey, fluid, fat = (0.66, 0.46, 0.07, 0.9) if t1 else (0.36, 0.52, 0.97, 0.7)
    canvas = np.full((SIZE, SIZE), 0.01, np.float32)
    wobble = noise(rng, 5) * np.float32(0.01)
    head = ellipse(scan.x, scan.y, scan.width, scan.height) + wobble
    mix(canvas, fat, fill(head, 0.02))
    mix(canvas, 0.05, fill(head + np.float32(0.05), 0.02))
    mix(canvas, fluid * 0.9, fill(head + np.float32(0.1), 0.02))
    brain = head + np.float32(0.12)
    depth = -brain
    inside = fill(brain, 0.02)
    # Furrows run in from the surface and fade with depth, each lined with grey matter.
    furrow = np.abs(noise(rng, 18, 21)) + np.clip(depth * np.float32(2.6), 0, 2)
    mix(canvas, white + noise(rng, 40) * np.float32(0.015), inside)
    ribbon = fill(furrow - np.float32(0.95), 0.25)
    mix(canvas, grey, np.maximum(ribbon, fill(depth - np.float32(0.05))) * inside)
    mix(canvas, fluid, fill(furrow - np.float32(0.3), 0.25) * inside)
    middle = np.abs(X - scan.x + wobble * np.float32(1.5))
    ends = fill(0.42 * np.float32(scan.height) - np.abs(Y - scan.y), 0.05)
    mix(canvas, fluid, fill(middle - np.float32(0.012), 0.015) * ends * fill(brain))
    grown = 1.75 if scan.enlarged else 0.85
    for hand in (-1, 1):
        for x, y, rx, ry, turn in ((0.14, -0.06, 0.08, 0.13, 0.3), (0.13, 0.1, 0.08, 0.1, 0)):
            core = Shape(scan.x + hand * x * grown, scan.y + y, rx, ry, -hand * turn)
            spot(canvas, grey, core, 0.03)
        horns = ((0.075, -0.15, 0.04, 0.14, 0.3), (0.1, 0.17, 0.04, 0.15, -0.4))
        for x, y, rx, ry, turn in horns:
            horn = Shape(
                scan.x + hand * x * (0.4 + 0.6 * grown),
                scan.y + y * (0.5 + 0.5 * grown),
                rx * grown,
                ry * (0.5 + 0.5 * grown),
                hand * turn,
            )
            spot(canvas, fluid, horn)
    spot(canvas, fluid, Shape(scan.x, scan.y + 0.02, 0.014 * grown, 0.09))
    return canvas, 0.2 if t1 else 0.02, 0.97
