"""Reading images that nobody has checked: whole, of a sane size, and without their metadata.

The pixels are never re-encoded. Metadata can hold a real patient's data (EXIF, XMP, IPTC, comments,
text chunks), so it is cut out of the file's own structure.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import PurePosixPath
from typing import Final

MAX_PIXELS: Final = 100_000_000  # 10,000 x 10,000: far above any radiograph, far below a bomb
MAX_BYTES: Final = 200_000_000

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
# What a PNG needs to look as it does; every other chunk (text, time, EXIF, private ones) goes.
_PNG_KEEP: Final = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB sBIT bKGD pHYs iCCP cICP".split()
)
_EXIF_ORIENTATION: Final = 0x0112


class ImageError(Exception):
    """A file is no usable image; the message says why."""


def check_relative(name: str) -> PurePosixPath:
    """An image's path inside its source, with forward slashes.

    Raises:
        ImageError: the path is empty, absolute or climbs out of the folder.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if not path.name or path.is_absolute() or (path.parts[0].endswith(":")):
        raise ImageError("is not a path inside the source's folder")
    if ".." in path.parts:
        raise ImageError('climbs out of the source\'s folder with ".."')
    if "\0" in name:
        raise ImageError("holds a NUL character")
    return path


def clean_image(data: bytes) -> bytes:
    """The image's own bytes without metadata, after decoding it once to see that it is whole.

    Raises:
        ImageError: not a JPEG or PNG, truncated, damaged, or with more than `MAX_PIXELS`.
    """
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise ImageError("is empty")
    # Our own limit below decides; Pillow warns a little earlier. For the whole process, as
    # images are read by several threads and `catch_warnings` is not made for that.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    try:
        with Image.open(io.BytesIO(data)) as image:
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise ImageError(
                    f"has {width:,} x {height:,} pixels, over the limit of {MAX_PIXELS:,}"
                )
            if image.format not in ("JPEG", "MPO", "PNG"):
                raise ImageError(f"is {image.format}: only JPEG and PNG are taken")
            is_png = image.format == "PNG"
            image.load()
            orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
            if orientation not in range(1, 9):
                orientation = 1
    except UnidentifiedImageError as error:
        raise ImageError("is no picture") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"has far over {MAX_PIXELS:,} pixels") from error
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error) as error:
        raise ImageError(f"is damaged or cut off ({error})") from error
    if is_png:
        return _clean_png(data, orientation)
    return _clean_jpeg(data, orientation)


def _orientation_exif(orientation: int) -> bytes:
    """A TIFF block that says nothing but which way is up: readers turn the image by it."""
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, _EXIF_ORIENTATION, 3, 1, orientation, 0, 0)


def _clean_png(data: bytes, orientation: int) -> bytes:
    kept = [_PNG_SIGNATURE]
    at = len(_PNG_SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        end = at + 12 + length
        if kind in _PNG_KEEP:
            kept.append(data[at:end])
        if kind == b"IHDR" and orientation != 1:
            body = b"eXIf" + _orientation_exif(orientation)
            kept.append(struct.pack(">I", len(body) - 4) + body)
            kept.append(struct.pack(">I", zlib.crc32(body)))
        if kind == b"IEND":
            return b"".join(kept)
        at = end
    raise ImageError("is cut off (no end of image)")


def _clean_jpeg(data: bytes, orientation: int) -> bytes:
    kept = [b"\xff\xd8"]
    if orientation != 1:
        body = b"Exif\0\0" + _orientation_exif(orientation)
        kept.append(b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body)
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise ImageError("is damaged (a JPEG segment does not begin where it should)")
        marker = data[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker == 0xD9:
            break
        (length,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + length
        if _jpeg_keeps(marker, data[at + 4 : end]):
            kept.append(data[at:end])
        at = end
        if marker == 0xDA:  # the scan: entropy-coded bytes up to the next real marker
            begin = at
            at = _scan_end(data, at)
            kept.append(data[begin:at])
    # What follows the end of image (thumbnails, maker notes) is left behind.
    return b"".join([*kept, b"\xff\xd9"])


def _jpeg_keeps(marker: int, body: bytes) -> bool:
    if marker == 0xFE:  # a comment
        return False
    if 0xE0 <= marker <= 0xEF:
        # JFIF, the colour profile and Adobe's colour transform decide how the pixels look.
        return body.startswith((b"JFIF\0", b"ICC_PROFILE\0", b"Adobe"))
    return True


def _scan_end(data: bytes, at: int) -> int:
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            return len(data)
        if data[at + 1] != 0 and not 0xD0 <= data[at + 1] <= 0xD7:
            return at
        at += 2
