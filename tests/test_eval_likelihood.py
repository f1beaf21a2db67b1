"""Probability, truth ratio, KS and membership attacks on cases that can be worked by hand."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from eval.bootstrap import Draws, Items
from eval.dataset_rows import DatasetImages, read_rows
from eval.likelihood import (
    alternatives,
    forget_quality,
    kept,
    measure,
    measured,
    min_k,
    probability,
    truth_ratio,
    write_rows,
)
from eval.model import Model
from mllmu_med_dataset import UserError


def logs(*probabilities: float) -> list[float]:
    return [math.log(one) for one in probabilities]


def row(split: str, own: list[float], *others: list[float], name: str = "a") -> dict[str, Any]:
    return {"id": name, "split": split, "logprobs": own, "alternatives": list(others)}


def test_probability_is_a_geometric_mean_per_token() -> None:
    assert probability(logs(0.5)) == pytest.approx(0.5)  # one token
    assert probability(logs(0.5, 0.125)) == pytest.approx(0.25)
    assert probability([-2000.0]) == 0
    with pytest.raises(UserError, match="without tokens"):
        probability([])


def test_truth_ratio_of_one_token_and_more() -> None:
    assert truth_ratio(row("forget", logs(0.5), logs(0.25))) == pytest.approx(0.5)
    assert truth_ratio(row("forget", logs(0.2), logs(0.2), logs(0.4))) == pytest.approx(1.5)
    assert truth_ratio(row("forget", logs(0.1, 0.4), logs(0.2))) == pytest.approx(1)
    assert truth_ratio(row("forget", logs(0.5))) is None
    # A collapsed model: nothing is likely, and nothing overflows.
    assert truth_ratio(row("forget", [-5000.0], logs(0.5))) == pytest.approx(math.exp(700))
    assert truth_ratio(row("forget", logs(0.5), [-5000.0])) == 0


def test_min_k_takes_one_token_at_least() -> None:
    assert min_k([-3.0]) == -3
    assert min_k([-1.0, -2.0, -3.0, -4.0]) == -4
    assert min_k([-1.0] * 8 + [-5.0, -7.0]) == -6


def test_auc_and_ks_on_known_samples() -> None:
    def items(values: list[float]) -> Items:
        return Items.of({i: (f"{i}", value) for i, value in enumerate(values)})

    draws = Draws({f"{i}": f"{i}" for i in range(5)}, resamples=5)
    for members, others, area in (
        ([3, 4], [1, 2], 1),
        ([1, 2], [3, 4], 0),
        ([1, 1], [1, 1], 0.5),
        ([1, 3], [2], 0.5),
    ):
        assert draws.auc(items(members), items(others))[0] == area
    draws = Draws(dict.fromkeys(map(str, range(5)), ""), resamples=50)
    low, high = items([1, 2, 3, 4, 5]), items([6, 7, 8, 9, 10])
    assert set(draws.ks(low, high)) == {1}
    assert set(draws.ks(low, low)) == {0}
    drawn = draws.ks(low, items([1, 2, 3, 4, 10]))  # the fifth is drawn k times in 5
    assert drawn[0] == pytest.approx(0.2)
    assert drawn == pytest.approx(draws.of_items(low)[:, 4] / 5)
    same = [0.1 * i for i in range(20)]
    assert forget_quality(same, same) == 1
    # Two samples of 5 that do not overlap: p = 2 / C(10, 5), by counting orders.
    assert forget_quality([1, 2, 3, 4, 5], [6, 7, 8, 9, 10]) == pytest.approx(2 / 252)
    with pytest.raises(UserError, match="no truth ratios"):
        forget_quality([], same)


def test_what_a_row_measures() -> None:
    found = measured(row("forget", logs(0.4), logs(0.8)))
    assert found["probability"] == pytest.approx(0.4)
    assert found["ratio"] == pytest.approx(2)
    assert found["truth_ratio"] == pytest.approx(1 / 2)
    assert "truth_ratio" not in measured(row("test", logs(0.1, 0.9)))
    assert measured(row("test", logs(0.1, 0.9)))["min_k"] == pytest.approx(math.log(0.1))


class Weigher(Model):
    """The arithmetic of `measure` without weights: each character is one token."""

    def logprobs(self, asked: Any, answers: Any, image: Any) -> list[list[float]]:
        return [[-float(len(answer))] * 2 for answer in answers]


def test_what_is_kept_is_of_these_very_texts(demo: Path, tmp_path: Path) -> None:
    """A dataset that was built again keeps its ids: what was weighed then says nothing now."""
    rows = read_rows(demo / "mllmu-med", "privacy", ["forget"])
    identity = {"run": "a" * 12}
    images = DatasetImages(demo / "mllmu-med", "privacy", ["forget"])
    assert not kept(tmp_path, identity, rows)
    measured = measure(Weigher(None, None, {}, True), rows, images, 4)
    write_rows(tmp_path, measured, identity)
    assert [row["logprobs"][0] for row in measured] == [-len(row.answer) for row in rows]
    assert kept(tmp_path, identity, rows)
    for change in ({"question": "Why?"}, {"answer": "Another"}, {"image_sha256": "0"}):
        assert not kept(tmp_path, identity, [replace(rows[0], **change), *rows[1:]])
    assert not kept(tmp_path, identity, rows[1:])
    with pytest.raises(UserError, match="holds another model's likelihoods"):
        kept(tmp_path, {"run": "b" * 12}, rows)


def test_alternatives_name_other_patients(demo: Path) -> None:
    rows = read_rows(demo / "mllmu-med", "privacy", ["forget"])
    made = 0
    for one in rows:
        spans = [span for span in one.pii if span.field == "answer"]
        texts = alternatives(one, rows)
        assert bool(texts) == bool(spans)
        for text in texts:
            made += 1
            assert text != one.answer
            assert not [span.value for span in spans if span.value in text]
            assert text.startswith(one.answer[: min(span.start for span in spans)])
    assert made > 20
    for one in read_rows(demo / "mllmu-med", "incorrect", ["forget"]):
        assert alternatives(one, []) == [one.clean_answer]
    assert not alternatives(read_rows(demo / "mllmu-med", "privacy", ["test"])[0], rows)
