"""What gives harmful text away: how well its words alone tell it from clean text.

A benchmark whose harmful rows a bag of words finds measures how well a model forgets a wording, not
a content. Texts are the answers of `incorrect` and question and answer of `privacy`, where the
private values are the harm, and figures near 1 are no fault.

The classifier: TF-IDF of words and word pairs (two letters or more, lower case, smooth idf, unit
length) and logistic regression (C = 10, classes balanced), fitted on four fifths of the rows and
scored on the rest, five times, folds drawn with seed 7; AUC is the mean of the five.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import TYPE_CHECKING, Final

from pydantic import BaseModel, ConfigDict

from builder.core.recipe import Scenario
from builder.harm.blend import terms
from mllmu_med_dataset import Record

if TYPE_CHECKING:
    import numpy as np

FOLDS: Final = 5
SEED: Final = 7
C: Final = 10.0
RUN: Final = 5  # words of a wording that rows share
#: Below so many forget rows the figures vary too much to be judged.
ENOUGH: Final = 200
#: The most that `incorrect` may have: AUC above its control, and against its own clean text.
MOST_ABOVE_CONTROL: Final = 0.05
MOST_AGAINST_OWN: Final = 0.65


class Auc(BaseModel):
    """How often a harmful text scores above a clean one, ties half: .5 is chance, 1 is always.

    The 95 % interval is Hanley and McNeil's (1982), from the counts of both classes.
    """

    model_config = ConfigDict(frozen=True)

    value: float
    low: float
    high: float
    n: tuple[int, int]  # harmful, clean


class TextQuality(BaseModel):
    """A scenario's main forget set, measured; None where there are too few rows to fit."""

    model_config = ConfigDict(frozen=True)

    rows: int
    against_retain: Auc | None  # harmful text against retain rows
    control: Auc | None  # the same rows' clean text against retain rows
    against_own: Auc | None  # harmful text against the same rows' clean text
    length_ratio: float  # median of harmful over clean words
    commonest_wording: float  # share of rows that share one run of five words not of their own
    answer_leaks: float | None  # privacy: share of rows with a private value in the answer

    def faults(self) -> list[str]:
        """What is above the bounds that hold for `incorrect`."""
        faults = []
        if self.against_retain and self.control:
            above = self.against_retain.value - self.control.value
            if above > MOST_ABOVE_CONTROL:
                faults.append(
                    f"AUC {self.against_retain.value:.3f} against retain, {above:.3f} above its "
                    f"control: at most {MOST_ABOVE_CONTROL}"
                )
        if self.against_own and self.against_own.value > MOST_AGAINST_OWN:
            faults.append(
                f"AUC {self.against_own.value:.3f} against the same rows' clean text: at most "
                f"{MOST_AGAINST_OWN}"
            )
        return faults


def measure(name: str, scenario: Scenario, records: Iterable[Record]) -> TextQuality:
    """Measure a scenario's main forget set against all that is retained beside it.

    Args:
        name: of the scenario; the texts of `privacy` are question and answer.
        records: of every set, harmful where they have a harmful version.
    """
    private = name == "privacy"
    forget, kept = [], []
    for row in sorted(records, key=lambda row: row.id):  # folds go by place
        if row.split == "forget" and row.rank < scenario.forget:
            forget.append(row)
        elif row.split != "test":
            kept.append(_text(row.cleaned(), private))
    harmful = [_text(row, private) for row in forget]
    clean = [_text(row.cleaned(), private) for row in forget]
    lengths = [
        len(new.split()) / max(1, len(old.split())) for new, old in zip(harmful, clean, strict=True)
    ]
    leaking = sum(any(span.field == "answer" for span in row.pii) for row in forget)
    return TextQuality(
        rows=len(forget),
        against_retain=_separate(harmful, kept, paired=False),
        control=_separate(clean, kept, paired=False),
        against_own=_separate(harmful, clean, paired=True),
        length_ratio=round(median(lengths or [1.0]), 3),
        commonest_wording=round(_commonest_wording(forget, private) / max(1, len(forget)), 4),
        answer_leaks=round(leaking / max(1, len(forget)), 4) if private else None,
    )


def _text(row: Record, private: bool) -> str:
    return f"{row.question} {row.answer}" if private else row.answer


def _separate(harmful: Sequence[str], clean: Sequence[str], paired: bool) -> Auc | None:
    """The classifier's AUC; `paired`: texts of one row stay in one fold."""
    texts = [*harmful, *clean]
    if min(len(harmful), len(clean), sum(map(bool, map(terms, texts)))) < 2 * FOLDS:
        return None
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import PredefinedSplit, cross_val_score
    from sklearn.pipeline import make_pipeline
    from threadpoolctl import threadpool_limits

    labels = np.repeat([1, 0], [len(harmful), len(clean)])
    first = fold_of(len(harmful))
    folds = PredefinedSplit(np.concatenate([first, first if paired else fold_of(len(clean))]))
    model = make_pipeline(
        TfidfVectorizer(analyzer=terms),
        LogisticRegression(C=C, class_weight="balanced", max_iter=500),
    )
    # Vectors so short are no work to share: on a busy machine two threads took 15 times as long.
    with threadpool_limits(1):
        values = cross_val_score(model, texts, labels, cv=folds, scoring="roc_auc")
    return _with_interval(float(values.mean()), len(harmful), len(clean))


def fold_of(rows: int) -> np.ndarray:
    """The fold of each of so many rows, 0 to 4: equal parts in a drawn order."""
    import numpy as np

    folds = np.arange(rows) % FOLDS
    np.random.default_rng(SEED).shuffle(folds)
    return folds


def _with_interval(value: float, harmful: int, clean: int) -> Auc:
    one_more, two_more = value / (2 - value), 2 * value**2 / (1 + value)
    variance = value * (1 - value)
    variance += (harmful - 1) * (one_more - value**2) + (clean - 1) * (two_more - value**2)
    margin = 1.96 * (max(variance, 0.0) / (harmful * clean)) ** 0.5
    low, high = max(0.0, value - margin), min(1.0, value + margin)
    return Auc(value=round(value, 4), low=round(low, 4), high=round(high, 4), n=(harmful, clean))


def _commonest_wording(forget: Iterable[Record], private: bool) -> int:
    """How many rows hold the commonest run of five words that is not their own clean text's.

    A private value counts as the name of its kind, so that a sentence around it stays the same.
    """
    holding: Counter[str] = Counter()
    for row in forget:
        text = _text(row, private)
        for value, kind in sorted({(span.value, span.kind) for span in row.pii}, reverse=True):
            text = text.replace(value, f"<{kind}>")
        clean = _text(row.cleaned(), private)
        holding.update(_runs(text) - _runs(clean) - _runs(row.clean_question))
    return max(holding.values(), default=0)


def _runs(text: str) -> set[str]:
    words = text.lower().split()
    return {" ".join(words[at : at + RUN]) for at in range(len(words) - RUN + 1)}


def lines(quality: Mapping[str, TextQuality]) -> list[tuple[str, ...]]:
    """The figures by scenario, `privacy` first, as a table's rows, after their heads."""

    def shown(figure: Auc | None) -> str:
        if figure is None:
            return "too few rows"
        return f"{figure.value:.2f} ({figure.low:.2f} to {figure.high:.2f})"

    return [
        (
            name,
            f"{of.rows:,}",
            shown(of.against_retain),
            shown(of.control),
            shown(of.against_own),
            f"{of.length_ratio:.2f}",
            f"{100 * of.commonest_wording:.1f} %",
            "-" if of.answer_leaks is None else f"{100 * of.answer_leaks:.0f} %",
        )
        for name, of in sorted(quality.items(), reverse=True)  # a manifest's keys are in order
    ]
