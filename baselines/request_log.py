"""Requests to be forgotten: the file they come in, and the log of what became of them.

OUT/requests.jsonl, for its owner alone (mode 600), is only ever added to. An entry a line, each
with its number, its time (UTC), `before`, the sha256 of the entry before it, and its own `sha256`,
of all else in it. So an entry that was changed, is missing or has moved is found out by its number;
that the last ones were cut off, or all was written anew, by a head hash that was noted elsewhere.

- received: what was new in a request file, which makes a round: whose rows (`of`: patient or row;
  `id`), the request's reference and date, how many rows these are and their hash.
- unlearned: a round's method, settings, model and adapters with their hashes, steps and seconds.
- checked: what came out afterwards, of every patient so far, and hashes of the answers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from mllmu_med.csv_tables import column_names, read_csv, read_rows
from mllmu_med.disk import writing
from mllmu_med.files import canonical_json, digest, json_lines, read_text
from mllmu_med_dataset import Record, UserError

LOG: Final = "requests.jsonl"
#: Columns that say whose rows are meant, and what an id in them is of.
OF: Final = {"patient_id": "patient", "profile_id": "patient", "id": "row", "row": "row"}
_ADVICE: Final = f"a request has a column {', '.join(OF)}, and may have request and received"
#: A reference such as 2026/014, in which no name stands.
_REFERENCE: Final = re.compile(r"(?=.*\d)[\w./#-]{1,40}")

Entry = dict[str, Any]


class Wanted(NamedTuple):
    """One line of a request file."""

    row: int  # of the file, the header being row 1
    of: str  # patient or row
    id: str
    request: str = ""
    received: str = ""

    def rows(self, data: Sequence[Record]) -> list[Record]:
        """Its rows: a patient's that are in the forget set, or, where there are none, all."""
        if self.of == "row":
            return [row for row in data if row.id == self.id]
        own = [row for row in data if self.id in (row.patient_id, row.profile_id)]
        return [row for row in own if row.split == "forget"] or own


def read_requests(path: Path, show: bool = True) -> list[Wanted]:
    """The lines of a request file; a UserError names the row of one that asks for nothing.

    show: whether messages may say what stands there, which could be a real patient's name.
    """
    try:
        rows = read_rows(read_text(path))
    except ValueError as error:
        raise UserError(f"{path}: broken CSV ({error}): correct the quotes there") from error
    header = column_names(rows, str(path), (), _ADVICE)
    columns = [name for name in header if name in OF]
    if not columns:
        raise UserError(f"{path}: has no column {', '.join(OF)}: {_ADVICE}")
    known = [name for name in (*OF, "request", "received") if name in header]
    wanted: list[Wanted] = []
    for number, cells in read_csv(path, known, _ADVICE).items():
        where, cells = f"{path}, row {number}", {k: v.strip() for k, v in cells.items()}
        told = [name for name in columns if cells[name]]
        if len(told) != 1:
            raise UserError(f"{where}: {len(told)} of {', '.join(columns)} are given: give one")
        reference, day = cells.get("request", ""), cells.get("received", "")
        if reference and not _REFERENCE.fullmatch(reference):
            raise UserError(
                f"{where}: request is no reference: at most 40 letters, digits and ./#-_, with a "
                "digit and no name, e.g. 2026/014"
            )
        try:
            day = date.fromisoformat(day).isoformat() if day else ""
        except ValueError as error:
            raise UserError(f"{where}: received is no date: write it as 2026-11-27") from error
        one = Wanted(number, OF[told[0]], cells[told[0]], reference, day)
        for other in wanted:
            if (other.of, other.id) == (one.of, one.id):
                name = f" {one.id}" if show else ""
                raise UserError(f"{where}: {one.of}{name} is in row {other.row} already")
        wanted.append(one)
    return wanted


def hash_of(rows: Sequence[Record]) -> str:
    """Of all that a model is trained on."""
    return digest([[row.id, row.question, row.answer, row.image_sha256] for row in rows])


class Log:
    """The entries of a request log, of which each was checked; a UserError names a wrong one.

    Args:
        head: a hash that was noted earlier: there has to be the entry of it.
    """

    def __init__(self, path: Path, head: str = "") -> None:
        self.path = path
        content = path.read_bytes() if path.is_file() else b""
        #: Where the last whole line ends: a kill may have left half a line.
        self._end = content.rfind(b"\n") + 1
        self.entries: list[Entry] = []
        lines = content[: self._end].decode("utf-8", "replace").split("\n")[:-1]
        for number, line in enumerate(lines, 1):
            self.entries.append(self._checked(number, line))
        if head and head not in [entry["sha256"] for entry in self.entries]:
            raise UserError(
                f"{path}: no entry of its {len(self.entries):,} has the head hash {head[:12]}...: "
                "entries were cut off or written anew: put the log back from a copy"
            )

    def _checked(self, number: int, line: str) -> Entry:
        try:
            ((_, entry),) = json_lines([line])
            told = entry.pop("sha256")
            sound = told == digest(entry) and entry["number"] == number
        except (ValueError, KeyError, TypeError, AttributeError):
            sound = False
        if not sound or entry["before"] != self.head:
            raise UserError(
                f"{self.path}, entry {number}: was changed, or it or one before it is missing or "
                "has moved: put the log back from a copy"
            )
        return {**entry, "sha256": told}

    @property
    def head(self) -> str:
        """The sha256 of the last entry; of none, 0s."""
        return str(self.entries[-1]["sha256"]) if self.entries else "0" * 64

    def of(self, kind: str, until: float = float("inf")) -> list[Entry]:
        """The entries of a kind, up to a round."""
        return [e for e in self.entries if e["kind"] == kind and e["round"] <= until]

    def add(self, kind: str, number: int, **about: Any) -> Entry:
        """Append an entry about a round, on the disk when this returns."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        entry: Entry = {"number": len(self.entries) + 1, "at": now, "before": self.head}
        entry |= {"kind": kind, "round": number, **about}
        entry["sha256"] = digest(entry)
        line = (canonical_json(entry) + "\n").encode()
        with writing(self.path, len(line)):
            place = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                os.fchmod(place, 0o600)
                os.ftruncate(place, self._end)
                os.pwrite(place, line, self._end)
                os.fsync(place)
            finally:
                os.close(place)
        self._end += len(line)
        self.entries.append(entry)
        return entry


def receive(
    log: Log, wanted: Sequence[Wanted], data: Sequence[Record], path: Path, show: bool = True
) -> int:
    """Log what of a request file is new, as one more round; how many lines are in the log already.

    Nothing is logged unless all lines can be: whose rows are not there, or only in the test set,
    is refused.
    """
    before = requests(log)
    held = {(request["of"], request["id"]) for request in before}
    asked = {row.id for request in before for row in rows_of(request, data, log.path)}
    new = []
    for one in [one for one in wanted if (one.of, one.id) not in held]:
        where = f"{path}, row {one.row}: {one.of}{f' {one.id}' if show else ''}"
        every = one.rows(data)
        rows = [row for row in every if row.split != "test"]
        if not every:
            raise UserError(f"{where}: not in the dataset: correct it, or give --data another one")
        if not rows:
            raise UserError(f"{where}: is in the test set alone, which nothing was trained on")
        if any(row.id in asked for row in rows):
            raise UserError(f"{where}: has rows that were asked for before: leave the line out")
        asked |= {row.id for row in rows}
        about = {"of": one.of, "id": one.id, "request": one.request, "date": one.received}
        new.append({**about, "rows": len(rows), "rows_sha256": hash_of(rows)})
    if new:
        log.add("received", len(log.of("received")) + 1, requests=new)
    return len(wanted) - len(new)


def requests(log: Log, until: float = float("inf")) -> list[Entry]:
    """All that was asked for, up to a round, each with its `round` and when it was logged."""
    return [
        {**request, "round": entry["round"], "at": entry["at"]}
        for entry in log.of("received", until)
        for request in entry["requests"]
    ]


def rows_of(request: Entry, data: Sequence[Record], path: Path) -> list[Record]:
    """The rows that were asked for; a UserError where they are others now."""
    wanted = Wanted(0, request["of"], request["id"])
    rows = [row for row in wanted.rows(data) if row.split != "test"]
    if hash_of(rows) != request["rows_sha256"]:
        raise UserError(
            f"{path}, round {request['round']}: the dataset holds other rows of {request['id']} "
            "than when this was logged: give --data the dataset of then"
        )
    return rows
