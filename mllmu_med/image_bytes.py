"""Reading images that nobody has checked: whole, of a sane size, and without their metadata.

The pixels of JPEG and PNG are never re-encoded. Metadata can hold a real patient's data (EXIF, XMP,
IPTC, comments, text chunks), so it is cut out of the file's own structure.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from contextlib import suppress
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from PIL.Image import Image

MAX_PIXELS: Final = 100_000_000  # 10,000 x 10,000: far above any radiograph, far below a bomb
MAX_BYTES: Final = 200_000_000

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
# What a PNG needs to look as it does; every other chunk (text, time, EXIF, private ones) goes.
_PNG_KEEP: Final = frozenset(
    b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB sBIT bKGD pHYs iCCP cICP".split()
)
_EXIF_ORIENTATION: Final = 0x0112
_UNREAD: Final = "images with metadata that cannot be read"
_SILENT: Final = "DICOM images that do not tell of burned-in text"
#: Formats of one image that become PNG, as Pillow names them.
_CONVERTED: Final = ("TIFF", "BMP", "GIF", "WEBP")


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


class Clean(NamedTuple):
    """An image as it ships: a JPEG or PNG without metadata."""

    data: bytes
    #: What was done beyond cutting metadata out, in words to be counted.
    notes: tuple[str, ...] = ()
    converted: bool = False  # the source is another format than JPEG and PNG


def clean_image(data: bytes) -> bytes:
    """The bytes of `clean`."""
    return clean(data).data


def clean(data: bytes) -> Clean:
    """An image without metadata, after decoding it once to see that it is whole.

    JPEG and PNG keep their own bytes, APNG and MPO those of their first image. What Pillow reads
    only without its metadata (long texts, false checksums) is read so. Other formats become PNG
    with the same pixels.

    Raises:
        ImageError: no such image, truncated, damaged, with more than `MAX_PIXELS`, or one that
            cannot become a PNG.
        UserError: a DICOM file, and pydicom is not installed.
    """
    if not data:
        raise ImageError("is empty")
    if data[128:132] == b"DICM":
        from mllmu_med.dicom import from_dicom

        image, no_text = from_dicom(data)
        notes = ("images converted from DICOM to PNG", *(() if no_text else (_SILENT,)))
        return Clean(_as_png(image), notes, True)
    try:
        return _clean(data)
    except ImageError:
        if data.startswith(_PNG_SIGNATURE):
            with suppress(ImageError):  # the whole file's error says more
                return Clean(_clean(_clean_png(data, None)).data, (_UNREAD,))
        raise


def _clean(data: bytes) -> Clean:
    from PIL import Image, UnidentifiedImageError

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
            if image.format in _CONVERTED:
                return _convert(image)
            if image.format not in ("JPEG", "MPO", "PNG"):
                known = ", ".join(_CONVERTED)
                raise ImageError(f"is {image.format}: only JPEG, PNG, {known} and DICOM are taken")
            image.load()
            cut = _clean_png if image.format == "PNG" else _clean_jpeg
            orientation = image.getexif().get(_EXIF_ORIENTATION, 1)
    except UnidentifiedImageError as error:
        raise ImageError("is no picture") from error
    except Image.DecompressionBombError as error:
        raise ImageError(f"has far over {MAX_PIXELS:,} pixels") from error
    except (
        OSError, SyntaxError, ValueError, LookupError, TypeError, EOFError, struct.error, zlib.error
    ) as error:  # fmt: skip
        raise ImageError(f"is damaged or cut off ({error})") from error
    return Clean(cut(data, orientation if orientation in range(1, 9) else 1))


def _convert(image: Image) -> Clean:
    """A PNG with the same pixels, upright."""
    from PIL import ImageOps

    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        raise ImageError(f"is {image.format} with {frames:,} images: save each as a PNG")
    image.load()
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B"):
        raise ImageError(
            f"is {image.format} with {image.mode} pixels, which no PNG holds: save it as a PNG"
        )
    note = f"images converted from {image.format} to PNG"
    return Clean(_as_png(ImageOps.exif_transpose(image)), (note,), True)


def _as_png(image: Image) -> bytes:
    """Equal bytes for equal pixels."""
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return _clean_png(stream.getvalue(), 1)


def _orientation_exif(orientation: int) -> bytes:
    """A TIFF block that says nothing but which way is up: readers turn the image by it."""
    return struct.pack(">2sHIHHHIHHI", b"MM", 42, 8, 1, _EXIF_ORIENTATION, 3, 1, orientation, 0, 0)


def _clean_png(data: bytes, orientation: int | None) -> bytes:
    """None: for Pillow to read it; with its EXIF, and without what has a false checksum."""
    kept = [_PNG_SIGNATURE]
    at = len(_PNG_SIGNATURE)
    while at + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        end = at + 12 + length
        if orientation is not None:
            keeps = kind in _PNG_KEEP
        else:  # a chunk that begins in lower case can be done without
            true = data[end - 4 : end] == struct.pack(">I", zlib.crc32(data[at + 4 : end - 4]))
            keeps = kind in _PNG_KEEP | {b"eXIf"} and (true or kind[:1].isupper())
        if keeps:
            kept.append(data[at:end])
        if kind == b"IHDR" and orientation not in (1, None):
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
        marker = data[at + 1]
        # Between segments, decoders go on to the next marker: over fill bytes and stray ones.
        if data[at] != 0xFF or marker in (0, 0xFF):
            at += 1
            continue
        if marker == 0xD9:
            break
        (length,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + length
        if end > len(data):
            raise ImageError("is cut off (no end of image)")
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
