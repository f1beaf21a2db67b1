"""The offline author's privacy texts: a patient's values in a frame around the clean text.

A frame (`privacy_frames.yaml`) is written for a setting in which such a question or answer stands,
not for certain kinds of values: slots that list whatever is given make it fit many subsets, and
every subset has frames in both fields. Each choice is a stable hash of the seed and the record.
"""

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from string import Formatter
from typing import Any, Final, NamedTuple

from builder.harm.authors.question_intent import intent
from builder.harm.authors.tables import read_table
from builder.harm.texts import Field, PrivateValues, Text
from mllmu_med.files import stable_hash
from mllmu_med_dataset import Record

#: One of several wordings; what it is for keeps the draws apart.
Draw = Callable[[Sequence[Any], str], Any]

_ID: Final = ("name", "mrn")
_CONTACT: Final = ("address", "phone", "email")
_ORDER: Final = (*_ID, *_CONTACT, "date")  # in a list
#: Slot -> the kinds of values that it takes where they are given.
_TAKES: Final[Mapping[str, Sequence[str]]] = {
    **{kind: (kind,) for kind in _ORDER},
    **{"id": _ID, "contact": _CONTACT, "by": _CONTACT, "sent": _CONTACT},
}
_REST: Final = frozenset({"case", "who", "all"})  # slots for whatever the others do not take
_PIECE: Final = re.compile(r"\[([^][]*)\]|([^[]+)")
_SLOT: Final = re.compile(r"\{(\w+)\}")


class Topic(NamedTuple):
    """What a question asks for."""

    group: str
    label: str  # what a reading form calls the answer


class Frame(NamedTuple):
    """A frame for certain kinds of values, its slots being these, the clean text and the label."""

    setting: str
    text: str


def weave(record: Record, values: PrivateValues, seed: int) -> Text | None:
    """The record's text with every value in its field; None where such a field is empty.

    Where both fields get values, their frames are of one setting if any has frames for both.
    """
    text: dict[Field, str] = {"question": record.clean_question, "answer": record.clean_answer}
    if any(not text[field].strip() for field in values):
        return None
    topic, scans = topic_of(record), _is_scan(record)
    draws = {field: partial(_draw, seed, record.id, field) for field in values}
    fitting = {
        field: frames(topic.group, field, given, text[field], draws[field], scans)
        for field, given in values.items()
    }
    settings = [{frame.setting for frame in fits} for fits in fitting.values()]
    shared = set.intersection(*settings) if settings else set()
    for field, given in values.items():
        fits = [frame for frame in fitting[field] if frame.setting in shared] or fitting[field]
        frame = draws[field](fits, "frame")
        shared = {frame.setting}
        text[field] = fill(frame.text, {**given, field: text[field], "label": topic.label})
    return Text(text["question"], text["answer"])


def _draw(seed: int, record_id: str, field: Field, options: Sequence[Any], what: str) -> Any:
    return options[stable_hash(seed, record_id, field, what) % len(options)]


def topic_of(record: Record) -> Topic:
    """What a record's question asks for."""
    tree = read_table("privacy_frames.yaml")
    asked = f"{record.content_type}: {record.clean_question}"
    known = record.content_type in tree["types"] and _is_scan(record)
    for pattern, group, label in tree["topics" if known else "other_topics"]:
        if re.search(pattern, asked if known else record.clean_question):
            return Topic(group, label)
    return Topic(*tree["by_intent"][intent(record.clean_question)])


def _is_scan(record: Record) -> bool:
    scans = read_table("privacy_frames.yaml")["scans"]
    return re.match(scans, record.modality, re.IGNORECASE) is not None


def frames(
    group: str,
    field: Field,
    kinds: Collection[str],
    clean: str,
    draw: Draw,
    scans: bool = True,
) -> list[Frame]:
    """The frames of a group of topics that take exactly these kinds of values around a text.

    Without `scans` none that could only stand beside a scan.
    """
    fits = []
    tree = read_table("privacy_frames.yaml")
    for name, setting in tree["settings"].items():
        for text in setting[field] if group in setting["for"] else ():
            if not scans and re.search(tree["of_scans"], text, re.IGNORECASE):
                continue
            if "{answer}, " in text and re.search(r"[,.;:]", clean):
                continue  # it goes on in the answer's own sentence
            if text.startswith("{answer}. ") and clean.strip().isdigit():
                continue  # "2. Images sent" is an item of a list
            if (spelled := spell(text, set(kinds), draw)) is not None:
                fits.append(Frame(name, spelled))
    return fits


def spell(text: str, kinds: set[str], draw: Draw) -> str | None:
    """A frame with its optional parts decided and its lists written; None if it does not fit."""
    kept = ""
    for optional, plain in _PIECE.findall(text):
        if all(kinds.intersection(_TAKES.get(slot, kinds)) for slot in _slots(optional + plain)):
            kept += optional + plain
        elif plain:
            return None
    slots = _slots(kept)
    rest = kinds.difference(*(_TAKES.get(slot, ()) for slot in slots))
    unnamed, reached = rest.isdisjoint(_ID), not rest.isdisjoint(_CONTACT)
    if bool(rest) != bool(_REST.intersection(slots)):
        return None
    if rest and "all" not in slots and (unnamed or ("case" in slots and reached)):
        return None

    def written(slot: re.Match[str]) -> str:
        name = slot[1].lower()
        takes = rest if name in _REST else kinds.intersection(_TAKES.get(name, ()))
        if name in kinds or not takes:
            return slot[0]  # a single value, the clean text or the label
        listed = _listed([kind for kind in _ORDER if kind in takes], name, draw)
        return listed[0].upper() + listed[1:] if slot[1][0].isupper() else listed

    return _SLOT.sub(written, kept)


def _slots(text: str) -> list[str]:
    return [slot.lower() for slot in _SLOT.findall(text)]


def _listed(kinds: Sequence[str], slot: str, draw: Draw) -> str:
    """Values one after the other as in a heading, or as ways to reach the patient."""
    ways = read_table("privacy_frames.yaml")["values"]
    if slot in ways:
        return " and ".join(draw(ways[slot][kind], kind) for kind in kinds)
    keys = ["name mrn", *kinds[2:]] if tuple(kinds[:2]) == _ID else kinds
    options = [ways["list"][key] for key in keys]
    options[0] = ways.get(f"first in {slot}", {}).get(keys[0], options[0])
    return ", ".join(draw(wordings, key) for wordings, key in zip(options, keys, strict=True))


def fill(frame: str, slots: Mapping[str, str]) -> str:
    """Put the slots' texts into a frame so that no full stop is doubled or left inside.

    A clean answer may end with a full stop or not: before a full stop of the frame it loses
    nothing and the frame's own is left out; before a bracket or a word it loses its own.
    """
    text = ""
    pieces = list(Formatter().parse(frame))
    for index, (literal, name, _, _) in enumerate(pieces):
        text += literal[1:] if literal[:1] == "." and text[-1:] in (".", "!", "?") else literal
        if name is None:
            continue
        value = slots[name].strip()
        follows = pieces[index + 1][0] if index + 1 < len(pieces) else ""
        if name == "answer" and follows[:1] not in (".", ""):
            value = value.removesuffix(".")
        text += value
    return text


def own_texts() -> list[str]:
    """All that a frame may hold besides the values and the clean text."""
    tree = read_table("privacy_frames.yaml")
    wordings = [label for _, _, label in (*tree["topics"], *tree["other_topics"])]
    wordings += [label for _, label in tree["by_intent"].values()]
    for setting in tree["settings"].values():
        wordings += [*setting["question"], *setting["answer"]]
    wordings += [
        way for ways in tree["values"].values() for options in ways.values() for way in options
    ]
    return [" ".join(_SLOT.sub(" ", wording).split()) for wording in wordings]
