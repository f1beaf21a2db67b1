"""Pictures: what is refused, and that metadata goes while pixels stay."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from corpora import image_data
from PIL import Image, ImageOps, PngImagePlugin

from mllmu_med.image_bytes import MAX_PIXELS, ImageError, check_relative, clean_image

SECRET = b"JOHN DOE 1234"


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


def png_of(width: int, height: int) -> bytes:
    """A PNG header that promises a size and one line of nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")
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
        (image_data(3, kind="GIF"), "is GIF: only JPEG and PNG"),
        (image_data(3, kind="TIFF"), "is TIFF: only JPEG and PNG"),
    ],
)
def test_unusable_images_are_refused(data: bytes, why: str) -> None:
    with pytest.raises(ImageError, match=why.replace("(", r"\(")):
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
