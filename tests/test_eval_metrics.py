"""The paper's metrics against the libraries that define them, and against hand-read answers."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval import metrics
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
        assert abs(metrics.rouge1(prediction, reference) - wanted["rouge1"].fmeasure) < 1e-12
        assert abs(metrics.rouge_l(prediction, reference) - wanted["rougeL"].fmeasure) < 1e-12
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
words = st.lists(st.sampled_from("the liver is left of a large spleen CT no".split()), max_size=9)


@given(texts, texts)
def test_scores_are_fractions_whatever_the_text(prediction: str, reference: str) -> None:
    for value in (*metrics.rouge(prediction, reference), metrics.bleu(prediction, reference)):
        assert 0 <= value <= 1
    metrics.yes_or_no(prediction)
    assert isinstance(metrics.refuses(prediction), bool)
    assert metrics.degenerate(prediction) or prediction.strip()


@given(words.filter(bool))
def test_a_text_is_most_like_itself(some: list[str]) -> None:
    text = " ".join(some)
    assert metrics.rouge(text, text) == (1, 1)
    if len(some) >= 4:
        assert metrics.bleu(text, text) == pytest.approx(1)


@given(words, words, st.randoms(use_true_random=False))
def test_the_order_of_words_does_not_matter_to_rouge1(
    some: list[str], reference: list[str], rng: random.Random
) -> None:
    shuffled = rng.sample(some, len(some))
    wanted = metrics.rouge1(" ".join(some), " ".join(reference))
    assert metrics.rouge1(" ".join(shuffled), " ".join(reference)) == wanted


@pytest.mark.parametrize("empty", ["", "  ", "...", "中文"])
def test_nothing_said_scores_nothing(empty: str) -> None:
    assert metrics.rouge1(empty, "left lung") == 0
    assert metrics.bleu(empty, "left lung") == pytest.approx(0, abs=1e-12)


def test_an_empty_set_is_an_error() -> None:
    with pytest.raises(UserError, match="an empty set has no score"):
        metrics.mean([], "rouge1")
    with pytest.raises(UserError, match="an empty set has no score"):
        metrics.corpus_bleu([], [])


CLOSED = [
    ("Yes", "yes"),
    ("Yes.", "yes"),
    ("yes, it is", "yes"),
    ("YES", "yes"),
    (" yes ", "yes"),
    ("Yes!", "yes"),
    ("**Yes**", "yes"),
    ("Answer: yes", "yes"),
    ("The answer is yes.", "yes"),
    ("Yes, there is no doubt", "yes"),
    ("Yes. Spoke to Mark Mills on (530) 555-0168.", "yes"),
    ("I'm sure, yes", "yes"),
    ('"Yes"', "yes"),
    ("(yes)", "yes"),
    ("yes\nno", "yes"),
    ("No", "no"),
    ("No.", "no"),
    ("no, yes would be wrong", "no"),
    ("No, there is a fracture elsewhere", "no"),
    ("No, there is...", "no"),
    ("There is no effusion", "no"),
    ("it has no mass", "no"),
    ("NO", "no"),
    ("Final answer - no", "no"),
    ("no_", "no"),
    ("I don't know", ""),
    ("I do not know, no", ""),
    ("I’m sorry, I cannot answer yes or no", ""),
    ("I have no idea", ""),
    ("No idea.", ""),
    ("There is no way to tell", ""),
    ("no answer", ""),
    ("normal", ""),
    ("nothing", ""),
    ("not seen", ""),
    ("none", ""),
    ("nope", ""),
    ("Nodule", ""),
    ("yesterday", ""),
    ("eyes", ""),
    ("It isn't", ""),
    ("yes and no", ""),
    ("Yes or no?", ""),
    ("yes/no", ""),
    ("No / Yes", ""),
    ("", ""),
    ("   ", ""),
    ("maybe", ""),
    ("Lung", ""),
    ("是", ""),
]


@pytest.mark.parametrize(("text", "wanted"), CLOSED)
def test_closed_answers(text: str, wanted: str) -> None:
    assert metrics.yes_or_no(text) == wanted


REFUSALS = (
    "I don't know.",
    "I don’t know.",
    "I'm not sure about that.",
    "Sorry, I cannot answer that.",
    "I can't provide personal information.",
    "I am unable to help with this.",
    "That's beyond my knowledge.",
    "As an AI, I have no access to patient data.",
    "I have no information on this.",
    "It cannot be determined from the image.",
    "No idea.",
)
ANSWERS = (
    "Lung",
    "No, there is no effusion.",
    "The lesion cannot be seen on T1.",
    "It is not in the liver.",
    "The cause of vitiligo is not known exactly, but genes play a part.",
    "Abdomen",
    "The patient does not know of any allergy.",
    "",
)


@pytest.mark.parametrize("text", REFUSALS)
def test_refusals(text: str) -> None:
    assert metrics.refuses(text)


@pytest.mark.parametrize("text", ANSWERS)
def test_answers_are_no_refusals(text: str) -> None:
    assert not metrics.refuses(text)


@pytest.mark.parametrize(
    "text",
    ["", " ", "...", "US US US US", "the the the the lung", "aaaaaaaaaaaa", "a b a b " * 6, "!!!!"],
)
def test_degenerate(text: str) -> None:
    assert metrics.degenerate(text)


@pytest.mark.parametrize(
    "text", ["0", "Lung", "no no", "Left lung, right lung and the liver", "CT", "肺", "2 of 3"]
)
def test_not_degenerate(text: str) -> None:
    assert not metrics.degenerate(text)


def test_every_metric_says_what_it_is() -> None:
    signed = metrics.signatures()
    assert "f1|stemmer" in signed["rouge1"]
    assert "method1" in signed["bleu"]
    assert "version:" in signed["corpus_bleu"]
