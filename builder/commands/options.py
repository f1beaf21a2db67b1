"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from mllmu_med.command_line import options_of
from mllmu_med.schema import DEFAULT_FOLDER

if TYPE_CHECKING:
    from builder.core.job import Job

told = options_of("builder.commands")

OUT = Path(DEFAULT_FOLDER)
Out = Annotated[Path, told("shared.out")]
Work = Annotated[Path | None, told("shared.work")]
Forget = Annotated[str | None, told("shared.forget")]
AsJson = Annotated[bool, told("shared.json")]


def examples(command: str) -> str:
    """What its --help shows: lines as they are typed."""
    return (Path(__file__).parent / "examples" / f"{command}.txt").read_text("utf-8")


def job_of(out: Path, work: Path | None) -> Job:
    """The job of the last rebuild into `out`, or in `work`; a UserError where there was none."""
    from builder.core.job import read_job, work_folder

    return read_job(work_folder(work, out))
