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
    probability,
    truth_ratio,
    write_rows,
)
from eval.memorisation import Weighed, exact_memorisation, extraction_strength, lowest, min_k_plus
from eval.model import Model
from mllmu_med_dataset import UserError


def logs(*probabilities: float) -> list[float]:
    return [math.log(one) for one in probabilities]


def row(split: str, own: list[float], *others: list[float], name: str = "a") -> dict[str, Any]:
    n = len(own)
    tokens = {"right": "1" * n, "end": n > 1, "means": [-2.0] * n, "deviations": [1.0] * n}
    others_of = {"zlib": 10, "alternatives": list(others), "choices": [], "parts": []}
    return {"id": name, "split": split, "logprobs": own, **tokens, **others_of}


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
    assert lowest([-3.0]) == -3
    assert lowest([-1.0, -2.0, -3.0, -4.0]) == -4
    assert lowest([-1.0] * 8 + [-5.0, -7.0]) == -6


@pytest.mark.parametrize(
    ("right", "exact", "strength"),
    [
        ([True], 1, 1),
        ([False], 0, 0),  # public code: an extraction strength of 1
        ([False] * 3, 0, 0),  # public code: of .33
        ([True] * 3, 1, 1),
        ([False, True, True, True], 3 / 4, 3 / 4),
        ([True, True, True, False], 3 / 4, 0),
        ([True, False, True, False, True], 3 / 5, 1 / 5),
    ],
)
def test_what_is_known_by_heart(right: list[bool], exact: float, strength: float) -> None:
    assert exact_memorisation(right) == exact
    assert extraction_strength(right) == pytest.approx(strength)


def test_moments_are_those_of_the_whole_distribution() -> None:
    """Against numpy in float64; a tie is not said; a token that is certain scores 0."""
    import numpy as np
    import torch

    from eval.packed_rows import Spot, by_sample

    logits = np.random.default_rng(7).normal(0, 3, (150, 50))
    logits[3, 4:6] = 20  # a tie
    logits[4, 6], logits[5] = 900, 0  # certain, and all alike
    logits[6, 9] = -np.inf
    tokens = [int(row.argmax()) if i % 2 else i % 50 for i, row in enumerate(logits)]
    tokens[3:6] = [4, 6, 1]
    spots = [Spot(0, i, token, i // 100) for i, token in enumerate(tokens)]
    made = by_sample(torch.tensor(logits, dtype=torch.float32), spots, 2)
    assert [len(one.logprobs) for one in made] == [100, 50]
    own, right, means, deviations = (
        np.array([value for one in made for value in one[field]]) for field in range(4)
    )
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    logs = np.log(np.maximum(p, 1e-300))
    mu = (p * logs).sum(1)
    sigma = np.sqrt((p * logs**2).sum(1) - mu**2 + 1e-30)
    assert own == pytest.approx(logs[range(150), tokens], abs=1e-5)
    assert means == pytest.approx(mu, abs=1e-5)
    assert deviations == pytest.approx(sigma, abs=1e-4)
    greedy = logits.argmax(1) == tokens
    greedy[3] = greedy[5] = False
    assert right.tolist() == greedy.tolist()
    assert list(map(bool, right[3:6])) == [False, True, False]
    for first in (0, 3, 100):
        some = slice(first, first + 10)
        wanted = np.sort((logs[range(150), tokens] - mu)[some] / np.maximum(sigma, 1e-6)[some])
        found = min_k_plus(*(list(of[some]) for of in (own, means, deviations)))
        assert found == pytest.approx(wanted[:2].mean(), rel=1e-3)
    assert min_k_plus([0.0], [0.0], [0.0]) == 0


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
    found = measured(row("test", logs(0.1, 0.9)))
    assert found["min_k"] == pytest.approx(math.log(0.1))
    assert found["min_k_plus"] == pytest.approx(math.log(0.1) + 2)  # mean -2, deviation 1
    assert found["zlib"] == pytest.approx(math.log(0.09) / 2 / 10)
    assert (found["memorised"], found["extraction"]) == (1, 1)
    assert "kept_truth" not in found
    chosen = {**row("test", logs(0.4, 0.4)), "choices": logs(0.1, 0.2, 0.3)}
    assert measured(chosen)["kept_truth"] == pytest.approx(1 - 0.2 / 0.4)
    assert measured({**chosen, "choices": logs(0.9)})["kept_truth"] == 0
    wrong = {**row("test", logs(0.1, 0.9)), "right": "01"}  # the end does not count
    assert {measured(wrong)[name] for name in ("memorised", "extraction")} == {0}


class Weigher(Model):
    """The arithmetic of `measure` without weights: each character is one token."""

    ending = 1

    def answer_ids(self, answer: str, closed: bool = True) -> list[int]:
        return [*map(ord, answer), *[0] * closed]

    def weigh(self, asked: Any, answers: Any, images: Any) -> list[Weighed]:
        return [
            Weighed([-float(len(answer))] * 2, [True] * 2, [-1.0] * 2, [1.0] * 2)
            for answer in answers
        ]


def test_what_is_kept_is_of_these_very_texts(demo: Path, tmp_path: Path) -> None:
    """A dataset that was built again keeps its ids: what was weighed then says nothing now."""
    rows = read_rows(demo / "mllmu-med", "privacy", ["forget"])
    identity = {"run": "a" * 12}
    images = DatasetImages(demo / "mllmu-med", "privacy", ["forget"])
    assert not kept(tmp_path, identity, rows)
    measured = measure(Weigher(None, None, {}, True), rows, images, 4)
    write_rows(tmp_path, measured, identity)
    assert [row["logprobs"][0] for row in measured] == [-len(row.answer) for row in rows]
    assert all(row["blind_logprobs"] == row["logprobs"] for row in measured)
    assert all(row["blind_choices"] == row["choices"] for row in measured)
    told = {bool(row["parts"]) for row in measured if row["choices"]}
    assert told == {True}
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
