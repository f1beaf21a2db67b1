"""What is asked, claimed and answered about a fact of a picture, worded in `wordings.yaml`."""

from functools import cache
from typing import Any, Final

from jinja2 import Template

from builder.ingest.phantoms.draw import Fact
from mllmu_med.files import packaged_yaml

_WORDINGS: Final[dict[str, dict[str, Any]]] = packaged_yaml(__package__, "wordings.yaml")


@cache
def _caption_template(name: str) -> Template:
    template: Template = Template(_WORDINGS["captions"][name])
    return template


def caption(name: str, **facts: object) -> str:
    """The caption of a picture of `radiology` or `skin`, on one line."""
    return " ".join(_caption_template(name).render(facts).split())


def fact(section: str, name: str, own: str | int, it: str = "", several: bool = False) -> Fact:
    """A fact in its wordings.

    Args:
        own: which of the values is true of the picture.
        it: what the wordings are about, `lesion` or `cell nests`.
        several: whether that is a plural.
    """
    entry = _WORDINGS[section][name]
    values = entry["values"]
    if isinstance(values, list):
        values = {value: value for value in values}
    is_, has, does, lies = (
        ("are", "have", "do", "lie") if several else ("is", "has", "does", "lies")
    )
    words = {"it": it, "is": is_, "has": has, "does": does, "lies": lies}
    words |= {"Is": is_.capitalize(), "Does": does.capitalize()}
    words["detail"] = entry.get("details", {}).get(own, "")

    def worded(kind: str, value: str) -> tuple[str, ...]:
        return tuple(text.format(value=value, **words) for text in entry.get(kind, ()))

    return Fact(
        entry["type"],
        values[own],
        tuple(value for key, value in values.items() if key != own),
        worded("asks", ""),
        worded("claims", "{}"),
        worded("answers", values[own]),
    )
