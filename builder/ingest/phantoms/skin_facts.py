"""What is true of a skin phantom, and the wordings in which it is asked and answered.

Every fact is read off the same `Skin` that is drawn. Answers are sentences that describe what can
be seen (a plaque, a ring, nests of cells), in MM-Skin's manner; a drawing supports no diagnosis.
"""

from __future__ import annotations

from typing import Final

from builder.ingest.phantoms.draw import Fact
from builder.ingest.phantoms.morphology import COLOURS, Skin

_ONE: Final = {
    "macule": "a flat macule",
    "plaque": "a raised plaque with scales",
    "ring": "an annular plaque with a clear center",
    "ulcer": "an ulcer with a raised rim",
}
_MANY: Final = {
    "macule": "flat macules",
    "plaque": "raised plaques with scales",
    "ring": "annular plaques with clear centers",
    "ulcer": "ulcers with raised rims",
    "papules": "dome-shaped papules",
    "vesicles": "fluid-filled vesicles on red bases",
}
PLACES: Final = {
    "center": "in the center of the picture",
    "left": "on the left side of the picture",
    "right": "on the right side of the picture",
    "upper": "in the upper part of the picture",
    "lower": "in the lower part of the picture",
    "all over": "scattered over the whole picture",
    "whole": "across the whole width of the picture",
}
_COLOURS: Final = {colour: colour for colour in COLOURS if " " not in colour}
NUMBERS: Final = ("no", "one", "two", "three", "four", "five", "six")


def fact_of(
    content_type: str,
    names: dict[str, str],
    own: str,
    asks: tuple[str, ...],
    claims: tuple[str, ...],
    sentences: tuple[str, ...],
) -> Fact:
    others = tuple(name for key, name in names.items() if key != own)
    return Fact(content_type, names[own], others, asks, claims, sentences)


def counts(most: int) -> dict[str, str]:
    return {str(count): NUMBERS[count] for count in range(1, most + 1)}


def clinical_facts(skin: Skin) -> list[Fact]:
    count = len(skin.spots)
    single = count == 1
    it, be, have = ("lesion", "is", "has") if single else ("lesions", "are", "have")
    do, lie = ("does", "lies") if single else ("do", "lie")
    kind, where = (_ONE if single else _MANY)[skin.form], PLACES[skin.where]
    number = NUMBERS[count]
    there = "There is only one lesion" if single else f"There are {number} lesions of the same kind"
    places = ("left", "right", "upper", "lower", "center" if single else "all over")
    facts = [
        fact_of(
            "Type",
            _ONE if single else _MANY,
            skin.form,
            ("What type of skin lesion is shown?", f"How would you describe the type of the {it}?"),
            ("Does the picture show {}?", f"{be.capitalize()} the {it} best described as {{}}?"),
            (
                f"The picture shows {kind} that can be told from the skin around.",
                f"The {it} {be} best described as {kind}, judging by the morphology.",
            ),
        ),
        fact_of(
            "Color",
            _COLOURS,
            skin.colour,
            (f"What color {be} the {it}?", f"Which color {do} the {it} show?"),
            (f"{be.capitalize()} the {it} {{}}?", f"{do.capitalize()} the {it} look {{}}?"),
            (
                f"The {it} {be} {skin.colour} and can be told clearly from the surrounding skin.",
                f"The {it} {have} a {skin.colour} color that differs from the skin around.",
            ),
        ),
        fact_of(
            "Quantity",
            counts(6),
            str(count),
            ("How many lesions does the picture show?", "What is the number of lesions seen here?"),
            ("Is the number of lesions {}?", "Would you count {} when counting the lesions?"),
            (
                f"{there} in this picture of the skin.",
                f"{there}, as counting in the picture shows.",
            ),
        ),
        fact_of(
            "Position",
            {place: PLACES[place] for place in places},
            skin.where,
            (
                f"Where in the picture {be} the {it}?",
                f"Which part of the picture {have} the {it}?",
            ),
            (f"{be.capitalize()} the {it} {{}}?", f"{do.capitalize()} the {it} lie {{}}?"),
            (
                f"The {it} {be} {where}, as seen by the viewer.",
                f"Looking at the picture, the {it} {lie} {where}.",
            ),
        ),
    ]
    if skin.form not in ("papules", "vesicles"):
        facts.append(border_of(skin, "lesion" if single else "lesions"))
    if skin.border == "smooth":
        looks = {
            "round": "round and about as wide as long",
            "oval": "oval and clearly longer than wide",
        }
        facts.append(
            fact_of(
                "Shape",
                {"round": "round", "oval": "oval"},
                skin.shape,
                (f"What shape {do} the {it} have?", f"How {be} the {it} shaped?"),
                (
                    f"{be.capitalize()} the {it} {{}} in shape?",
                    f"{do.capitalize()} the {it} look {{}}?",
                ),
                (
                    f"The outline of the {it} is {looks[skin.shape]}.",
                    f"The {it} {be} {looks[skin.shape]} in this picture.",
                ),
            )
        )
    return facts


def border_of(skin: Skin, it: str) -> Fact:
    looks = {
        "smooth": "smooth and well defined",
        "irregular": "irregular with notches and projections",
    }
    look = looks[skin.border]
    return fact_of(
        "Border",
        looks,
        skin.border,
        (
            f"What does the border of the {it} look like?",
            f"How would you describe the edge of the {it}?",
        ),
        (f"Is the border of the {it} {{}}?", f"Does the edge of the {it} look {{}}?"),
        (
            f"The border of the {it} is {look} all the way around.",
            f"The edge of the {it} looks {look} along its whole length.",
        ),
    )
