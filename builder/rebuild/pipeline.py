"""The walk through the stages: skip what is current, run the rest, write."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from builder.audit import Check, verdict
from builder.core.job import Job, image_reader, options, write_job
from builder.core.ratings import RATINGS
from builder.core.stage_cache import AT_WORK, STAGES, ChainPlan, Stage, StageState, Stamp, locked
from builder.dataset_folder import manifest as manifests
from builder.dataset_folder import write
from builder.dataset_folder.write_card import VERSION as CARD_VERSION
from builder.dataset_folder.write_card import write_card
from builder.rebuild.stages import ingest, plan, run_stage, sized
from builder.review import stage as review
from mllmu_med.errors import UserError
from mllmu_med.files import canonical_json, digest, hidden, parse_json, write_atomic, write_jsonl
from mllmu_med.folders import atomic_folder, make_folder, restore_folder
from mllmu_med.llm.reply_cache import ReplyCache
from mllmu_med.llm.settings import api_key
from mllmu_med.locks import lock_file
from mllmu_med.progress import say


class Result(NamedTuple):
    """What a rebuild did."""

    ran: list[str]  # "privacy/inject", ..., "write"
    states: dict[str, dict[str, StageState]]  # scenario -> stage -> state
    manifest: manifests.Manifest | None  # None when it stopped before writing
    checks: Sequence[Check] = ()  # of the audit, where the folder is whole


def stale(plans: Sequence[ChainPlan], job: Job) -> list[str]:
    """The stages that a rebuild would run, as "privacy/inject" and "write"; changes nothing."""
    due: set[str] = set()
    previous: dict[str, str | None] = {item.name: "" for item in plans}  # None: it is due itself
    for item, stage in _in_order(plans):
        state, before = None, previous[item.name]
        if before is not None and due.isdisjoint(stage.beside):
            state = item.chain.current(stage, before)
        if state is None:
            due.add(f"{item.name}/{stage.name}")
        previous[item.name] = state.output if state else None
    every = [f"{item.name}/{stage.name}" for item in plans for stage in item.stages]
    names = [name for name in every if name in due]
    if names or _written(job, _write_fingerprint(job, plans)) is None:
        names.append("write")
    return names


def _in_order(
    plans: Sequence[ChainPlan], until: str = STAGES[-1]
) -> Iterator[tuple[ChainPlan, Stage]]:
    for name in STAGES[: STAGES.index(until) + 1]:
        for item in plans:
            yield from ((item, stage) for stage in item.stages if stage.name == name)


def rebuild(job: Job, until: str = STAGES[-1]) -> Result:
    """Run every stage that is not current, up to and with `until`; audit what is written.

    Raises:
        Waiting: texts have to be reviewed first; all that does not depend on them is done.
        UserError: with one line about what is wrong; what was written before stays as it was.
    """
    if job.recipe.own:
        os.umask(0o077)  # real patients' data: for this user alone
    for name, scenario in job.recipe.scenarios().items():
        ingest(job, name, scenario)  # a corpus that is not given is told of before anything
    for corpus in job.corpora.values():
        if not corpus.path.exists() and corpus.path.parent.is_dir():  # else it may be a Hub id
            advice = "give its folder" + ", or --slake hub" * (corpus.name == "slake")
            raise UserError(f"{corpus.path}: no such file or folder: {advice}")
    make_folder(job.out.parent, "the dataset")
    with lock_file(hidden(job.out, "lock"), job.out, AT_WORK, "use another --out"):
        # Told at the start, not after minutes of work.
        write.check_target(job.out, manifests.any_build(job.out))
        with locked(job.work):
            restore_folder(job.out)
            write_job(job)
            ran: list[str] = []
            job = sized(job, ran)
            plans = plan(job)
            write_job(job)
            _ready_to_ask(job, plans)
            return _rebuild(job, plans, until, ran)


def _rebuild(job: Job, plans: Sequence[ChainPlan], until: str, ran: list[str]) -> Result:
    states = _walk_or_wait(job, plans, until, ran)
    if until != "write":
        return Result(ran, states, None)
    fingerprint = _write_fingerprint(job, plans)
    manifest = _written(job, fingerprint)
    if manifest is None:
        say("write: rows and card")
        before = manifests.any_build(job.out)
        if before is not None:
            configs = ", ".join(before.configs)
            say(f"write: replaces build {before.build} ({configs}) in {job.out}")
        manifest = _write(job, plans, fingerprint)
        ran.append("write")
    checks = verdict.audited(job.out, job.work / "audit.json", changed=bool(ran))
    return Result(ran, states, manifest, checks)


def _ready_to_ask(job: Job, plans: Sequence[ChainPlan]) -> None:
    """Read recorded replies, and miss a key now rather than after minutes of work."""
    if not job.recipe.asks_model:
        return
    if job.recorded is not None:
        with ReplyCache(job.requests) as cache:
            say(f"requests: {cache.load(job.recorded):,} replies read from {job.recorded}")
    stages = {"inject": job.recipe.privacy, "corrupt": job.recipe.incorrect}
    asking = [f"/{n}" for n, it in stages.items() if it and job.recipe.writes_with_model(it)]
    if job.recipe.calibration and job.recipe.calibration.rater == "llm":
        asking.append("/calibrate")
    asks = any(name.endswith(tuple(asking)) for name in stale(plans, job))
    if job.llm is not None and asks and not job.llm.offline:
        api_key(job.llm)


def _walk_or_wait(
    job: Job, plans: Sequence[ChainPlan], until: str, ran: list[str]
) -> dict[str, dict[str, StageState]]:
    """Run the chains; where one waits for a review, the others come as far as they can first."""
    waiting: list[review.Waiting] = []
    states = _walk(plans, until, ran, waiting)
    if waiting:
        only = "" if any(wait.undecided for wait in waiting) else " --conflicts"
        unseen = "" if job.accept_all or only else "; or take them unseen: --review accept-all"
        export = f"`python -m builder review export{only}{options(job)}`"
        raise review.Waiting(
            f"{'; '.join(map(str, waiting))}: {export} writes the page to open, `python -m builder "
            f"review import` takes what it saves{unseen}"
        )
    return states


def _walk(
    plans: Sequence[ChainPlan], until: str, ran: list[str], waiting: list[review.Waiting]
) -> dict[str, dict[str, StageState]]:
    """Run the chains side by side, a stage of each at a time: bad sources are met before any text
    is written (and paid for).

    A chain in which a review waits for people goes no further; why is added to `waiting`.
    """
    states: dict[str, dict[str, StageState]] = {item.name: {} for item in plans}
    previous = {item.name: "" for item in plans}
    stopped: set[str] = set()
    for item, stage in _in_order(plans, until):
        if item.name in stopped:
            continue
        state = item.chain.current(stage, previous[item.name])
        if state is None:
            try:
                state = run_stage(item.name, item.chain, stage, previous[item.name], ran)
            except review.Waiting as error:
                waiting.append(error)
                stopped.add(item.name)
                continue
        states[item.name][stage.name] = state
        previous[item.name] = state.output
    return states


def _write_fingerprint(job: Job, plans: Sequence[ChainPlan]) -> str:
    outputs = {
        item.name: {name: state.output for name, state in item.states().items()} for item in plans
    }
    return digest([write.VERSION, CARD_VERSION, job.recipe.model_dump(mode="json"), outputs])


def _written(job: Job, fingerprint: str) -> manifests.Manifest | None:
    """The manifest, when the folder in place is this very build and nobody has changed it."""
    try:
        record = parse_json((job.work / "write.json").read_text("utf-8"))
        stamps = {name: Stamp(*stamp) for name, stamp in record["files"].items()}
    except (AttributeError, KeyError, OSError, TypeError, ValueError):
        return None
    if record.get("fingerprint") != fingerprint:
        return None
    if not all(stamp.matches(job.out / name) for name, stamp in stamps.items()):
        return None
    try:
        return manifests.read_manifest(job.out)
    except manifests.ManifestError:  # of another version
        return None


def _write(job: Job, plans: Sequence[ChainPlan], fingerprint: str) -> manifests.Manifest:
    parts = []
    for name, scenario, chain, _ in plans:
        read = image_reader(job, chain, name)
        parts.append(write.Part(name, scenario, chain.records("split"), read))
    with atomic_folder(job.out) as building:
        files = write.write_data(building, parts)
        provenance = _provenance(job, plans)
        left_out: dict[str, Any] = {}
        if job.recipe.asks_model:
            from builder.dataset_folder import shipped_requests as shipped

            provenance[shipped.REQUESTS], count = _requests(job, plans)
            left_out = shipped.add_left_out({}, count, shipped.REAL)
        files |= write.copy_into(building, provenance)
        manifest = write_card(building, manifests.draft(job, plans, parts, files, left_out))
        write.check_target(job.out, manifests.any_build(job.out))
    stamps = {name: Stamp.of(job.out / name) for name in (*manifest.files, write.MANIFEST)}
    record = {"fingerprint": fingerprint, "files": stamps}
    write_atomic(job.work / "write.json", canonical_json(record) + "\n")
    return manifest


def _provenance(job: Job, plans: Sequence[ChainPlan]) -> dict[str, Path]:
    """What ships beside the data: the fictional patients, every dropped row's id and reason, what
    reviewers decided, and ratings."""
    files = {}
    for item in plans:
        folder = job.work / item.name
        drops = (
            {"stage": stage.name, "id": drop.id, "reason": drop.reason}
            for stage in item.stages
            for drop in item.chain.drops(stage.name)
        )
        write_jsonl(folder / "drops.jsonl", drops)
        files[f"provenance/{item.name}-drops.jsonl"] = folder / "drops.jsonl"
        if item.scenario.review:
            decided = folder / "review" / review.DECIDED
            files[f"provenance/{item.name}-review.jsonl"] = decided
        if item.name == "privacy":
            files["provenance/profiles.jsonl"] = folder / "profiles" / "profiles.jsonl"
        if job.recipe.calibration is not None:
            files[f"provenance/{item.name}-ratings.jsonl"] = folder / "calibrate" / RATINGS
    return files


def _requests(job: Job, plans: Sequence[ChainPlan]) -> tuple[Path, int]:
    """The requests that made the rows, with their replies; how many of them may not ship."""
    from builder.dataset_folder import shipped_requests as shipped
    from builder.harm.stage import used_requests

    used = set().union(
        *(used_requests(p.chain.folder / stage.name) for p in plans for stage in p.stages)
    )
    exported = job.work / "requests.parquet"
    with ReplyCache(job.requests) as cache:
        cache.export(exported, used)
    left_out = shipped.leave_out(exported, exported, shipped.holds_real)
    if left_out:
        say(f"{shipped.REQUESTS}: {left_out:,} requests left out: {shipped.REAL}")
    return exported, left_out
