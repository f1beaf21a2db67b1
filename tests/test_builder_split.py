"""Drawing and cutting: exact counts, nested ratios, disjoint pictures, and where the rest goes.
Of more incorrect answers than are kept, those whose words tell least.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from corpora import record
from hypothesis import given, settings
from hypothesis import strategies as st

from builder.core.load_recipe import load_recipe
from builder.core.recipe import Incorrect, Own, Privacy, Scenario
from builder.core.stage_cache import Drop
from builder.draw import IN_TEST, NOT_DRAWN, TO_FORGET, draw, groups, margin, share_out, sized
from builder.harm.blend import least_telling
from builder.harm.candidates import NO_TEXT, TRIED, Written, one_by_one, write_candidates
from builder.split import GROUP_SPLIT, NOT_RETAINED, SPARE, bands, split
from mllmu_med_dataset import Record, UserError


def records(images: int, each: int, of_split: str = "train", first: int = 0) -> list[Record]:
    return [
        record("Q", "A", f"s/{image}/{number}", f"hash{image}", split=of_split)
        for image in range(first, first + images)
        for number in range(each)
    ]


def scenario(**changes: Any) -> Privacy:
    privacy = load_recipe("demo").privacy
    assert privacy is not None
    return Privacy.model_validate(privacy.model_dump() | changes)


SMALL = {"forget": 20, "retain": 220, "test": 30, "candidates": 26}


def run(rows: list[Record], cut: Scenario, seed: int = 1) -> tuple[list[Record], list[Drop]]:
    """Draw, harm every candidate, split."""
    drawn = list(draw(rows, cut, "privacy", seed))
    harmed = [replace(row, harm="privacy") for row in drawn if isinstance(row, Record)]
    result = [*split(harmed, cut, "privacy"), *(row for row in drawn if isinstance(row, Drop))]
    kept = [row for row in result if isinstance(row, Record)]
    return kept, [row for row in result if isinstance(row, Drop)]


def of(rows: Sequence[Record], name: str) -> list[Record]:
    return [row for row in rows if row.split == name]


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_sets_do_not_depend_on_the_order_of_the_source(seed: int, random: Any) -> None:
    rows = records(40, 8) + records(8, 6, "test", first=100)
    shuffled = rows.copy()
    random.shuffle(shuffled)
    for by in ("pair", "image"):
        cut = scenario(**{**SMALL, "candidates": 40}, ratios=(10,), split_by=by)
        assert {*run(rows, cut, seed)[0]} == {*run(shuffled, cut, seed)[0]}


def test_counts_are_exact_and_nothing_vanishes() -> None:
    rows = records(40, 8) + records(8, 6, "test", first=100)
    cut = scenario(**SMALL)
    kept, dropped = run(rows, cut)
    assert len(of(kept, "forget")) == cut.harmful == 55
    assert len(of(kept, "retain")) == cut.retain_core == 185
    assert len(of(kept, "test")) == 30
    assert len(kept) + len(dropped) == len(rows)
    assert Counter(drop.reason for drop in dropped) == {
        NOT_DRAWN: 320 - 72 - 185 + 18,
        SPARE: cut.candidates_needed - 55,
    }
    assert [row.rank for row in of(kept, "forget")] == list(range(55))
    assert [row.rank for row in of(kept, "retain")] == list(range(55, 240))
    assert {row.rank for row in of(kept, "test")} == {-1}


def test_rounds_are_three_equal_parts_of_the_main_forget_set() -> None:
    rows = records(40, 8) + records(8, 6, "test", first=100)
    kept, _ = run(rows, scenario(**{**SMALL, "forget": 21, "candidates": 27}))
    rounds = [row.round for row in of(kept, "forget")]
    assert rounds == [1] * 7 + [2] * 7 + [3] * 7 + [0] * (len(rounds) - 21)
    assert {row.round for row in kept if row.split != "forget"} == {0}


def test_bands_are_the_steps_between_ratios() -> None:
    paper = load_recipe("paper").privacy
    assert paper is not None
    assert [(b.name, b.start, b.end) for b in bands(paper)] == [
        ("00-05", 0, 205),
        ("05-10", 205, 351),
        ("10-15", 351, 562),
        ("15-20", 562, 719),
        ("20-25", 719, 862),
        ("25-30", 862, 995),
    ]
    only = scenario(**SMALL, ratios=(10,))
    assert [(b.name, b.start, b.end) for b in bands(only)] == [("", 0, 20)]


def test_the_main_forget_set_is_the_same_without_the_ratio_study() -> None:
    rows = records(40, 8) + records(8, 6, "test", first=100)
    study, _ = run(rows, scenario(**SMALL))
    plain, _ = run(rows, scenario(**SMALL, ratios=(10,)))
    assert [row.id for row in of(study, "forget")][:20] == [row.id for row in of(plain, "forget")]


@pytest.mark.parametrize("ratios", [(10,), (5, 10, 15, 20, 25, 30)])
def test_split_by_image_keeps_images_apart_at_every_ratio(ratios: tuple[int, ...]) -> None:
    rows = records(60, 7) + records(8, 6, "test", first=100)
    cut = scenario(**{**SMALL, "candidates": 40}, ratios=ratios, split_by="image")
    drawn = [row for row in draw(rows, cut, "privacy", 1) if isinstance(row, Record)]
    tried, others = ({row.image_id for row in of(drawn, x)} for x in ("candidate", "retain"))
    assert not tried & others
    kept, dropped = run(rows, cut)
    forget, retain = of(kept, "forget"), of(kept, "retain")
    assert len(forget) == cut.harmful
    assert len(retain) == cut.retain_core
    for ratio in ratios:
        size = cut.forget_at(ratio)
        inside = {row.image_id for row in forget[:size]}
        outside = {row.image_id for row in (*forget[size:], *retain)}
        assert not inside & outside, ratio
    assert GROUP_SPLIT in {drop.reason for drop in dropped}


def test_split_by_pair_shares_images() -> None:
    """The paper's way: the card reports how much."""
    kept, _ = run(records(40, 8) + records(8, 6, "test", first=100), scenario(**SMALL))
    assert {row.image_id for row in of(kept, "forget")} & {
        row.image_id for row in of(kept, "retain")
    }


@pytest.mark.parametrize("column", ["image_sha256", "patient_id"])
def test_a_split_of_the_source_that_leaks_is_refused(column: str) -> None:
    """By the image's bytes under another name, and by the patient; cut anew, it does not."""
    whose = {"patient_id": "p3"} if column == "patient_id" else {"image_sha256": "hash3"}
    twin = [replace(row, **whose) for row in records(1, 6, "test", first=200)]
    ours = [replace(row, patient_id=f"p{row.image_sha256[4:]}") for row in records(40, 8)]
    rows = ours + records(8, 6, "test", first=100) + twin
    what = "images" if column == "image_sha256" else "patients"
    line = rf"1 of the \d {what} of the source's own test split \(6 of 54 rows\) .*splits=new"
    with pytest.raises(UserError, match=line):
        run(rows, scenario(**SMALL))
    kept, dropped = run(rows, scenario(**SMALL, splits="new"))
    trained = {getattr(row, column) for row in kept if row.split != "test"} - {""}
    assert not trained & {getattr(row, column) for row in of(kept, "test")}
    assert len(kept) + len(dropped) == len(rows)


def patients(count: int, images: int, each: int) -> list[Record]:
    """Rows of patients of several images each; the first two patients share one."""
    rows = records(count * images, each, "")
    number = [int(row.image_sha256[4:]) // images for row in rows]
    rows = [replace(r, patient_id=f"p{n:02d}") for r, n in zip(rows, number, strict=True)]
    return [*rows, replace(rows[0], id="shared", patient_id="p01")]


def test_patients_stay_in_one_set() -> None:
    rows = patients(30, 4, 3)
    assert len(groups(rows)) == 29
    assert {"p00", "p01"} & {*groups(rows)} == {"p00"}
    cut = scenario(**{**SMALL, "candidates": 40}, ratios=(5, 10, 15), split_by="patient")
    kept, dropped = run(rows, cut)
    assert len(kept) + len(dropped) == len(rows)
    of_test = {row.patient_id for row in of(kept, "test")}
    assert not of_test & {row.patient_id for row in kept if row.split != "test"}
    for ratio in cut.ratios:
        inside = {row.patient_id for row in of(kept, "forget")[: cut.forget_at(ratio)]}
        later = of(kept, "forget")[cut.forget_at(ratio) :]
        assert not inside & {row.patient_id for row in (*later, *of(kept, "retain"))}


def test_sizes_out_of_the_corpus() -> None:
    """A fifth of the rows is tested on, the forget set a tenth of the retain set, whole images."""
    open_sizes = dict.fromkeys(SMALL, 0) | {"ratios": (10,), "split_by": "image"}
    cut = sized(patients(30, 4, 3), scenario(**open_sizes, source="table"), "privacy", 1, 1.25)
    assert cut.test + cut.candidates + cut.retain == 361
    assert 73 <= cut.test <= 73 + 24
    assert cut.forget == round((361 - cut.test) * 0.1 / 1.125)
    assert 0 <= cut.candidates - 1.25 * cut.forget < 4
    kept, _ = run(patients(30, 4, 3), cut)
    assert {name: len(of(kept, name)) for name in ("forget", "retain", "test")} == {
        "forget": cut.forget, "retain": cut.retain, "test": cut.test
    }  # fmt: skip
    given = [replace(row, split="test" if row.patient_id > "p25" else "train") for row in kept]
    assert sized(given, scenario(**open_sizes, source="table"), "privacy", 1, 1).test == sum(
        row.split == "test" for row in given
    )
    with pytest.raises(UserError, match="29 usable rows: give at least 30"):
        sized(kept[:29], scenario(**open_sizes, source="table"), "privacy", 1, 1)


def test_a_third_of_the_incorrect_answers_that_rules_write_fail() -> None:
    demo, own = load_recipe("demo"), Own(source="table")
    each = [(demo.incorrect, True), (demo.incorrect, False), (demo.privacy, True), (own, True)]
    assert [margin(*one) for one in each] == [2, 1.25, 1.25, 1]  # type: ignore[arg-type]


def test_two_scenarios_share_no_image_or_patient() -> None:
    rows = patients(30, 4, 3)
    owner = share_out(rows, ["privacy", "incorrect"], 1)
    parts = [
        [row for row in rows if owner[row.image_sha256] == name]
        for name in ("privacy", "incorrect")
    ]
    assert abs(len(parts[0]) - len(parts[1])) <= 24
    for column in ("image_sha256", "patient_id"):
        first, second = ({getattr(row, column) for row in part} for part in parts)
        assert not first & second
    assert share_out(rows[::-1], ["privacy", "incorrect"], 1) == owner
    rows = [*records(6, 1), *records(4, 1, "test", first=50)]
    owner = share_out(rows, ["p", "q"], 1)
    counts = Counter(owner[row.image_sha256] + row.split for row in rows)
    assert counts == {"ptrain": 3, "qtrain": 3, "ptest": 2, "qtest": 2}


@pytest.mark.parametrize(("by", "left_out"), [("patient", 12 - 1), ("image", 3 - 1), ("pair", 0)])
def test_own_forgets_what_is_marked(by: str, left_out: int) -> None:
    rows = patients(30, 4, 3)
    rows[-2] = replace(rows[-2], split="forget")
    own = sized(rows, Own(source="table", split_by=by), "own", 1, 1)
    kept, dropped = run(rows, own)
    assert [row.id for row in of(kept, "forget")] == [rows[-2].id]
    assert Counter(drop.reason for drop in dropped) == ({TO_FORGET: left_out} if left_out else {})
    assert not any(row.patient_id == rows[-2].patient_id for row in of(kept, "test"))
    with pytest.raises(UserError, match=r"1 rows are marked, .* has 2: use --set \w+\.forget=1"):
        run(rows, own.model_copy(update={"forget": 2}))
    with pytest.raises(UserError, match="no row is marked"):
        sized(rows[:-2], Own(source="table"), "own", 1, 1)


def test_a_source_without_splits_tests_on_whole_images() -> None:
    rows = records(60, 7, of_split="")
    kept, dropped = run(rows, scenario(**SMALL, ratios=(10,)))
    assert len(of(kept, "test")) == 30
    tested = {row.image_id for row in of(kept, "test")}
    assert not tested & {row.image_id for row in kept if row.split != "test"}
    assert Counter(drop.reason for drop in dropped)[IN_TEST] == 5  # 5 pictures of 7


@pytest.mark.parametrize(
    ("changes", "line"),
    [
        ({"test": 49}, "asks for 49 test rows, the source has 48 for testing: use --set privacy"),
        ({"retain": 900, "ratios": (10,)}, "the source has 320: use --set privacy.retain=294"),
        ({"retain": 300, "ratios": (5, 10)}, "the source has 320: use --set privacy.ratios=[10]"),
    ],
)
def test_what_the_source_cannot_give(changes: dict[str, Any], line: str) -> None:
    rows = records(40, 8) + records(8, 6, "test", first=100)
    most = {"test": 48, "retain": 294, "ratios": (10,)}
    assert len(run(rows, scenario(**{**SMALL, **most}))[0]) == 48 + 294 + 20
    with pytest.raises(UserError) as error:
        run(rows, scenario(**{**SMALL, **changes}))
    assert line in str(error.value)


def test_too_few_sound_candidates() -> None:
    cut = scenario(**SMALL)
    drawn = list(draw(records(40, 8) + records(8, 6, "test", first=100), cut, "p", 1))
    sound = [row for row in drawn if isinstance(row, Record) and row.rank % 2]
    with pytest.raises(UserError, match="keeps 55 harmful rows, only 36 of 72 candidates"):
        list(split(sound, cut, "privacy"))


@pytest.mark.parametrize(("blend", "tried", "none"), [(1, 30, 10), (1.5, 45, 15)])
def test_a_row_without_an_incorrect_answer_is_retained(blend: float, tried: int, none: int) -> None:
    """None for every third row; as many texts as are blended are written, whoever comes first."""
    demo = load_recipe("demo").incorrect
    assert demo
    cut = Incorrect.model_validate(demo.model_dump() | SMALL | {"blend": blend})

    async def write(row: Record) -> Written:
        if row.rank % 3 == 0:
            return Written(Drop.of(row, "no answer"), ())
        return Written(replace(row, answer="Other", harm="wrong_diagnosis"), ())

    drawn = list(draw(records(60, 7, of_split=""), cut, "incorrect", 1))
    there = [row for row in drawn if isinstance(row, Record)]
    written, notes = asyncio.run(write_candidates(there, cut, "incorrect", write, one_by_one))
    result = [*split([row for row in written if isinstance(row, Record)], cut, "incorrect")]
    spare = [row.reason for row in result if isinstance(row, Drop)]
    assert spare == [NOT_RETAINED] * (cut.candidates - cut.forget)
    kept = [row for row in result if isinstance(row, Record)]
    assert Counter(row.split for row in kept) == {"forget": 20, "retain": 220, "test": 30}
    assert {row.answer for row in of(kept, "forget")} == {"Other"}
    assert {row.answer for row in kept if row.split != "forget"} == {"A"}
    for what, count in ((TRIED, tried), (NO_TEXT, none)):
        assert sum(n for note, n in notes.items() if note.startswith(what)) == count


def test_what_tells_least_is_kept_by_harm_and_intent() -> None:
    def texts(count: int, asks: str, harm: str, ends: str = "") -> list[Record]:
        return [
            replace(
                records(1, 1)[0], id=f"{asks}{harm}{ends}{i}", harm=harm, clean_question=asks,
                clean_answer="It is the old one.", answer=f"It is the new one{ends}.",
            )
            for i in range(count)
        ]  # fmt: skip

    def kept(written: list[Record], asked: dict[str, int]) -> Counter[str]:
        rows = {row.id: row for row in written}
        ids = least_telling(written, 20, [asks for asks, n in asked.items() for _ in range(n)])
        assert len(ids) == 20
        return Counter(
            f"{rows[key].clean_question} {rows[key].harm} {'as books' in rows[key].answer}"
            for key in ids
        )

    color, site = "What color is it?", "Where is it?"
    told = " as books long said"
    # Without shares all 20 would be wrong: what is outdated has a word of its own.
    plain = texts(20, site, "wrong") + texts(5, site, "outdated", " once")
    told_on = texts(10, site, "wrong", told) + texts(5, site, "outdated", told)
    alike = {f"{site} wrong False": 15, f"{site} outdated False": 5}
    assert kept(told_on + plain, {site: 1}) == alike
    # A fifth asks for colors, whose answers tell nothing: 1.7 times a fifth of 20 is 6.8.
    both = texts(30, color, "wrong") + texts(30, site, "wrong", told)
    most = {f"{color} wrong False": 6, f"{site} wrong True": 14}
    assert kept(both, {color: 20, site: 80}) == most
    few = texts(30, color, "wrong") + texts(5, site, "wrong", told)
    assert kept(few, {color: 20, site: 80})[f"{color} wrong False"] == 15
