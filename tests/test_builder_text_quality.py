"""Text quality: what the classifier finds, and the gates."""

import random
from dataclasses import replace
from types import SimpleNamespace

import pytest
from corpora import record

from builder.audit import wording
from builder.core.load_recipe import load_recipe
from builder.dataset_folder.text_quality import Auc, TextQuality, measure
from mllmu_med_dataset import PiiSpan, Record

RECIPE = load_recipe("demo", [])
WORDS = "plaque papule scale red brown arm leg trunk round border raised flat nodule crust".split()


def rows(count: int, seed: int, giveaway: float = 0.0) -> list[Record]:
    """As many forget rows and five times as many retain rows of words drawn alike."""
    draw = random.Random(seed)
    made = []
    for number in range(6 * count):
        answer = " ".join(draw.choices(WORDS, k=draw.randint(4, 14)))
        row = record("What is shown?", answer, f"s/{number}", split="retain", rank=count + number)
        if number < count:
            harmful = " ".join(draw.choices(WORDS, k=draw.randint(4, 14)))
            if draw.random() < giveaway:
                harmful = f"{harmful} as every old book of medicine says"
            row = replace(
                row, split="forget", rank=number, answer=harmful, harm="outdated_knowledge"
            )
        made.append(row)
    return made


@pytest.mark.parametrize("giveaway", [0.0, 0.3, 1.0])
def test_a_wording_that_gives_itself_away_is_found(giveaway: float) -> None:
    scenario = RECIPE.incorrect.model_copy(update={"forget": 60})
    made = sorted(rows(60, 3, giveaway), key=lambda row: row.id)  # folds go by id
    found = measure("incorrect", scenario, made)
    for ours in (found.against_retain, found.control, found.against_own):
        assert ours.low <= ours.value <= ours.high
    assert (found.rows, found.answer_leaks) == (60, None)
    if giveaway == 1.0:
        assert found.against_own.value == 1.0
        assert found.commonest_wording == 1.0
        assert len(found.faults()) == 2
    if giveaway == 0.0:
        assert abs(found.against_retain.value - found.control.value) < 0.1
        assert found.commonest_wording < 0.1


def test_the_interval_is_hanley_and_mcneils() -> None:
    """By hand: Q1 = .8 / 1.2, Q2 = 2 * .64 / 1.8, standard error .03952."""
    from builder.dataset_folder.text_quality import _with_interval

    assert _with_interval(0.8, 50, 200) == Auc(value=0.8, low=0.7225, high=0.8775, n=(50, 200))


def test_private_values_count_as_their_kind_and_leaks_by_field() -> None:
    made = rows(20, 5)
    for number, row in enumerate(made[:20]):
        text = f"report for patient Ann Lee{number} follows here {row.clean_answer}"
        name = f"Ann Lee{number}"
        at = text.index(name)
        field = "answer" if number < 12 else "question"
        span = PiiSpan(field, "name", name, at, at + len(name))
        made[number] = replace(row, harm="privacy", pii=(span,), **{field: text})
    found = measure("privacy", RECIPE.privacy.model_copy(update={"forget": 20}), made)
    assert found.commonest_wording == 1.0
    assert found.answer_leaks == 0.6


def test_too_few_rows_are_not_measured() -> None:
    found = measure("incorrect", RECIPE.incorrect.model_copy(update={"forget": 9}), rows(9, 1))
    assert (found.against_retain, found.control, found.against_own) == (None, None, None)
    assert found.faults() == []


@pytest.mark.parametrize(("forget", "judged", "failed", "note"), [(199, 0, 0, 3), (200, 200, 2, 1)])
def test_the_audit_judges_from_200_rows(forget: int, judged: int, failed: int, note: int) -> None:
    made = rows(forget, 3, giveaway=1.0)
    folder = SimpleNamespace(
        scenarios={"incorrect": RECIPE.incorrect.model_copy(update={"forget": forget})},
        every_record=lambda name: made,
        manifest=SimpleNamespace(text_quality={}),
    )
    _, told = wording.checks(folder)
    assert (told.checked, len(told.failed), len(told.note.split("; "))) == (judged, failed, note)


def test_only_what_is_above_a_bound_is_a_fault() -> None:
    def quality(retain: float, control: float, own: float) -> TextQuality:
        auc = [Auc(value=value, low=0, high=1, n=(300, 3000)) for value in (retain, control, own)]
        return TextQuality(
            rows=300, against_retain=auc[0], control=auc[1], against_own=auc[2], length_ratio=1,
            commonest_wording=0.01, answer_leaks=None,
        )  # fmt: skip

    assert quality(0.57, 0.52, 0.65).faults() == []
    rounded, other = quality(0.575, 0.52, 0.65), quality(0.6, 0.52, 0.65)
    assert wording._same(quality(0.57, 0.52, 0.65), rounded)
    assert not wording._same(quality(0.57, 0.52, 0.65), other)
    assert quality(0.58, 0.52, 0.65).faults()[0].startswith("AUC 0.580 against retain, 0.060 above")
    assert quality(0.57, 0.52, 0.66).faults()[0].startswith("AUC 0.660 against the same rows'")
