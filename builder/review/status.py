"""How far a review is: for `review status` and after an import."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.text import Text

from builder.core.job import Job, options
from builder.review.export import Team
from builder.review.import_files import Imported
from builder.review.merge_decisions import Merged, agreement, pairs
from builder.review.records import REASONS, in_words
from builder.review.stage import Open, check_enough
from mllmu_med.console import make_console, make_table
from mllmu_med.progress import say
from mllmu_med_dataset import Record, UserError

_SHOWN = 20  # conflicts and refused rows, at most; --json has all


def as_json(job: Job, found: Mapping[str, Open], team: Team) -> dict[str, Any]:
    """How far a review is, for programs; with the reviewers' own names."""
    scenarios = {}
    for name, one in found.items():
        between = pairs(one.merged.values())
        scenarios[name] = {
            "items": len(one.items),
            "undecided": len(one.undecided()),
            **_verdicts(one),
            "rejected_for": _reasons(one),
            "conflicts": [
                {"id": key, "decisions": _said(one.records[key], one.merged[key])}
                for key in one.conflicts()
            ],
            "reviewers": [
                {"reviewer": who, "decided": decided, "of": of}
                for who, decided, of in _progress(one, team)
            ],
            "pairs": [pair._asdict() for pair in between],
            "agreement": agreement(between)._asdict(),
        }
    return {"scenarios": scenarios, "next": next_steps(job, found)}


def _verdicts(found: Open) -> dict[str, int]:
    counts = Counter(one.verdict for one in found.merged.values())
    return {
        "accepted": counts["accept"],
        "edited": counts["edit"],
        "rejected": counts["reject"],
    }


def _reasons(found: Open) -> dict[str, int]:
    """How many of the rejected texts have each reason; one may have several."""
    counts = Counter(
        reason for one in found.merged.values() if one.verdict == "reject" for reason in one.reasons
    )
    return {text: counts[key] for key, text in REASONS.items() if counts[key]}


def _said(record: Record, merged: Merged) -> dict[str, str]:
    """Who said what of a text, with the new texts of an edit and the note: whoever settles it
    has seen neither."""
    told = {}
    for one in merged.decisions:
        fields = (("question", one.question), ("answer", one.answer))
        new = [
            f"{name} “{text}”" for name, text in fields if text and text != getattr(record, name)
        ]
        text = ": ".join([in_words(one), *([" and ".join(new)] if new else [])])
        told[one.reviewer] = text + (f" (note: {one.note})" if one.note else "")
    return told


def _progress(found: Open, team: Team) -> list[tuple[str, int, int | None]]:
    """Each reviewer, the texts decided, and those given by the latest export (None: to nobody)."""
    decided: Counter[str] = Counter()
    for merged in found.merged.values():
        decided.update({one.reviewer for one in merged.decisions})
    given = Counter(name for names in team.assigned(found.items).values() for name in names)
    names = sorted({*decided, *given})
    return [(name, decided[name], given.get(name)) for name in names]


def print_status(job: Job, found: Mapping[str, Open], team: Team) -> None:
    """The same for people."""
    out = make_console()
    told = make_table(
        "review", "#texts", "#accepted", "#edited", "#rejected", "#conflicts", "#undecided"
    )
    for name, one in found.items():
        counts = _verdicts(one).values()
        numbers = [len(one.items), *counts, len(one.conflicts()), len(one.undecided())]
        told.add_row(name, *(f"{number:,}" for number in numbers))
    out.print(told)
    for name, one in found.items():
        reasons = ", ".join(f"{text} {count:,}" for text, count in _reasons(one).items())
        if reasons:
            out.print(f"{name}: rejected as {reasons}")
    _print_reviewers(out, found, team)
    _print_conflicts(out, found)
    out.print("\nnext:")
    for line in next_steps(job, found):
        out.print(Text(f"  {line}"), soft_wrap=True)


def _print_reviewers(out: Console, found: Mapping[str, Open], team: Team) -> None:
    told = make_table("reviewer", "review", "#decided", "#of")
    between = make_table("both decided", "review", "#texts", "#agreement", "#kappa")
    for name, one in found.items():
        for who, decided, of in _progress(one, team):
            told.add_row(Text(who), name, f"{decided:,}", "" if of is None else f"{of:,}")
        for pair in pairs(one.merged.values()):
            kappa = "undefined" if pair.kappa is None else f"{pair.kappa:.2f}"
            share = f"{100 * pair.agree / pair.both:.0f} %"
            names = Text(f"{pair.first}, {pair.second}")
            between.add_row(names, name, f"{pair.both:,}", share, kappa)
    for one_table in (told, between):
        if one_table.row_count:
            out.print()
            out.print(one_table)


def _print_conflicts(out: Console, found: Mapping[str, Open]) -> None:
    lines = [
        (key, _said(one.records[key], one.merged[key]))
        for one in found.values()
        for key in one.conflicts()
    ]
    if lines:
        out.print("\nreviewers disagree about:")
    for key, told in lines[:_SHOWN]:
        line = "; ".join(f"{who}: {what}" for who, what in told.items())
        out.print(Text("  " + " ".join(f"{key}: {line}".split())), soft_wrap=True)
    if len(lines) > _SHOWN:
        out.print(f"  and {len(lines) - _SHOWN:,} more (--json lists all)")


def next_steps(job: Job, found: Mapping[str, Open]) -> list[str]:
    """What to do now, a line each."""
    where = options(job)
    steps = []
    for name, one in found.items():
        try:
            check_enough(one, job.recipe.scenarios()[name])
        except UserError as error:
            steps.append(str(error))
    if any(one.undecided() for one in found.values()):
        steps.append(
            f"python -m builder review export{where}    # what is undecided, for reviewers"
        )
        steps.append(f"python -m builder review import FILES{where}    # what they send back")
    if any(one.conflicts() for one in found.values()):
        steps.append(f"python -m builder review export --conflicts{where}    # to settle them")
        steps.append(f"python -m builder review import --settle FILES{where}")
    return steps or [f"python -m builder rebuild    # as before{', with' + where if where else ''}"]


def print_import(done: Imported) -> None:
    """What each file brought, and on stderr what was changed and refused, by name."""
    for file, counts in done.files.items():
        parts = [f"{counts.new:,} new", f"{counts.same:,} as before"]
        more = {
            "changed": len(counts.changed),
            "older than what is here": counts.older,
            "doubled in it": counts.doubled,
            "undecided": counts.undecided,
            "refused": len(counts.refused),
        }
        parts += [f"{count:,} {what}" for what, count in more.items() if count]
        nameless = "; it names no reviewer: give --reviewer NAME where there are several"
        print(f"{file}: {', '.join(parts)}" + (nameless if counts.nameless else ""))
    for what, told in (("changed", done.changed), ("refused", done.refused)):
        for one in told[:_SHOWN]:
            say(f"{what}: {one}")
        if len(told) > _SHOWN:
            say(f"{what}: and {len(told) - _SHOWN:,} more (--json lists all)")


def import_json(job: Job, done: Imported, team: Team) -> dict[str, Any]:
    """An import for programs."""
    files = {}
    for file, counts in done.files.items():
        changed = [
            {
                "id": one.now.id,
                "reviewer": one.now.reviewer,
                "before": in_words(one.before),
                "now": in_words(one.now),
            }
            for one in counts.changed
        ]
        refused = [one._asdict() for one in counts.refused]
        files[file] = {**vars(counts), "changed": changed, "refused": refused}
    return {"files": files, **as_json(job, done.now, team)}


def refused_line(refused: Sequence[Any]) -> str:
    count = len(refused)
    rows = "1 row was" if count == 1 else f"{count:,} rows were"
    return f"{rows} refused, the others are imported: mend them and import the file again"
