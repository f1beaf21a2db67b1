"""The paper's metrics and their companions: statistics of single answers, plain means over sets.

Fractions 0..1 everywhere; percent only in a printed report. Each number has a signature that says
which variant of which library made it.

    from eval.metrics import rouge1
    rouge1("CT scan", "CT")      # 0.666...
"""

import functools
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

from mllmu_med.files import packaged_yaml
from mllmu_med_dataset import UserError


@functools.cache
def _scorer() -> Any:
    from nltk.stem.porter import PorterStemmer
    from rouge_score import rouge_scorer, tokenize, tokenizers

    class Stemmed(tokenizers.Tokenizer):  # type: ignore[misc]  # rouge_score has no types
        """rouge_score's own tokenizer, but each word is stemmed once: that is most of its time."""

        stem = staticmethod(functools.lru_cache(maxsize=2**17)(PorterStemmer().stem))

        def tokenize(self, text: str) -> Any:
            return tokenize.tokenize(text, self)

    return rouge_scorer.RougeScorer(["rouge1", "rougeL"], tokenizer=Stemmed())


def rouge(prediction: str, reference: str) -> tuple[float, float]:
    """ROUGE-1 and ROUGE-L, F1 with stemming (`rouge-score`); an empty prediction scores 0."""
    scores = _scorer().score(reference, prediction)
    return scores["rouge1"].fmeasure, scores["rougeL"].fmeasure


def rouge1(prediction: str, reference: str) -> float:
    """ROUGE-1 F1 with stemming, 0..1: the paper's ROUGE, on which UES is built."""
    return rouge(prediction, reference)[0]


def rouge_l(prediction: str, reference: str) -> float:
    """ROUGE-L F1 with stemming, 0..1."""
    return rouge(prediction, reference)[1]


def bleu(prediction: str, reference: str) -> float:
    """NLTK's sentence BLEU, 4-gram, smoothing method 1, on lower-cased words, 0..1.

    Our reading of the paper's BLEU, not the authors' word: a perfect one-word answer scores .18,
    and only this smoothing gives the 18.8 % that Table 1 prints beside 77.2 % ROUGE.
    """
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    words, own = reference.lower().split(), prediction.lower().split()
    return float(sentence_bleu([words], own, smoothing_function=SmoothingFunction().method1))


def corpus_bleu(predictions: Sequence[str], references: Sequence[str]) -> float:
    """sacrebleu's corpus BLEU with its defaults but for `eff:yes`, as a fraction 0..1.

    With the default (`eff:no`) perfect answers of less than four words each would score 0. Where
    any answer is longer, the two are the same.
    """
    _not_empty(predictions, "corpus BLEU")
    counts = [ngram_counts(*pair) for pair in zip(predictions, references, strict=True)]
    return bleu_of_counts([sum(column) for column in zip(*counts, strict=True)])


def bleu_of_counts(counts: Sequence[float]) -> float:
    """Corpus BLEU, a fraction, from the sums of `ngram_counts`."""
    from sacrebleu import BLEU

    *ngrams, own, theirs = map(int, counts)
    made = BLEU.compute_bleu(ngrams[:4], ngrams[4:], own, theirs, "exp", effective_order=True)
    return float(made.score) / 100


@functools.lru_cache(maxsize=2**15)
def ngram_counts(prediction: str, reference: str) -> tuple[int, ...]:
    """sacrebleu's sufficient statistics: n-grams that match, all n-grams, both lengths.

    They add up over any set of answers, so that each is counted once however often it is cut.
    """
    statistics = _sentence_bleu().sentence_score(prediction, [reference])
    return *statistics.counts, *statistics.totals, statistics.sys_len, statistics.ref_len


@functools.cache
def _sentence_bleu() -> Any:
    from sacrebleu import BLEU

    return BLEU(effective_order=True)


def mean(values: Sequence[float], what: str) -> float:
    """A plain mean; an empty set is an error, not 0."""
    _not_empty(values, what)
    return float(sum(values) / len(values))


def _not_empty(values: Sequence[object], what: str) -> None:
    if not values:
        raise UserError(f"{what}: an empty set has no score")


@functools.cache
def signatures() -> dict[str, str]:
    """What each number is."""
    corpus = _sentence_bleu()
    corpus.corpus_score(["a"], [["a"]])
    made_by = {"rouge_score": version("rouge-score"), "nltk": version("nltk")}
    made_by |= {"sacrebleu": str(corpus.get_signature()), "think": "think:stripped 2"}
    signed: dict[str, str] = packaged_yaml("eval", "signatures.yaml")
    return {name: text.format(**made_by) for name, text in signed.items()}
