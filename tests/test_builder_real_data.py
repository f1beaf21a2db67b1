"""Telephones and payment cards that could be a living person's, and what only looks like them."""

import csv
import json
import re

import pytest
from cases import cases
from corpora import SHARED

from builder.harm.text_checks import _PERSONAL
from builder.patients.find_real_data import REAL, dialable, payment_card
from eval.dates import dates

CASES = cases(__file__)

CARD = "4111 1111 1111 1111"


@pytest.mark.parametrize(
    ("text", "found"),
    CASES["a_payment_card"],
)
def test_a_payment_card(text: str, found: str) -> None:
    assert payment_card(text) == found


@pytest.mark.parametrize(
    "text",
    CASES["no_payment_card"],
)
def test_no_payment_card(text: str) -> None:
    assert payment_card(text) == ""


@pytest.mark.parametrize(
    "text",
    [
        *("(212) 736-5000", "212/736-5000", "2127365000", "1-800-555-1212", "Phone 736-5000"),
        *("+1 212 736 5000", "+44 20 7946 0958", "+44 (0)20 7219 3000", "tel:+442072193000"),
        *("0044 20 7219 3000", "011 44 20 7219 3000", "020 7219 3000", "07911 123456"),
        *("+49 30 901820", "+86 10 6552 9988", "call +91 98765 43210 now", "+7 495 123-45-67"),
    ],
)
def test_a_telephone(text: str) -> None:
    assert dialable(text)
    assert dialable(text) in text


@pytest.mark.parametrize(
    "text",
    CASES["no_telephone"],
)
def test_no_telephone(text: str) -> None:
    """`phonenumbers` takes 555-01xx for real, and in other regions rows of figures for numbers."""
    assert dialable(text) == ""


@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="no real annotation files here")
def test_no_alarm_on_clean_text() -> None:
    """10,132 distinct texts of SLAKE, MM-Skin and VQA-RAD."""
    texts: set[str] = set()
    for name in ("slake/train", "slake/test", "vqa_rad/trainset", "vqa_rad/testset"):
        for row in json.loads((SHARED / "data" / f"{name}.json").read_text("utf-8")):
            texts |= {str(row["question"]), str(row["answer"])}
    with (SHARED / "data/mm_skin/vqa.csv").open(newline="", encoding="utf-8-sig") as stream:
        texts |= {
            text for row in csv.DictReader(stream) for text in (row["question"], row["answer"])
        }
    assert len(texts) > 10_000
    for text in texts:
        assert not [found for find in REAL.values() if (found := find(text))], text
        assert not [written.text for written in dates(text)], text
        assert not [found[0] for it in _PERSONAL.values() if (found := re.search(it, text))], text
