"""How each part was made: sources, author, what was kept and dropped, calibration, review."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from builder.core.recipe import Incorrect, Privacy, Scenario
from builder.dataset_folder.card import text
from builder.dataset_folder.card.alt import alt_texts
from builder.dataset_folder.card.markdown import Table, counted, listed
from builder.dataset_folder.card.sources import SOURCES
from builder.dataset_folder.read import Facts
from builder.dataset_folder.replies import REQUESTS
from mllmu_med.markdown import code, plain


def lines(facts: Facts) -> list[str]:
    """The card's section."""
    found = []
    for name, scenario in facts.scenarios.items():
        source = SOURCES[scenario.source]
        found += [
            f"### `{name}`",
            "",
            f"**Clean rows.** {source.name}: {source.what[0].lower()}{source.what[1:]} "
            f"{_drawn(name, scenario)}",
            "",
            f"**Harm.** {_harm(scenario)}",
            "",
        ]
        found += ["**Kept and dropped**, stage by stage:", "", *_stages(facts, name).lines(2)]
    found += ["### Who wrote the harmful text", "", *_author(facts)]
    if facts.ratings:
        from builder.dataset_folder.card.calibration import card_lines, described

        told = facts.manifest["calibration"]
        rater = listed(code(name) for name in told["replies"] or [told["rater"]])
        how = described(facts.calibration, rater, told["elsewhere"])
        picture = f"![{alt_texts(facts)['calibration']}](card/calibration.png)"
        found += card_lines(facts.ratings, picture, how)
    return [*found, *_review(facts)]


def _drawn(name: str, scenario: Scenario) -> str:
    test = {
        "slake": "The test set comes from SLAKE's own validation and test splits",
        "mm_skin": "The test set has pictures of its own",
        "phantom": "The test set has pictures drawn for it alone",
    }[scenario.source]
    by = (
        "question by question, so that a picture's questions can be in both"
        if scenario.split_by == "pair"
        else "picture by picture, so that no picture is in both"
    )
    return (
        f"{test}; candidates and retain set are drawn from the rest {by}. The recipe wants "
        f"{counted(scenario.candidates_needed, 'candidate')} for "
        f"{counted(scenario.harmful, 'harmful row')}."
    )


def _harm(scenario: Scenario) -> str:
    if isinstance(scenario, Privacy):
        shares = scenario.placements
        return (
            "Each candidate's picture belongs to one fictional patient, whose data are woven into "
            f"the text: of the open questions {_percent(shares.question)} into the question, "
            f"{_percent(shares.answer)} into the answer and {_percent(shares.both)} into both. A "
            "closed question keeps its yes or no, so its private text always goes into its "
            "question."
        )
    if isinstance(scenario, Incorrect):
        return (
            "Each candidate's answer is replaced by an incorrect one: a wrong diagnosis, or, for "
            f"{_percent(scenario.outdated_share)} of the candidates, knowledge that was once "
            "taught and has been given up. Where no answer of the drawn kind can be had, the other "
            "kind is taken."
        )
    raise TypeError(f"no words for {type(scenario).__name__}")


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.0f} %"


def _stages(facts: Facts, name: str) -> Table:
    rows = []
    for stage, told in facts.stages(name).items():
        dropped: Mapping[str, int] = told["dropped"]
        what = text.STAGES[stage]
        kept = f"{told['kept']:,}"
        if not dropped:
            rows.append((f"`{stage}`", what, kept, "0"))
        for reason, count in sorted(dropped.items(), key=lambda one: (-one[1], one[0])):
            rows.append((f"`{stage}`", plain(reason), kept, f"{count:,}"))
            kept = ""  # told once a stage
    return Table(("stage", "what it does, or why it dropped rows", "rows kept", "dropped"), rows)


def _author(facts: Facts) -> list[str]:
    author: Mapping[str, Any] = facts.manifest["author"]
    checks = [f"`{name}`: {text.CHECKS[name]}." for name in facts.scenarios]
    if author["author"] == "offline":
        version = facts.manifest["versions"]["mllmu-med"]
        found = [text.OFFLINE.format(version=version), ""]
    else:
        found = [_model(facts, author), ""]
    found += ["Each text had to pass checks before it was taken:", ""]
    found += [*(f"- {check}" for check in checks), ""]
    rejected = [
        (f"`{name}`", plain(check), f"{count:,}")
        for name in facts.scenarios
        for check, count in facts.note(name, "texts rejected by check ").items()
    ]
    if rejected:
        table = Table(("scenario", "texts rejected by the check", "times"), rejected)
        found += table.lines(2)
    return found


def _model(facts: Facts, author: Mapping[str, Any]) -> str:
    asked = author["model"]
    returned = {n for some in author["replies"].values() for n in some}
    who = listed(code(name) for name in sorted(returned))
    told = f"The harmful text was written by {who}, as the replies name it"
    if returned != {asked}:
        told += f" (asked for as {code(asked)})"
    count = sum(n for some in author["replies"].values() for n in some.values())
    settings = facts.recipe.llm
    temperature = settings.temperature
    warm = "the server's own temperature" if temperature is None else f"temperature {temperature:g}"
    seen = "and the picture " if settings.picture else ""
    prompts = listed(f"`{version}`" for version in sorted(author["prompts"].values()))
    told += (
        f": {counted(count, 'reply', 'replies')} at {warm}. It saw the question, the answer {seen}"
        f"and what to write. Prompts {prompts} stand in `builder/prompts.py` of mllmu-med "
        f"{facts.manifest['versions']['mllmu-med']}"
    )
    if REQUESTS in facts.manifest["files"] and REQUESTS not in facts.manifest.get("left_out", {}):
        told += f", and every request with its reply in `{REQUESTS}`"
    return told + "."


def _review(facts: Facts) -> list[str]:
    found = ["### Review", ""]
    reviews: Mapping[str, Mapping[str, Any]] = facts.manifest.get("review", {})
    for name in facts.scenarios:
        if name not in reviews:
            found.append(f"- `{name}`: no person has reviewed the harmful text.")
            continue
        told = reviews[name]
        decided = told["accepted"] + told["edited"] + sum(told["rejected"].values())
        if not decided:
            found.append(
                f"- `{name}`: {counted(told['items'], 'harmful text was', 'harmful texts were')} "
                "accepted unseen (`--review accept-all`): no person has reviewed them."
            )
            continue
        found.append(f"- `{name}`: {_people(told)}")
    return [*found, ""]


def _people(told: Mapping[str, Any]) -> str:
    rejected = sum(told["rejected"].values())
    sentence = (
        f"{counted(told['reviewers'], 'person', 'people')} reviewed the "
        f"{counted(told['items'], 'harmful text')}: {told['accepted']:,} accepted, "
        f"{told['edited']:,} edited, {rejected:,} rejected"
    )
    if rejected:
        reasons = (f"{plain(why)} {n:,}" for why, n in sorted(told["rejected"].items()))
        sentence += f" ({', '.join(reasons)})"
    if told["unseen"]:
        sentence += f", {told['unseen']:,} accepted unseen (`--review accept-all`)"
    sentence += "."
    if told["both_decided"] and told["agreement"] is not None:
        sentence += (
            f" On the {counted(told['both_decided'], 'text')} that two decided they agree in "
            f"{_percent(told['agreement'])}"
        )
        sentence += "." if told["kappa"] is None else f" (Cohen's kappa {told['kappa']:.2f})."
    return sentence
