"""What a model sees of an image: one function, wherever an image is read.

Answering, training, calibration, authors that look at images, the review page and lmms-eval show
the same pixels of the same bytes.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image


def model_image(image: bytes | Image) -> Image:
    """An image file, or what `datasets` opened of it, in RGB of 8 bits: upright, on white.

    Grey of more than 8 bits is scaled by the range that it uses: radiology keeps 12 bits in 16,
    where `convert` would cut nearly all to white and a division by 257 leave nearly all black.
    """
    from PIL import Image as images
    from PIL import ImageOps

    if isinstance(image, bytes):
        image = images.open(io.BytesIO(image))
    upright = ImageOps.exif_transpose(image)
    if upright.mode.startswith(("I", "F")):
        import numpy as np

        values = np.asarray(upright, np.float64)
        grey = scaled(values, values.min(), values.max())
        grey[values == upright.info.get("transparency")] = 255
        return images.fromarray(grey).convert("RGB")
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        upright = images.alpha_composite(images.new("RGBA", layer.size, "white"), layer)
    return upright.convert("RGB")


def scaled(values: NDArray[np.float64], low: float, high: float) -> NDArray[np.uint8]:
    """Values from `low` (black) to `high` (white), [height, width]; black where these are equal."""
    import numpy as np

    share = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)


def shown_bytes(data: bytes) -> bytes:
    """The image file itself where any program shows of it what a model sees, else a PNG of that."""
    from PIL import Image as images

    with images.open(io.BytesIO(data)) as image:
        upright = image.getexif().get(0x0112, 1) == 1
        if upright and image.mode in ("1", "L", "P", "RGB") and not image.has_transparency_data:
            return data
        stream = io.BytesIO()
        model_image(image).save(stream, "PNG")
    return stream.getvalue()
