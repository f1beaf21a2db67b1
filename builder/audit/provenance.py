"""Provenance: dropped rows, ratings, decisions and requests parse, and agree with the rows."""

import re
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from builder.audit.run_checks import Check
from builder.core.stage_cache import STAGES
from builder.dataset_folder.manifest import MISSING
from builder.dataset_folder.read import Folder, Objects
from builder.dataset_folder.shipped_requests import REQUESTS
from builder.draw import ELSEWHERE
from builder.review.records import VERDICTS
from mllmu_med.llm.reply_cache import ReplyCache
from mllmu_med_dataset import UserError

_DROPPED: Final = {"stage": str, "id": str, "reason": str}
_RATED: Final = {"id": str, "rating": int, "kept": bool}
_PSEUDONYM: Final = re.compile(r"r\d+")
#: What was decided about a candidate that is kept, and what its row's column then says.
_COLUMN: Final = {"accepted": "accepted", "edited": "edited", "unseen": "none"}


def checks(folder: Folder) -> Iterator[Check]:
    dropped = {name: folder.jsonl(f"{name}-drops.jsonl", _DROPPED) for name in folder.scenarios}
    written = {name: {row.id for row in folder.rows(name)} for name in folder.scenarios}
    every = [(name, row) for name, objects in dropped.items() for row in objects.rows]
    counts = [line for name in dropped for line in _counts(folder, name, dropped[name])]
    yield Check("dropped rows are counted as in the manifest", len(every), counts)
    back = [
        f"{row['id']}: dropped at {row['stage']} ({row['reason']}), yet in the dataset"
        for name, row in every
        if row["id"] in written[name]
    ]
    yield Check("dropped rows are in no set", len(every), back)
    # Two scenarios of one corpus both read it whole: what one leaves to the other is no second row.
    where: dict[str, list[str]] = {}
    read: set[str] = set()
    for name, ids in written.items():
        for row_id in ids:
            where.setdefault(row_id, []).append(f"written in {name}")
        for row in dropped[name].rows:
            elsewhere = row["reason"].startswith(ELSEWHERE) or (
                row["stage"] == "ingest" and row["id"] in read
            )
            if row["id"] not in ids and not elsewhere:  # else the check above says so
                where.setdefault(row["id"], []).append(f"dropped at {name}/{row['stage']}")
        read |= {row["id"] for row in dropped[name].rows if row["stage"] == "ingest"}
    twice = [f"{row_id}: {' and '.join(names)}" for row_id, names in where.items() if names[1:]]
    yield Check("an id names one row, dropped or not", len(where), twice)
    rows = sum(1 for _ in folder.rows())
    ratings = [line for name in dropped for line in _ratings(folder, name, dropped[name])]
    note = "" if folder.manifest.recipe.calibration else "no calibration: all 0"
    yield Check("calibration columns are the ratings", rows, ratings, note)
    columns = [line for name in folder.scenarios for line in _review(folder, name)]
    note = "" if folder.manifest.review else "no review: all none"
    yield Check("review columns are the manifest's", rows, columns, note)
    decided = {name: folder.jsonl(f"{name}-review.jsonl") for name in folder.scenarios}
    wrong = [line for name, lines in decided.items() for line in _decisions(folder, name, lines)]
    seen = sum(len(objects.rows) for objects in decided.values())
    note = "" if seen else "no decisions"
    yield Check("decisions are the rows' own and name nobody", seen, wrong, note)
    yield _requests(folder)


def _counts(folder: Folder, name: str, dropped: Objects) -> Iterator[str]:
    """Counts by stage and reason; and each stage keeps what the one before kept, less its own."""
    file = f"provenance/{name}-drops.jsonl"
    if dropped.problem:
        yield f"{file}: {dropped.problem}"
        return
    stages = folder.manifest.stages.get(name, {})
    there = Counter((row["stage"], row["reason"]) for row in dropped.rows)
    counted = {(stage, why): n for stage, now in stages.items() for why, n in now.dropped.items()}
    for stage in sorted({stage for (stage, _), _ in there.items() ^ counted.items()}):
        yield f"{file}: {stage}: other reasons or counts than in the manifest"
    kept = None
    for stage in (stage for stage in STAGES if stage in stages):
        now = stages[stage]
        if kept is not None and kept - sum(now.dropped.values()) != now.kept:
            yield f"{name}/{stage}: of {kept:,} rows it keeps {now.kept:,}"
        kept = now.kept
    written = len({row.id for row in folder.rows(name)})
    if kept != written:
        yield f"{name}: {written:,} rows are written, the last stage kept {kept}"


def _ratings(folder: Folder, name: str, dropped: Objects) -> Iterator[str]:
    """The column is the rating that ships; and who was kept has been rated high enough."""
    file, how = f"{name}-ratings.jsonl", folder.manifest.recipe.calibration
    objects = folder.jsonl(file, _RATED if how else None)
    if how is None:
        if objects.problem != MISSING:
            yield f"provenance/{file}: the recipe has no calibration"
        yield from (
            f"{row.id}: rated {row.calibration}" for row in folder.rows(name) if row.calibration
        )
        return
    if objects.problem:
        yield f"provenance/{file}: {objects.problem}"
        return
    rated = {row["id"]: row for row in objects.rows}
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
    forget = {row.id for row in folder.rows(name, "forget")}
    later = {row["id"] for row in dropped.rows}
    for row_id, rating in rated.items():
        if rating["kept"] != (row_id in forget) and row_id not in later:
            yield f"{row_id}: kept or not in the ratings, otherwise in forget"


def _review(folder: Folder, name: str) -> Iterator[str]:
    """The rows' column as the manifest says."""
    done = folder.manifest.review.get(name)
    if done is None and folder.scenarios[name].review:
        yield f"{name}: the recipe wants a review, the manifest has none"
    unseen = 0
    for row in folder.rows(name):
        reviewed = row.split == "forget" and done is not None
        if reviewed and done and done.mode == "accept-all" and row.review == "none":
            unseen += 1
        elif row.review not in (("accepted", "edited") if reviewed else ("none",)):
            yield f"{row.id}: review {row.review!r} in {row.split}"
    if done is not None and unseen > done.unseen:
        yield f"{name}: {unseen:,} unseen rows, the manifest counts {done.unseen:,}"


def _decisions(folder: Folder, name: str, objects: Objects) -> Iterator[str]:
    """Decisions name nobody and are what the rows say; what was rejected is in no set."""
    file, done = f"provenance/{name}-review.jsonl", folder.manifest.review.get(name)
    if objects.problem:
        if done is not None or objects.problem != MISSING:
            yield f"{file}: {objects.problem}"
        return
    decided: dict[str, str] = {}
    for number, line in enumerate(objects.rows, 1):
        decision, reviewers = str(line.get("decision")), line.get("reviewers")
        if decision not in (*_COLUMN, "rejected"):
            yield f"{file}: line {number} has no decision"
        if not isinstance(reviewers, list) or not all(map(_is_nameless, reviewers)):
            yield f"{file}: line {number} names a reviewer other than r1, r2, ..."
        decided[str(line.get("id"))] = decision
    for row in folder.rows(name, "forget"):
        decision = decided.get(row.id, "not")
        if _COLUMN.get(decision) != row.review:
            yield f"{row.id}: decided {decision!r}, its row says {row.review!r}"
    if done is None:
        return
    ours = Counter(decided.values())
    counted = {"accepted": done.accepted, "edited": done.edited, "unseen": done.unseen}
    for what, count in {**counted, "rejected": sum(done.rejected.values())}.items():
        if ours[what] != count:
            yield f"{file}: {ours[what]:,} {what}, the manifest counts {count:,}"


def _is_nameless(decision: Any) -> bool:
    """A reviewer's decision under a pseudonym, and nothing besides."""
    return (
        isinstance(decision, Mapping)
        and decision.keys() == {"reviewer", "decision", "settles"}
        and bool(_PSEUDONYM.fullmatch(str(decision["reviewer"])))
        and decision["decision"] in VERDICTS
    )


def _requests(folder: Folder) -> Check:
    """A recorded request stands under its own hash: `--requests FILE --offline` replays it."""
    name = "recorded requests can be replayed"
    path = folder.path / REQUESTS
    if not path.is_file():
        return Check(name, 0, [], "none are shipped")
    if any(map(folder.by_reference, folder.scenarios)):
        return Check(name, 0, [], "a source goes out by reference: its captions are cut out")
    with tempfile.TemporaryDirectory() as scratch, ReplyCache(Path(scratch) / "ledger") as cache:
        try:
            return Check(name, cache.load(path), [])
        except (UserError, sqlite3.Error) as error:
            return Check(name, 1, [f"{REQUESTS}: {str(error).partition(': ')[2]}"])
