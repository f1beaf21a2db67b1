"""Does every build of the paper's size pass its audit, whatever the seed?

    python benchmarks/audited_builds.py --data DIR [--seeds 20] [--repeats 5] [--work DIR]

DIR holds the real annotations, `slake/*.json` and `mm_skin/*.csv`. Some rows of each file are put
in a second time, and pictures of a few bytes are drawn around them. Then the paper's recipe is
built with each seed, `privacy.split_by` pair and image, and every build audited: a line each, exit
code 1 if one fails.
"""

import argparse
import csv
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import NamedTuple

from PIL import Image

from builder.audit import Check, failing
from builder.core.corpus import Corpus, shipped_mapping
from builder.core.job import Job
from builder.core.load_recipe import load_recipe
from builder.rebuild import pipeline
from mllmu_med.recipe_files import choices

#: What the public parts of the corpora have rows for.
SIZES = ("privacy.test=1000", "incorrect.retain=2000", "incorrect.test=1000")


class Built(NamedTuple):
    """One build: what was drawn how, what the audit says, and how long both took."""

    seed: int
    split_by: str
    checks: Sequence[Check]
    seconds: float


def make_corpora(data: Path, folder: Path, repeats: int) -> None:
    """Both corpora in their own layout; `repeats` rows of each file stand at its end once more."""
    how = Random(0)
    for source in sorted((data / "slake").glob("*.json")):
        rows = json.loads(source.read_text("utf-8"))
        rows += how.sample([row for row in rows if row["q_lang"] == "en"], repeats)
        for name in {row["img_name"] for row in rows}:
            _draw(folder / "slake" / "imgs" / name)
        (folder / "slake" / source.name).write_text(json.dumps(rows), "utf-8")
    for source in sorted((data / "mm_skin").glob("*.csv")):
        with source.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
        rows += how.sample(rows, repeats)
        for name in {row["image"] for row in rows}:
            _draw(folder / "mm_skin" / name)
        with (folder / "mm_skin" / source.name).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)


def _draw(path: Path) -> None:
    """A picture of a few bytes, another for each name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = sha256(f"{path.parent.name}/{path.name}".encode()).digest()
    Image.frombytes("L", (8, 4), pixels).resize((32, 16), Image.Resampling.NEAREST).save(path)


def builds(folder: Path, seeds: Sequence[int]) -> Iterator[Built]:
    """One after another into one folder, so that the corpora are read once."""
    for seed in seeds:
        for split_by in ("pair", "image"):
            # Of `incorrect` single rows are chosen (`blend`), which a split by image rules out.
            cut = f"privacy.split_by={split_by}"
            recipe = load_recipe("paper", choices([f"seed={seed}", cut, *SIZES]))
            named = {"privacy": "slake", "incorrect": "mm_skin"}
            job = Job(
                recipe=recipe,
                out=folder / "mllmu-med",
                work=folder / "mllmu-med.work",
                corpora={
                    scenario: Corpus(name, folder / name, shipped_mapping(name))
                    for scenario, name in named.items()
                },
                accept_all=True,
            )
            started = time.monotonic()
            result = pipeline.rebuild(job)
            yield Built(seed, split_by, result.checks, time.monotonic() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--work", type=Path)
    arguments = parser.parse_args()
    failed = total = 0
    with tempfile.TemporaryDirectory() as scratch:
        folder = arguments.work or Path(scratch)
        make_corpora(arguments.data, folder, arguments.repeats)
        for one in builds(folder, range(arguments.seeds)):
            said = failing(one.checks)
            verdict = said or f"all {len(one.checks)} checks hold"
            print(f"seed {one.seed}, {one.split_by} ({one.seconds:.0f} s): {verdict}", flush=True)
            failed += bool(said)
            total += 1
    print(f"{failed} of {total} builds fail their audit")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
