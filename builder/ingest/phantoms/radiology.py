"""Radiology phantoms: CT-like chest and abdomen, X-ray-like chest, MRI-like brain, with questions.

Drawn by code, so free of patients and licences, and of any claim to look real. The images come
from `anatomy`; here the same `Scan` becomes a caption and about 11 questions in SLAKE's
manner, of which 35 % are yes/no. Nothing but the image tells the answers.

    image = draw_radiology(seed=0, index=7)
"""

from __future__ import annotations

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
from builder.ingest.phantoms.radiology_facts import facts_of, half_of, sides_of
from builder.ingest.phantoms.scans import render
from builder.ingest.phantoms.wordings import caption

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
    for fact in claims:
        text, true = claim(rng, _lower(fact))
        questions.append(Question(text, "Yes" if true else "No", fact.content_type))
    return tuple(shuffled(rng, questions))


def _lower(fact: Fact) -> Fact:
    """The fact with its values as they are written inside a sentence."""

    def inline(value: str) -> str:
        return value if value in _ACRONYMS else value.lower()

    others = tuple(inline(value) for value in fact.others)
    return fact._replace(value=inline(fact.value), others=others)
