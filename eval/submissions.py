"""Submissions: what a run's answers, likelihoods and attacks say, recomputed beside the dataset.

A submission (`eval.submission_file`) holds a run's answers and all that was made of them. What can
be made again is: every row's scores, every value that leaks, every figure. What cannot are the
model's own words: its answers, its log-probabilities, its name, seconds. Those hang together by
their hashes alone; who doubts them asks the model.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final, NamedTuple

from eval import likelihood, score
from eval.attack_results import FOLDER, outcomes
from eval.collect_results import collect_all
from eval.read_run import find_runs, read_run
from eval.remade import Files, Truth, remade, short
from eval.results import Report
from eval.run_folder import DONE, RECORD, as_written, read_json, read_rows_file
from eval.submission_file import (
    FIGURES,
    OF_ATTACK,
    OF_RUN,
    About,
    Content,
    Submission,
    pack,
    plain_json,
    read_submission,
    seven_digits,
)
from mllmu_med.files import write_json, write_jsonl
from mllmu_med_dataset import UsageError, UserError

#: What of a training's record a report reads, and a reader wants to know.
_RECORDED: Final = ("run", "method", "settings", "identity")
#: Disagreements of one file that are told one by one.
_TOLD: Final = 3
#: The columns that name a figure.
_NAMES: Final = "config run role versus seed metric split cut way source".split()


class Checked(NamedTuple):
    """A submission that agrees with what was recomputed: its report, and run folders."""

    submission: Submission
    report: Report
    folder: Path


def submit(runs: Sequence[Path], source: str | None) -> tuple[bytes, Report]:
    """Runs of one config as a submission's bytes, with the report that it holds.

    Raises:
        UserError: a run that is unfinished, of real patients, or was asked another dataset.
    """
    folders = find_runs(runs)
    if not folders:
        raise UsageError("no runs: give the folders that `eval score` wrote, e.g. runs/ga")
    held = [_taken(folder) for folder in folders]
    configs = [*dict.fromkeys(files[score.SCORES]["config"] for files in held)]
    if len(configs) > 1:
        raise UsageError(f"runs of {', '.join(configs)}: submit those of one config at a time")
    truth = Truth.read(source, configs[0])
    made = {
        f"runs/{number:02d}": remade(files, truth, str(folder))
        for number, (folder, files) in enumerate(zip(folders, held, strict=True), 1)
    }
    with TemporaryDirectory() as place:
        report = _report(made, Path(place))
    return pack(truth.config, truth.hash, made, report.figures), report


def _taken(folder: Path) -> Files:
    """What a submission has of a run's folder; a UserError where the run is not finished."""
    # The names that `eval attack` itself gives to what is under way.
    left = [p.name for of in (".relearn-*", ".*.builder-*") for p in (folder / FOLDER).glob(of)]
    if (folder / RECORD).is_file() and not (folder / DONE).is_file():
        raise UserError(f"{folder}: not finished (no {DONE}): run the same command again")
    if left:
        raise UserError(f"{folder / FOLDER}: not finished ({left[0]}): run `eval attack` again")
    read_json(folder / score.SCORES, f"score {folder}/answers.jsonl")
    files = {name: _read(folder / name) for name in OF_RUN if (folder / name).is_file()}
    for attack, place in outcomes(folder):
        for name in OF_ATTACK:
            if (place / name).is_file():
                files[f"{FOLDER}/{attack.name}/{name}"] = _read(place / name)
    if RECORD in files:
        files[RECORD] = {name: of for name, of in files[RECORD].items() if name in _RECORDED}
    if likelihood.ROWS in files:
        files[likelihood.ROWS] = seven_digits(likelihood.read_weighed(folder))
    told = {name: of for name, of in files.items() if isinstance(of, dict)}
    return files | {name: plain_json(of) for name, of in told.items()}


def _read(path: Path) -> Content:
    return read_rows_file(path, "score") if path.suffix == ".jsonl" else read_json(path)


def _report(runs: Mapping[str, Files], place: Path) -> Report:
    """The report of runs, written as folders into a place."""
    for folder, files in runs.items():
        for name, content in files.items():
            path = place / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            (write_jsonl if isinstance(content, list) else write_json)(path, content)
    return collect_all([place / "runs"])[0]


def verify(path: Path, truths: dict[str, Truth], source: str | None, place: Path) -> Checked:
    """Recompute a submission; `truths`: the configs that are read already.

    Raises:
        NotCompared: there is no dataset, or another one.
        Disagrees: it does not agree, or is none; its lines name each file, row and figure.
    """
    lines: list[str] = []
    try:
        given = read_submission(path)
        lines += given.wrong
        truth = _truth(given.about, truths, source, path)
        with as_written(Path("runs")):  # whatever a stranger has put there
            made = {folder: remade(files, truth, folder) for folder, files in given.runs.items()}
            for folder, files in given.runs.items():
                for name in {**files, **made[folder]}:
                    lines += _differing(f"{folder}/{name}", files.get(name), made[folder].get(name))
            report = _report(made, place)
            said, now = ([f.model_dump() for f in of] for of in (given.figures, report.figures))
            lines += _differing(FIGURES, said, now)
    except NotCompared:
        raise
    except UserError as error:
        lines.append(str(error).replace(f"{place}/", "").removeprefix(f"{path}: "))
        raise Disagrees(path, lines) from error
    if lines:
        raise Disagrees(path, lines)
    return Checked(given, report, place / "runs")


def shipped(runs: Sequence[Path], place: Path) -> list[Path]:
    """The shipped runs of the demo that is not calibrated, those of whose name there is none yet.

    Raises:
        UserError: these runs are of other rows.
    """
    given = read_submission(Path(__file__).with_name("shipped") / "demo-privacy.zip")
    _report(given.runs, place)
    mine = [read_run(folder) for folder in find_runs(runs)]
    added = [*map(read_run, find_runs([place / "runs"]))]
    if mine and (mine[0].config, mine[0].texts) != (added[0].config, added[0].texts):
        raise UserError(
            f"{mine[0].folder}: --references are runs of the demo without calibration (privacy, "
            f"dataset {given.about.data}), this one is of other rows: leave --references out"
        )
    names = {run.name for run in mine}
    return [run.folder for run in added if run.name not in names]


def _truth(about: About, truths: dict[str, Truth], source: str | None, path: Path) -> Truth:
    try:
        found = truths[about.config] = truths.get(about.config) or Truth.read(source, about.config)
        if found.hash == about.data:
            return found
        why = f"of another dataset ({about.data}, this is {found.hash}): give --data its own"
    except UserError as error:
        why = f"not compared: {error}"
    raise NotCompared(f"{path}: {why}")


class NotCompared(UserError):
    """There is no dataset to hold a submission against: nothing is said of it."""


class Disagrees(UserError):
    """What of a submission does not agree, a line each; of a long one its head and its end."""

    def __init__(self, path: Path, lines: list[str]) -> None:
        plain = [" ".join(line.split()) for line in lines]
        self.lines = [f"{of[:200]} ... {of[-80:]}" if len(of) > 290 else of for of in plain]
        super().__init__("\n".join(f"{path}: {line}" for line in self.lines))


def _differing(where: str, said: Any, made: Any) -> list[str]:
    """What of a file is not as it was recomputed: the first few, and how many more there are."""
    named = [_named(each) if isinstance(each, list) else each for each in (said, made)]
    every = [*_unlike("", *named)]
    if not every and isinstance(said, list) and [*named[0]] != [*named[1]]:
        every = ["its rows are in another order than the dataset's"]
    more = [f"and {len(every) - _TOLD:,} more"] if len(every) > _TOLD else []
    return [f"{where}: {line}".replace(": : ", ": ") for line in [*every[:_TOLD], *more]]


def _unlike(name: str, said: Any, made: Any) -> Iterator[str]:
    if isinstance(said, dict) and isinstance(made, dict):
        for key in {**said, **made}:
            yield from _unlike(f"{name} {key}".strip(), said.get(key), made.get(key))
    elif said is None or made is None:
        if said is not made:
            yield f"{name}: is {'missing' if said is None else 'extra'}"
    elif not _same(said, made):
        yield f"{name} is said to be {short(said)}, recomputed {short(made)}"


def _named(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Rows, or figures, by what names them."""
    found: dict[str, dict[str, Any]] = {}
    for row in rows:
        columns = ("id", "way") if "id" in row else _NAMES
        words = [str(row[name]) for name in columns if row.get(name) not in ("", None)]
        name = " ".join(words)
        found[f"{name} (again)" if name in found else name] = row
    return found


def _same(one: Any, other: Any) -> bool:
    """Equal, numbers but for the last digits: sums differ by them between processors."""
    numbers = isinstance(one, int | float) and isinstance(other, int | float)
    if numbers and bool not in (type(one), type(other)):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)
