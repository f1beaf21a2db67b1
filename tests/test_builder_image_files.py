"""Pictures: what is refused, and that metadata goes while pixels stay."""

import io
import re
import struct
import zlib
from collections.abc import Callable
from hashlib import sha256

import numpy as np
import pytest
from corpora import ROOT, image_data
from PIL import Image, ImageOps, PngImagePlugin

from mllmu_med.image_bytes import MAX_PIXELS, ImageError, check_relative, clean, clean_image

SECRET = b"JOHN DOE 1234"
GOLDEN = {"phantoms.jpg": "63c20aa151b94236", "review.jpg": "9a9b6c7fa21e6ab6"}


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def with_exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("orientation", [1, 6, 99])
@pytest.mark.parametrize("save", [{}, {"progressive": True}, {"subsampling": 2, "quality": 60}])
def test_jpeg_metadata_goes_and_pixels_stay(save: dict[str, object], orientation: int) -> None:
    data = image_data(1, exif=with_exif(orientation), comment=SECRET, **save) + SECRET
    assert data.count(SECRET) == 3
    clean = clean_image(data)
    assert SECRET not in clean
    assert (pixels(clean) == pixels(data)).all()
    with Image.open(io.BytesIO(clean)) as image:
        exif = dict(image.getexif())
        upright = np.asarray(ImageOps.exif_transpose(image))
    assert exif == ({0x0112: 6} if orientation == 6 else {})
    with Image.open(io.BytesIO(data)) as image:
        assert (np.asarray(ImageOps.exif_transpose(image)) == upright).all()
    assert clean_image(clean) == clean


def test_jpeg_keeps_its_colour_profile() -> None:
    data = image_data(1, icc_profile=b"\0" * 40 + b"acsp" + b"\0" * 200)
    assert b"acsp" in clean_image(data)


@pytest.mark.parametrize("orientation", [1, 3])
def test_png_metadata_goes_and_pixels_stay(orientation: int) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", SECRET.decode())
    info.add_itxt("Author", SECRET.decode())
    data = image_data(2, kind="PNG", pnginfo=info, exif=with_exif(orientation)) + SECRET
    assert data.count(SECRET) == 4
    clean = clean_image(data)
    assert SECRET not in clean
    assert (pixels(clean) == pixels(data)).all()
    with Image.open(io.BytesIO(clean)) as image:
        image.load()
        assert dict(image.getexif()) == ({} if orientation == 1 else {0x0112: 3})
    assert clean_image(clean) == clean


def image_of(number: int) -> Image.Image:
    return Image.open(io.BytesIO(image_data(number)))


def saved(image: Image.Image, kind: str, **save: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, save_all=True, **save)
    return stream.getvalue()


def chunk(kind: bytes, body: bytes, wrong: int = 0) -> bytes:
    checksum = zlib.crc32(kind + body) ^ wrong
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def odd_jpeg(**save: object) -> Callable[[bytes], bytes]:
    """A JPEG with more bytes after its JFIF segment."""
    data = image_data(5, **save)
    return lambda more: data[:20] + more + data[20:]


JPEG, PNG = odd_jpeg(), image_data(5, kind="PNG")
LONG = b"Comment\0\0" + zlib.compress(SECRET * 200_000)
LATE = struct.pack(">IIIIIHHBB", 0, 48, 48, 0, 0, 1, 1, 0, 0)  # of an animated PNG's frame
#: What browsers open: the file as it is found, and as it was before.
ODD = {
    "stray bytes": (JPEG(b"\0\1"), JPEG(b"")),
    "fill bytes": (JPEG(b"\xff" * 9), JPEG(b"")),
    "a stray escape": (JPEG(b"\xff\0" + SECRET), JPEG(b"")),
    "broken EXIF": (JPEG(b"\xff\xe1\0\x15Exif\0\0" + SECRET), JPEG(b"")),
    "restart markers": (odd_jpeg(restart_marker_blocks=2)(b"") + SECRET, None),
    "progressive": (odd_jpeg(progressive=True)(b"\xff\xed\0\x0f" + SECRET), None),
    "MPO": (saved(image_of(5), "MPO", append_images=[image_of(6)]), None),
    "long text": (PNG[:33] + chunk(b"zTXt", LONG) + PNG[33:], PNG),
    "false checksum of a text": (PNG[:33] + chunk(b"tEXt", b"a\0" + SECRET, 1) + PNG[33:], PNG),
    "false checksum of a colour": (PNG[:33] + chunk(b"gAMA", b"\0\0\xb1\x8f", 1) + PNG[33:], PNG),
    "animated": (
        PNG[:33] + chunk(b"acTL", b"\0\0\0\1\0\0\0\0") + chunk(b"fcTL", LATE) + PNG[33:],
        PNG,
    ),
    "interlaced": (saved(Image.fromarray(np.eye(9, dtype="u1")), "PNG") + SECRET, None),
}


@pytest.mark.parametrize("odd", ODD)
def test_odd_images_that_browsers_open(odd: str) -> None:
    data, before = ODD[odd]
    cleaned = clean_image(data)
    assert SECRET not in cleaned
    assert clean_image(cleaned) == cleaned
    assert (pixels(cleaned) == pixels(before or data)).all()
    assert before is None or cleaned == clean_image(before)


def test_orientation_survives_metadata_that_cannot_be_read() -> None:
    data = image_data(2, kind="PNG", exif=with_exif(6))
    found = clean(data[:33] + chunk(b"zTXt", LONG) + data[33:])
    assert found == (clean_image(data), ("images with metadata that cannot be read",), False)


def test_clean_bytes_are_those_of_before() -> None:
    """Hashes in published datasets: taken before other formats were read."""
    for name, golden in GOLDEN.items():
        data = (ROOT / "docs" / name).read_bytes()
        data = data[:2] + b"\xff\xfe\0\x0f" + SECRET + data[2:]
        assert sha256(clean_image(data)).hexdigest()[:16] == golden
    drawn = png_of(8, 1)
    text = drawn[:33] + chunk(b"tEXt", b"a\0" + SECRET) + drawn[33:]
    assert clean_image(text) == drawn


def png_of(width: int, height: int) -> bytes:
    """A PNG header that promises a size and one line of nothing."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    line = zlib.compress(bytes(1 + min(width, 99)))
    body = chunk(b"IHDR", header) + chunk(b"IDAT", line) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is empty"),
        (b"hello", "is no picture"),
        (b"%PDF-1.4 not a picture", "is no picture"),
        (image_data(3)[:-200], "is damaged or cut off"),
        (image_data(3, kind="PNG")[:-500], "is damaged or cut off"),
        (png_of(12_000, 12_000), "12,000 x 12,000 pixels"),
        (png_of(100_000, 100_000), "far over"),
        (image_data(3)[:-2], "is damaged or cut off"),  # nobody can say that it is whole
        (image_data(3, kind="PNG")[:-12], "is cut off (no end of image)"),
        (image_data(3, kind="TIFF")[:-500], "is damaged or cut off"),
        (image_data(3, kind="BMP")[:-500], "is damaged or cut off"),
        (image_data(3, kind="GIF")[:-500], "is damaged or cut off"),
        (image_data(3, kind="WEBP")[:-500], "is damaged or cut off"),
        (image_data(3, kind="ICO"), "is ICO: only JPEG, PNG, TIFF, BMP, GIF, WEBP and DICOM"),
        (saved(image_of(3), "GIF", append_images=[image_of(4)]), "is GIF with 2 images"),
        (saved(image_of(3), "TIFF", append_images=[image_of(4)]), "is TIFF with 2 images"),
        (saved(image_of(3).convert("CMYK"), "TIFF"), "is TIFF with CMYK pixels"),
        (saved(image_of(3).convert("F"), "TIFF"), "is TIFF with F pixels"),
    ],
)
def test_unusable_images_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(ImageError, match=re.escape(why)):
        clean_image(data)


def test_the_limit_is_above_any_radiograph() -> None:
    assert MAX_PIXELS >= 4_000 * 5_000
    clean_image(image_data(4, side=1))


@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../a.png", "a/../../b.png", "", "C:/a.png", "a\0"]
)
def test_paths_that_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(ImageError):
        check_relative(name)


@pytest.mark.parametrize("name", ["a.png", "imgs/x/source.jpg", "a..b/c.png", "..a/b.png"])
def test_plain_paths_pass(name: str) -> None:
    assert str(check_relative(name)) == name
