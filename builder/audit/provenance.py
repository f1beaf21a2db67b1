"""Provenance: dropped rows, ratings, decisions and requests parse, and agree with the rows."""

from __future__ import annotations

import re
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from builder.audit.folder import Folder
from builder.audit.run_checks import Check
from builder.core.plan import STAGES
from builder.core.recipe import Calibration
from builder.dataset_folder.replies import REQUESTS
from builder.review.records import VERDICTS
from mllmu_med.llm.reply_cache import ReplyCache
from mllmu_med_dataset import UserError

_RATED: Final = {"id": str, "rating": int, "kept": bool}
_PSEUDONYM: Final = re.compile(r"r\d+")
#: What was decided about a candidate that is kept, and what its row's column then says.
_COLUMN: Final = {"accepted": "accepted", "edited": "edited", "unseen": "none"}


def checks(folder: Folder) -> Iterator[Check]:
    dropped = {name: _dropped(folder, name) for name in folder.scenarios}
    yield _drops(folder, dropped)
    yield _in_no_set(folder, dropped)
    yield _one_row(folder, dropped)
    yield _ratings(folder, dropped)
    yield from _review(folder)
    yield _requests(folder)


def _dropped(folder: Folder, name: str) -> list[dict[str, Any]] | str:
    """The dropped rows of a scenario, or what is wrong with the file."""
    rows = folder.jsonl(f"{name}-drops.jsonl")
    if rows is None:
        return "is not there"
    return rows if isinstance(rows, str) else _typed(rows, {"stage": str, "id": str, "reason": str})


def _typed(rows: list[dict[str, Any]], wanted: Mapping[str, type]) -> list[dict[str, Any]] | str:
    for number, row in enumerate(rows, 1):
        for key, kind in wanted.items():
            if type(row.get(key)) is not kind:
                return f"line {number} has no {key} ({kind.__name__})"
    return rows


def _drops(folder: Folder, dropped: Mapping[str, list[dict[str, Any]] | str]) -> Check:
    """Counts by stage and reason; and each stage keeps what the one before kept, less its own."""
    failed = []
    checked = 0
    for name, rows in dropped.items():
        file = f"provenance/{name}-drops.jsonl"
        if isinstance(rows, str):
            failed.append(f"{file}: {rows}")
            continue
        checked += len(rows)
        there: dict[str, Counter[str]] = {}
        for row in rows:
            there.setdefault(row["stage"], Counter())[row["reason"]] += 1
        stages = folder.manifest.stages.get(name, {})
        for stage in sorted(there.keys() | stages.keys()):
            counted = stages[stage].dropped if stage in stages else {}
            if {**there.get(stage, {})} != {**counted}:
                failed.append(f"{file}: {stage}: other reasons or counts than in the manifest")
        kept = None
        for stage in (stage for stage in STAGES if stage in stages):
            now = stages[stage]
            if kept is not None and kept - sum(now.dropped.values()) != now.kept:
                failed.append(f"{name}/{stage}: of {kept:,} rows it keeps {now.kept:,}")
            kept = now.kept
        published = len({row.id for row in folder.rows(name)})
        if kept != published:
            failed.append(f"{name}: {published:,} rows are published, the last stage kept {kept}")
    return Check("dropped rows are counted as in the manifest", checked, failed)


def _in_no_set(folder: Folder, dropped: Mapping[str, list[dict[str, Any]] | str]) -> Check:
    failed = []
    checked = 0
    for name, rows in dropped.items():
        if isinstance(rows, str):
            continue
        published = {row.id for row in folder.rows(name)}
        checked += len(rows)
        failed += [
            f"{row['id']}: dropped at {row['stage']} ({row['reason']}), yet published"
            for row in rows
            if row["id"] in published
        ]
    return Check("dropped rows are in no set", checked, failed)


def _one_row(folder: Folder, dropped: Mapping[str, list[dict[str, Any]] | str]) -> Check:
    """No id was dropped twice, and the scenarios share none, dropped or published."""
    where: dict[str, list[str]] = {}
    for name, rows in dropped.items():
        published = {row.id for row in folder.rows(name)}
        for row_id in published:
            where.setdefault(row_id, []).append(f"published in {name}")
        for row in rows if isinstance(rows, list) else []:
            if row["id"] not in published:  # else the check above says so
                where.setdefault(row["id"], []).append(f"dropped at {name}/{row['stage']}")
    failed = [f"{row_id}: {' and '.join(names)}" for row_id, names in where.items() if names[1:]]
    return Check("an id names one row, dropped or not", len(where), failed)


def _ratings(folder: Folder, dropped: Mapping[str, list[dict[str, Any]] | str]) -> Check:
    """The column is the rating that ships; and who was kept has been rated high enough."""
    how = folder.manifest.recipe.calibration
    failed = []
    checked = 0
    for name in folder.scenarios:
        rows = list(folder.rows(name))
        checked += len(rows)
        file = f"{name}-ratings.jsonl"
        found = folder.jsonl(file)
        if isinstance(found, list):
            found = _typed(found, _RATED)
        if how is None:
            if found is not None:
                failed.append(f"provenance/{file}: the recipe has no calibration")
            failed += [f"{row.id}: rated {row.calibration}" for row in rows if row.calibration]
        elif found is None or isinstance(found, str):
            failed.append(f"provenance/{file}: {found or 'is not there'}")
        else:
            drops = dropped[name]
            failed += _rated(folder, name, found, how, drops if isinstance(drops, list) else [])
    note = "" if how else "no calibration: all 0"
    return Check("calibration columns are the ratings", checked, failed, note)


def _rated(
    folder: Folder,
    name: str,
    found: list[dict[str, Any]],
    how: Calibration,
    drops: list[dict[str, Any]],
) -> Iterator[str]:
    rated = {row["id"]: row for row in found}
    forget = {row.id for row in folder.rows(name, "forget")}
    for row in folder.rows(name):
        if row.split != "forget":
            if row.calibration:
                yield f"{row.id}: rated {row.calibration} in {row.split}"
        elif row.id not in rated:
            yield f"{row.id}: in forget and not in the ratings"
        elif row.calibration != rated[row.id]["rating"] or not rated[row.id]["kept"]:
            yield f"{row.id}: rated {row.calibration}, otherwise in the ratings"
        elif not how.least <= row.calibration <= 5:
            yield f"{row.id}: rated {row.calibration}, the recipe keeps {how.least} to 5"
    later = {row["id"] for row in drops}
    for row_id, rating in rated.items():
        if rating["kept"] != (row_id in forget) and row_id not in later:
            yield f"{row_id}: kept or not in the ratings, otherwise in forget"


def _review(folder: Folder) -> Iterator[Check]:
    """Columns as the manifest says; decisions that name nobody; what was rejected is in no set."""
    columns, decisions = [], []
    checked = seen = 0
    for name, scenario in folder.scenarios.items():
        done = folder.manifest.review.get(name)
        if done is None and getattr(scenario, "review", False):
            columns.append(f"{name}: the recipe wants a review, the manifest has none")
        unseen = 0
        for row in folder.rows(name):
            checked += 1
            allowed = {"none"}
            if row.split == "forget" and done is not None:
                allowed = {"accepted", "edited"}
                if row.review == "none" and done.mode == "accept-all":
                    unseen += 1
                    continue
            if row.review not in allowed:
                columns.append(f"{row.id}: review {row.review!r} in {row.split}")
        if done is not None and unseen > done.unseen:
            columns.append(f"{name}: {unseen:,} unseen rows, the manifest counts {done.unseen:,}")
        file = f"{name}-review.jsonl"
        found = folder.jsonl(file)
        if isinstance(found, str):
            decisions.append(f"provenance/{file}: {found}")
        elif found is None and done is not None:
            decisions.append(f"provenance/{file}: is not there")
        elif found is not None:
            seen += len(found)
            decisions += _decisions(folder, name, found, f"provenance/{file}")
    note = "" if folder.manifest.review else "no review: all none"
    yield Check("review columns are the manifest's", checked, columns, note)
    yield Check(
        "decisions are the rows' own and name nobody",
        seen,
        decisions,
        "" if seen else "no decisions",
    )


def _decisions(folder: Folder, name: str, found: list[dict[str, Any]], file: str) -> Iterator[str]:
    decided: dict[str, str] = {}
    for number, one in enumerate(found, 1):
        decision, reviewers = str(one.get("decision")), one.get("reviewers")
        if decision not in (*_COLUMN, "rejected"):
            yield f"{file}: line {number} has no decision"
        if not isinstance(reviewers, list) or not all(map(_is_nameless, reviewers)):
            yield f"{file}: line {number} names a reviewer other than r1, r2, ..."
        decided[str(one.get("id"))] = decision
    for row in folder.rows(name, "forget"):
        decision = decided.get(row.id, "not")
        if _COLUMN.get(decision) != row.review:
            yield f"{row.id}: decided {decision!r}, its row says {row.review!r}"
    told = folder.manifest.review.get(name)
    if told is None:
        return
    rejected = sum(told.rejected.values())
    counts = {"accepted": told.accepted, "edited": told.edited, "rejected": rejected}
    ours = Counter(decided.values())
    for what, count in {**counts, "unseen": told.unseen}.items():
        if ours[what] != count:
            yield f"{file}: {ours[what]:,} {what}, the manifest counts {count:,}"


def _is_nameless(one: Any) -> bool:
    """A reviewer's decision under a pseudonym, and nothing besides."""
    return (
        isinstance(one, dict)
        and one.keys() == {"reviewer", "decision", "settles"}
        and bool(_PSEUDONYM.fullmatch(str(one["reviewer"])))
        and one["decision"] in VERDICTS
    )


def _requests(folder: Folder) -> Check:
    """A recorded request stands under its own hash: `--requests FILE --offline` replays it."""
    name = "recorded requests can be replayed"
    path = folder.path / REQUESTS
    if not path.is_file():
        return Check(name, 0, [], "none are shipped")
    if any(map(folder.by_reference, folder.scenarios)):
        return Check(name, 0, [], "a source is published by reference: its captions are cut out")
    with (
        tempfile.TemporaryDirectory() as scratch,
        ReplyCache(Path(scratch) / "ledger") as cache,
    ):
        try:
            return Check(name, cache.load(path), [])
        except (UserError, sqlite3.Error) as error:
            return Check(name, 1, [f"{REQUESTS}: {str(error).partition(': ')[2]}"])
