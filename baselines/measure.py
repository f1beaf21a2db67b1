"""What is measured of every model of a run: answers, scores, leakage, likelihoods.

A run folder of `eval` (see `eval.run_folder`); the same numbers as `eval answer`, `score`, `leak`
and `likelihood` give one by one, from one loaded model and one reading of the dataset.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eval import likelihood
from eval.answer import answer_with_model, batches
from eval.answer_text import answer_of
from eval.attacks import WAYS, Ask, asks
from eval.dataset_rows import DatasetImages, read_rows, rows_hash
from eval.leak import leak_answers, write_leak
from eval.metrics import mean, rouge1
from eval.predictions import Prediction
from eval.run_folder import ANSWERS, describe, read_rows_file
from eval.score import score_answers, score_row, scored_rows, words_of, write_scores
from eval.spread import is_first, spread, tell
from eval.ues import ues
from mllmu_med.files import stable_hash, write_jsonl
from mllmu_med.schema import DEFAULT_FOLDER
from mllmu_med_dataset import SPLITS, Record, UserError

if TYPE_CHECKING:
    from baselines.recipe import Answers, Recipe
    from baselines.training_loop import OnEpoch, Verdict
    from baselines.training_settings import TrainSettings
    from eval.model import Model

TRAJECTORY: Final = "trajectory.jsonl"
#: A run of which so many answers to the retain set are no language has collapsed, if it has lost
#: half of its retain ROUGE-1 too (a tiny model begins as gibberish): our choice.
DEGENERATE: Final = 0.5


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


def watcher(
    model: Model,
    data: Data,
    recipe: Recipe,
    folder: Path,
    finetuned: Path | None = None,
    held: Sequence[Record] = (),
) -> OnEpoch | None:
    """What to do at the end of every epoch: answer some rows, score the held ones, stop gibberish.

    Each epoch adds a line to `trajectory.jsonl`. Its score, which `keep: best` goes by, is of the
    held rows alone (see `held_score`); the UES of the watched rows is for the eye.

    Args:
        finetuned: the run that UES compares with; None while fine-tuning.
        held: rows that are not trained on, of `held_out`.
    """
    if not (recipe.watch or held):
        return None
    from baselines.training_loop import Verdict

    watch = watched(data, recipe.watch)
    asked = asks([*watch, *(row for row in held if row not in watch)])
    ids, held_ids = {row.id for row in watch}, {row.id for row in held}
    tuned = scored_rows(finetuned) if finetuned else []

    def look(epoch: int) -> Verdict | None:
        replies = list(_replies(model, asked, data, recipe.answers))
        if not is_first():
            return None
        rows = [
            score_row(ask, Prediction(ask.row.id, text), data.vocabulary) for ask, text in replies
        ]
        means = rouge_means(rows)
        babble = mean([r["degenerate"] for r in rows if r["split"] == "retain"], "retain")
        line: dict[str, Any] = {"epoch": epoch, "n": len(rows)}
        line |= {"rouge1": means, "degenerate_retain": babble}
        if tuned and watch:
            line["ues"] = ues(rouge_means(rows, ids), rouge_means(tuned, ids)).ues
        if held:
            of_tuned = rouge_means(tuned, held_ids)
            line["score"] = held_score(rouge_means(rows, held_ids), of_tuned)
        path = folder / TRAJECTORY
        before = read_rows_file(path, "") if path.is_file() else []
        before = [row for row in before if row["epoch"] < epoch]
        write_jsonl(path, [*before, line])
        asked_ids = {row["id"] for row in rows}
        at_best = [rouge_means(tuned, asked_ids) or means, *(row["rouge1"] for row in before)]
        low = max(row["retain"] for row in at_best) / 2
        gone = babble > DEGENERATE and means["retain"] < low
        stop = f"{babble:.0%} of the retain answers are no language" if gone else ""
        return Verdict(line.get("score"), stop)

    return look


def watched(data: Data, most: int) -> list[Record]:
    """The rows looked at after an epoch: at most so many open ones of a split, by a stable hash."""
    rows: list[Record] = []
    for split in SPLITS:
        opened = [row for row in data.rows[split] if row.answer_type != "closed"]
        rows += sorted(opened, key=lambda row: stable_hash("watch", row.id))[:most]
    return rows


def held_out(data: Data, settings: TrainSettings, unlearns: bool) -> list[Record]:
    """Rows that are kept out of training to choose an epoch by: none unless `keep` is `best`.

    In a stable order, until they are the share of their set and one is an open question; of forget
    rows where they are unlearned only: while learning, all of them are learnt.
    """
    held: list[Record] = []
    for split in ("forget", "retain") if unlearns else ("retain",):
        rows = data.rows[split] if settings.keep == "best" else []
        chosen: list[Record] = []
        for row in sorted(rows, key=lambda row: stable_hash("held", row.id)):
            opened = any(row.answer_type != "closed" for row in chosen)
            if opened and len(chosen) >= settings.hold_out * len(rows):
                break
            chosen.append(row)
        if rows and len(chosen) == len(rows):
            raise UserError(
                f"{data.config}/{split}: too few rows to hold out {settings.hold_out:.0%} of them: "
                "keep the last adapter (keep: last), or build a larger dataset"
            )
        held += chosen
    return held


def held_score(means: Mapping[str, float], finetuned: Mapping[str, float]) -> float:
    """UES (Eq. 1-3) without its test terms; while learning, ROUGE-1 of the retain rows."""
    if "forget" not in means:
        return means["retain"]
    return ues({**means, "test": 0.0}, {**finetuned, "test": 0.0}).ues


def rouge_means(
    rows: Sequence[dict[str, Any]], ids: Collection[str] | None = None
) -> dict[str, float]:
    """Mean ROUGE-1 of the open questions by split, of those that there are; of some rows alone."""
    by_split: dict[str, list[float]] = {}
    for row in rows:
        if "rouge1" in row and (ids is None or row["id"] in ids):
            by_split.setdefault(row["split"], []).append(row["rouge1"])
    return {split: mean(values, split) for split, values in by_split.items()}
