"""`python -m builder publish`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from builder.commands.options import OUT, AsJson, Out, told
from mllmu_med.command_line import one_line_errors
from mllmu_med.progress import say
from mllmu_med_dataset import UsageError, UserError

if TYPE_CHECKING:
    from builder.dataset_folder.manifest import Manifest
    from builder.hub.push import Wish

EPILOG = """The token comes from HF_TOKEN or from `hf auth login`.

Exit codes: 0 done, 1 failed (the last commit stays), 2 wrong usage.
"""


@one_line_errors
def publish(
    repo: Annotated[str, told("publish.repo", argument=True)],
    out: Out = OUT,
    private: Annotated[
        bool | None, told("publish.private", "--private/--public", show_default=False)
    ] = None,
    gated: Annotated[str | None, told("publish.gated")] = None,
    images: Annotated[str | None, told("publish.images")] = None,
    results: Annotated[Path | None, told("publish.results")] = None,
    dry_run: Annotated[bool, told("publish.dry_run")] = False,
    as_json: AsJson = False,
) -> None:
    """Audit the dataset, then push it to the Hub in one commit; a rerun commits nothing new."""
    from builder.dataset_folder.manifest import read_manifest
    from builder.hub import folder as variant
    from builder.hub import personal
    from builder.hub.print_push import print_push
    from builder.hub.push import Wish
    from eval.results import read_results

    if gated not in (None, "auto", "manual"):
        raise UsageError(f"--gated {gated}: use auto or manual")
    wish = Wish(_repo(repo), private, gated)
    folder = out.expanduser().resolve()
    manifest = read_manifest(folder)
    if "own" in manifest.scenarios:
        raise UserError(
            f"{out}: holds data of real patients (scenario own): it cannot be published"
        )
    personal.check(folder, manifest, str(out))
    sources = {name: scenario.source for name, scenario in manifest.scenarios.items()}
    modes = variant.image_modes(images, sources, manifest.images)
    reports = read_results(results.expanduser()) if results else None
    with variant.workplace(folder) as place:
        _audit(folder, str(out), as_json)
        order = _Order(folder, manifest, place, modes, wish, reports)
        done = _dry_run(order) if dry_run else _publish(order, images or "")
    if as_json:
        print(json.dumps(done))
    else:
        print_push(done)


class _Order(NamedTuple):
    folder: Path
    manifest: Manifest
    place: Path  # empty, for what is made on the way
    modes: Mapping[str, str]
    wish: Wish
    reports: Mapping[str, Any] | None

    def make(self, target: Path, gated: str | None, shown: str) -> Manifest:
        """Make the folder that goes to the Hub, audited where it says what the built one does not:
        other rows, or results. Its manifest."""
        from builder.hub.folder import make_variant

        about: dict[str, Any] = {"repo": self.wish.repo, "gated": gated, "results": self.reports}
        made = make_variant(self.folder, self.manifest, target, self.modes, **about)
        if made.build != self.manifest.build or self.reports:
            _audit(target, shown, False)
        return made


def _publish(order: _Order, chosen: str) -> dict[str, Any]:
    from builder.hub import folder as variant
    from builder.hub import push, remote

    wish, modes = order.wish, order.modes
    account = push.log_in(wish.repo)
    there = remote.read_remote(account.api, wish.repo, account.name, order.place / "there")
    gated, private = wish.gated, wish.private is not False
    if there is not None:
        remote.check_ours(wish.repo, there)
        gated = wish.gated or there.gated
        private = there.private if wish.private is None else wish.private
        variant.check_kept_back(modes, chosen, there.build.images if there.build else {})
    files = order.place / "files"
    made = order.make(files, gated, "what goes to the Hub")
    changes = remote.compare(files, made, there)
    for name in changes.foreign:
        say(f"{name}: not ours, left alone")
    if changes.edited_card:
        say("README.md: was edited on the Hub, replaced; the old one stays in the history")
    done = push.push(account, wish, files, made, there, changes)
    return {
        "repo": wish.repo,
        "url": f"{account.api.endpoint}/datasets/{wish.repo}",
        "build": made.build,
        **done._asdict(),
        "uploaded": changes.add,
        "deleted": changes.delete,
        "foreign": changes.foreign,
        "bytes": changes.size,
        "private": private,
        "gated": gated,
        "config": next(iter(modes)),
    }


def _dry_run(order: _Order) -> dict[str, Any]:
    from builder.hub import remote

    wish = order.wish
    made = order.make(order.place, wish.gated, "what would go to the Hub")
    files = {name: entry.bytes for name, entry in remote.listed(order.place, made).items()}
    return {
        **wish._asdict(),
        "build": made.build,
        "files": dict(sorted(files.items())),
        "bytes": sum(files.values()),
        "images": dict(order.modes),
        "pictures": made.pictures,
        "left_out": made.left_out,
    }


def _audit(folder: Path, shown: str, as_json: bool) -> None:
    import time

    from builder import audit
    from builder.audit.pseudonyms import own_names
    from builder.audit.verdict import print_checks
    from builder.core.job import default_work

    started = time.monotonic()
    say(f"audit: {shown}")
    checks = [*audit.run(folder), own_names(folder, default_work(folder))]
    failed = audit.failing(checks)
    if not failed:
        say(f"audit: all {len(checks)} checks hold")
        return
    if not as_json:
        print_checks(shown, checks, time.monotonic() - started)
    raise UserError(f"{shown}: {failed}: nothing is published")


def _repo(repo: str) -> str:
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo)
        if repo.count("/") == 1:
            return repo
    except HFValidationError:
        pass
    raise UsageError(f"{repo!r}: no name of a repository: write ORG/NAME (or USER/NAME)")
