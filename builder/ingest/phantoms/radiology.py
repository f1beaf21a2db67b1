"""Radiology phantoms: CT-like chest and abdomen, X-ray-like chest, MRI-like brain, with questions.

Drawn by code, so free of patients and licences, and of any claim to look real. The images come
from `anatomy`; here the same `Scan` becomes a caption and about 11 questions in SLAKE's
manner, of which 35 % are yes/no. Nothing but the image tells the answers.

    image = draw_radiology(seed=0, index=7)
"""

from typing import Final

from builder.ingest.phantoms.anatomy import Scan, plan
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
from builder.ingest.phantoms.scans import render
from builder.ingest.phantoms.wordings import caption, fact

_ACRONYMS: Final = ("CT", "MRI", "X-Ray", "T1", "T2")


def draw_radiology(seed: int, index: int) -> PhantomImage:
    """The image with this number: the same arguments give the same bytes and texts."""
    scan = plan(seed, index)
    about = caption(
        "radiology", scan=scan, sides=sides_of(scan).lower(), half=half_of(scan).lower()
    )
    questions = _questions(scan, seed, index)
    return PhantomImage(png(render(scan)), scan.kind.split()[1], about, questions)


def _questions(scan: Scan, seed: int, index: int) -> tuple[Question, ...]:
    rng = generator(seed, "radiology questions", index)
    facts = facts_of(scan)
    total = pick(rng, (10, 11, 12), (0.1, 0.8, 0.1))
    # Few: a closed answer holds no private value.
    closed = pick(rng, (2, 3), (0.5, 0.5))
    claims = shuffled(rng, [fact for fact in facts if fact.claims])[:closed]
    asked = shuffled(rng, [fact for fact in facts if fact.asks])[: total - closed]
    questions = [Question(pick(rng, f.asks), f.value, f.content_type) for f in asked]
    for claimed in claims:
        text, true = claim(rng, _lower(claimed))
        questions.append(Question(text, "Yes" if true else "No", claimed.content_type))
    return tuple(shuffled(rng, questions))


def _lower(fact: Fact) -> Fact:
    """The fact with its values as they are written inside a sentence."""

    def inline(value: str) -> str:
        return value if value in _ACRONYMS else value.lower()

    others = tuple(inline(value) for value in fact.others)
    return fact._replace(value=inline(fact.value), others=others)


_REGION: Final = {"chest": "Chest", "abdomen": "Abdomen", "brain": "Head"}
_LARGEST: Final = {"chest": "Lung", "abdomen": "Liver", "brain": "Brain"}


def sides_of(scan: Scan) -> str:
    """Left, Right or Both: where the lesions lie, as seen in the image."""
    sides = {"Left" if lesion.x < 0 else "Right" for lesion in scan.lesions}
    return sides.pop() if len(sides) == 1 else "Both"


def half_of(scan: Scan) -> str:
    """Upper or Lower: the half with the only lesion; empty where that is not clear."""
    if len(scan.lesions) != 1 or abs(scan.lesions[0].y) < 0.13:
        return ""
    return "Upper" if scan.lesions[0].y < 0 else "Lower"


def facts_of(scan: Scan) -> list[Fact]:
    part, modality = scan.kind.split()
    values = {
        "modality": modality,
        "region": _REGION[part],
        "plane": "Coronal Plane" if modality == "X-Ray" else "Transverse Plane",
        "largest organ": _LARGEST[part],
        **_of_part(scan, part),
        **_of_lesions(scan, part),
    }
    several = len(scan.lesions) > 1
    it = "lesions" if several else "lesion"
    return [fact("radiology", name, value, it, several) for name, value in values.items()]


def _of_part(scan: Scan, part: str) -> dict[str, str]:
    size = "Enlarged" if scan.enlarged else "Normal"
    if part == "chest":
        return {"heart side": "Left" if scan.mirrored else "Right", "heart size": size}
    if part == "brain":
        fluid = "Black" if scan.weighting == "T1" else "White"
        return {"weighting": scan.weighting, "ventricle color": fluid, "ventricle size": size}
    gone = scan.missing_kidney.capitalize()
    return {
        "liver side": "Right" if scan.mirrored else "Left",
        "kidneys": "1" if gone else "2",
        "stomach": "Black" if scan.gas else "Gray",
        **({"missing kidney": gone} if gone else {}),
    }


def _of_lesions(scan: Scan, part: str) -> dict[str, str]:
    count = len(scan.lesions)
    if not count:
        return {"lesions": "0", "any lesion": "is free of"}
    organs = {lesion.organ for lesion in scan.lesions}
    half = half_of(scan)
    return {
        "lesions": str(count),
        "any lesion": "shows",
        "lesions side" if count > 1 else "lesion side": sides_of(scan),
        "shape": scan.shape,
        "size": scan.size,
        "brightness": "Brighter" if scan.brighter else "Darker",
        **({f"{part} organ": organs.pop()} if len(organs) == 1 else {}),
        **({"half": half} if half else {}),
    }
