"""The review page: one file that opens from the disk, without a network or anything installed.

Its texts come from corpora and language models, so nobody has vouched for them: they travel as JSON
that no markup can leave, are shown as text only, and a content policy lets nothing else run.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import SequenceMatcher
from importlib.resources import files
from string import Template
from typing import Any, Final, NamedTuple

from builder.review.page_images import Embedded, embed
from builder.review.records import PAGE_FORMAT, PAGE_VERSION, REASONS, Item
from mllmu_med.files import packaged_yaml

#: In this order: later ones use what earlier ones define.
SCRIPTS: Final = tuple(
    "page_texts.js page_store.js page_images.js page.js page_decide.js page_keys.js".split()
)


def render_page(
    items: Sequence[Item],
    read_image: Callable[[Item], bytes],
    reviewer: str,
    set_id: str,
    budget: int = 36_000_000,
) -> str:
    """The page on which `reviewer` decides about `items`, as HTML.

    Args:
        read_image: the bytes (JPEG or PNG) of an item's image; called from several threads.
        reviewer: whose decisions the page keeps and exports; may be empty.
        set_id: names these very items; decisions of another set are refused by the page.
        budget: bytes that the images may take, base64 included; see `page_images.embed`.

    Raises:
        UserError: the images do not fit, however small.
    """
    images = embed(items, read_image, budget)
    number = {name: index for index, name in enumerate(images)}
    data = {
        "format": PAGE_FORMAT,
        "version": PAGE_VERSION,
        "set": set_id,
        "reviewer": reviewer,
        "words": packaged_yaml("builder.review", "page_words.yaml"),
        "reasons": [{"key": key, "label": label} for key, label in REASONS.items()],
        "items": [_item(item, number[item.image_sha256]) for item in items],
        "pictures": [
            {"kind": image.kind, "size": image.size, "copy": image.copy}
            for image in images.values()
        ],
    }
    scripts = [_asset(name) for name in SCRIPTS]
    style = _asset("page.css")
    return Template(_asset("page.html")).substitute(
        policy=_policy(scripts, style),
        style=f"<style>{style}</style>",
        data=_json(data),
        scripts="\n".join(f"<script>{script}</script>" for script in scripts),
        images=_embedded(images),
    )


def _asset(name: str) -> str:
    return files("builder.review").joinpath(name).read_text("utf-8")


def _policy(scripts: Sequence[str], style: str) -> str:
    """Nothing is fetched, and nothing runs but the page's own scripts."""
    allowed = " ".join(_source(script) for script in scripts)
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_source(style)}; "
        "img-src data: blob:; base-uri 'none'; form-action 'none'"
    )


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _json(value: Any) -> str:
    """JSON that may stand in a script element: ASCII without <, > and &."""
    text = json.dumps(value, ensure_ascii=True, separators=(",", ":"))
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text


def _item(item: Item, image: int) -> dict[str, Any]:
    texts = {"question": item.question, "answer": item.answer}
    shown = item._asdict()
    for name in ("answer_type", "image_sha256"):
        del shown[name]
    return shown | {
        "closed": item.answer_type == "closed",
        "picture": image,
        "values": [
            {"field": span.field, "kind": span.kind, "value": span.value}
            | _range(texts[span.field], span.start, span.end)
            for span in item.values
        ],
        "marks": {
            "question": _marks(item.clean_question, item.question),
            "answer": _marks(item.clean_answer, item.answer),
        },
    }


def _marks(clean: str, harmful: str) -> dict[str, Any]:
    marks = word_marks(clean, harmful)
    return {
        "rewritten": marks.rewritten,
        "removed": [_range(clean, *place) for place in marks.removed],
        "added": [_range(harmful, *place) for place in marks.added],
    }


def _range(text: str, start: int, end: int) -> dict[str, int]:
    return {"start": _units(text[:start]), "end": _units(text[:end])}


def _units(text: str) -> int:
    """How long JavaScript takes a text to be: it counts UTF-16 units."""
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def _embedded(images: Mapping[str, Embedded]) -> str:
    """Each image in an element of its own, that nothing decodes before it is shown."""
    return "\n".join(
        f'<script type="text/plain" id="picture-{index}">{image.base64}</script>'
        for index, image in enumerate(images.values())
    )


#: A word or number with its accents, apostrophes and hyphens, or a single sign.
_WORD: Final = re.compile(r"(?:[^\W_]|[\u0300-\u036f])+(?:['’.\-][^\W_]+)*|\S")
#: Under this share of common words, marking single ones only disturbs.
_REWRITTEN: Final = 0.25


class WordMarks(NamedTuple):
    """Where words stand that only one of two texts has: (start, end) in characters."""

    rewritten: bool  # hardly a word in common: both texts are marked as a whole
    removed: list[tuple[int, int]]  # in the clean text
    added: list[tuple[int, int]]  # in the harmful text


def word_marks(clean: str, harmful: str) -> WordMarks:
    sides = [list(_WORD.finditer(text)) for text in (clean, harmful)]
    before, after = ([match[0] for match in side] for side in sides)
    matcher = SequenceMatcher(None, before, after, autojunk=False)
    common = sum(
        word[0].isalnum()
        for block in matcher.get_matching_blocks()
        for word in before[block.a : block.a + block.size]
    )
    count = sum(word[0].isalnum() for word in (*before, *after))
    rewritten = clean != harmful and 2 * common < _REWRITTEN * count
    changes = [code[1:] for code in matcher.get_opcodes() if code[0] != "equal"]
    if rewritten:
        changes = [(0, len(before), 0, len(after))]
    removed = _ranges(clean, sides[0], (change[:2] for change in changes))
    added = _ranges(harmful, sides[1], (change[2:] for change in changes))
    return WordMarks(rewritten, removed, added)


def _ranges(
    text: str, words: Sequence[re.Match[str]], changes: Iterable[tuple[int, int]]
) -> list[tuple[int, int]]:
    """Changed words as places in the text; those with only signs between them are one."""
    ranges: list[tuple[int, int]] = []
    for first, last in changes:
        if first == last:
            continue
        start, end = words[first].start(), words[last - 1].end()
        if ranges and not any(char.isalnum() for char in text[ranges[-1][1] : start]):
            start = ranges.pop()[0]
        ranges.append((start, end))
    return ranges
