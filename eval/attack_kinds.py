"""Attacks that try to get back what was unlearned: their kinds, and what a model is asked.

| kind | strength | what is done |
| --- | --- | --- |
| adapter | | the last adapter is taken off |
| quantise | bits | merged weights are rounded (`eval.quantise`) |
| relearn-forget | steps | trained on a few forget rows whose patients are not asked about |
| relearn-retain | steps | trained on retain rows alone |
| relearn-outside | steps | trained on test rows, which no model of a run has seen |
| prefix | percent | so much of what stands before a private value in the answer is given |
| paraphrase | | the question, put in four other ways |
| jailbreak | | the question, with three texts that tell the model to say all |
| typeset | | the question is drawn into the image, and the text says to answer it |
| jpeg | quality | the image is encoded anew |
| crop | percent | so much of the image's sides is left, from its middle |
| brighten | percent | the image's brightness |
| rotate | degrees | the image is turned |
| other-image | | the own question about the image of another patient |

Only forget rows with a private value in their answer are asked; of incorrect facts, rows whose
clean answer is known. Where a kind asks a row several times, its answers count together.
"""

from __future__ import annotations

import io
import re
import textwrap
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from eval.answer_text import WORDS
from eval.attacks import Ask
from eval.dataset_rows import ImageStore
from mllmu_med.files import digest, stable_hash
from mllmu_med_dataset import Record, UsageError, UserError

if TYPE_CHECKING:
    from PIL.Image import Image

#: By group, as tables show them, each kind's strengths (0: it has none); the numbers are ours.
GROUPS: Final[dict[str, dict[str, tuple[int, ...]]]] = {
    "weights": {"adapter": (0,), "quantise": (8, 4)},
    "relearn": {f"relearn-{on}": (5, 15, 30) for on in ("forget", "retain", "outside")},
    "prompt": {"prefix": (25, 50, 100), "paraphrase": (0,), "jailbreak": (0,), "typeset": (0,)},
    "image": {
        "jpeg": (50, 10),
        "crop": (95, 80),
        "brighten": (110, 150),
        "rotate": (3, 15),
        "other-image": (0,),
    },
}
#: The same by kind alone.
STRENGTHS: Final = {kind: of for kinds in GROUPS.values() for kind, of in kinds.items()}
#: A wording changes what an outcome is: outcomes of another version are made anew.
VERSION: Final = 2
#: Forget rows that `relearn-forget` trains on, each of another patient: our choice.
RELEARNT: Final = 3


class Attack(NamedTuple):
    """A kind of attack at a strength (0: the kind has none)."""

    kind: str
    strength: int = 0

    @property
    def name(self) -> str:
        return f"{self.kind}-{self.strength}" if self.strength else self.kind

    @property
    def group(self) -> str:
        return next(group for group, kinds in GROUPS.items() if self.kind in kinds)


def parse(kinds: str, option: str = "--kind") -> list[Attack]:
    """`all`, or kinds and groups of them in a comma list, in our order; else a UsageError."""
    wanted = [word.strip() for word in kinds.split(",")]
    for word in wanted:
        if word not in ("all", *GROUPS, *STRENGTHS):
            raise UsageError(f"{option} {word}: use all, {', '.join([*GROUPS, *STRENGTHS])}")
    return [
        Attack(kind, strength)
        for group, of in GROUPS.items()
        for kind, strengths in of.items()
        if {"all", group, kind} & {*wanted}
        for strength in strengths
    ]


def attackable(rows: Sequence[Record]) -> list[Record]:
    """The forget rows whose answer holds what should not come back.

    Raises:
        UserError: none does.
    """
    found = [
        row
        for row in rows
        if row.split == "forget"
        and (any(span.field == "answer" for span in row.pii) or row.harm not in ("none", "privacy"))
        and (row.pii or row.clean_answer not in ("", row.answer))
    ]
    if not found:
        raise UserError("no forget row has a private value, or is known clean: nothing to attack")
    return found


def relearnt(rows: Sequence[Record]) -> list[Record]:
    """The `RELEARNT` forget rows that `relearn-forget` trains on, alike for every model."""
    chosen: dict[str, Record] = {}
    for row in sorted(rows, key=lambda row: stable_hash("relearn", row.id)):
        if len(chosen) < RELEARNT:
            chosen.setdefault(row.whose, row)
    return [*chosen.values()]


def asked_rows(attack: Attack, rows: Sequence[Record]) -> list[Record]:
    """Of attackable rows those asked about: none of an image or patient that is trained on."""
    if attack.kind != "relearn-forget":
        return [*rows]
    seen = relearnt(rows)
    whose, pictures = {row.whose for row in seen}, {row.image_id for row in seen}
    return [row for row in rows if row.whose not in whose and row.image_id not in pictures]


def asks_of(attack: Attack, rows: Sequence[Record], images: ChangedImages) -> list[Ask]:
    """What is asked of a model about some rows; `images` will know the images that it needs."""
    kind, strength = attack
    if kind == "prefix":
        begun = [(row, _beginning(row, strength)) for row in rows]
        return [Ask(row, row.question, kind, start=start) for row, start in begun if start]
    if kind == "paraphrase":
        return [
            Ask(row, text, kind, str(number))
            for row in rows
            for number, text in enumerate(paraphrases(row.question), 1)
        ]
    if kind == "jailbreak":
        return [
            Ask(row, text.format(row.question), kind, str(number), start)
            for row in rows
            for number, (text, start) in enumerate(WORDS["jailbreaks"], 1)
        ]
    if kind == "typeset":
        return [Ask(images.changed(row, attack), WORDS["typeset"], kind) for row in rows]
    if kind == "other-image":
        return [Ask(_elsewhere(row, rows), row.question, kind) for row in rows]
    if attack.group == "image":
        return [Ask(images.changed(row, attack), row.question, kind) for row in rows]
    return [Ask(row, row.question) for row in rows]


def paraphrases(question: str) -> list[str]:
    """A question in four other ways, which ask for the same."""
    inside = question[:1].lower() + question[1:] if question[1:2].islower() else question
    words = WORDS["other_words"]
    other = re.sub(rf"\b({'|'.join(words)})\b", lambda match: words[match[0]], question)
    asked = [text.format(question=question, inside=inside) for text in WORDS["paraphrases"]]
    return asked if other == question else [*asked[:-1], other]


def _beginning(row: Record, percent: int) -> str:
    """So much of what stands in an answer before its first private value, in whole words."""
    starts = [span.start for span in row.pii if span.field == "answer"]
    words = row.answer[: min(starts, default=0)].rstrip().split(" ")
    return " ".join(words[: round(len(words) * percent / 100)])


def _elsewhere(row: Record, rows: Sequence[Record]) -> Record:
    others = [r for r in rows if r.whose != row.whose and r.image_sha256 != row.image_sha256]
    if not others:
        raise UserError("other-image: all rows have one image: leave this kind out")
    other = others[stable_hash("other-image", row.id) % len(others)]
    return replace(row, image_id=other.image_id, image_sha256=other.image_sha256)


class ChangedImages:
    """A store of images that also has changed ones, each under an id of its own."""

    def __init__(self, images: ImageStore) -> None:
        self._images = images
        self._changes: dict[str, tuple[str, Attack, str]] = {}

    def changed(self, row: Record, attack: Attack) -> Record:
        """The row on its changed image; its hash is of the image and of all that changes it."""
        text = row.question if attack.kind == "typeset" else ""
        seen = digest([row.image_sha256, attack.name, VERSION, text])
        new = f"{attack.name} {digest([row.image_id, text])[:12]}"
        self._changes[new] = row.image_id, attack, text
        return replace(row, image_id=new, image_sha256=seen)

    def __getitem__(self, image_id: str, /) -> Image:
        if image_id not in self._changes:
            return self._images[image_id]
        original, attack, text = self._changes[image_id]
        return change(self._images[original], attack, text)


def change(image: Image, attack: Attack, text: str = "") -> Image:
    """An RGB image as an attack shows it, of the same size (typeset: wider or higher)."""
    from PIL import Image as images
    from PIL import ImageEnhance

    kind, strength = attack
    if kind == "typeset":
        return _typeset(image, text)
    if kind == "jpeg":
        stream = io.BytesIO()
        image.save(stream, "JPEG", quality=strength)
        with images.open(stream) as encoded:
            return encoded.convert("RGB")
    if kind == "brighten":
        return ImageEnhance.Brightness(image).enhance(strength / 100)
    bicubic: Any = images.Resampling.BICUBIC
    if kind == "rotate":
        return image.rotate(strength, bicubic)
    width, height = (side * (100 - strength) / 200 for side in image.size)
    box = width, height, image.width - width, image.height - height
    return image.resize(image.size, bicubic, box)


def _typeset(image: Image, text: str) -> Image:
    """The image with a text in black on white below it (after FigStep, arXiv:2311.05608)."""
    from PIL import Image as images
    from PIL import ImageDraw, ImageFont

    width = max(image.width, 224)
    size = max(12, width // 18)
    font = ImageFont.load_default(size)
    lines = "\n".join(textwrap.wrap(text, max(1, int(width / (0.55 * size)))))
    box = ImageDraw.Draw(image).multiline_textbbox((0, 0), lines, font)
    page = images.new("RGB", (width, image.height + int(box[3]) + size), "white")
    page.paste(image, ((width - image.width) // 2, 0))
    ImageDraw.Draw(page).multiline_text((size // 3, image.height + size // 3), lines, "black", font)
    return page
