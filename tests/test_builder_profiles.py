"""Fictional patients: every value in a range reserved for fiction, none of it in the corpus."""

import csv
import datetime
import functools
import itertools
import json
import random
import re
from dataclasses import replace

import pytest
from corpora import SHARED, record
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.patients import profiles
from builder.patients.find_values import Haystack
from builder.patients.profiles import (
    AREA_CODES,
    FIRST_DAY,
    LAST_DAY,
    Profile,
    make_profiles,
    shown_in,
)
from eval.private_values import View, level
from mllmu_med_dataset import PII_KINDS, Record

CLEAN = record("Where is the brown lesion?", "On the left arm")


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


@settings(max_examples=20)
@given(st.permutations([f"s/{n}" for n in range(12)]))
def test_order_changes_nothing(image_ids: list[str]) -> None:
    assert make_profiles(image_ids, [CLEAN], 7) == make_profiles(sorted(image_ids), [CLEAN], 7)


def test_the_images_of_a_patient_leak_one_person() -> None:
    rows = [replace(CLEAN, image_id=f"s/{n}", patient_id="p" * (n < 2)) for n in range(3)]
    patients = make_profiles(map(shown_in, rows), [CLEAN], 7)
    assert [patients[shown_in(one)].image_id for one in rows] == ["p", "p", "s/2"]


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


@pytest.mark.parametrize("kind", PII_KINDS)
def test_no_value_is_nearly_in_any_text(kind: str) -> None:
    """At the audit's levels, in the corpora and in what an author may write."""
    value = people(3)[0].value(kind)
    near = {
        "name": value[:-2] + value[-1],
        "phone": value.replace("(", "").replace(") ", "."),
        "email": value.replace("@", " at "),
        "address": value.partition(",")[0],
        "date": value.replace(" ", "-").replace(",", ""),
        "mrn": f"record {value[:-1]}{'1' if value[-1] == '0' else '0'}",
    }[kind]
    text = f"Seen: {near}, twice"
    for some in (
        make_profiles(["s/0", "s/1"], [CLEAN, replace(CLEAN, clean_answer=text)], 42),
        make_profiles(["s/0", "s/1"], [CLEAN], 42, [text]),
    ):
        assert some["s/0"].value(kind) != value
        assert level(kind, some["s/0"].value(kind), View(text)) in ("", "fuzzy")


def test_chance_may_stand_in_the_corpus() -> None:
    """A day without its year, an eponym, six digits that are no record: the audit lets them be."""
    one = people(1)[0]
    number = int(one.mrn[-6:])
    chance = f"on {one.date.rpartition(',')[0]}, {number ^ 1:06d} cells"
    assert people(1, corpus=(CLEAN, replace(CLEAN, clean_answer=chance)))[0] == one


def test_no_value_is_another_patients(monkeypatch: pytest.MonkeyPatch) -> None:
    """With few names, "Taylor James" meets "James Taylor" and a street "James Taylor"."""
    names = ("James", "Taylor", "Scott", "Lane", "Kim", "Park", "Diane", "Lake")

    class Few:
        def seed_instance(self, number: int) -> None:
            self.how = random.Random(number)

        def first_name(self) -> str:
            return self.how.choice(names)

        last_name = first_name

        def random_int(self, low: int, high: int) -> int:
            return self.how.randint(low, high)

        def street_name(self) -> str:
            return f"{self.how.choice(names)} {self.how.choice(names)}"

        city = street_name

    monkeypatch.setattr(profiles, "_faker", Few)
    some = people(8)
    assert some == people(8)
    for one, other in itertools.permutations(some, 2):
        for kind, its_kind in itertools.product(PII_KINDS, PII_KINDS):
            if kind != "date":
                view = View(other.value(its_kind))
                assert not level(kind, one.value(kind), view, fuzzy=False), (one, other)


@functools.cache
def real_corpora() -> tuple[Record, ...]:
    """The annotations of SLAKE and MM-Skin."""
    pairs: list[tuple[str, str]] = []
    for name in ("train", "test"):
        rows = json.loads((SHARED / f"data/slake/{name}.json").read_text("utf-8"))
        pairs += [(row["question"], row["answer"]) for row in rows if row["q_lang"] == "en"]
    with (SHARED / "data/mm_skin/vqa.csv").open(newline="", encoding="utf-8-sig") as stream:
        pairs += [(row["question"], row["answer"]) for row in csv.DictReader(stream)]
    return tuple(replace(CLEAN, clean_question=q, clean_answer=a) for q, a in pairs)


@pytest.mark.slow
@pytest.mark.skipif(not (SHARED / "data").is_dir(), reason="no real annotation files here")
@pytest.mark.parametrize("first", range(0, 50, 10))
def test_no_clash_by_chance(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """50 seeds of 500 patients: what the audit looks for is in no text of the real corpora."""
    corpora = real_corpora()
    texts = {text for one in corpora for text in (one.clean_question, one.clean_answer)}
    hay = Haystack(sorted(texts))
    kept = functools.cache(lambda texts: Haystack(texts))
    monkeypatch.setattr(profiles, "Haystack", lambda texts: kept(tuple(texts)))
    for seed in range(first, first + 10):
        some = people(500, seed, corpora)
        where = [(one.id, one.value(kind)) for one in some for kind in PII_KINDS]
        values = Haystack([value for _, value in where])
        for one in some:
            for kind in PII_KINDS:
                found = [hit for hit in hay.search(kind, one.value(kind)) if not hit.by_chance]
                assert not found, (seed, one.value(kind))
                if kind != "date":
                    hits = values.search(kind, one.value(kind), fuzzy=False)
                    assert {where[hit.text][0] for hit in hits} == {one.id}, (seed, one)


def test_a_golden_patient() -> None:
    """A change of Faker's word lists would change every name: it must be seen."""
    golden = "Michelle Wolfe;(510) 555-0133;michelle.wolfe29@example.net;"
    golden += "2499 Kurt Parks, Lake Diane;March 31, 2023;MRN-MM-322614"
    assert [*people(1)[0]][2:] == golden.split(";")
