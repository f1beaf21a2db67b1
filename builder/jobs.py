"""What to build, out of what, and where to; kept in the work folder for `status` and `show`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from builder.files import canonical_json, write_atomic
from builder.recipe import Recipe
from mllmu_med_dataset import UserError


@dataclass(frozen=True)
class Job:
    """What to build, out of what, and where to."""

    recipe: Recipe
    out: Path
    work: Path
    slake: Path | None = None
    mm_skin: Path | None = None

    def source_folder(self, name: str) -> Path | None:
        return self.slake if name == "privacy" else self.mm_skin


def default_work(out: Path) -> Path:
    """The work folder of a dataset's folder when none is named: OUT.work beside it."""
    return out.with_name(out.name + ".work")


def write_job(job: Job) -> None:
    """Keep a job in its work folder."""
    record = {
        "recipe": job.recipe.model_dump(mode="json"),
        "out": str(job.out),
        "slake": str(job.slake) if job.slake else None,
        "mm_skin": str(job.mm_skin) if job.mm_skin else None,
    }
    write_atomic(job.work / "job.json", canonical_json(record) + "\n")


def read_job(work: Path) -> Job:
    """The job of the last rebuild in a work folder.

    Raises:
        UserError: there was none.
    """
    try:
        record = json.loads((work / "job.json").read_text("utf-8"))
        return Job(
            recipe=Recipe.model_validate(record["recipe"]),
            out=Path(record["out"]),
            work=work,
            slake=Path(record["slake"]) if record["slake"] else None,
            mm_skin=Path(record["mm_skin"]) if record["mm_skin"] else None,
        )
    except FileNotFoundError as error:
        raise UserError(
            f"{work}: no rebuild has run here: run `python -m builder rebuild`, or name the folder "
            "with --work"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{work / 'job.json'}: cannot be read: run the rebuild again") from error
