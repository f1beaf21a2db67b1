"""Reviewers' decisions come in: each is checked against the texts as they are now.

Sound rows are taken, the others are refused by name. What was decided before is never lost: a file
that cannot be read changes nothing, and a refused row leaves the reviewer's earlier decision.
"""

import codecs
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from builder.core.job import Job
from builder.core.stage_cache import Chain, locked
from builder.review import decisions_file
from builder.review.check_rows import Changed, Counts, Names, Refused, RowChecker
from builder.review.export import read_team
from builder.review.merge_decisions import merge_all
from builder.review.records import (
    PAGE_FORMAT,
    PAGE_VERSION,
    WITHDRAW,
    Decision,
    Given,
    SubmittedRow,
)
from builder.review.spreadsheet import decoded, read_table
from builder.review.stage import Open, read_open
from builder.review.stage import before as stage_before
from mllmu_med.files import json_lines, once, parse_json, stand_in, text_lines
from mllmu_med_dataset import UserError

_FIELDS: Final = ("id", "content", "decision", "note", "question", "answer", "decided_at")


def read_file(path: Path) -> Given:
    """The decisions in a file, recognised by what is in it; a UserError for any other."""
    where = str(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be read ({error.strerror}): name the files that reviewers sent back"
        ) from error
    problem = stand_in(data)
    if "pointer" in problem:
        raise UserError(f"{where}: {problem}")
    if data.startswith(b"PK\x03\x04"):
        raise UserError(f'{where}: is a workbook: save it as "CSV UTF-8" and import that')
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        data = decoded(data, where).encode()
    begin = data[:100].lstrip(b"\xef\xbb\xbf \t\r\n")
    if begin[:9].lower() in (b"<!doctype", b"<!doctyp") or begin.startswith(b"<html"):
        raise UserError(
            f"{where}: is a page: open it in a browser, export there, and import what it saves"
        )
    if not begin.startswith((b"{", b"[")):
        return Given(read_table(data, where))
    try:
        text = data.decode("utf-8-sig")
        try:
            value = parse_json(text, once)
        except json.JSONDecodeError as error:
            if error.msg != "Extra data":
                raise
            value = [line for _, line in json_lines(text_lines(text), blank=True)]
    except ValueError as error:
        raise UserError(
            f"{where}: is cut off or damaged ({error}): export it again and import that"
        ) from error
    if isinstance(value, list):
        from builder.review import labelstudio

        return labelstudio.read_export(value, where)
    return Given(_read_page(value, where))


def _read_page(value: dict[str, Any], where: str) -> list[SubmittedRow]:
    if value.get("format") != PAGE_FORMAT or not isinstance(value.get("decisions"), list):
        raise UserError(
            f"{where}: is neither what the review page saves nor a Label Studio export: import a "
            "file of theirs, or a filled review.csv"
        )
    if value.get("version") != PAGE_VERSION:
        raise UserError(
            f"{where}: has version {value.get('version')!r}, this program reads "
            f"{PAGE_VERSION}: use the program that wrote the page"
        )
    reviewer = value.get("reviewer", "")
    if not isinstance(reviewer, str):
        raise UserError(f"{where}: its reviewer is no text: export it again and import that")
    return [
        _page_row(decision, f"decision {number}", reviewer)
        for number, decision in enumerate(value["decisions"], 1)
    ]


def _page_row(decision: Any, row: str, reviewer: str) -> SubmittedRow:
    values: dict[str, Any] = decision if isinstance(decision, dict) else {}
    texts: list[Any] = [values.get(name) for name in _FIELDS]
    id, content, verdict, note, *edit_and_time = texts
    reasons = values.get("reasons")
    if not isinstance(reasons, list) or not all(isinstance(t, str) for t in (*texts, *reasons)):
        id = id if isinstance(id, str) else ""
        broken = "is damaged: export the file again"
        return SubmittedRow(row, id, reviewer=reviewer, broken=broken)
    # An emptied text is to be found empty; a decision that is no edit has none.
    return SubmittedRow(row, id, content, reviewer, verdict, tuple(reasons), note, *edit_and_time)


@dataclass
class Imported:
    """An import: what each file brought, and how the scenarios stand now."""

    files: dict[str, Counts]
    now: dict[str, Open]

    @property
    def refused(self) -> list[Refused]:
        return [row for counts in self.files.values() for row in counts.refused]

    @property
    def changed(self) -> list[Changed]:
        return [change for counts in self.files.values() for change in counts.changed]


def reviewed(job: Job) -> list[str]:
    """The scenarios that want a review and whose texts are written; a UserError without any."""
    names = [name for name, scenario in job.recipe.scenarios().items() if scenario.review]
    if not names:
        first = next(iter(job.recipe.scenarios()))
        raise UserError(
            f"recipe {job.recipe.name} wants no review: rebuild it with --set {first}.review=true"
        )
    ready = [name for name in names if Chain(job.work / name).state(stage_before(name))]
    if not ready:
        raise UserError(f"{job.work}: no texts to review yet: run `python -m builder rebuild`")
    return ready


def import_files(
    job: Job, files: Sequence[Path], reviewer: str = "", settles: bool = False
) -> Imported:
    """Take the decisions in reviewers' files.

    Args:
        reviewer: whose decisions they are, whatever the files say; empty: the files say it.
        settles: they settle conflicts: each counts alone.

    Raises:
        UserError: a file cannot be read, or does not say whose it is where that is asked: nothing
            of any file is taken.
    """
    read = [(str(path), read_file(path)) for path in files]
    with locked(job.work):
        by_scenario = {name: read_open(job, Chain(job.work / name), name) for name in reviewed(job)}
        held = {name: decisions_file.read(job.work, name) for name in by_scenario}
        before = {key: old for decided in held.values() for key, old in decided.items()}
        known = (*read_team(job.work).reviewers, *(key.reviewer for key in before))
        checker = RowChecker(by_scenario, before, Names(known), reviewer.strip(), settles)
        counts: dict[str, Counts] = {}
        changed = set()
        for file, given in read:
            file_counts = counts.setdefault(file, Counts())
            file_counts.undecided += given.undecided
            for name, decision in checker.decisions(file, given.rows, file_counts):
                if _take(held[name], decision, file, file_counts):
                    changed.add(name)
        for name in sorted(changed):
            decisions_file.write(job.work, name, held[name].values())
        now = {
            name: texts._replace(merged=merge_all(texts.items, held[name].values()))
            for name, texts in by_scenario.items()
        }
        return Imported(counts, now)


def _take(
    held: dict[decisions_file.Key, Decision], new: Decision, file: str, counts: Counts
) -> bool:
    """Keep the later of two decisions of a reviewer; whether that changes anything."""
    key = decisions_file.key(new)
    old = held.get(key)
    if old is None:
        if new.verdict == WITHDRAW:  # kept, so that no older file brings the decision in
            counts.undecided += 1
        else:
            counts.new += 1
    elif replace(old, decided_at="") == replace(new, decided_at=""):
        counts.same += 1
        new = replace(new, decided_at=max(old.decided_at, new.decided_at))
        if new == old:
            return False
    elif old.decided_at and new.decided_at and new.decided_at < old.decided_at:
        counts.older += 1
        return False
    else:
        counts.changed.append(Changed(file, old, new))
    held[key] = new
    return True
