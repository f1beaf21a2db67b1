"""Small corpora in the layouts of the real ones, made on the spot; and ways to run the builder."""

import contextlib
import csv
import importlib
import io
import json
import logging
import os
import shutil
import subprocess
import sys
import traceback
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image
from typer.testing import CliRunner

from mllmu_med_dataset import Record

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared"


def image_data(number: int, side: int = 48, kind: str = "JPEG", **save: Any) -> bytes:
    """A picture of its own for each number."""
    pixels = np.random.default_rng(number).integers(0, 255, (side, side, 3), dtype="uint8")
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind, **save)
    return stream.getvalue()


def record(question: str, answer: str, key: str = "a", image: str = "a", **more: Any) -> Record:
    """An open row as it comes out of a corpus."""
    clean = (question, answer)
    row = Record(key, image, f"{image}.png", image, *clean, "open", "CT", "slake", *clean)
    return replace(row, **more)


def slake_row(img: int, qid: int, question: str, answer: str, **changes: Any) -> dict[str, Any]:
    row = {
        "img_id": img,
        "img_name": f"xmlab{img}/source.jpg",
        "question": question,
        "answer": answer,
        "q_lang": "en",
        "location": "Abdomen",
        "modality": ("CT", "MRI", "X-Ray")[img % 3],
        "answer_type": "CLOSED" if answer in ("Yes", "No") else "OPEN",
        "base_type": "vqa",
        "content_type": "Organ",
        "triple": ["vhead", "_", "_"],
        "qid": qid,
    }
    return {**row, **changes}


def slake_rows(first: int, count: int, each: int = 6) -> list[dict[str, Any]]:
    organs = ("liver", "spleen", "kidney", "lung", "heart", "brain")
    rows = []
    for img in range(first, first + count):
        for number in range(each):
            organ = organs[number % 6]
            if number % 3 == 0:
                question, answer = f"Does the picture contain {organ}?", ("Yes", "No")[img % 2]
            else:
                question = f"Where is the {organ} in view {number}?"
                answer = ("Left", "Right", "Upper left")[(img + number) % 3]
            rows.append(slake_row(img, 100 * img + number, question, answer))
    return rows


def slake_repeats() -> list[dict[str, Any]]:
    """Rows of the first picture in each way in which a row can repeat another: all are dropped."""
    closed, opened = slake_rows(0, 1, 2)
    chinese = slake_row(0, 90_010, "Shi shenme?", "Gan", q_lang="zh")
    unasked, unanswered = slake_row(0, 90_011, " ", "Yes"), slake_row(0, 90_012, "Is it?", " ")
    return [
        closed,  # the whole row
        {**closed, "qid": 90_001},
        {**opened, "qid": 90_002, "question": opened["question"].upper()},
        {**opened, "qid": 90_003, "answer": f" {opened['answer']}  "},
        {**opened, "answer": opened["answer"].lower()},  # under its own qid
        {**closed, "qid": 90_004, "img_name": "xmlab9000/source.jpg"},  # the same bytes
        *2 * [chinese, {**chinese, "question": "Shi  shenme?"}, unasked, unanswered],
    ]


def make_slake(
    root: Path,
    train: list[dict[str, Any]] | None = None,
    test: list[dict[str, Any]] | None = None,
    validate: list[dict[str, Any]] | None = None,
) -> Path:
    """The official layout with 12 training and 4 test pictures of 6 questions each, and repeats."""
    again = [*slake_rows(50, 1, 1), *(slake_rows(0, 1, 1) if train is None else [])]
    splits = {
        "train": [*slake_rows(0, 12), *slake_repeats()] if train is None else train,
        "test": [*slake_rows(50, 4), *again] if test is None else test,
        "validate": validate,
    }
    root.mkdir(parents=True, exist_ok=True)
    for split, rows in splits.items():
        if rows is None:
            continue
        (root / f"{split}.json").write_text(json.dumps(rows), "utf-8")
        for row in rows:
            path = root / "imgs" / str(row.get("img_name", ""))
            if ".." not in str(path) and not str(row.get("img_name", "/")).startswith("/"):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(image_data(row["img_id"]))
    return root


def zip_images(root: Path) -> Path:
    """Turn the official layout into the Hub mirror's: validation.json and imgs.zip."""
    with zipfile.ZipFile(root / "imgs.zip", "w") as packed:
        for path in sorted((root / "imgs").rglob("*.jpg")):
            packed.write(path, path.relative_to(root).as_posix())
        packed.writestr("__MACOSX/._imgs", b"junk")
    for path in (root / "imgs").rglob("*.jpg"):
        path.unlink()
    for folder in sorted((root / "imgs").glob("*")):
        folder.rmdir()
    (root / "imgs").rmdir()
    if (root / "validate.json").exists():
        (root / "validate.json").rename(root / "validation.json")
    return root


def mm_skin_rows(count: int) -> list[dict[str, str]]:
    """One or two questions a picture, answers as sentences."""
    colours = ("brown", "red", "black", "pink", "white")
    types = ("psoriasis", "eczema", "melanoma", "acne", "vitiligo", "a wart")
    rows = []
    for number in range(count):
        image = f"dataset/bk{number % 5}_{number}.png"
        name = types[number % 6]
        rows.append(
            {
                "image": image,
                "question": "What type of skin condition does this image depict?",
                "answer": f"The image depicts {name} on the {('arm', 'leg', 'back')[number % 3]}.",
            }
        )
        if number % 3 == 0:
            rows.append(
                {
                    "image": image,
                    "question": f"Is the lesion {colours[number % 5]}?",
                    "answer": f"Yes, the lesion is {colours[number % 5]} and is well demarcated.",
                }
            )
    return rows


#: A picture, the same file by a shorter name, and another file with its bytes.
_FIRST, _SHORT, _COPY = "dataset/bk0_0.png", "bk0_0.png", "dataset/zz_copy.png"


def mm_skin_repeats() -> list[dict[str, str]]:
    """Rows of the first picture in each way in which a row can repeat another: all are dropped.

    But for the last two, which are kept: they only share the digits that their ids are made of.
    """
    row, other = mm_skin_rows(1)
    figure = {"image": "dataset/bk1_1.png", "question": "Which atlas shows this lesion?"}
    return [
        *2 * [row],
        {**row, "question": row["question"].upper()},
        *2 * [{**row, "answer": f" {row['answer']}  "}],
        {**other, "image": _SHORT},
        {**other, "image": _COPY},
        *2 * [{**row, "question": ""}, {**row, "answer": " "}, {**row, "answer": ""}],
        {**figure, "answer": "Figure 19558 of the atlas shows it."},
        {**figure, "answer": "Figure 50254 of the atlas shows it."},
    ]


def make_mm_skin(
    root: Path, rows: list[dict[str, str]] | None = None, name: str = "VQA.csv"
) -> Path:
    rows = [*mm_skin_rows(60), *mm_skin_repeats()] if rows is None else rows
    root.mkdir(parents=True, exist_ok=True)
    with (root / name).open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, ["image", "question", "answer"])
        writer.writeheader()
        writer.writerows(rows)
    images = {row["image"] for row in rows} - {_SHORT}
    numbers = {image: number for number, image in enumerate(sorted(images - {_COPY}), 1000)}
    for image in images:
        if ".." in image or image.startswith("/"):
            continue
        path = root / image
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image_data(numbers[_FIRST if image == _COPY else image], kind="PNG"))
    return root


def make_clinic(root: Path, name: str = "patients.csv", *left_out: str) -> Path:
    """A table as a hospital types it, of 120 rows: 20 patients of two images with three questions.

    A row has no answer, and the first is there twice.
    """
    head = "file,question,answer,patient,name,mrn,withdrawn".split(",")
    organs = ("Liver", "Left lung", "Spleen", "Heart", "Right kidney")
    rows = []
    for number in range(120):
        image, patient = number // 3, number // 6
        person = (f"P-{patient}", f"Ute Grün{patient:02}er", f"20{417 + 31 * patient}")
        texts = (
            ("Which organ is enlarged?", organs[image % 5]),
            ("Is there a fracture?", ("No", "Yes")[image % 2]),
            ("Whose scan is this?", f"{person[1]}, MRN {person[2]}."),
        )
        cells = (f"scans\\{image:03}.png", *texts[number % 3], *person, "x" * (patient in (2, 9)))
        rows.append(dict(zip(head, cells, strict=True)))
    (root / "scans").mkdir(parents=True, exist_ok=True)
    for image in range(40):
        (root / f"scans/{image:03}.png").write_bytes(image_data(image, kind="PNG"))
    rows = [rows[0], *rows[:4], {**rows[4], "answer": ""}, *rows[5:]]
    with (root / name).open("w", newline="", encoding="utf-8") as stream:
        kept = [column for column in head if column not in left_out]
        writer = csv.DictWriter(stream, kept, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(rows)
    return root


def make_vqa_rad(root: Path) -> Path:
    """VQA-RAD's layout: all test images are in train; a row repeats in train, and one in test."""
    rows = [
        {
            **{"qid": number, "image_name": f"{number % 12}.png", "modality": "CT"},
            **{"question": f"What is at {number}?", "answer": "Lung", "question_type": "ORGAN"},
        }
        for number in range(96)
    ]
    parts = {"trainset": [*rows[:72], {**rows[0], "qid": 97}], "testset": [*rows[72:], rows[1]]}
    (root / "images").mkdir(parents=True)
    for number in range(12):
        (root / f"images/{number}.png").write_bytes(image_data(number, kind="PNG"))
    for name, part in parts.items():
        (root / f"{name}.json").write_text(json.dumps(part), "utf-8")
    return root


#: Sizes that the small corpora can give.
_COUNTS = {
    "privacy.forget": 6,
    "privacy.retain": 40,
    "privacy.test": 10,
    "privacy.candidates": 8,
    "privacy.ratios": [10],
    "incorrect.forget": 4,
    "incorrect.retain": 30,
    "incorrect.test": 12,
    "incorrect.candidates": 6,
    "incorrect.review": "false",
    "calibration": "null",
}
#: The demo without its calibration, which takes a minute.
PLAIN = ["--set", "calibration=null"]
#: A demo small enough to be built many times, with a ratio study.
TRIAL = ["rebuild", *PLAIN, "--limit", "120", "--set", "privacy.ratios=[5,10]"]
SMALL = [word for key, value in _COUNTS.items() for word in ("--set", f"{key}={value}")]


Env = dict[str, str] | None
Done = subprocess.CompletedProcess[str]


def ended(done: Done, code: int | None) -> Done:
    """A command that ended with this code; None: with any."""
    assert code in (None, done.returncode), done.stdout + done.stderr
    return done


def builder(*arguments: str | Path, cwd: Path, env: Env = None, code: int | None = 0) -> Done:
    """`python -m builder ...` as a user runs it: see `command`."""
    return command("builder", *arguments, cwd=cwd, env=env, code=code)


def command(
    module: str, *arguments: str | Path, cwd: Path, env: Env = None, code: int | None = 0
) -> Done:
    """`python -m MODULE ...` in this process, which has its imports; its output as a process'.

    With `env` in a process of its own: libraries read such settings once, when they are imported.
    """
    if env is not None:
        return process(module, *arguments, cwd=cwd, env=env, code=code)
    app = importlib.import_module(f"{module}.__main__").app
    words = [str(argument) for argument in arguments]
    with contextlib.chdir(cwd):
        done = CliRunner().invoke(
            app, words, env={"COLUMNS": "160"}, prog_name=f"python -m {module}"
        )
    _keep_logging()
    error = done.stderr
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        error += "".join(traceback.format_exception(done.exception))
    return ended(Done([module, *words], done.exit_code, done.stdout, error), code)


def _keep_logging() -> None:
    """Libraries first imported by a command log to what was then stderr, which is closed now."""
    for logger in [*logging.Logger.manager.loggerDict.values()]:
        for handler in getattr(logger, "handlers", ()):
            stream = getattr(handler, "stream", None)
            if isinstance(handler, logging.StreamHandler) and stream and stream.closed:
                handler.stream = sys.__stderr__  # setStream would flush it


def process(module: str, *arguments: str | Path, code: int | None = 0, **how: Any) -> Done:
    """`python -m MODULE ...` in a process of its own."""
    return ended(_python("-m", module, *map(str, arguments), **how), code)


def _python(*words: str, cwd: Path, env: Env = None, timeout: float = 900) -> Done:
    env = {**os.environ, "COLUMNS": "160", **(env or {})}
    line = [sys.executable, *words]
    return subprocess.run(line, cwd=cwd, env=env, capture_output=True, text=True, timeout=timeout)


def once(
    tmp_path_factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]
) -> Path:
    """A folder that `make` fills, once for all of pytest-xdist's workers: to look at only."""
    base = tmp_path_factory.getbasetemp()
    base = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    folder, made = base / name, base / f"{name}.made"
    with FileLock(base / f"{name}.lock"):
        if not made.exists():
            shutil.rmtree(folder, ignore_errors=True)  # half made, by a worker that failed
            folder.mkdir()
            make(folder)
            made.touch()
    return folder


def copy_build(out: Path, to: Path) -> Path:
    """Copy a dataset and its work folder beside it, as if it had been built there."""
    if out.exists():
        shutil.copytree(out, to)
    work = shutil.copytree(out.with_name(out.name + ".work"), to.with_name(to.name + ".work"))
    job = (work / "job.json").read_text("utf-8")
    (work / "job.json").write_text(job.replace(json.dumps(str(out)), json.dumps(str(to))), "utf-8")
    return to


def before_writing(limited: Path, out: Path) -> Path:
    """Where to build `TRIAL` by another author: what comes before the writing is done."""
    there, work = limited / "mllmu-med.work", out.with_name("mllmu-med.work")
    for stage in ("privacy/ingest", "privacy/draw", "incorrect/ingest", "incorrect/draw"):
        shutil.copytree(there / stage, work / stage)
    shutil.copyfile(there / "job.json", work / "job.json")
    return out


def python_beside(folder: Path, code: str, home: Path) -> Done:
    """Python code in a process of its own, in a folder, with empty Hugging Face caches."""
    return ended(_python("-c", code, cwd=folder, env={"HF_HOME": str(home)}), 0)


def tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder with its bytes."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
