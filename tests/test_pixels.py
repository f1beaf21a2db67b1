"""An image means the same wherever it is read; DICOM is shown as on a radiologist's screen."""

import base64
import io
import json
import sys
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpora import record
from PIL import Image

from builder.calibrate.fine_tune import images_of
from builder.core.corpus import Corpus, Mapping
from builder.core.job import Job, image_reader
from builder.core.recipe import Llm
from builder.core.stage_cache import Chain
from builder.harm.authors.llm import LlmAuthor
from builder.ingest import table
from builder.review.page_images import embed
from builder.review.records import Item
from eval import dataset_rows, model_server
from eval.lmms_tasks.functions import doc_to_visual
from mllmu_med.errors import UserError
from mllmu_med.image_bytes import ImageError, clean, clean_image
from mllmu_med.image_folder import Images, put_back
from mllmu_med.pixels import model_image
from mllmu_med_dataset import by_picture

RAMP = np.linspace(0, 4095, 64 * 48).reshape(48, 64).astype(np.uint16)
COLOUR = np.random.default_rng(0).integers(0, 256, (48, 64, 4), np.uint8)


def file_of(image: Image.Image, kind: str = "PNG", **save: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **save)
    return stream.getvalue()


def sideways() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


RGBA, RGB = Image.fromarray(COLOUR), Image.fromarray(COLOUR[..., :3])
GREY, WIDE = Image.fromarray(COLOUR[..., 0]), Image.fromarray(RAMP)
ON_WHITE = COLOUR[..., :3] * (COLOUR[..., 3:] / 255.0) + 255 - COLOUR[..., 3:]
PALETTE = RGB.quantize(16)
FLAT = np.asarray(PALETTE.convert("RGB")).copy()
SEEN_THROUGH = np.where((np.asarray(PALETTE) == 3)[..., None], 255, FLAT)
#: An image's bytes, and what a model sees of it.
KINDS: dict[str, tuple[bytes, Any]] = {
    "12 bits in 16": (file_of(WIDE), RAMP / 4095.0 * 255),
    "16 bits": (file_of(Image.fromarray(RAMP * 16)), RAMP / 4095.0 * 255),
    "one value": (file_of(Image.fromarray(0 * RAMP + 7)), 0 * RAMP),
    "16 bits in a TIFF": (file_of(WIDE, "TIFF"), RAMP / 4095.0 * 255),
    "grey": (file_of(GREY), COLOUR[..., 0]),
    "1 bit": (file_of(Image.fromarray(COLOUR[..., 0] > 99)), 255 * (COLOUR[..., 0] > 99)),
    "alpha": (file_of(RGBA), ON_WHITE),
    "grey and alpha": (file_of(RGBA.convert("LA")), None),
    "palette": (file_of(PALETTE), FLAT),
    "palette with a hole": (file_of(PALETTE, transparency=3), SEEN_THROUGH),
    "GIF with a hole": (file_of(PALETTE, "GIF", transparency=3), SEEN_THROUGH),
    "BMP": (file_of(RGB, "BMP"), COLOUR[..., :3]),
    "WebP": (file_of(RGBA, "WEBP", lossless=True, exact=True), ON_WHITE),
    "sideways": (file_of(RGB, exif=sideways()), np.rot90(COLOUR[..., :3], -1)),
    "sideways JPEG": (file_of(RGB, "JPEG", exif=sideways()), None),
    "CMYK as Adobe writes it": (file_of(RGB.convert("CMYK"), "JPEG", quality=100), COLOUR[..., :3]),
}


@pytest.mark.parametrize("kind", KINDS)
def test_an_image_is_the_same_everywhere(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    source, expected = KINDS[kind]
    data = clean_image(source)
    seen = model_image(data)
    assert seen.mode == "RGB"
    if expected is not None:
        values = expected if expected.ndim == 3 else expected[..., None]
        near = 40 if kind.startswith("CMYK") else 1  # a JPEG of noise
        assert np.abs(np.asarray(seen, float) - values).mean() < near / 2
    row = {"image_id": "a", "image": {"bytes": data, "path": "a"}}
    loaded = datasets.Dataset.from_list([row]).cast_column("image", datasets.Image())
    monkeypatch.setattr(dataset_rows, "load", lambda *_, **__: loaded)
    answering = dataset_rows.DatasetImages(None, "privacy", ["test"])["a"]
    uri = model_server._data_url(answering)
    author = LlmAuthor(None, Llm(picture=True), lambda _: data)  # type: ignore[arg-type]
    drawn: Any = author._content(record("", ""), "")[0]
    item: Any = Item._make([None] * len(Item._fields))._replace(image_sha256="")
    page = embed([item], lambda _: data, 10**6)[""]
    files = [uri, drawn["image_url"]["url"], page.base64]
    (picture,) = by_picture(loaded)
    shown = [
        answering,
        *(Image.open(io.BytesIO(base64.b64decode(file.split(",")[-1]))) for file in files),
        images_of(lambda _: data, [record("", "", image="a")])["a"],
        *doc_to_visual(loaded[0]),
        picture.image,
    ]
    assert [image.convert("RGB").tobytes() == seen.tobytes() for image in shown] == [True] * 7
    assert page.size == seen.size


def corpus(folder: Path, names: str, files: dict[str, bytes]) -> Corpus:
    """A table that asks one question of each image."""
    for name, data in files.items():
        (folder / name).write_bytes(data)
    rows = [{"image": name, "question": "What is it?", "answer": name} for name in files]
    (folder / "rows.json").write_text(json.dumps(rows), "utf-8")
    columns: Any = {"image": "image", "question": "question", "answer": "answer"}
    return Corpus("table", folder / "rows.json", Mapping(names=names, **columns))


def converted(folder: Path, names: str, files: dict[str, bytes]) -> tuple[dict[str, int], set[str]]:
    """A corpus read, its images read again as the stages do and put back; notes and source hashes.

    Every image has the bytes of `clean`, and nothing else is written of it.
    """
    import datasets

    given = corpus(folder, names, files)
    outcome = table.read(given, folder / "work/ingest", "fail", b"key")
    job = Job(None, folder, folder, corpora={"own": given})  # type: ignore[arg-type]
    read = image_reader(job, Chain(folder / "work"), "own")
    for row in outcome.kept:
        data = clean(files[row.answer]).data
        assert read(row) == data
        assert row.image_sha256 == sha256(data).hexdigest()
        if names == "kept":
            assert Images(folder).find(row.image_path, row.image_sha256).data == data
    if names == "kept":
        columns = ("image_path", "image_sha256")
        rows = [{"image": None} | {c: getattr(row, c) for c in columns} for row in outcome.kept]
        empty = datasets.Dataset.from_list(rows).cast_column("image", datasets.Image())
        for row, back in zip(outcome.kept, put_back(empty, Images(folder), ""), strict=True):
            seen = model_image(clean(files[row.answer]).data)
            assert model_image(back["image"]).tobytes() == seen.tobytes()
    return outcome.notes, {stamp.sha256 for stamp in outcome.inputs.values() if stamp}


@pytest.mark.parametrize("names", ["kept", "keyed"])
def test_other_formats_become_png_once(names: str, tmp_path: Path) -> None:
    formats = {
        "a.tif": "16 bits in a TIFF",
        "b.gif": "GIF with a hole",
        "c.bmp": "BMP",
        "d": "WebP",
    }
    files = {name: KINDS[kind][0] for name, kind in formats.items()}
    notes, hashes = converted(tmp_path, names, {**files, "e.png": KINDS["grey"][0]})
    said = [f"images converted from {kind} to PNG" for kind in ("TIFF", "GIF", "BMP", "WEBP")]
    assert notes == dict.fromkeys(said, 1)
    assert hashes >= {sha256(data).hexdigest() for data in files.values()}
    copies = len(list((tmp_path / "work/ingest/pictures").iterdir()))
    assert copies == (4 if names == "kept" else 5)


def dicom(pixels: Any, **elements: Any) -> bytes:
    pydicom = pytest.importorskip("pydicom")
    pixels = np.asarray(pixels)
    file = pydicom.Dataset()
    file.file_meta = pydicom.dataset.FileMetaDataset()
    file.file_meta.TransferSyntaxUID = elements.pop("syntax", "1.2.840.10008.1.2.1")
    file.SOPClassUID, file.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    file.PatientName, file.PatientID = "Roe^Jane", "4711"
    file.Rows, file.Columns = pixels.shape[:2]
    file.SamplesPerPixel = pixels.shape[2] if pixels.ndim == 3 else 1
    file.PhotometricInterpretation = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    file.PlanarConfiguration = 0
    file.BitsAllocated = file.BitsStored = 8 * pixels.itemsize
    file.HighBit = file.BitsStored - 1
    file.PixelRepresentation = int(pixels.dtype.kind == "i")
    file.PixelData = pixels.tobytes()
    file.BurnedInAnnotation = "NO"
    for name, value in elements.items():
        setattr(file, name, value)
    stream = io.BytesIO()
    pydicom.dcmwrite(stream, file, enforce_file_format=True)
    return stream.getvalue()


RAW = np.array([[0, 1000, 1024, 1064, 1104, 4000]], np.int16)
HU = {"RescaleSlope": 1, "RescaleIntercept": -1024}
WINDOW = {"WindowCenter": [40.5, 600], "WindowWidth": [81, 2000]}
YBR = np.array([[[76, 85, 255], [149, 43, 21], [29, 255, 107]]], np.uint8)  # red, green, blue


@pytest.mark.parametrize(
    ("pixels", "elements", "expected"),
    [
        (RAW, HU | WINDOW, [0, 0, 0, 128, 255, 255]),
        (
            RAW,
            HU | WINDOW | {"PhotometricInterpretation": "MONOCHROME1"},
            [255, 255, 255, 127, 0, 0],
        ),
        (RAW, HU | WINDOW | {"VOILUTFunction": "SIGMOID"}, [0, 10, 30, 126, 223, 255]),
        (RAW, HU, [0, 64, 65, 68, 70, 255]),
        (RAW, HU | {"WindowCenter": 0, "WindowWidth": 0}, [0, 64, 65, 68, 70, 255]),
        (RAW, {"PixelPaddingValue": 0}, [0, 0, 2, 5, 9, 255]),
        (np.array([[0, 4095]], np.uint16), {}, [0, 255]),
        (np.array([[[9, 99, 199]]], np.uint8), {}, [9, 99, 199]),
        (YBR, {"PhotometricInterpretation": "YBR_FULL"}, [254, 0, 0, 0, 255, 1, 0, 0, 254]),
    ],
    ids="window inverted sigmoid range no-width padding 12-bits colour ybr".split(),
)
def test_dicom_is_seen_as_on_a_screen(pixels: Any, elements: Any, expected: list[int]) -> None:
    data = dicom(pixels, **elements)
    image = clean(data)
    with Image.open(io.BytesIO(image.data)) as opened:
        assert opened.format == "PNG"
        assert np.abs(np.asarray(opened, int).ravel() - expected).max() <= 1
    assert image == clean(data)
    assert image.notes == ("images converted from DICOM to PNG",)
    assert clean_image(image.data) == image.data
    assert b"Roe" in data
    assert b"Roe" not in image.data


@pytest.mark.parametrize(
    ("elements", "said"),
    [
        ({"BurnedInAnnotation": "YES"}, "burned-in annotation: black it out"),
        ({"NumberOfFrames": 3}, "is DICOM with 3 frames"),
        ({"syntax": "1.2.840.10008.1.2.4.80"}, "JPEG-LS Lossless .* pip install pylibjpeg"),
        ({"PhotometricInterpretation": "HSV"}, "colours that are not read"),
        ({"Columns": 20_000, "Rows": 20_000}, "20,000 x 20,000 pixels"),
        ({"Rows": 2}, r"is damaged DICOM \(ValueError\)$"),
    ],
)
def test_dicom_that_is_refused(elements: Any, said: str) -> None:
    if "syntax" in elements:
        encapsulate = pytest.importorskip("pydicom.encaps").encapsulate
        elements = elements | {"PixelData": encapsulate([b"1234"])}
    with pytest.raises(ImageError, match=said) as error:
        clean(dicom(RAW, **elements))
    assert "Roe" not in str(error.value)


def test_dicom_in_a_corpus(tmp_path: Path) -> None:
    files = {"scan.dcm": dicom(RAW, BurnedInAnnotation=None), "e.png": KINDS["grey"][0]}
    said = ("images converted from DICOM to PNG", "DICOM images that do not tell of burned-in text")
    notes, hashes = converted(tmp_path, "kept", files)
    assert notes == dict.fromkeys(said, 1)
    assert sha256(files["scan.dcm"]).hexdigest() in hashes


def test_dicom_without_its_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(UserError, match="need pydicom: pip install pydicom"):
        clean(bytes(128) + b"DICM")
