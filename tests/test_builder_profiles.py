"""Fictional patients: every value in a range reserved for fiction, none of it in the corpus."""

from __future__ import annotations

import datetime
import re
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.profiles import AREA_CODES, FIRST_DAY, LAST_DAY, Profile, make_profiles
from mllmu_med_dataset import PII_KINDS, Record

CLEAN = Record(
    id="a/b/1",
    image_id="a/b",
    image_path="b.jpg",
    image_sha256="",
    question="Where is the brown lesion?",
    answer="On the left arm",
    answer_type="open",
    modality="CT",
    source="slake",
    clean_question="Where is the brown lesion?",
    clean_answer="On the left arm",
)


def people(count: int, seed: int = 42, corpus: tuple[Record, ...] = (CLEAN,)) -> list[Profile]:
    return list(make_profiles([f"s/{n}" for n in range(count)], corpus, seed).values())


@pytest.mark.slow
def test_ten_thousand_patients_stay_in_the_reserved_ranges() -> None:
    """555-01XX has 100 numbers an area code: ten thousand patients come close to using them up."""
    some = people(10_000)
    for one in some:
        assert re.fullmatch(r"\(\d{3}\) 555-01\d\d", one.phone)
        assert int(one.phone[1:4]) in AREA_CODES
        assert re.fullmatch(r"[a-z.]+\d\d@example\.(com|org|net)", one.email)
        assert re.fullmatch(r"MRN-MM-\d{6}", one.mrn)
        assert re.fullmatch(r"\d+ [A-Z][^\d]+, [A-Z][^\d]+", one.address)  # and no postcode
        day = datetime.datetime.strptime(one.date, "%B %d, %Y").date()
        assert FIRST_DAY <= day <= LAST_DAY
        assert day.weekday() < 5
        assert re.fullmatch(r"[^\W\d]+ [^\W\d]['\w]*", one.name), one.name
    for kind in ("name", "phone", "email", "address", "mrn", "id"):
        assert len({getattr(one, kind) for one in some}) == len(some), kind


def test_area_codes_are_valid() -> None:
    """[2-9][0-8]X, and none of the service codes that end in 11."""
    assert len(set(AREA_CODES)) == len(AREA_CODES) >= 100
    for code in AREA_CODES:
        assert re.fullmatch(r"[2-9][0-8]\d", str(code)), code
        assert code % 100 != 11
        assert code not in (555, 800, 888, 877, 866, 855, 844, 833, 822, 900)


@settings(max_examples=20, deadline=None)
@given(st.permutations([f"s/{n}" for n in range(12)]))
def test_order_changes_nothing(image_ids: list[str]) -> None:
    assert make_profiles(image_ids, [CLEAN], 7) == make_profiles(sorted(image_ids), [CLEAN], 7)


def test_another_seed_gives_other_people() -> None:
    ours = {one.name for one in people(50, seed=1)}
    assert len(ours & {one.name for one in people(50, seed=2)}) < 5


def test_no_name_shares_a_word_with_the_corpus() -> None:
    before = people(40)
    first, last = before[0].name.split()
    text = f"The {last.upper()} sign, {first.lower()}."
    corpus = (CLEAN, replace(CLEAN, clean_question=text))
    after = people(40, corpus=corpus)
    words = {word for one in after for word in one.name.split()}
    assert first not in words
    assert last not in words
    assert before[0].name != after[0].name


def test_no_value_stands_in_the_corpus() -> None:
    before = people(3)
    for kind in PII_KINDS:
        corpus = (CLEAN, replace(CLEAN, clean_answer=f"seen: {before[0].value(kind).upper()}"))
        assert people(3, corpus=corpus)[0].value(kind) != before[0].value(kind), kind


def test_a_golden_patient() -> None:
    """A change of Faker's word lists would change every name: it must be seen."""
    one = people(1)[0]
    assert one._replace(id="", image_id="") == Profile(
        id="",
        image_id="",
        name="Michelle Wolfe",
        phone="(510) 555-0133",
        email="michelle.wolfe29@example.net",
        address="2499 Kurt Parks, Lake Diane",
        date="March 31, 2023",
        mrn="MRN-MM-322614",
    )
