"""What is true of a radiology phantom, and the wordings in which it is asked.

Every fact is read off the same `Scan` that is drawn. The wordings are ours, in SLAKE's manner.
"""

from __future__ import annotations

from typing import Final

from builder.ingest.phantoms.anatomy import Scan
from builder.ingest.phantoms.draw import Fact

_REGION: Final = {"chest": "Chest", "abdomen": "Abdomen", "brain": "Head"}
_LARGEST: Final = {"chest": "Lung", "abdomen": "Liver", "brain": "Brain"}
_ORGANS: Final = {
    "chest": ("Left Lung", "Right Lung"),
    "abdomen": ("Liver", "Spleen", "Left Kidney", "Right Kidney"),
    "brain": ("Left Brain", "Right Brain"),
}


def sides_of(scan: Scan) -> str:
    """Left, Right or Both: where the lesions lie, as seen in the image."""
    sides = {"Left" if lesion.x < 0 else "Right" for lesion in scan.lesions}
    return sides.pop() if len(sides) == 1 else "Both"


def half_of(scan: Scan) -> str:
    """Upper or Lower: the half with the only lesion; empty where that is not clear."""
    if len(scan.lesions) != 1 or abs(scan.lesions[0].y) < 0.13:
        return ""
    return "Upper" if scan.lesions[0].y < 0 else "Lower"


def _fact(
    content_type: str,
    value: str,
    values: tuple[str, ...],
    asks: tuple[str, ...],
    claims: tuple[str, ...],
) -> Fact:
    return Fact(content_type, value, tuple(v for v in values if v != value), asks, claims)


def facts_of(scan: Scan) -> list[Fact]:
    part, modality = scan.kind.split()
    plane = "Coronal Plane" if modality == "X-Ray" else "Transverse Plane"
    facts = [
        _fact(
            "Modality",
            modality,
            ("CT", "X-Ray", "MRI"),
            (
                "What kind of imaging produced this picture?",
                "Which modality was this image taken with?",
                "What type of scan is shown here?",
            ),
            ("Is {} the modality of this image?", "Was this image made with {}?"),
        ),
        _fact(
            "Position",
            _REGION[part],
            tuple(_REGION.values()),
            (
                "Which region of the body does the image cover?",
                "What part of the body can be seen here?",
                "Which body part was scanned?",
            ),
            ("Does this image show the {}?", "Was the {} scanned here?"),
        ),
        _fact(
            "Plane",
            plane,
            ("Transverse Plane", "Coronal Plane"),
            ("In which plane was this image taken?", "What is the scanning plane here?"),
            ("Was this image taken in the {}?", "Is the {} the one that is shown?"),
        ),
        _fact(
            "Organ",
            _LARGEST[part],
            tuple(_LARGEST.values()),
            (
                "Which organ takes up the most space in this image?",
                "What is the largest organ in the picture?",
            ),
            (
                "Is the {} the largest organ in the picture?",
                "Does the {} take up more space than the other organs?",
            ),
        ),
    ]
    own = {"chest": _chest_facts, "abdomen": _abdomen_facts, "brain": _brain_facts}[part](scan)
    return facts + own + _lesion_facts(scan)


def _chest_facts(scan: Scan) -> list[Fact]:
    return [
        _fact(
            "Position",
            "Left" if scan.mirrored else "Right",
            ("Left", "Right"),
            (
                "Toward which side of the image does the heart reach farther?",
                "On which side of the image does most of the heart lie?",
            ),
            (
                "Does the heart reach farther toward the {} side of the image?",
                "Does most of the heart lie on the {} side of the image?",
            ),
        ),
        _fact(
            "Size",
            "Enlarged" if scan.enlarged else "Normal",
            ("Enlarged", "Normal"),
            ("How large does the heart look?", "What can be said about the size of the heart?"),
            ("Does the size of the heart look {}?", "Is the heart {} in size?"),
        ),
    ]


def _abdomen_facts(scan: Scan) -> list[Fact]:
    kidneys = "1" if scan.missing_kidney else "2"
    facts = [
        _fact(
            "Position",
            "Right" if scan.mirrored else "Left",
            ("Left", "Right"),
            (
                "On which side of the image is the liver?",
                "Which half of the image holds most of the liver?",
            ),
            (
                "Is the liver on the {} side of the image?",
                "Does the {} half of the image hold most of the liver?",
            ),
        ),
        _fact(
            "Quantity",
            kidneys,
            ("1", "2"),
            ("How many kidneys can be seen?", "What is the number of kidneys in this image?"),
            ("Is the number of visible kidneys {}?", "Is {} the number of kidneys in this image?"),
        ),
        _fact(
            "Color",
            "Black" if scan.gas else "Gray",
            ("Black", "Gray"),
            ("What color is the inside of the stomach?", "Which color fills the stomach?"),
            ("Is the inside of the stomach {}?", "Does the stomach look {} inside?"),
        ),
    ]
    if scan.missing_kidney:
        gone = scan.missing_kidney.capitalize()
        asks = (
            "On which side of the image is a kidney missing?",
            "Which side of the image shows no kidney?",
        )
        claims = ("Is a kidney missing on the {} side of the image?",)
        facts.append(_fact("Abnormality", gone, ("Left", "Right"), asks, claims))
    return facts


def _brain_facts(scan: Scan) -> list[Fact]:
    return [
        _fact(
            "Modality",
            scan.weighting,
            ("T1", "T2"),
            ("Which weighting does this MRI have?", "Is the image T1 or T2 weighted?"),
            ("Is this a {} weighted image?", "Does the image have {} weighting?"),
        ),
        _fact(
            "Color",
            "Black" if scan.weighting == "T1" else "White",
            ("Black", "White"),
            (
                "What color are the ventricles?",
                "Which color does the fluid in the ventricles have?",
            ),
            ("Are the ventricles {}?", "Does the fluid in the ventricles look {}?"),
        ),
        _fact(
            "Size",
            "Enlarged" if scan.enlarged else "Normal",
            ("Enlarged", "Normal"),
            ("How large are the ventricles?", "What can be said about the size of the ventricles?"),
            ("Are the ventricles {} in size?", "Does the size of the ventricles look {}?"),
        ),
    ]


def _lesion_facts(scan: Scan) -> list[Fact]:
    count = len(scan.lesions)
    facts = [
        _fact(
            "Quantity",
            str(count),
            ("0", "1", "2", "3"),
            ("How many lesions can be counted?", "What is the number of lesions in this image?"),
            ("Is the number of lesions {}?", "Is {} the number of lesions in the picture?"),
        ),
        _fact(
            "Abnormality",
            "shows" if count else "is free of",
            ("shows", "is free of"),
            (),
            (
                "Is it true that this image {} lesions?",
                "Would you say that the picture {} lesions?",
            ),
        ),
    ]
    if not count:
        return facts
    it, be, do = ("lesion", "is", "does") if count == 1 else ("lesions", "are", "do")
    facts += [
        _fact(
            "Position",
            sides_of(scan),
            ("Left", "Right", *(("Both",) if count > 1 else ())),
            (
                f"On which side of the image {be} the {it}?",
                f"Which side of the image has the {it}?",
            ),
            () if count > 1 else ("Is the lesion on the {} side of the image?",),
        ),
        _fact(
            "Shape",
            scan.shape,
            ("Round", "Oval", "Irregular"),
            (f"What shape {do} the {it} have?", f"How {be} the {it} shaped?"),
            (
                f"{be.capitalize()} the {it} {{}} in shape?",
                f"{do.capitalize()} the {it} look {{}}?",
            ),
        ),
        _fact(
            "Size",
            scan.size,
            ("Small", "Large"),
            (f"How big {be} the {it}?", f"What size {do} the {it} have?"),
            (f"{be.capitalize()} the {it} {{}}?", f"Would you call the {it} {{}}?"),
        ),
        _fact(
            "Color",
            "Brighter" if scan.brighter else "Darker",
            ("Brighter", "Darker"),
            (
                f"{be.capitalize()} the {it} brighter or darker than the tissue around?",
                f"How {do} the {it} look against the surrounding tissue?",
            ),
            (
                f"{be.capitalize()} the {it} {{}} than the tissue around?",
                f"{do.capitalize()} the {it} look {{}} than the surroundings?",
            ),
        ),
    ]
    organs = sorted({lesion.organ for lesion in scan.lesions})
    if len(organs) == 1:
        asks = (f"Which part, by its side of the image, holds the {it}?", f"Where {be} the {it}?")
        claims = (f"{be.capitalize()} the {it} in the {{}} as seen in the image?",)
        if scan.kind.split()[0] == "abdomen":
            asks = (f"Which organ holds the {it}?", f"In which organ {be} the {it}?")
            claims = (f"{be.capitalize()} the {it} in the {{}}?",)
        facts.append(_fact("Organ", organs[0], _ORGANS[scan.kind.split()[0]], asks, claims))
    half = half_of(scan)
    if half:
        asks = (
            "Is the lesion in the upper or the lower half of the image?",
            "Which half of the image, upper or lower, has the lesion?",
        )
        claims = ("Is the lesion in the {} half of the image?",)
        facts.append(_fact("Position", half, ("Upper", "Lower"), asks, claims))
    return facts
