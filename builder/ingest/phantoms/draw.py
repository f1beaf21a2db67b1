"""What both kinds of phantom image are drawn and asked with: shapes, noise, PNG, questions.

A shape is its signed distance: a 320x320 array that is negative inside, in units where the image
reaches from -1 to 1 (x to the right, y downward; a pixel is 1/160). `fill` turns a distance into
a soft mask, `mix` paints with a mask. All of it is numpy and Pillow; nothing loops over pixels.

    canvas = np.zeros((SIZE, SIZE), np.float32)
    mix(canvas, 0.7, fill(ellipse(0.1, -0.2, 0.4, 0.3)))
"""

import functools
import hashlib
import io
import math
from collections.abc import Sequence
from typing import Final, NamedTuple, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

Field: TypeAlias = NDArray[np.float32]
Mask: TypeAlias = NDArray[np.floating]
Line: TypeAlias = tuple[Sequence[tuple[float, float]], float]
Colour: TypeAlias = tuple[float, float, float]
T = TypeVar("T")

SIZE: Final = 320
_AXIS: Final = ((np.arange(SIZE) + 0.5) * (2 / SIZE) - 1).astype(np.float32)
X: Final[Field] = _AXIS[None, :]
Y: Final[Field] = _AXIS[:, None]
#: Light on a raised surface comes from the upper left.
_LIGHT: Final = 14.0


class Question(NamedTuple):
    text: str
    answer: str
    content_type: str  # SLAKE's names: Modality, Position, Organ, Size, Quantity, Shape, ...


class PhantomImage(NamedTuple):
    png: bytes  # the file, without metadata chunks
    modality: str  # CT, X-Ray, MRI; clinical, histopathology, dermoscopy
    caption: str  # states everything the questions ask about
    questions: tuple[Question, ...]


class Fact(NamedTuple):
    """Something true of an image, and how to ask for it openly or as a claim to agree with."""

    content_type: str
    value: str
    others: tuple[str, ...]  # values that are false of this image
    asks: tuple[str, ...]  # wordings of the open question; none: only asked as a claim
    claims: tuple[str, ...]  # yes/no wordings, with {} for a value; none: only asked openly
    sentences: tuple[str, ...] = ()  # the truth as a full sentence (skin)


class Shape(NamedTuple):
    """An ellipse, turned by radians, whose radius may wave: (count, relative height, phase)."""

    x: float
    y: float
    rx: float
    ry: float
    turn: float = 0.0
    waves: tuple[tuple[int, float, float], ...] = ()

    def extent(self) -> float:
        return max(self.rx, self.ry) * (1 + sum(abs(height) for _, height, _ in self.waves))


def generator(seed: int, part: str, index: int) -> np.random.Generator:
    """Random numbers that depend on nothing but the three arguments."""
    digest = hashlib.blake2b(f"{seed}/{part}/{index}".encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def pick(rng: np.random.Generator, options: Sequence[T], weights: Sequence[float] = ()) -> T:
    """One of the options, uniformly or by weights that sum to 1."""
    if weights:
        return options[int(rng.choice(len(options), p=weights))]
    return options[int(rng.integers(len(options)))]


def shuffled(rng: np.random.Generator, items: Sequence[T]) -> list[T]:
    return [items[int(place)] for place in rng.permutation(len(items))]


def claim(rng: np.random.Generator, fact: Fact) -> tuple[str, bool]:
    """A yes/no question about a fact, true of the image half of the time."""
    true = bool(rng.random() < 0.5)
    value = fact.value if true else pick(rng, fact.others)
    return pick(rng, fact.claims).format(value), true


# ---- shapes --------------------------------------------------------------------------------------


def _near(x: float, y: float, reach: float) -> tuple[slice, slice]:
    left, right, top, bottom = (
        min(max(math.ceil((edge + 1) * SIZE / 2), 0), SIZE)
        for edge in (x - reach, x + reach, y - reach, y + reach)
    )
    return slice(top, bottom), slice(left, right)


def _outline(window: tuple[slice, slice], shape: Shape) -> Field:
    x, y, rx, ry, turn, waves = shape
    u, v = X[:, window[1]] - np.float32(x), Y[window[0]] - np.float32(y)
    if turn != 0:
        c, s = np.float32(math.cos(turn)), np.float32(math.sin(turn))
        u, v = u * c + v * s, v * c - u * s
    u, v = u / np.float32(rx), v / np.float32(ry)
    radial: Field = np.sqrt(u * u + v * v)
    if waves:
        angle = np.arctan2(v, u)
        for count, height, phase in waves:
            radial -= np.float32(height) * np.cos(np.float32(count) * angle + np.float32(phase))
    radial -= 1
    radial *= min(rx, ry)
    return radial


def ellipse(x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> Field:
    return _outline((slice(None), slice(None)), Shape(x, y, rx, ry, turn))


def outline(shape: Shape, reach: float = 0.06) -> Field:
    """Distance to a shape, exact up to `reach` outside it and 1 farther away."""
    distance = np.ones((SIZE, SIZE), np.float32)
    window = _near(shape.x, shape.y, shape.extent() + reach)
    distance[window] = _outline(window, shape)
    return distance


def spot(
    canvas: Field, value: float | Colour, shape: Shape, soft: float = 0.02, grow: float = 0.0
) -> None:
    """Paint a shape (grown by a distance); touches its surroundings only."""
    window = _near(shape.x, shape.y, shape.extent() + soft + grow)
    mask = fill(_outline(window, shape) - np.float32(grow), soft)
    mix(canvas[..., window[0], window[1]], value, mask)


def union(distances: Sequence[Field]) -> Field:
    return functools.reduce(np.minimum, distances)


# ---- masks and paint -----------------------------------------------------------------------------


def fill(distance: Field, soft: float = 0.012) -> Field:
    """1 inside, 0 outside, with an edge `soft` wide."""
    mask: Field = distance * np.float32(-1 / soft)
    mask += np.float32(0.5)
    return np.clip(mask, 0, 1, out=mask)


def ring(distance: Field, width: float, soft: float = 0.012) -> Field:
    """1 on the outline, `width` thick."""
    return fill(np.abs(distance) - np.float32(width / 2), soft)


def _from_grey(image: Image.Image) -> Field:
    mask = np.asarray(image, np.float32)
    return mask * np.float32(1 / 255)


def strokes(lines: Sequence[Line]) -> Field:
    """Polylines of (points, width) as a mask from 0 to 1."""
    twice = SIZE  # drawn at twice the size, then halved, so that edges are smooth
    image = Image.new("L", (2 * SIZE, 2 * SIZE))
    pen = ImageDraw.Draw(image)
    for points, width in lines:
        pixels = [((x + 1) * twice, (y + 1) * twice) for x, y in points]
        pen.line(pixels, fill=255, width=max(1, round(width * twice)), joint="curve")
    return _from_grey(image.reduce(2))


def dots(x: NDArray[np.float64], y: NDArray[np.float64], radius: float) -> Field:
    """Soft round dots of one radius (pixels) at many places at once."""
    points = np.zeros((SIZE, SIZE), np.uint8)
    column = ((x + 1) * SIZE / 2).astype(int)
    row = ((y + 1) * SIZE / 2).astype(int)
    inside = (column >= 0) & (column < SIZE) & (row >= 0) & (row < SIZE)
    points[row[inside], column[inside]] = 255
    soft = _from_grey(Image.fromarray(points).filter(ImageFilter.GaussianBlur(radius)))
    soft *= np.float32(2 * math.pi * radius**2 / 0.55)
    soft -= np.float32(0.25)
    return np.clip(soft, 0, 1, out=soft)


def plain(colour: Colour) -> Field:
    """A canvas of one colour: (3, rows, columns)."""
    canvas = np.empty((3, SIZE, SIZE), np.float32)
    canvas[:] = np.asarray(colour, np.float32)[:, None, None]
    return canvas


def mix(canvas: Field, value: float | Field | Colour, mask: Mask) -> None:
    """Paint on the canvas, grey (rows, columns) or colour (3, rows, columns), in place."""
    paint = np.asarray(value, np.float32)
    change = (paint[:, None, None] if paint.ndim == 1 else paint) - canvas
    change *= mask
    canvas += change


def relief(height: Field) -> Field:
    """How much brighter (or darker) a surface of this height looks in slanting light."""
    slope = np.zeros_like(height)
    slope[1:-1, 1:-1] = height[2:, 2:] - height[:-2, :-2]
    slope *= np.float32(_LIGHT)
    return slope


# ---- noise and files -----------------------------------------------------------------------------


def noise(rng: np.random.Generator, across: int, down: int = 0) -> Field:
    """Smooth noise of about unit spread with so many bumps across (and down) the image."""
    grid = rng.standard_normal((down or across, across), dtype=np.float32)
    smooth = Image.fromarray(grid).resize((SIZE, SIZE), Image.Resampling.BICUBIC)
    return np.asarray(smooth, np.float32)


@functools.cache
def _grain_sheet() -> Field:
    rng = np.random.default_rng(0)
    return rng.standard_normal((3 * SIZE, 3 * SIZE), dtype=np.float32)


def grain(rng: np.random.Generator) -> Field:
    """Fine noise of unit spread, cut from one large sheet: drawing it afresh would be slow."""
    top, left = rng.integers(0, 2 * SIZE, 2)
    cut: Field = _grain_sheet()[top : top + SIZE, left : left + SIZE]
    return cut


def blurred(mask: Field, radius: float) -> Field:
    """A mask from 0 to 1, blurred; radius in pixels."""
    image = Image.fromarray((np.clip(mask, 0, 1) * np.float32(255)).astype(np.uint8))
    return _from_grey(image.filter(ImageFilter.GaussianBlur(radius)))


def png(canvas: Field) -> bytes:
    """The PNG file of a canvas whose values reach from 0 to 1."""
    pixels = np.clip(canvas * np.float32(255) + np.float32(0.5), 0, 255).astype(np.uint8)
    if pixels.ndim == 3:
        pixels = np.ascontiguousarray(np.moveaxis(pixels, 0, -1))
    file = io.BytesIO()
    # On noise, run lengths with Huffman codes beat the default in size and in time.
    Image.fromarray(pixels).save(file, "PNG", compress_level=1, compress_type=3)
    return file.getvalue()
