"""What reviewers get: a folder with a page and a table for each, and tasks for Label Studio."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain, count
from pathlib import Path
from typing import Final, NamedTuple

from builder.core.job import Job, image_reader
from builder.core.stage_cache import Chain, locked
from builder.review.records import Item
from builder.review.spreadsheet import write_table
from builder.review.stage import Open, read_open
from mllmu_med.files import digest, json_text, parse_json, stable_hash, write_together
from mllmu_med.folders import make_folder
from mllmu_med_dataset import UserError

#: The images of Label Studio's tasks, like those of a page, take at most so many bytes.
_BUDGET: Final = 36_000_000


@dataclass(frozen=True)
class Team:
    """Who reviews: names, and the share of the texts that all of them get. Nobody by name: ()."""

    reviewers: tuple[str, ...] = ()
    overlap: float = 0.0

    def assigned(self, items: Iterable[Item]) -> dict[str, tuple[str, ...]]:
        """Who reviews which of a scenario's texts, by id; nobody by name: ().

        Whose a text is hangs on its id alone, so that new texts move no others.
        """
        ids = sorted((item.id for item in items), key=lambda key: stable_hash("overlap", key))
        shared = max(1, round(self.overlap * len(ids))) if self.overlap else 0
        everybodys = set(ids[:shared])
        count = len(self.reviewers)
        return {
            key: self.reviewers
            if key in everybodys or not count
            else (self.reviewers[stable_hash("reviewer", key) % count],)
            for key in ids
        }


class Exported(NamedTuple):
    """What was written: the folder, its files with how many texts each holds."""

    folder: Path
    files: dict[str, int]
    texts: int


def default_folder(out: Path) -> Path:
    """Where reviewers' files go when nothing else is said: OUT.review beside the dataset."""
    return out.with_name(out.name + ".review")


def read_team(work: Path) -> Team:
    """Who got the latest export; nobody by name where there was none."""
    file = work / "review" / "team.json"
    try:
        team = parse_json(file.read_text("utf-8"))
        return Team(tuple(team["reviewers"]), team["overlap"])
    except FileNotFoundError:
        return Team()
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{file}: cannot be read: delete it and export again") from error


def export(
    job: Job,
    names: Sequence[str],
    team: Team,
    to: Path | None = None,
    *,
    conflicts: bool = False,
    everything: bool = False,
) -> Exported:
    """Write the folder.

    Args:
        names: the scenarios.
        to: the folder; by default OUT.review, or OUT.review-2 ... where that holds another export.
        conflicts: only what reviewers disagree about, all of it for everybody.
        everything: also what is decided.

    Raises:
        UserError: nothing to review; an earlier export in the way in `to`.
    """
    from builder.review.page import render_page

    with locked(job.work):
        by_scenario = {
            name: read_open(job, Chain(job.work / name), name, rated=True) for name in names
        }
        shares = _shares(by_scenario, team, conflicts, everything)
        items = {item.id: item for share in shares.values() for item in share}
        if not items:
            raise UserError(_nothing(by_scenario, conflicts))
        read = _images(job, by_scenario)
        files: dict[str, tuple[str, int]] = {}
        for name, share in shares.items():
            tail = f"-{name}" if name else ""
            page = render_page(share, read, name, set_id(share))
            files[f"review{tail}.html"] = (page, len(share))
            files[f"review{tail}.csv"] = (write_table(share, name), len(share))
        files |= _label_studio(list(items.values()), read)
        data = {name: text.encode() for name, (text, _) in files.items()}
        folder = _place(job.out, to, data)
        make_folder(folder, "the review")
        written = {folder / name: content for name, content in data.items()}
        if not conflicts:  # who settles them is nobody's share of the texts
            written[job.work / "review" / "team.json"] = json_text(asdict(team)).encode()
        write_together(written)
    return Exported(folder, {name: count for name, (_, count) in files.items()}, len(items))


def _shares(
    by_scenario: Mapping[str, Open], team: Team, conflicts: bool, everything: bool
) -> dict[str, list[Item]]:
    """What each reviewer gets, by name; those who get nothing are left out."""
    shares: dict[str, list[Item]] = {name: [] for name in team.reviewers or ("",)}
    for texts in by_scenario.values():
        assigned = team.assigned(texts.items)
        for item in texts.items:
            merged = texts.merged[item.id]
            decided = {decision.reviewer for decision in merged.decisions}
            for name in (team.reviewers if conflicts else assigned[item.id]) or ("",):
                done = name in decided if name else bool(decided)
                if merged.conflict if conflicts else everything or not done:
                    shares[name].append(item)
    return {name: share for name, share in shares.items() if share}


def _nothing(by_scenario: Mapping[str, Open], conflicts: bool) -> str:
    names = " and ".join(by_scenario)
    if conflicts:
        return f"{names}: reviewers disagree about nothing: see `python -m builder review status`"
    return (
        f"{names}: nothing is left to decide: see `python -m builder review status`, or export "
        "what is decided, too, with --all"
    )


def _images(job: Job, by_scenario: Mapping[str, Open]) -> Callable[[Item], bytes]:
    readers = {name: image_reader(job, Chain(job.work / name), name) for name in by_scenario}

    def read(item: Item) -> bytes:
        return readers[item.scenario](by_scenario[item.scenario].records[item.id])

    return read


def set_id(items: Sequence[Item]) -> str:
    """Names these very texts: twelve hex digits."""
    return digest([item.content for item in items])[:12]


def _label_studio(
    items: Sequence[Item], read: Callable[[Item], bytes]
) -> dict[str, tuple[str, int]]:
    from builder.review import labelstudio
    from builder.review.page_images import embed

    images = embed(items, read, _BUDGET)

    def uri(item: Item) -> str:
        image = images[item.image_sha256]
        return f"data:{image.kind};base64,{image.base64}"

    tasks = json.dumps(labelstudio.tasks(items, uri), ensure_ascii=False, indent=1)
    return {
        "labelstudio.json": (tasks + "\n", len(items)),
        "labelstudio.xml": (labelstudio.CONFIG, len(items)),
    }


def _place(out: Path, to: Path | None, files: Mapping[str, bytes]) -> Path:
    """The folder for the files: no file that differs is in the way.

    A page's decisions are in the browser under the page's own place, and a table may be filled in:
    an earlier export is never written over.

    Raises:
        UserError: in `to` a file is in the way.
    """
    if to is not None:
        blocked = _blocked(to, files)
        if blocked:
            raise UserError(
                f"{blocked}: is of an earlier export, or somebody has filled it in: import what it "
                "holds and move it away, or choose another --to"
            )
        return to
    first = default_folder(out)
    numbered = (first.with_name(f"{first.name}-{number}") for number in count(2))
    return next(folder for folder in chain([first], numbered) if not _blocked(folder, files))


def _blocked(folder: Path, files: Mapping[str, bytes]) -> Path | None:
    for name, data in files.items():
        path = folder / name
        if path.exists() and not (path.is_file() and path.read_bytes() == data):
            return path
    return None
