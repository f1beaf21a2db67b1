"""What is true of a skin phantom: every fact is read off the same `Skin` that is drawn.

Answers are sentences that describe what can be seen (a plaque, a ring, nests of cells), in
MM-Skin's manner; a drawing supports no diagnosis.
"""

from __future__ import annotations

from builder.ingest.phantoms.draw import Fact
from builder.ingest.phantoms.morphology import Skin
from builder.ingest.phantoms.wordings import fact


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
