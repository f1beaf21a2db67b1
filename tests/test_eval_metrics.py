"""The paper's metrics against the libraries that define them, and against hand-read answers."""

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval import metrics
from eval.answer_text import degenerate, refuses, yes_or_no
from mllmu_med_dataset import UserError

SLAKE = Path(__file__).resolve().parents[2] / "shared" / "data" / "slake"
needs_slake = pytest.mark.skipif(not SLAKE.is_dir(), reason="the real annotations are not here")


def slake_open() -> list[str]:
    rows = [row for path in sorted(SLAKE.glob("*.json")) for row in json.loads(path.read_text())]
    return [
        row["answer"]
        for row in rows
        if row["q_lang"] == "en" and row["answer_type"] == "OPEN" and row["answer"]
    ]


def slake_pairs() -> list[tuple[str, str]]:
    """1,000 pairs: right, wrong, wordy, cut and shuffled answers."""
    answers = slake_open()
    rng = random.Random(7)
    pairs = []
    for _ in range(1000):
        reference, other = rng.choice(answers), rng.choice(answers)
        words = f"{reference} {other}".split()
        rng.shuffle(words)
        given = rng.choice(
            [
                reference,
                other,
                f"The answer is {reference}, seen in the picture.",
                reference[: len(reference) // 2],
                " ".join(words),
                "",
            ]
        )
        pairs.append((given, reference))
    return pairs


@needs_slake
def test_rouge_and_bleu_are_those_of_the_libraries() -> None:
    import sacrebleu
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
    pairs = slake_pairs()
    for prediction, reference in pairs:
        wanted = scorer.score(reference, prediction)
        found = metrics.rouge(prediction, reference)
        assert found == pytest.approx([wanted[n].fmeasure for n in ("rouge1", "rougeL")], abs=1e-12)
        bleu = sentence_bleu(
            [reference.lower().split()],
            prediction.lower().split(),
            smoothing_function=SmoothingFunction().method1,
        )
        assert abs(metrics.bleu(prediction, reference) - bleu) < 1e-12
    predictions, references = zip(*pairs, strict=True)
    corpus = sacrebleu.corpus_bleu(predictions, [references]).score / 100
    assert abs(metrics.corpus_bleu(predictions, references) - corpus) < 1e-12
    assert len({metrics.bleu(*pair) for pair in pairs}) > 30
    some = predictions[:7], references[:7]
    corpus = sacrebleu.BLEU(effective_order=True).corpus_score(some[0], [some[1]]).score / 100
    assert abs(metrics.corpus_bleu(*some) - corpus) < 1e-12


def test_perfect_short_answers_are_perfect_in_corpus_bleu() -> None:
    assert metrics.corpus_bleu(["Lung", "Left lung"], ["Lung", "Left lung"]) == pytest.approx(1)


@needs_slake
def test_perfect_answers_score_what_the_paper_needs() -> None:
    """.28 over all open rows: the reason why the paper's BLEU is method 1 (METRICS)."""
    scores = [metrics.bleu(answer, answer) for answer in slake_open()]
    assert metrics.mean(scores, "bleu") == pytest.approx(0.28, abs=0.005)
    assert metrics.bleu("Lung", "Lung") == pytest.approx(0.1778, abs=5e-5)


texts = st.text(max_size=40)


@given(texts, texts)
def test_scores_are_fractions_whatever_the_text(prediction: str, reference: str) -> None:
    for value in (*metrics.rouge(prediction, reference), metrics.bleu(prediction, reference)):
        assert 0 <= value <= 1
    assert yes_or_no(prediction) in ("", "yes", "no")
    assert isinstance(refuses(prediction), bool)
    assert degenerate(prediction) or prediction.strip()


@pytest.mark.parametrize("empty", ["", "  ", "...", "中文"])
def test_nothing_said_scores_nothing(empty: str) -> None:
    assert metrics.rouge1(empty, "left lung") == 0
    assert metrics.bleu(empty, "left lung") == pytest.approx(0, abs=1e-12)


def test_an_empty_set_is_an_error() -> None:
    with pytest.raises(UserError, match="an empty set has no score"):
        metrics.mean([], "rouge1")
    with pytest.raises(UserError, match="an empty set has no score"):
        metrics.corpus_bleu([], [])


def test_every_metric_says_what_it_is() -> None:
    signed = metrics.signatures()
    assert "f1|stemmer" in signed["rouge1"]
    assert "method1" in signed["bleu"]
    assert "version:" in signed["corpus_bleu"]
    assert all("think:stripped 2" in text for name, text in signed.items() if name != "thinking")
    assert "vocab:dataset" in signed["degenerate"]
