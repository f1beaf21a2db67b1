"""How far a review is: for `review status` and after an import."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from builder.core.job import Job, options
from builder.review.export import Team
from builder.review.import_files import Imported
from builder.review.merge_decisions import Merged, agreement, pairs
from builder.review.records import REASONS, in_words
from builder.review.stage import Open, check_enough
from mllmu_med.console import make_console, print_table
from mllmu_med.progress import say
from mllmu_med_dataset import Record, UserError

_SHOWN = 20  # conflicts and refused rows, at most; --json has all


def as_json(job: Job, by_scenario: Mapping[str, Open], team: Team) -> dict[str, Any]:
    """How far a review is, for programs; with the reviewers' own names."""
    scenarios = {}
    for name, texts in by_scenario.items():
        between = pairs(texts.merged.values())
        scenarios[name] = {
            "items": len(texts.items),
            "undecided": len(texts.undecided()),
            **_verdicts(texts),
            "rejected_for": _reasons(texts),
            "conflicts": [
                {"id": key, "decisions": _said(texts.records[key], texts.merged[key])}
                for key in texts.conflicts()
            ],
            "reviewers": [
                {"reviewer": who, "decided": decided, "of": of}
                for who, decided, of in _progress(texts, team)
            ],
            "pairs": [pair._asdict() for pair in between],
            "agreement": agreement(between)._asdict(),
        }
    return {"scenarios": scenarios, "next": next_steps(job, by_scenario)}


def _verdicts(texts: Open) -> dict[str, int]:
    counts = Counter(merged.verdict for merged in texts.merged.values())
    return {"accepted": counts["accept"], "edited": counts["edit"], "rejected": counts["reject"]}


def _reasons(texts: Open) -> dict[str, int]:
    """How many of the rejected texts have each reason; one may have several."""
    counts = Counter(
        reason
        for text in texts.merged.values()
        if text.verdict == "reject"
        for reason in text.reasons
    )
    return {text: counts[key] for key, text in REASONS.items() if counts[key]}


def _said(record: Record, merged: Merged) -> dict[str, str]:
    """Who said what of a text, with the new texts of an edit and the note: whoever settles it
    has seen neither."""
    decisions = {}
    for decision in merged.decisions:
        fields = (("question", decision.question), ("answer", decision.answer))
        new = [
            f"{name} “{text}”" for name, text in fields if text and text != getattr(record, name)
        ]
        text = ": ".join([in_words(decision), *([" and ".join(new)] if new else [])])
        decisions[decision.reviewer] = text + (f" (note: {decision.note})" if decision.note else "")
    return decisions


def _progress(texts: Open, team: Team) -> list[tuple[str, int, int | None]]:
    """Each reviewer, the texts decided, and those given by the latest export (None: to nobody)."""
    decided: Counter[str] = Counter()
    for merged in texts.merged.values():
        decided.update({decision.reviewer for decision in merged.decisions})
    given = Counter(name for names in team.assigned(texts.items).values() for name in names)
    names = sorted({*decided, *given})
    return [(name, decided[name], given.get(name)) for name in names]


def print_status(job: Job, by_scenario: Mapping[str, Open], team: Team) -> None:
    """The same for people."""
    out = make_console()
    columns = "review #texts #accepted #edited #rejected #conflicts #undecided".split()
    rows = [
        (n, len(x.items), *_verdicts(x).values(), len(x.conflicts()), len(x.undecided()))
        for n, x in by_scenario.items()
    ]
    print_table(out, columns, rows, gap=False)
    for name, texts in by_scenario.items():
        reasons = ", ".join(f"{text} {count:,}" for text, count in _reasons(texts).items())
        if reasons:
            out.print(f"{name}: rejected as {reasons}")
    _print_reviewers(out, by_scenario, team)
    _print_conflicts(out, by_scenario)
    out.print("\nnext:")
    for line in next_steps(job, by_scenario):
        out.print(Text(f"  {line}"), soft_wrap=True)


def _print_reviewers(out: Console, by_scenario: Mapping[str, Open], team: Team) -> None:
    progress, between = [], []
    for name, texts in by_scenario.items():
        for who, decided, of in _progress(texts, team):
            progress.append((who, name, decided, "" if of is None else of))
        for pair in pairs(texts.merged.values()):
            kappa = "undefined" if pair.kappa is None else f"{pair.kappa:.2f}"
            share = f"{100 * pair.agree / pair.both:.0f} %"
            between.append((f"{pair.first}, {pair.second}", name, pair.both, share, kappa))
    print_table(out, ("reviewer", "review", "#decided", "#of"), progress)
    print_table(out, ("both decided", "review", "#texts", "#agreement", "#kappa"), between)


def _print_conflicts(out: Console, by_scenario: Mapping[str, Open]) -> None:
    lines = [
        (key, _said(texts.records[key], texts.merged[key]))
        for texts in by_scenario.values()
        for key in texts.conflicts()
    ]
    if lines:
        out.print("\nreviewers disagree about:")
    for key, decisions in lines[:_SHOWN]:
        line = "; ".join(f"{who}: {what}" for who, what in decisions.items())
        out.print(Text("  " + " ".join(f"{key}: {line}".split())), soft_wrap=True)
    if len(lines) > _SHOWN:
        out.print(f"  and {len(lines) - _SHOWN:,} more (--json lists all)")


def next_steps(job: Job, by_scenario: Mapping[str, Open]) -> list[str]:
    """What to do now, a line each."""
    where = options(job)
    steps = []
    for name, texts in by_scenario.items():
        try:
            check_enough(texts, job.recipe.scenarios()[name])
        except UserError as error:
            steps.append(str(error))
    if any(texts.undecided() for texts in by_scenario.values()):
        steps.append(
            f"python -m builder review export{where}    # what is undecided, for reviewers"
        )
        steps.append(f"python -m builder review import FILES{where}    # what they send back")
    if any(texts.conflicts() for texts in by_scenario.values()):
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
        print(f"{file}: {', '.join(parts)}")
    for what, rows in (("changed", done.changed), ("refused", done.refused)):
        for row in rows[:_SHOWN]:
            say(f"{what}: {row}")
        if len(rows) > _SHOWN:
            say(f"{what}: and {len(rows) - _SHOWN:,} more (--json lists all)")


def import_json(job: Job, done: Imported, team: Team) -> dict[str, Any]:
    """An import for programs."""
    files = {}
    for file, counts in done.files.items():
        changed = [
            {
                "id": change.now.id,
                "reviewer": change.now.reviewer,
                "before": in_words(change.before),
                "now": in_words(change.now),
            }
            for change in counts.changed
        ]
        refused = [row._asdict() for row in counts.refused]
        files[file] = {**vars(counts), "changed": changed, "refused": refused}
    return {"files": files, **as_json(job, done.now, team)}
