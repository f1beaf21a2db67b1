"""Skin phantoms: clinical-like photographs, dermoscopy-like and histology-like images.

Drawn by code, so free of patients and licences, and of any claim to look real. What is decided
comes from `morphology`; here the same `Skin` becomes a caption and one or two questions in
MM-Skin's manner: sentences, of which about a quarter begin with yes or no.

    image = draw_skin(seed=0, index=7)
"""

from __future__ import annotations

from builder.ingest.phantoms.draw import (
    PhantomImage,
    Question,
    claim,
    generator,
    pick,
    png,
    shuffled,
)
from builder.ingest.phantoms.morphology import Skin, plan
from builder.ingest.phantoms.skin_facts import facts_of
from builder.ingest.phantoms.skin_scenes import render


def draw_skin(seed: int, index: int) -> PhantomImage:
    """The image with this number: the same arguments give the same bytes and texts."""
    skin = plan(seed, index)
    return PhantomImage(png(render(skin)), skin.modality, _caption(skin), _ask(skin, seed, index))


def _ask(skin: Skin, seed: int, index: int) -> tuple[Question, ...]:
    rng = generator(seed, "skin questions", index)
    questions = []
    for fact in shuffled(rng, facts_of(skin))[: pick(rng, (1, 2), (0.55, 0.45))]:
        text, answer = pick(rng, fact.asks), pick(rng, fact.sentences)
        if rng.random() < 0.25:
            text, true = claim(rng, fact)
            answer = f"{'Yes' if true else 'No'}, {answer[0].lower()}{answer[1:]}"
        questions.append(Question(text, answer, fact.content_type))
    return tuple(questions)


def _caption(skin: Skin) -> str:
    """Every fact of the image in two sentences."""
    facts = facts_of(skin)
    values = {fact.content_type: fact.value for fact in facts}
    first = f"{values['Modality'][0].upper()}{values['Modality'][1:]} (phantom)"
    if skin.modality == "clinical":
        noun = "lesion" if len(skin.spots) == 1 else "lesions"
        first += f" with {values['Quantity']} {values['Color']} {noun}, {values['Type']}, "
        first += f"{values['Position']}."
        rest = [
            f"the {key.lower()} is {values[key]}" for key in ("Border", "Shape") if key in values
        ]
    elif skin.modality == "dermoscopy":
        first += f" of a pigmented lesion that is {values['Color']} in its outer part and shows "
        first += f"{values['Type']}."
        rest = [f"the lesion is {values['Shape']}", f"its border is {values['Border']}"]
        if "Position" in values:
            rest.append(f"its darkest area lies {values['Position']}")
    else:
        finding, surface = (fact.value for fact in facts if fact.content_type == "Position")
        first += f" that shows {values['Type']}, {finding}."
        rest = [f"the surface is {surface}", f"the rete ridges are {values['Shape']}"]
        if skin.spots:
            rest.append(
                f"the {values['Quantity']} cell nests have a border that is {values['Border']}"
            )
    second = " and ".join(rest)
    return f"{first} {second[0].upper()}{second[1:]}."
