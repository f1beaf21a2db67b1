"""Builds that wait for review, and reviewers' files for them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from corpora import SMALL, copy_build, make_mm_skin, make_slake
from typer.testing import CliRunner

from builder.__main__ import app
from builder.core.job import read_job
from builder.core.stage_cache import Chain
from builder.review.records import Item
from builder.review.spreadsheet import COLUMNS, write_table
from builder.review.stage import read_open

#: Both scenarios are reviewed: 8 texts of privacy, of which 6 are kept, and 9 of incorrect (4).
REVIEWED = [*SMALL, "--set", "incorrect.candidates=9"]
REVIEWED += ["--set", "incorrect.review=true", "--set", "privacy.review=true"]


def run(*arguments: str | Path, code: int = 0) -> Any:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == code, result.output
    return result


class Build:
    """A build of the small corpora in a folder, at the point where it waits."""

    def __init__(self, corpora: Path, folder: Path) -> None:
        self.corpora, self.out = corpora, folder / "out"
        self.work, self.folder = folder / "out.work", folder

    def copy(self, folder: Path) -> Build:
        """The same build in another folder."""
        other = Build(self.corpora, folder)
        copy_build(self.out, other.out)
        return other

    def rebuild(self, *more: str, code: int = 0) -> Any:
        sources = ["--slake", self.corpora / "slake", "--mm-skin", self.corpora / "skin"]
        command = ["rebuild", "--recipe", "paper", *sources, *REVIEWED, "--out", self.out]
        return run(*command, *more, code=code)

    def review(self, verb: str, *more: str | Path, code: int = 0) -> Any:
        return run("review", verb, *more, "--out", self.out, code=code)

    def items(self, name: str) -> list[Item]:
        return read_open(read_job(self.work), Chain(self.work / name), name).items

    def save(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def page(self, reviewer: str, *decisions: dict[str, Any], name: str = "") -> Path:
        """What the page saves."""
        return self.save(name or f"review-{reviewer}.json", page(reviewer, decisions))

    def accept(self, *names: str, reviewer: str = "anna") -> None:
        """Have all texts of some scenarios accepted."""
        items = [item for name in names for item in self.items(name)]
        self.review("import", self.page(reviewer, *map(decide, items), name="accepted.json"))

    def stored(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in (self.work / "review").glob("*.jsonl")}


def make_corpora(folder: Path) -> Path:
    make_slake(folder / "slake")
    make_mm_skin(folder / "skin")
    return folder


def decide(item: Item, decision: str = "accept", **more: Any) -> dict[str, Any]:
    """A decision as the page has it."""
    told = {"reasons": [], "note": "", "question": "", "answer": "", "decided_at": ""}
    return {"id": item.id, "content": item.content, "decision": decision, **told, **more}


def reject(item: Item, *reasons: str, **more: Any) -> dict[str, Any]:
    return decide(item, "reject", reasons=list(reasons or ("implausible",)), **more)


def edit(item: Item, answer: str, **more: Any) -> dict[str, Any]:
    return decide(item, "edit", **{"question": item.question, "answer": answer, **more})


def page(reviewer: str, decisions: Sequence[dict[str, Any]]) -> str:
    return json.dumps(
        {
            "format": "mllmu-med review",
            "version": 1,
            "set": "0" * 12,
            "reviewer": reviewer,
            "exported_at": "2026-03-01T10:00:00.000Z",
            "decisions": list(decisions),
        }
    )


def filled(
    items: Iterable[Item], cells: Mapping[int, Mapping[str, str]], reviewer: str = "anna"
) -> list[dict[str, str]]:
    """The rows of a table, some cells of some rows (from 0) filled in."""
    text = write_table(items, reviewer).removeprefix("\ufeff")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    return [{**row, **cells.get(number, {})} for number, row in enumerate(rows)]


def as_csv(rows: Iterable[Mapping[str, str]], delimiter: str = ",", end: str = "\r\n") -> str:
    stream = io.StringIO()
    quoted = csv.QUOTE_ALL if end == "\n" else csv.QUOTE_MINIMAL  # else it leaves \r bare
    writer = csv.DictWriter(
        stream, COLUMNS, delimiter=delimiter, lineterminator=end, quoting=quoted
    )
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()
