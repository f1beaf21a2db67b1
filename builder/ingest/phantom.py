"""The embedded source: drawn images with questions that only the image answers.

It asks nothing of the network or of anybody's licence, and gives as many rows as a recipe wants.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from itertools import count, islice
from pathlib import Path
from typing import Final, Literal

from builder.core.stage_cache import Outcome
from builder.ingest.clean_rows import answer_type
from builder.ingest.phantoms.draw import PhantomImage
from builder.ingest.phantoms.radiology import draw_radiology
from builder.ingest.phantoms.skin import draw_skin
from mllmu_med.files import write_bytes
from mllmu_med.progress import progress
from mllmu_med_dataset import Record

_TEST_FROM: Final = 1_000_000  # images of the test set are numbered from here

_DRAW: Final[dict[str, Callable[[int, int], PhantomImage]]] = {
    "radiology": draw_radiology,
    "skin": draw_skin,
}


def read(
    part: Literal["radiology", "skin"], seed: int, train: int, test: int, folder: Path
) -> Outcome:
    """Draw images until there are `train` and `test` rows; they go to `folder/pictures`."""
    (folder / "pictures" / part).mkdir(parents=True)
    with progress(f"drawing {part} phantoms", train + test) as advance:
        records = [
            *_rows(part, seed, "train", 0, train, folder / "pictures", advance),
            *_rows(part, seed, "test", _TEST_FROM, test, folder / "pictures", advance),
        ]
    return Outcome(records, [])


def _rows(
    part: str,
    seed: int,
    split: str,
    first: int,
    rows: int,
    images: Path,
    advance: Callable[[int], None],
) -> Iterator[Record]:
    made = 0
    batch = 4 * (os.cpu_count() or 1)
    numbers = count(first)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        while made < rows:
            indices = list(islice(numbers, batch))
            for index, image in zip(
                indices, threads.map(lambda index: _DRAW[part](seed, index), indices), strict=True
            ):
                if made >= rows:
                    break
                records = _records(part, split, index - first, image, images)
                made += len(records)
                advance(len(records))
                yield from records


def _records(part: str, split: str, number: int, image: PhantomImage, images: Path) -> list[Record]:
    name = f"{part}-{split}-{number:04d}"
    path = f"{part}/{name}.png"
    write_bytes(images / path, image.png)
    return [
        Record(
            id=f"phantom/{name}/q{index:02d}",
            image_id=f"phantom/{name}",
            image_path=path,
            image_sha256=sha256(image.png).hexdigest(),
            question=question.text,
            answer=question.answer,
            answer_type=answer_type(question.answer),
            content_type=question.content_type,
            modality=image.modality,
            source="phantom",
            clean_question=question.text,
            clean_answer=question.answer,
            context=image.caption,
            split=split,
        )
        for index, question in enumerate(image.questions, 1)
    ]
