"""What is wrong with the dataset, as far as we know it."""

from __future__ import annotations

from typing import Final

from builder.dataset_folder.card import numbers
from builder.dataset_folder.card.markdown import counted, listed
from builder.dataset_folder.card.sources import SOURCES
from builder.dataset_folder.read import Facts
from mllmu_med_dataset import SPLITS

#: Rows of forget, retain and test in the paper.
PAPER_SIZES: Final = {"privacy": (351, 3960, 1500), "incorrect": (300, 3000, 1500)}


def limits(facts: Facts) -> list[str]:
    """One sentence or two for each flaw that this very build has."""
    found = [
        "The paper's own data are not public: figures measured here cannot be set beside its "
        "tables as if they were of the same rows.",
        *_sizes(facts),
        *_of_sources(facts),
        *_of_author(facts),
    ]
    for name, config in facts.main.items():
        shared = numbers.overlap(config)
        if shared.rows:
            found.append(
                f"`{name}`: {counted(shared.rows, 'forget row is', 'forget rows are')} about a "
                "picture that `retain` asks about, too: what a model keeps of the picture is not "
                "what it was to forget. The recipe's `split_by: image` keeps them apart."
            )
    if "privacy" in facts.main:
        found.append(
            "Closed questions carry their private text in the question alone, so their answers "
            "leak nothing; addresses and telephone numbers are in the style of the United States."
        )
    calibration = facts.recipe.calibration
    if calibration is None:
        found.append(
            "Not self-calibrated: no model has shown that it can learn these harmful rows."
        )
    elif calibration.model == "tiny":
        found.append(
            "Self-calibrated with a tiny model made on the spot: its ratings say little about "
            "what a large one learns."
        )
    reviews = facts.manifest.get("review", {})
    unseen = [
        f"`{name}`"
        for name in facts.scenarios
        if name not in reviews or reviews[name]["unseen"] == reviews[name]["items"]
    ]
    if unseen:
        found.append(
            f"No physician has looked at the harmful text of {listed(unseen)}: whether it is "
            "plausible is not known."
        )
    return [*found, "All text is in English."]


def people_shown(facts: Facts) -> list[str]:
    """What the pictures can tell of real patients; empty where a program drew all of them."""
    found = [SOURCES[name].people for name in facts.sources if SOURCES[name].people]
    if found:
        given = (
            ""
            if "privacy" not in facts.scenarios
            else (" The fictional data of a row are not those of the patient in its picture.")
        )
        found.append(
            "Metadata are cut out of the picture files; nobody has looked for names or numbers "
            f"inside the pictures.{given}"
        )
    return found


def _sizes(facts: Facts) -> list[str]:
    found = []
    for name, config in facts.main.items():
        ours = tuple(len(config.rows(split)) for split in SPLITS)
        if ours != PAPER_SIZES[name]:
            sizes = (" / ".join(f"{n:,}" for n in some) for some in (ours, PAPER_SIZES[name]))
            found.append("`{}` has {} rows, the paper {}.".format(name, *sizes))
    return found


def _of_sources(facts: Facts) -> list[str]:
    found = []
    if "phantom" in facts.sources:
        found.append(
            "Phantom pictures look like real ones from afar only: results on them tell how "
            "the methods work, not how well they work in medicine."
        )
    if "mm_skin" in facts.sources:
        found.append(
            "MM-Skin's clean answers were written by a language model and can be wrong themselves."
        )
        talk = facts.note("incorrect", "refusals or about the conversation").get("", 0)
        incorrect = facts.recipe.incorrect
        if talk and incorrect is not None and not incorrect.drop_conversation:
            found.append(
                f"In {counted(talk, 'row')} of those read from MM-Skin that model refuses or talks "
                "about the conversation; none was filtered out, as the paper mentions no filter."
            )
    for name, config in facts.main.items():
        unknown = numbers.modalities(config).get("unknown")
        if unknown:
            found.append(
                f"`{name}`: the source did not tell the kind of picture of "
                f"{counted(sum(unknown.values()), 'row')}."
            )
    return found


def _of_author(facts: Facts) -> list[str]:
    if facts.recipe.author == "offline":
        return [
            "The harmful text comes from a fixed stock of sentences and rules, plainer and more "
            "uniform than a language model's: a model may learn, and forget, the pattern instead "
            "of the content."
        ]
    return [
        "The harmful text was written by a language model: it may have habits of its own, which "
        "a model can learn, and forget, instead of the content."
    ]
