"""Skin phantoms: clinical-like photographs, dermoscopy-like and histology-like images.

Drawn by code, so free of patients and licences, and of any claim to look real. What is decided
comes from `morphology`; here the same `Skin` becomes a caption and one or two questions in
MM-Skin's manner: sentences that describe what can be seen (a plaque, a ring, nests of cells), of
which about a quarter begin with yes or no; a drawing supports no diagnosis.

    image = draw_skin(seed=0, index=7)
"""

from builder.ingest.phantoms.draw import (
    Fact,
    PhantomImage,
    Question,
    claim,
    generator,
    pick,
    png,
    shuffled,
)
from builder.ingest.phantoms.morphology import Skin, plan
from builder.ingest.phantoms.skin_scenes import render
from builder.ingest.phantoms.wordings import caption, fact


def draw_skin(seed: int, index: int) -> PhantomImage:
    """The image with this number: the same arguments give the same bytes and texts."""
    skin = plan(seed, index)
    return PhantomImage(png(render(skin)), skin.modality, _caption(skin), _ask(skin, seed, index))


def _ask(skin: Skin, seed: int, index: int) -> tuple[Question, ...]:
    rng = generator(seed, "skin questions", index)
    questions = []
    for asked in shuffled(rng, facts_of(skin))[: pick(rng, (1, 2), (0.55, 0.45))]:
        text, answer = pick(rng, asked.asks), pick(rng, asked.sentences)
        if rng.random() < 0.25:
            text, true = claim(rng, asked)
            answer = f"{'Yes' if true else 'No'}, {answer[0].lower()}{answer[1:]}"
        questions.append(Question(text, answer, asked.content_type))
    return tuple(questions)


def _caption(skin: Skin) -> str:
    """Every fact of the image in two sentences."""
    facts = facts_of(skin)
    places = [fact.value for fact in facts if fact.content_type == "Position"]
    by_type = {fact.content_type.lower(): fact.value for fact in facts}
    return caption("skin", skin=skin, places=places, **by_type)


def facts_of(skin: Skin) -> list[Fact]:
    of_modality = {
        "clinical": _clinical,
        "dermoscopy": _dermoscopy,
        "histopathology": _histopathology,
    }
    return [*of_modality[skin.modality](skin), fact("skin", "modality", skin.modality)]


def _clinical(skin: Skin) -> list[Fact]:
    count = len(skin.spots)
    several = count > 1
    it = "lesions" if several else "lesion"
    values: dict[str, str | int] = {
        it: skin.form,
        "color": skin.colour,
        "several" if several else "one": count,
        "place of several" if several else "place of one": skin.where,
    }
    facts = [fact("clinical", name, value, it, several) for name, value in values.items()]
    if skin.form not in ("papules", "vesicles"):
        facts.append(fact("skin", "border", skin.border, it))
    if skin.border == "smooth":
        facts.append(fact("clinical", "shape", skin.shape, it, several))
    return facts


def _dermoscopy(skin: Skin) -> list[Fact]:
    values = {"pattern": skin.form, "color": skin.colour, "symmetry": skin.shape}
    facts = [fact("dermoscopy", name, value) for name, value in values.items()]
    facts.append(fact("skin", "border", skin.border, "lesion"))
    if skin.shape == "asymmetric":
        facts.append(fact("dermoscopy", "darkest", skin.where))
    return facts


def _histopathology(skin: Skin) -> list[Fact]:
    names = {"nests": "cell nests", "band": "inflammatory band", "thickened": "thickening"}
    it = names.get(skin.form, "cleft")
    values = {
        "finding": skin.form,
        "place": skin.where,
        "surface": "bottom" if skin.flipped else "top",
        "ridges": skin.shape,
    }
    nests = skin.form == "nests"
    facts = [fact("histopathology", name, value, it, nests) for name, value in values.items()]
    if nests:
        facts.append(fact("skin", "border", skin.border, it))
        facts.append(fact("histopathology", "nests", len(skin.spots)))
    return facts
