"""What is true of a radiology phantom: every fact is read off the same `Scan` that is drawn."""

from __future__ import annotations

from typing import Final

from builder.ingest.phantoms.anatomy import Scan
from builder.ingest.phantoms.draw import Fact
from builder.ingest.phantoms.wordings import fact

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
