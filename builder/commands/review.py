"""`python -m builder review`: export, import and status."""

import json
import re
from pathlib import Path
from typing import Annotated

from builder.commands.options import OUT, AsJson, Out, Work, examples, job_of, told
from mllmu_med.command_line import make_app, one_line_errors
from mllmu_med_dataset import UsageError, UserError

app = make_app("Manual review: people accept, edit or reject the harmful texts before publication.")


@app.command(examples=examples("review-export"))
@one_line_errors
def export(
    scenario: Annotated[str, told("review_export.scenario")] = "all",
    reviewers: Annotated[str | None, told("review_export.reviewers")] = None,
    overlap: Annotated[str | None, told("review_export.overlap")] = None,
    conflicts: Annotated[bool, told("review_export.conflicts")] = False,
    everything: Annotated[bool, told("review_export.all")] = False,
    to: Annotated[Path | None, told("review_export.to")] = None,
    out: Out = OUT,
    work: Work = None,
    as_json: AsJson = False,
) -> None:
    """Write a folder for reviewers: for each a page for any browser of 2024 or later, a spreadsheet
    and Label Studio tasks."""
    from builder.rebuild import pipeline
    from builder.rebuild.stages import plan
    from builder.review.export import Team
    from builder.review.export import export as write
    from builder.review.import_files import reviewed
    from builder.review.stage import before

    if conflicts and everything:
        raise UsageError("--conflicts and --all exclude each other")
    names = _names(reviewers)
    share = _share(overlap)
    if overlap is not None and (len(names) < 2 or conflicts):
        raise UsageError("--overlap: needs two names or more in --reviewers, and no --conflicts")
    job = job_of(out, work)
    scenarios = _scenarios(scenario, reviewed(job))
    stale = pipeline.stale(plan(job), job)
    for name in scenarios:
        if f"{name}/{before(name)}" in stale:
            raise UserError(
                f"{name}: its texts are not up to date: run `python -m builder rebuild` as before, "
                "which writes them and waits"
            )
    team = Team(names, share if len(names) > 1 else 0.0)
    target = to.expanduser().resolve() if to else None
    done = write(job, scenarios, team, target, conflicts=conflicts, everything=everything)
    if as_json:
        print(json.dumps({"folder": str(done.folder), "files": done.files, "texts": done.texts}))
        return
    from builder.core.job import options, shown

    for file, count in done.files.items():
        print(f"{shown(done.folder / file)}: {count:,} texts")
    settle = " --settle" if conflicts else ""
    print(
        "\nnext: open the page in a browser, or fill in the table, or import the tasks into Label "
        "Studio; then"
    )
    print(f"  python -m builder review import{settle} FILES{options(job)}")


@app.command("import", examples=examples("review-import"))
@one_line_errors
def import_(
    files: Annotated[list[Path], told("review_import.files", argument=True)],
    reviewer: Annotated[str, told("review_import.reviewer")] = "",
    settle: Annotated[bool, told("review_import.settle")] = False,
    out: Out = OUT,
    work: Work = None,
    as_json: AsJson = False,
) -> None:
    """Import reviewers' decisions and report their agreement.

    Rows that cannot be imported are listed, with exit code 1; the others are imported. A file that
    cannot be read changes nothing. Importing again is harmless.
    """
    from builder.review.export import read_team
    from builder.review.import_files import import_files

    job = job_of(out, work)
    team = read_team(job.work)
    done = import_files(job, files, reviewer, settle)
    from builder.review import print_progress as progress

    if as_json:
        print(json.dumps(progress.import_json(job, done, team)))
    else:
        progress.print_import(done)
        print()
        progress.print_status(job, done.now, team)
    if done.refused:
        rows = "1 row was" if len(done.refused) == 1 else f"{len(done.refused):,} rows were"
        what_to_do = "mend them and import the file again"
        raise UserError(f"{rows} refused, the others are imported: {what_to_do}")


@app.command(examples=examples("review-status"))
@one_line_errors
def status(out: Out = OUT, work: Work = None, as_json: AsJson = False) -> None:
    """Review progress, agreement between reviewers, conflicts, and what to do next."""
    from builder.core.stage_cache import Chain
    from builder.review import print_progress as progress
    from builder.review.export import read_team
    from builder.review.import_files import reviewed
    from builder.review.stage import read_open

    job = job_of(out, work)
    texts = {name: read_open(job, Chain(job.work / name), name) for name in reviewed(job)}
    team = read_team(job.work)
    if as_json:
        print(json.dumps(progress.as_json(job, texts, team)))
    else:
        progress.print_status(job, texts, team)


def _scenarios(given: str, ready: list[str]) -> list[str]:
    if given == "all":
        return ready
    if given not in ("privacy", "incorrect"):
        raise UsageError(f"--scenario {given}: use privacy, incorrect or all")
    if given not in ready:
        raise UserError(
            f"{given}: has no texts to review: rebuild it with --set {given}.review=true"
        )
    return [given]


def _names(given: str | None) -> tuple[str, ...]:
    """Reviewers' names, which become parts of file names."""
    if given is None:
        return ()
    names = tuple(" ".join(name.split()) for name in given.split(","))
    for name in names:
        if not re.fullmatch(r"\w[\w .-]{0,38}\w|\w", name):
            raise UsageError(
                f"--reviewers {given}: use names of letters, digits, dots and dashes, with a comma "
                "between them"
            )
    if len({name.casefold() for name in names}) < len(names):
        raise UsageError(f"--reviewers {given}: names somebody twice")
    return names


def _share(given: str | None) -> float:
    text = "20%" if given is None else given.strip()
    try:
        share = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"--overlap {given}: give a share, e.g. 20% or 0.2")
    return share
