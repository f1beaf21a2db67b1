"""The stage `review`: what people decided about each harmful candidate takes effect.

All candidates are reviewed, and before calibration and the cutting of the sets, so that a rejected
one is replaced and the counts stay exact.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NamedTuple

from builder import split
from builder.core.job import Job
from builder.core.recipe import Scenario
from builder.core.stage_cache import Chain, Drop, Outcome
from builder.harm import text_checks
from builder.patients.profiles import read_profiles
from builder.review import decisions_file
from builder.review.edits import apply_edit, check_edit
from builder.review.merge_decisions import Merged, agreement, merge_all, pairs, pseudonyms
from builder.review.records import REASONS, Item, item
from mllmu_med.files import json_text, jsonl_text, write_together
from mllmu_med_dataset import Record, UserError

VERSION: Final = 1
#: In the stage's folder: how it went, for the manifest; and what was decided about each candidate.
SUMMARY: Final = "review.json"
DECIDED: Final = "review.jsonl"


class Waiting(UserError):
    """Texts wait for people: nothing is wrong, and nothing goes on before they are decided."""

    exit_code = 3
    label = "waiting"

    def __init__(self, line: str, undecided: int = 0) -> None:
        super().__init__(line)
        self.undecided = undecided  # texts that nobody has decided


def before(name: str) -> str:
    """The stage whose candidates are reviewed."""
    return "inject" if name == "privacy" else "corrupt"


class Open(NamedTuple):
    """The candidates of a scenario as they are decided so far."""

    name: str
    records: dict[str, Record]  # the candidates by id, in the order in which they were drawn
    items: list[Item]
    merged: dict[str, Merged]

    def undecided(self) -> list[str]:
        """Nobody has decided these."""
        return [key for key, merged in self.merged.items() if not merged.decisions]

    def conflicts(self) -> list[str]:
        """Reviewers disagree about these."""
        return [key for key, merged in self.merged.items() if merged.conflict]

    def waits(self, accept_all: bool) -> bool:
        """Whether something is left for people. What they disagree about always is."""
        return bool(self.conflicts() or (self.undecided() and not accept_all))


def read_open(job: Job, chain: Chain, name: str, rated: bool = False) -> Open:
    """The candidates that the stage before has left, with every decision about them.

    rated: also with the rating of the last calibration, where it was of this very text.
    """
    records = sorted(
        (record for record in chain.records(before(name)) if record.split == "candidate"),
        key=lambda record: record.rank,
    )
    ratings = _ratings(chain) if rated else {}
    items = [item(row, name, ratings.get((row.id, row.question, row.answer), 0)) for row in records]
    merged = merge_all(items, decisions_file.read(job.work, name).values())
    return Open(name, {record.id: record for record in records}, items, merged)


def _ratings(chain: Chain) -> dict[tuple[str, str, str], int]:
    from builder.core.ratings import read_ratings

    if chain.state("calibrate") is None:
        return {}
    return {(row.id, row.question, row.truth): row.rating for row in read_ratings(chain)}


def uses(job: Job, chain: Chain, name: str, scenario: Scenario) -> dict[str, Any]:
    """What changes the stage's result: the decisions about the candidates as they are now."""
    texts = read_open(job, chain, name)
    names = pseudonyms(texts.merged)
    return {
        "forget": scenario.harmful,
        "split_by": scenario.split_by,
        "checks": text_checks.VERSION,
        "unseen": job.accept_all and bool(texts.undecided()),
        "decisions": [
            [
                [decision.content, names[decision.reviewer], decision.verdict, decision.settles],
                [decision.reasons, decision.question, decision.answer],
            ]
            for merged in texts.merged.values()
            for decision in merged.decisions
        ],
    }


def review(job: Job, chain: Chain, name: str, scenario: Scenario, folder: Path) -> Outcome:
    """Keep the accepted and edited candidates, drop the rejected.

    Raises:
        Waiting: candidates that are undecided, or about which reviewers disagree.
        UserError: so many are rejected that the rest cannot fill the largest forget set.
    """
    texts = read_open(job, chain, name)
    check_enough(texts, scenario)
    if texts.waits(job.accept_all):
        raise Waiting(f"{name}: {counts(texts)}", len(texts.undecided()))
    people = {}
    if name == "privacy":
        people = {profile.image_id: profile for profile in read_profiles(chain)}
    decided = {
        key: _decided(name, record, texts.merged[key], people)
        for key, record in texts.records.items()
    }
    outcome = Outcome.of(decided.get(record.id, record) for record in chain.records(before(name)))
    summary = _summary(texts)
    decided_lines = jsonl_text(_decision_lines(texts))
    write_together({folder / DECIDED: decided_lines, folder / SUMMARY: json_text(summary)})
    noted = {
        "accepted": summary["accepted"],
        "edited": summary["edited"],
        "rejected": sum(summary["rejected"].values()),
        "accepted unseen (--review accept-all)": summary["unseen"],
    }
    outcome.notes = {f"review: {what}": count for what, count in noted.items() if count}
    return outcome


def _decided(name: str, record: Record, merged: Merged, people: Mapping[str, Any]) -> Record | Drop:
    if merged.verdict is None:
        return record  # unseen: `review` stays none
    if merged.verdict == "accept":
        return replace(record, review="accepted")
    if merged.verdict == "reject":
        return Drop.of(record, f"review: rejected ({reasons_text(merged.reasons)})")
    # Imported edits have passed; checks that have become stricter since, or a hand in the file.
    failure = check_edit(record, merged.question, merged.answer)
    if failure:
        raise UserError(
            f"{name}: the edited text of {record.id} does not pass the check {failure.name!r}: "
            f"{failure.problem}: edit it again and import that"
        )
    return apply_edit(record, merged.question, merged.answer, people)


def reasons_text(reasons: tuple[str, ...]) -> str:
    return ", ".join(REASONS[reason] for reason in reasons)


def check_enough(texts: Open, scenario: Scenario) -> None:
    """Raise UserError, with the ways out, where what is left cannot fill the forget sets."""
    left = [
        record for key, record in texts.records.items() if texts.merged[key].verdict != "reject"
    ]
    forget, _ = split.forget_order(left, scenario)
    if len(forget) == scenario.harmful:
        return
    name, rejected = texts.name, len(texts.records) - len(left)
    cut = f" ({len(forget):,} of them, cut at whole images)" if len(forget) < len(left) else ""
    # As many as the share that was accepted so far asks for.
    more = -(-scenario.candidates * scenario.harmful // max(1, len(forget)))
    more = max(more, scenario.candidates + 1)
    raise UserError(
        f"{name}: the recipe keeps {scenario.harmful:,} harmful rows, and review leaves "
        f"{len(left):,}{cut} of {len(texts.records):,} candidates ({rejected:,} rejected): raise "
        f"{name}.candidates, for example --set {name}.candidates={more} (what is decided stays "
        f"decided), or lower {name}.forget or {name}.ratios"
    )


def counts(texts: Open) -> str:
    """What people still have to decide."""
    undecided, conflicts = len(texts.undecided()), len(texts.conflicts())
    parts = [f"{undecided:,} of {len(texts.items):,} texts wait for review"] if undecided else []
    if conflicts:
        parts.append(f"reviewers disagree about {conflicts:,} of {len(texts.items):,} texts")
    return " and ".join(parts)


def _summary(texts: Open) -> dict[str, Any]:
    """The manifest's entry; no reviewer's name is in it."""
    verdicts = Counter(merged.verdict for merged in texts.merged.values())
    rejected = Counter(
        reasons_text(text.reasons) for text in texts.merged.values() if text.verdict == "reject"
    )
    between = agreement(pairs(texts.merged.values()))
    return {
        "mode": "accept-all" if texts.undecided() else "people",
        "reviewers": len(pseudonyms(texts.merged)),
        "items": len(texts.items),
        "accepted": verdicts["accept"],
        "edited": verdicts["edit"],
        "rejected": dict(rejected.most_common()),
        "unseen": len(texts.undecided()),
        "both_decided": between.both,
        "agreement": None if between.share is None else round(between.share, 4),
        "kappa": None if between.kappa is None else round(between.kappa, 4),
    }


def _decision_lines(texts: Open) -> Iterator[dict[str, Any]]:
    """A line for each candidate; notes and names of people stay in the work folder."""
    names = pseudonyms(texts.merged)
    words = {"accept": "accepted", "edit": "edited", "reject": "rejected", None: "unseen"}
    for key, merged in sorted(texts.merged.items()):
        yield {
            "id": key,
            "decision": words[merged.verdict],
            "reasons": [REASONS[reason] for reason in merged.reasons],
            "reviewers": [
                {
                    "reviewer": names[said.reviewer],
                    "decision": said.verdict,
                    "settles": said.settles,
                }
                for said in merged.decisions
            ],
        }


def read_summary(chain: Chain) -> dict[str, Any]:
    """The manifest's entry of a scenario whose review is done."""
    summary: dict[str, Any] = json.loads((chain.folder / "review" / SUMMARY).read_text("utf-8"))
    return summary
