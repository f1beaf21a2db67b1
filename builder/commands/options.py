"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mllmu_med.command_line import option
from mllmu_med.schema import DEFAULT_FOLDER

if TYPE_CHECKING:
    from builder.core.job import Job

OUT = Path(DEFAULT_FOLDER)
Out = Annotated[Path, option("DIR", "The dataset's folder.")]
Work = Annotated[
    Path | None,
    option("DIR", "Its work folder, where an interrupted build resumes. [default: OUT.work]"),
]
Forget = Annotated[
    str | None,
    option(
        "column=COL|ids=FILE|patients=FILE", "own: the rows to be forgotten, a line each in FILE."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


def examples(command: str) -> str:
    """What its --help shows: lines as they are typed."""
    return (Path(__file__).parent / "examples" / f"{command}.txt").read_text("utf-8")


def job_of(out: Path, work: Path | None) -> Job:
    """The job of the last rebuild into `out`, or in `work`; a UserError where there was none."""
    from builder.core.job import read_job, work_folder

    return read_job(work_folder(work, out))
