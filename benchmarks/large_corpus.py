"""A corpus of PMC-VQA's size: memory, and whether ten times the rows take ten times as long.

    python benchmarks/large_corpus.py OUT [ROWS ...]

Makes Parquet tables of small images with generated questions (no two rows alike), builds both
scenarios of each with `python -m builder rebuild --corpus`, and prints, for each size, CPU
milliseconds a row and the largest resident memory. (Their audit may find fault with the wording of
answers made of random words; it runs to its end.) Goal: at most 4 GB, and at 250,000 rows at most
1.3 times the time a row of 25,000.
"""

import io
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mllmu_med.files import packaged_yaml

SIZES = (25_000, 250_000)
BATCH = 5_000
ROWS_AN_IMAGE = 1.5  # PMC-VQA: 227,000 questions about 149,000 images
_ASKED = (
    ("Which organ shows {a} beside the {b}?", "The {c}"),
    ("What does the arrow at the {b} point to?", "A {a} of the {c}"),
    ("Is there {a} in the {b} or the {c}?", "No"),
    ("Where is the {a} seen?", "In the left {b}, next to the {c}"),
    ("Which modality shows the {a} of the {b}?", "CT of the {c}"),
)


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Rows with the image's bytes, questions and answers of the words of our own phantoms."""
    from PIL import Image

    words = sorted(set(str(packaged_yaml("builder.ingest.phantoms", "wordings.yaml")).split()))
    words = [word for word in words if word.isalpha()]
    rng = random.Random(1)
    image, number = b"", -1
    for row in range(count):
        if int(row / ROWS_AN_IMAGE) != number:
            number = int(row / ROWS_AN_IMAGE)
            stream = io.BytesIO()
            Image.frombytes("L", (24, 24), rng.randbytes(576)).save(stream, "PNG")
            image = stream.getvalue()
        a, b, c, d, e = (rng.choice(words) for _ in range(5))
        question, answer = _ASKED[row % len(_ASKED)]
        yield {
            "image": image,
            "question": question.format(a=f"{a} {d}", b=b, c=f"{c} {e}"),
            "answer": answer.format(a=a, b=b, c=f"{c} {e}"),
        }


def write_table(path: Path, count: int) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = rows(count)
    writer = None
    for _ in range(0, count, BATCH):
        table = pa.Table.from_pylist([row for row, _ in zip(made, range(BATCH), strict=False)])
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table)
    if writer:
        writer.close()


def build(out: Path, count: int) -> tuple[float, float]:
    """CPU milliseconds a row, and the largest resident memory in GB, of one build."""
    table = out / f"rows-{count}.parquet"
    if not table.exists():
        write_table(table, count)
    columns = [f"--map={name}={name}" for name in ("image", "question", "answer")]
    target = ["--out", str(out / f"built-{count}")]
    process = subprocess.Popen(
        [sys.executable, "-m", "builder", "rebuild", "--corpus", str(table), *columns, *target],
        stdout=subprocess.DEVNULL,
    )
    _, _, used = os.wait4(process.pid, 0)
    if not (out / f"built-{count}").is_dir():
        raise SystemExit(f"{table}: the build failed")
    return 1000 * (used.ru_utime + used.ru_stime) / count, used.ru_maxrss / 2**20


def main() -> None:
    out = Path(sys.argv[1])
    out.mkdir(parents=True, exist_ok=True)
    print("| rows | CPU ms a row | of the first | peak GB |\n| ---: | ---: | ---: | ---: |")
    first = 0.0
    for count in [int(size) for size in sys.argv[2:]] or SIZES:
        each, peak = build(out, count)
        first = first or each
        print(f"| {count:,} | {each:.2f} | {each / first:.2f} | {peak:.2f} |", flush=True)


if __name__ == "__main__":
    main()
