"""What is true of a dermoscopy-like or a histology-like phantom, and how it is asked.

As in `skin_facts`, every fact is read off the same `Skin` that is drawn.
"""

from __future__ import annotations

from typing import Final

from builder.ingest.phantoms.draw import Fact
from builder.ingest.phantoms.morphology import Skin
from builder.ingest.phantoms.skin_facts import NUMBERS, PLACES, border_of, counts, fact_of

_PATTERNS: Final = {
    "network": "a pigment network",
    "globules": "dark round globules",
    "veil": "a blue-white veil",
}
_FINDINGS: Final = {
    "nests": "nests of dark cells in the dermis",
    "band": "a band of inflammatory cells under the epidermis",
    "thickened": "a thickened epidermis with a broad horny layer",
    "blister": "a blistering cleft below the epidermis",
}


def dermoscopy_facts(skin: Skin) -> list[Fact]:
    pattern = _PATTERNS[skin.form]
    balance = {
        "symmetric": "symmetric with matching halves",
        "asymmetric": "asymmetric with one darker side",
    }
    facts = [
        fact_of(
            "Type",
            _PATTERNS,
            skin.form,
            ("What pattern does the pigmented lesion show?", "Which structure fills the lesion?"),
            ("Does the lesion show {}?", "Can {} be seen in the lesion?"),
            (
                f"The pigmented lesion shows {pattern} inside its outline.",
                f"The lesion contains {pattern}, which marks its inner part.",
            ),
        ),
        fact_of(
            "Color",
            {"light brown": "light brown", "dark brown": "dark brown"},
            skin.colour,
            ("What color is the outer part of the lesion?", "Which shade of brown is the lesion?"),
            ("Is the outer part of the lesion {}?", "Does the outer part of the lesion look {}?"),
            (
                f"The lesion is {skin.colour} in its outer part and stands out from the skin.",
                f"The outer part of the pigmented lesion has a {skin.colour} color.",
            ),
        ),
        fact_of(
            "Shape",
            balance,
            skin.shape,
            ("Is the lesion built evenly or not?", "What can be said about the lesion's symmetry?"),
            ("Is the pigmented lesion {}?", "Would you call the lesion {}?"),
            (
                f"The pigmented lesion is {balance[skin.shape]} in this picture.",
                f"The lesion is {balance[skin.shape]}, comparing its opposite sides.",
            ),
        ),
        border_of(skin, "lesion"),
    ]
    if skin.shape == "asymmetric":
        sides = ("left", "right", "upper", "lower")
        places = {side: PLACES[side].replace("picture", "lesion") for side in sides}
        where = places[skin.where]
        facts.append(
            fact_of(
                "Position",
                places,
                skin.where,
                (
                    "Where is the darkest area of the lesion?",
                    "Which part of the lesion is darkest?",
                ),
                ("Is the darkest area {}?", "Does the darkest area lie {}?"),
                (
                    f"The darkest area of pigment lies {where}.",
                    f"The lesion is not evenly dark: its darkest area lies {where}.",
                ),
            )
        )
    return facts


def histology_facts(skin: Skin) -> list[Fact]:
    finding, where = _FINDINGS[skin.form], PLACES[skin.where]
    them = {"nests": "cell nests", "band": "inflammatory band", "thickened": "thickening"}
    it = them.get(skin.form, "cleft")
    be, lie, do = ("are", "lie", "do") if skin.form == "nests" else ("is", "lies", "does")
    ridges = {"long": "long and finger-like", "flat": "short and almost flat"}
    ends = {"top": "at the top of the picture", "bottom": "at the bottom of the picture"}
    end = "bottom" if skin.flipped else "top"
    facts = [
        fact_of(
            "Type",
            _FINDINGS,
            skin.form,
            ("What is the main finding in this section?", "Which change does the tissue show?"),
            ("Does the section show {}?", "Is the main finding {}?"),
            (
                f"The section shows {finding} as its main finding.",
                f"The main change in the tissue is {finding}.",
            ),
        ),
        fact_of(
            "Position",
            {side: PLACES[side] for side in ("left", "right", "whole")},
            skin.where,
            (
                f"Where in the picture {be} the {it}?",
                f"How far {do} the {it} reach from side to side?",
            ),
            (f"{be.capitalize()} the {it} {{}}?", f"{do.capitalize()} the {it} lie {{}}?"),
            (
                f"The {it} {lie} {where} in this section.",
                f"In this section of the skin, the {it} {be} {where}.",
            ),
        ),
        fact_of(
            "Position",
            ends,
            end,
            (
                "Where is the surface of the skin?",
                "At which end of the picture is the horny layer?",
            ),
            ("Is the surface of the skin {}?", "Does the horny layer lie {}?"),
            (
                f"The surface of the skin with its horny layer is {ends[end]}.",
                f"The horny layer, and with it the surface, lies {ends[end]}.",
            ),
        ),
        fact_of(
            "Shape",
            ridges,
            skin.shape,
            ("In which form do the rete ridges appear?", "What do the rete ridges look like?"),
            ("Are the rete ridges {}?", "Do the rete ridges look {}?"),
            (
                f"The rete ridges at the base of the epidermis are {ridges[skin.shape]}.",
                f"Toward the dermis, the rete ridges look {ridges[skin.shape]} in this section.",
            ),
        ),
    ]
    if skin.form == "nests":
        number = NUMBERS[len(skin.spots)]
        facts += [
            border_of(skin, "cell nests"),
            fact_of(
                "Quantity",
                counts(5),
                str(len(skin.spots)),
                ("How many cell nests can be counted?", "What is the number of cell nests?"),
                ("Is the number of cell nests {}?", "Would you count {} when counting the nests?"),
                (
                    f"The number of cell nests in the dermis is {number}.",
                    f"Counting the dark nests in the dermis gives the number {number}.",
                ),
            ),
        ]
    return facts
