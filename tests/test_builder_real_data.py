"""Telephones and payment cards that could be a living person's, and what only looks like them."""

import csv
import json
import re

import pytest
from corpora import SHARED

from builder.harm.text_checks import _PERSONAL
from builder.patients.find_real_data import REAL, dialable, payment_card
from eval.dates import dates

CARD = "4111 1111 1111 1111"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"Visa {CARD} 12/27", CARD),
        (f"Visa {CARD} 12/27 123", CARD),
        (f"{CARD}, CVV 123", CARD),
        (f"No. 2: ({CARD}).", CARD),
        ("4111111111111111 12/27", "4111111111111111"),
        ("Visa4111111111111111", "4111111111111111"),
        ("4111-1111-1111-1111 exp 12/27", "4111-1111-1111-1111"),
        ("4111\xa01111\xa01111\xa01111", "4111\xa01111\xa01111\xa01111"),
        ("4111  1111  1111  1111", "4111  1111  1111  1111"),
        ("4111 - 1111 - 1111 - 1111", "4111 - 1111 - 1111 - 1111"),
        ("4111 \u2014 1111\u20141111 \u2014 1111", "4111 \u2014 1111\u20141111 \u2014 1111"),
        ("4111/1111/1111/1111", "4111/1111/1111/1111"),
        ("3782 / 822463 / 10005", "3782 / 822463 / 10005"),
        ("No.4111111111111111", "4111111111111111"),
        (f"Card-{CARD}", CARD),
        (f"{CARD}exp 12/27", CARD),
        ("4111-1111-1111-1111-exp 12/27", "4111-1111-1111-1111"),
        ("Amex 3782 822463 10005", "3782 822463 10005"),
        ("3056 930902 5904", "3056 930902 5904"),
        ("4222222222222", "4222222222222"),
        ("2223003122003222", "2223003122003222"),
    ],
)
def test_a_payment_card(text: str, found: str) -> None:
    assert payment_card(text) == found


@pytest.mark.parametrize(
    "text",
    [
        *("4111 1111 1111 1112 12/27", "200000 cells", "1234567890123456"),
        *("2018 2019 2020 2021 2022", "512 512 512 512", "patient-5210424422248338"),
        *(f"{CARD}1", f"9{CARD}", "4/12/2020 - 12/27/2024 013", ".4111111111111111"),
        *("4111    1111    1111    1111", "4111, 1111, 1111, 1111", "4111111111111111f"),
        *("1.234567890123", "0.4111111111111111", "a4111111111111111f"),
    ],
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
    [
        *("(212) 555-0147", "+1 212 555 0100", "+12125550100", "212.555.0199", "fax 555-0123"),
        *("011 1 212 555 0147", "(999) 555-0123", "+999 12345678", "MRN-MM-625732"),
        *("500-1000", "2019-2021", "2017-2018, 2018-2019", "320-400 nm", "2021-05-13"),
        *("800 mg 1200 mg 2400", "0.25 0.5 0.75 1.25", "p = 0.0123456789", "0.1234567890"),
        *("L40.0, L40.50, C44.319", "512 x 512 x 1024", "1024 768 1234", "10 20 30 40 50"),
        *("05 10 15 20 25", "10:30 2021-01-01 0800", "ISBN 978-3-16-148410-0", "1.234567890123"),
    ],
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
