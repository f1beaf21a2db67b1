"""Requests to be forgotten: the file they come in, and the log of what became of them.

OUT/requests.jsonl, for its owner alone (mode 600), is only ever added to. An entry a line, with its
number, time (UTC), `before`, the sha256 of the entry before, and its own `sha256`, of all else in
it. So an entry that was changed, is missing or has moved is found by its number; that the last were
cut off, or all written anew, by a head hash that was noted elsewhere. Of round `round`:

- received: `requests`, what was new in a file: whose rows (`of`: patient or row; `id`), reference
  and date, how many rows and their hash.
- unlearned: method, settings, model and adapters with their hashes, steps and seconds.
- checked: what came out then, of every patient so far, and the answers' hashes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

from mllmu_med.csv_tables import read_csv
from mllmu_med.disk import writing
from mllmu_med.files import canonical_json, digest, json_lines
from mllmu_med_dataset import Record, UserError

LOG: Final = "requests.jsonl"
#: Columns that say whose rows are meant, and what an id in them is of.
OF: Final = {"patient_id": "patient", "profile_id": "patient", "id": "row", "row": "row"}
_ADVICE: Final = f"a line has one of {', '.join(OF)}, and may have request and received"
#: A reference such as 2026/014: no name can stand there.
_REFERENCE: Final = re.compile(r"(?=.*\d)[\w./#-]{1,40}|")

Entry = dict[str, Any]


class Wanted(NamedTuple):
    """One line of a request file; `row`: its number, the header being row 1."""

    row: int
    of: str
    id: str
    request: str
    date: str


def read_requests(path: Path) -> list[Wanted]:
    """The lines of a request file; a UserError names the row of one that cannot be read."""
    wanted = []
    columns = (*OF, "request", "received")
    for number, row in read_csv(path, (), _ADVICE, columns).items():
        told = [(OF[name], row[name].strip()) for name in OF if row.get(name, "").strip()]
        request, day = (row.get(name, "").strip() for name in columns[-2:])
        if len(told) != 1:
            raise UserError(f"{path}, row {number}: {len(told)} patients or rows: {_ADVICE}")
        if not _REFERENCE.fullmatch(request):
            raise UserError(
                f"{path}, row {number}: request is no reference: at most 40 letters, digits and "
                "./#-_, with a digit and no name, e.g. 2026/014"
            )
        try:
            day = day and date.fromisoformat(day).isoformat()
        except ValueError as error:
            raise UserError(f"{path}, row {number}: received: write it as 2026-11-27") from error
        wanted.append(Wanted(number, *told[0], request, day))
    return wanted


class Log:
    """The entries of a request log, each checked; a UserError names the first that is wrong.

    head: a hash that was noted earlier, which an entry has to have.
    """

    def __init__(self, path: Path, head: str = "") -> None:
        self.path, self.entries = path, list[Entry]()
        content = path.read_bytes() if path.is_file() else b""
        self._end = content.rfind(b"\n") + 1  # a kill may have left half a line behind it
        for number, line in enumerate(content.split(b"\n")[:-1], 1):
            try:
                ((_, entry),) = json_lines([line.decode()])
                own = {key: value for key, value in entry.items() if key != "sha256"}
                sound = (number, self.head) == (entry["number"], entry["before"])
                sound = sound and entry["sha256"] == digest(own)
            except (ValueError, KeyError, TypeError, AttributeError):
                sound = False
            if not sound:
                raise UserError(
                    f"{path}, entry {number}: was changed, or it or one before it is missing or "
                    "has moved: put the log back from a copy"
                )
            self.entries.append(entry)
        if head and head not in [entry["sha256"] for entry in self.entries]:
            raise UserError(
                f"{path}: none of its {len(self.entries)} entries has the head hash {head[:12]}: "
                "entries were cut off or written anew: put the log back from a copy"
            )

    @property
    def head(self) -> str:
        """The sha256 of the last entry; of none, 0s."""
        return str(self.entries[-1]["sha256"]) if self.entries else "0" * 64

    def of(self, kind: str) -> list[Entry]:
        return [entry for entry in self.entries if entry["kind"] == kind]

    def requests(self, until: int | None = None) -> list[Entry]:
        """All that was asked for, up to a round; each with its round and when it was logged."""
        return [
            {**request, "round": entry["round"], "at": entry["at"]}
            for entry in self.of("received")[:until]
            for request in entry["requests"]
        ]

    def add(self, kind: str, number: int, **about: Any) -> None:
        """Append an entry of a round; it is on the disk when this returns."""
        at = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S}"
        entry = {"number": len(self.entries) + 1, "at": at, "before": self.head, "kind": kind}
        entry |= {"round": number, **about}
        entry["sha256"] = digest(entry)
        line = (canonical_json(entry) + "\n").encode()
        with writing(self.path, len(line)):
            place = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(place, "wb") as stream:
                os.fchmod(place, 0o600)
                stream.truncate(self._end)
                stream.seek(self._end)
                stream.write(line)
                stream.flush()
                os.fsync(place)
        self._end += len(line)
        self.entries.append(entry)


def receive(log: Log, path: Path, data: Sequence[Record], show: bool) -> int:
    """Log what of a request file is new, as one more round; how many lines the log had already.

    Nothing is logged unless every line can be: whose rows are not in the dataset, or in the test
    set alone, is refused. show: whether messages may tell an id, which could be a real name.
    """
    held = {(request["of"], request["id"]) for request in log.requests()}
    taken = {row.id for request in log.requests() for row in rows_of(request, data)}
    lines, new = read_requests(path), []
    for one in [one for one in lines if (one.of, one.id) not in held]:
        where = f"{path}, row {one.row}: {one.of}{f' {one.id}' * show}"
        rows = _rows(one.of, one.id, data)
        if not rows:
            raise UserError(f"{where}: not in the dataset's forget or retain set: correct it")
        if any(row.id in taken for row in rows):
            raise UserError(f"{where}: has rows that are asked for already: leave the line out")
        taken |= {row.id for row in rows}
        about = {name: value for name, value in one._asdict().items() if name != "row"}
        new.append({**about, "rows": len(rows), "rows_sha256": _hash(rows)})
    if new:
        log.add("received", len(log.of("received")) + 1, requests=new)
    return len(lines) - len(new)


def rows_of(request: Entry, data: Sequence[Record]) -> list[Record]:
    """The rows that were asked for; a UserError where they are others than then."""
    rows = _rows(request["of"], request["id"], data)
    if _hash(rows) != request["rows_sha256"]:
        raise UserError(
            f"round {request['round']}: the dataset holds other rows of {request['id']} than when "
            "this was logged: give --data the dataset of then"
        )
    return rows


def _rows(of: str, name: str, data: Sequence[Record]) -> list[Record]:
    """Of a patient what is in the forget set or, where nothing is, what was retained."""
    seen = [row for row in data if row.split != "test"]
    if of == "row":
        return [row for row in seen if row.id == name]
    own = [row for row in seen if name in (row.patient_id, row.profile_id)]
    return [row for row in own if row.split == "forget"] or own


def _hash(rows: Sequence[Record]) -> str:
    return digest([[row.id, row.question, row.answer, row.image_sha256] for row in rows])
