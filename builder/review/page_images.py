"""Images for the review page: as they are where they fit, as smaller copies otherwise."""

from __future__ import annotations

import base64
import io
from bisect import bisect_left
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final, NamedTuple

from builder.review.records import Item
from mllmu_med.pixels import model_image, shown_bytes
from mllmu_med.progress import Advance, progress, say
from mllmu_med_dataset import UserError

if TYPE_CHECKING:
    from PIL import Image

THREADS: Final = 4  # Pillow lets go of the interpreter while it decodes and encodes
#: Longest side in pixels and JPEG quality, from the best copy to the least that can be judged.
STEPS: Final = (
    (1600, 85), (1280, 82), (1024, 80), (896, 75), (768, 75), (640, 70), (512, 65), (448, 60),
    (384, 55), (320, 50), (256, 45),
)  # fmt: skip
_KINDS: Final = {b"\xff\xd8\xff": "image/jpeg", b"\x89PN": "image/png"}


class Embedded(NamedTuple):
    """An image as the page holds it; width and height in pixels, upright.

    size: the original's; copy: the smaller copy's, or None where the original's bytes are embedded.
    """

    kind: str
    base64: str
    size: tuple[int, int]
    copy: tuple[int, int] | None


def embed(
    items: Sequence[Item], read_image: Callable[[Item], bytes], budget: int
) -> dict[str, Embedded]:
    """Each distinct image of the items, by its hash; all of them take at most `budget` bytes.

    Images share the budget so that the small ones stay as they are: only what is larger than
    its share becomes a JPEG of at most that share. `read_image` is called from several threads,
    twice for an image that has to shrink.

    Raises:
        UserError: too many images for the budget, however small.
    """
    first = {item.image_sha256: item for item in reversed(items)}
    distinct = [first[name] for name in dict.fromkeys(item.image_sha256 for item in items)]
    if not distinct:
        return {}
    with ThreadPoolExecutor(THREADS) as pool:
        sizes = list(pool.map(lambda item: len(shown_bytes(read_image(item))), distinct))
        share = _share(sizes, budget)
        with progress("review page: images", len(distinct)) as advance:

            def embed_one(item: Item) -> Embedded | None:
                return _embed(shown_bytes(read_image(item)), share, advance)

            done = list(pool.map(embed_one, distinct))
    made = {item.image_sha256: image for item, image in zip(distinct, done, strict=True) if image}
    if len(made) < len(distinct):
        raise UserError(
            f"review page: {len(distinct):,} images are too many for one page of "
            f"{budget / 1e6:.0f} MB: export one --scenario at a time or share them among more "
            "--reviewers"
        )
    copies = sum(image.copy is not None for image in made.values())
    if copies:
        say(
            f"review page: {copies:,} of {len(made):,} images are smaller copies, so that the "
            f"page stays under {budget / 1e6:.0f} MB"
        )
    return made


def _share(sizes: Sequence[int], budget: int) -> int:
    """The most bytes for one image: what the small ones leave is the large ones' to share."""

    def is_too_much(share: int) -> bool:
        in_base64 = (4 * -(-min(size, share) // 3) for size in sizes)
        return sum(in_base64) > budget

    return bisect_left(range(max(sizes) + 1), True, key=is_too_much) - 1


def _embed(data: bytes, share: int, advance: Advance) -> Embedded | None:
    from PIL import Image

    kind = _KINDS.get(data[:3], "application/octet-stream")
    with Image.open(io.BytesIO(data)) as image:
        size = image.size
        copy: tuple[int, int] | None = None
        if len(data) > share:
            image.draft("RGB", (STEPS[0][0], STEPS[0][0]))  # a JPEG of that size at the least
            grey = image.mode in ("1", "L")
            smaller = _shrink(model_image(image).convert("L" if grey else "RGB"), share)
            if smaller is None:
                return None
            data, copy = smaller
            kind = "image/jpeg"
    advance()
    return Embedded(kind, base64.b64encode(data).decode("ascii"), size, copy)


def _shrink(image: Image.Image, share: int) -> tuple[bytes, tuple[int, int]] | None:
    """The best step's JPEG that has at most `share` bytes, with its size in pixels."""
    from PIL import Image

    for side, quality in STEPS:
        copy, stream = image.copy(), io.BytesIO()
        copy.thumbnail((side, side), Image.Resampling.BICUBIC)
        copy.save(stream, "JPEG", quality=quality)
        if len(data := stream.getvalue()) <= share:
            return data, copy.size
    return None
