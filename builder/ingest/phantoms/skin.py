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
from builder.ingest.phantoms.wordings import caption


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
    places = [fact.value for fact in facts if fact.content_type == "Position"]
    by_type = {fact.content_type.lower(): fact.value for fact in facts}
    return caption("skin", skin=skin, places=places, **by_type)
