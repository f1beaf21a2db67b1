"""Requests to be forgotten: the file they come in, and the log of what became of them.

OUT/requests.jsonl, for its owner alone (mode 600), is only ever added to. An entry a line, with its
number, time (UTC), `before`, the sha256 of the entry before, and its own `sha256`, of all else in
it. So an entry that was changed, is missing or has moved is found by its number; that the last were
cut off, or all written anew, by a head hash that was noted elsewhere. Of round `round`:

- received: `requests`, what was new in a file: whose rows (`of`: patient or row; `id`), reference
  and date, how many rows and their hash.
- unlearned: method, settings, model and adapters with their hashes, steps and seconds.
- checked: what came out then, of every patient so far, and the hashes of the files that say so.
- repeated: `requests` that came again, under another reference or date; no round.
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
from mllmu_med.progress import say
from mllmu_med_dataset import Record, UserError

LOG: Final = "requests.jsonl"
#: Columns that say whose rows are meant, and what an id in them is of.
OF: Final = {"patient_id": "patient", "profile_id": "patient", "id": "row", "row": "row"}
_ADVICE: Final = f"a line has one of {', '.join(OF)}, and may have request and received"
#: A reference such as DSR-2026/014: a name would be four letters together, as a rule.
_REFERENCE: Final = re.compile(r"(?=.*\d)(?!.*[^\W\d_]{4})[\w./#-]{1,40}|")

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
    rows = read_csv(path, (), _ADVICE, columns)
    if not any(name in row for row in rows.values() for name in OF):
        raise UserError(f"{path}: no line in the columns {', '.join(OF)}: separate by commas")
    for number, row in rows.items():
        told = [(OF[name], row[name].strip()) for name in OF if row.get(name, "").strip()]
        request, day = (row.get(name, "").strip() for name in columns[-2:])
        if len(told) != 1:
            raise UserError(f"{path}, row {number}: {len(told)} patients or rows: {_ADVICE}")
        if not _REFERENCE.fullmatch(request):
            raise UserError(
                f"{path}, row {number}: request is no reference: at most 40 letters, digits and "
                "./#-_, with a digit and no four letters together, e.g. DSR-2026/014"
            )
        try:
            day = day and date.fromisoformat(day).isoformat()
        except ValueError as error:
            raise UserError(f"{path}, row {number}: received: write it as 2026-11-27") from error
        if day > f"{datetime.now(UTC):%Y-%m-%d}":
            raise UserError(f"{path}, row {number}: received {day} is yet to come: correct it")
        wanted.append(Wanted(number, *told[0], request, day))
    return wanted


class Log:
    """The entries of a request log, each checked; a UserError names the first that is wrong.

    head: a hash that was noted earlier, which an entry has to have.
    """

    def __init__(self, path: Path, head: str = "") -> None:
        self.path, self.entries = path, list[Entry]()
        *lines, last = (path.read_bytes() if path.is_file() else b"").split(b"\n")
        self._end = sum(len(line) + 1 for line in lines)  # where the next entry goes
        self._gap = b""  # what goes before it
        for number, line in enumerate([*lines, *[last] * bool(last)], 1):
            try:
                ((_, entry),) = json_lines([line.decode()])
                own = {key: value for key, value in entry.items() if key != "sha256"}
                sound = (number, self.head) == (entry["number"], entry["before"])
                sound = sound and entry["sha256"] == digest(own)
            except (ValueError, KeyError, TypeError, AttributeError):
                sound = False
            if number > len(lines) and not sound:
                say(f"{path}: half an entry behind the last one, of a kill: taken away")
                break
            if number > len(lines):  # whole but for the end of its line, which an editor took
                self._end, self._gap = self._end + len(line), b"\n"
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
        line = self._gap + (canonical_json(entry) + "\n").encode()
        with writing(self.path, len(line)):
            place = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
            with os.fdopen(place, "wb") as stream:
                os.fchmod(place, 0o600)
                stream.truncate(self._end)
                stream.seek(self._end)
                stream.write(line)
                stream.flush()
                os.fsync(place)
        self._end, self._gap = self._end + len(line), b""
        self.entries.append(entry)


def receive(log: Log, path: Path, data: Sequence[Record], show: bool) -> int:
    """Log what of a request file is new, as one more round; how many lines the log had already.

    Nothing is logged unless every line can be: whose rows are not in the dataset, or in the test
    set alone, is refused. show: whether messages may tell an id, which could be a real name.
    """
    names = ("of", "id", "request", "date")
    entries = (*log.of("received"), *log.of("repeated"))
    told = {tuple(request[name] for name in names) for e in entries for request in e["requests"]}
    held = {of[:2] for of in told}
    taken = {row.id for request in log.requests() for row in rows_of(request, data)}
    lines, new, again = read_requests(path), list[Entry](), list[Entry]()
    for one in lines:
        where = f"{path}, row {one.row}: {one.of}{f' {one.id}' * show}"
        about = {name: getattr(one, name) for name in names}
        if (one.of, one.id) in held:
            again += [about] * (tuple(about.values()) not in told)
            continue
        rows = _rows(one.of, one.id, data)
        left = [row for row in rows if row.id not in taken]
        if not rows and _rows(one.of, one.id, data, test=True):
            raise UserError(f"{where}: only in test, which is not trained on: leave it out")
        if not rows:
            raise UserError(f"{where}: not in the dataset's forget or retain set: correct it")
        if not left:
            raise UserError(f"{where}: its rows are asked for already: leave the line out")
        taken |= {row.id for row in left}
        new.append({**about, "rows": len(left), "rows_sha256": _hash(rows)})
    last = len(log.of("received"))
    if again:
        log.add("repeated", last, requests=again)
    if new:
        log.add("received", last + 1, requests=new)
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


def _rows(of: str, name: str, data: Sequence[Record], test: bool = False) -> list[Record]:
    """Of a patient what is in the forget set or, where nothing is, what was retained."""
    seen = [row for row in data if test or row.split != "test"]
    if of == "row":
        return [row for row in seen if row.id == name]
    own = [row for row in seen if name in (row.patient_id, row.profile_id)]
    return [row for row in own if row.split == "forget"] or own


def _hash(rows: Sequence[Record]) -> str:
    return digest([[row.id, row.question, row.answer, row.image_sha256] for row in rows])
