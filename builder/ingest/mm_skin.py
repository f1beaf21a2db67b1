"""MM-Skin (Zeng et al. 2025): dermatology questions with sentence answers.

A folder with `VQA.csv` (the full release), `vqa.csv` or `MM-Skin_test.csv` (the public test split),
columns `image, question, answer`; images where the rows say, or flat beside the file; optionally
`caption.csv` (`image, caption, modality`). No licence is stated and the images come from
textbooks.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import Final, Literal

from builder.core.stage_cache import Drop, Outcome
from builder.ingest.clean_rows import (
    Rows,
    annotation,
    checked_image_path,
    collect,
    drop_duplicates,
    tidy,
)
from mllmu_med.csv_tables import read_csv
from mllmu_med.files import digest
from mllmu_med_dataset import Record, UserError

VERSION: Final = 3
ANNOTATIONS: Final = ("VQA.csv", "vqa.csv", "MM-Skin_test.csv")
CAPTIONS: Final = "caption.csv"
_ADVICE: Final = "give MM-Skin's own file, separated by commas"

# caption.csv codes clinical images as "skin"; its other two codes are not documented, so their
# likely beginnings are taken.
_MODALITIES: Final = (
    (("skin", "clinic"), "clinical"),
    (("path", "histo"), "histopathology"),
    (("derm",), "dermoscopy"),
)

# MM-Skin was written by a language model; in some rows it refuses or talks about the talk itself.
_REFUSAL: Final = re.compile(
    r"\b(i'?m|i am) sorry\b|\bas an ai\b|\b(i'?m|i am) (unable|not able) to (answer|provide)"
    r"|\bi (can ?not|can'?t) (provide|answer)",
    re.IGNORECASE,
)
_ABOUT_TALK: Final = re.compile(
    r"\banything else (you('d| would| want| need)|i can (help|do|assist))|\bthank you\b"
    r"|\bany (other|more|further) questions|\bgenerated q&a\b",
    re.IGNORECASE,
)
CONVERSATION = "a refusal or about the conversation"


def is_conversation(record: Record) -> bool:
    """Whether the row is about the talk with the model that wrote it, not about the image."""
    return bool(_REFUSAL.search(record.answer) or _ABOUT_TALK.search(record.question))


def read(root: Path, on_bad: Literal["fail", "drop"], drop_conversation: bool) -> Outcome:
    """Clean records of the folder, without splits of their own; a UserError where it is broken."""
    path, inputs = annotation(root, ANNOTATIONS, f"MM-Skin's {ANNOTATIONS[0]}")
    if path is None:
        raise UserError(f"{root}: holds none of {', '.join(ANNOTATIONS)}: give MM-Skin's folder")
    captioned, stamp = annotation(root, (CAPTIONS,), CAPTIONS)
    captions = _read_captions(captioned) if captioned else {}
    rows = Rows(inputs=inputs | stamp)
    for number, row in read_csv(path, ("image", "question", "answer"), _ADVICE).items():
        where = f"{path}, row {number}"
        name = checked_image_path(row["image"], where)
        inner = name.removeprefix("dataset/")
        row_id = f"mm_skin/{inner}/{digest([row['question'], row['answer']])[:8]}"
        caption, modality = captions.get(inner, ("", "unknown"))
        rows.add(
            where,
            row,
            tidy(row["question"]),
            tidy(row["answer"]),
            id=row_id,
            image_id=f"mm_skin/{inner}",
            image_path=name,
            modality=modality,
            source="mm_skin",
            context=caption,
        )
    drop_duplicates(rows)
    talk = [record for record in rows.records if is_conversation(record)]
    rows.notes["refusals or about the conversation"] = len(talk)
    if drop_conversation:
        rows.drops += [Drop.of(record, CONVERSATION) for record in talk]
        rows.records = [record for record in rows.records if not is_conversation(record)]

    flat = Counter(PurePosixPath(name).name for name in {row.image_path for row in rows.records})

    def places(name: str) -> list[Path]:
        inner = name.removeprefix("dataset/")
        base = PurePosixPath(name).name
        # Flat beside the file only where no two images would be the same one there.
        return [root / name, root / "dataset" / inner, root / inner] + (
            [root / base] if flat[base] == 1 else []
        )

    return collect(rows, places, root, on_bad, "incorrect.bad_pictures")


def _read_captions(path: Path) -> dict[str, tuple[str, str]]:
    """Image (without `dataset/`) -> its caption and modality."""
    captions: dict[str, tuple[str, str]] = {}
    for number, row in read_csv(path, ("image", "caption", "modality"), _ADVICE).items():
        where = f"{path}, row {number}"
        name = checked_image_path(row["image"], where).removeprefix("dataset/")
        entry = (tidy(row["caption"]), _modality(row["modality"], where))
        if captions.setdefault(name, entry) != entry:
            raise UserError(f"{where}: a second, different caption of {name}: remove one")
    return captions


def _modality(code: str, where: str) -> str:
    code = code.strip().lower()
    for beginnings, modality in _MODALITIES:
        if code.startswith(beginnings):
            return modality
    if code in ("", "unknown"):
        return "unknown"
    raise UserError(
        f"{where}: modality is {code!r}: expected skin, clinical, path..., histo... or derm...: "
        "correct the row"
    )
