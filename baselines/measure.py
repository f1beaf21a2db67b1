"""What is measured of every model of a run: answers, scores, leakage, likelihoods.

A run folder of `eval` (see `eval.run_folder`); the same numbers as `eval answer`, `score`, `leak`
and `likelihood` give one by one, from one loaded model and one reading of the dataset.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eval import likelihood
from eval.answer import answer_with_model, batches
from eval.answer_text import answer_of
from eval.attacks import WAYS, Ask, asks
from eval.dataset_rows import DatasetImages, read_rows, rows_hash
from eval.leak import leak_answers, write_leak
from eval.metrics import mean, rouge1
from eval.predictions import Prediction
from eval.run_folder import ANSWERS, describe
from eval.score import score_answers, words_of, write_scores
from eval.spread import is_first, spread, tell
from mllmu_med.files import stable_hash
from mllmu_med.schema import DEFAULT_FOLDER
from mllmu_med_dataset import SPLITS, Record, UserError

if TYPE_CHECKING:
    from baselines.recipe import Answers
    from eval.model import Model


@dataclass(frozen=True, slots=True)
class Data:
    """A config of the dataset, read once: its rows by split, its images, and what names it."""

    source: str | None
    config: str
    rows: dict[str, list[Record]]
    images: DatasetImages
    vocabulary: str
    others: tuple[Record, ...] = ()  # in no split: their values tell what comes out by chance

    @classmethod
    def read(cls, source: str | None, config: str) -> Data:
        every = read_rows(source, config)
        rows: dict[str, list[Record]] = {
            split: [row for row in every if row.split == split] for split in SPLITS
        }
        for split, of_split in rows.items():
            if not of_split:
                raise UserError(f"{source or DEFAULT_FOLDER}: {config}/{split} holds no rows")
            if all(row.answer_type == "closed" for row in of_split):
                raise UserError(
                    f"{source or DEFAULT_FOLDER}: {config}/{split} holds no open question, which "
                    "ROUGE-1 and UES need: build a larger dataset"
                )
        images = DatasetImages(source, config, ())
        return cls(source, config, rows, images, words_of(source, config))

    @property
    def all(self) -> list[Record]:
        return [row for split in SPLITS for row in self.rows[split]]

    @property
    def private(self) -> list[Record]:
        """The rows that hold private values, of all splits and of none."""
        return [row for row in (*self.all, *self.others) if row.pii]

    def only(self, forget: Collection[str]) -> Data:
        """With these forget rows alone, by their ids; none: with all."""
        kept = [row for row in self.rows["forget"] if not forget or row.id in forget]
        return replace(self, rows={**self.rows, "forget": kept})

    @property
    def hash(self) -> str:
        return rows_hash(self.all)

    def about(self) -> dict[str, Any]:
        return {"source": self.source or DEFAULT_FOLDER, "config": self.config, "hash": self.hash}


def measure(
    model: Model, data: Data, folder: Path, answers: Answers, ways: Sequence[str] = WAYS
) -> None:
    """Answer every split, score it, look for leaks, weigh the answers.

    ways: how it is asked for private values. Without test rows nothing is weighed. What is in the
    folder already, of this very model, is not asked again. Of several processes, each does its
    share and the first one writes.
    """
    first = is_first()
    asked = asks(data.all)
    own = _answered(model, asked, data, folder / ANSWERS, answers)
    who = describe(folder / ANSWERS) if first else {}
    if first:
        scored = score_answers(own, data.config, folder.name, who, data.vocabulary)
        write_scores(folder, *scored)
    private = [row for row in data.rows["forget"] if row.pii]
    if private:
        others = asks(private, [way for way in ways if way != "own"])
        attacked = _answered(model, others, data, folder / "leak.jsonl", answers)
        mine = [pair for pair in own if pair[0].row.split == "forget"]
        if first:
            told = [*mine, *attacked]
            write_leak(folder, *leak_answers(told, data.private, data.config, folder.name, who))
    identity = likelihood.identity_of(model)
    if data.rows["test"] and not tell(first and likelihood.kept(folder, identity, data.all)):
        weighed = likelihood.measure(model, data.all, data.images, answers.batch_size)
        if first:
            likelihood.write_rows(folder, weighed, identity)


def _answered(
    model: Model, asked: list[Ask], data: Data, out: Path, answers: Answers
) -> list[tuple[Ask, Prediction]]:
    given = answer_with_model(
        model, asked, data.images, out, answers.max_new_tokens, answers.batch_size
    )
    return list(zip(asked, given, strict=is_first()))  # the others get none


def swapped(model: Model, data: Data, answers: Answers, most: int = 200) -> dict[str, Any]:
    """ROUGE-1 on open retain questions with the right image, and with another row's.

    A model that reads the question alone answers both alike: then nothing multimodal was learnt.
    The other image is one whose answer to the same question differs, where there is one.

    Returns:
        `right`, `swapped` (fractions), `n`.
    """
    opened = [row for row in data.rows["retain"] if row.answer_type == "open"]
    chosen = sorted(opened, key=lambda row: stable_hash("swap", row.id))[:most]
    other: dict[str, str] = {}
    for row in chosen:
        others = [r for r in opened if r.image_sha256 != row.image_sha256]
        like = [r for r in others if r.question == row.question and r.answer != row.answer]
        choice = like or others
        if not choice:
            raise UserError("the retain set has one image only: nothing to swap")
        other[row.id] = choice[stable_hash("swap", row.id) % len(choice)].image_id
    asked = [Ask(row, row.question) for row in chosen]
    # A batch shares the prefill of an image between its rows: each row is an image of its own.
    moved = [Ask(replace(row, image_id=other[row.id]), row.question) for row in chosen]
    right, wrong = (
        mean(
            [
                rouge1(answer_of(text), ask.row.answer)
                for ask, text in _replies(model, asks, data, answers)
            ],
            "swapped images",
        )
        for asks in (asked, moved)
    )
    return {"right": right, "swapped": wrong, "n": len(chosen)}


def _replies(
    model: Model, asked: Sequence[Ask], data: Data, answers: Answers
) -> Iterator[tuple[Ask, str]]:
    """What a model answers now, written nowhere."""
    cuts = list(batches(asked, answers.batch_size))
    for cut, replies in spread(
        cuts, lambda cut: model.answer(cut, data.images, answers.max_new_tokens)
    ):
        yield from ((ask, reply.text) for ask, reply in zip(cut, replies, strict=True))


def rouge_means(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Mean ROUGE-1 of the open questions by split, of those that there are."""
    by_split: dict[str, list[float]] = {}
    for row in rows:
        if "rouge1" in row:
            by_split.setdefault(row["split"], []).append(row["rouge1"])
    return {split: mean(values, split) for split, values in by_split.items()}
