"""What the YAML files here refer to with `!function`: where the rows are, and what answers score.

Scores are those of `eval.score`, row by row; lmms-eval's own mean then averages them as a report
does. This module never imports lmms-eval: that imports it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eval import metrics
from eval.answer_text import answer_of
from eval.attacks import Ask
from eval.dataset_rows import text_columns
from eval.predictions import Prediction
from eval.score import measured, score_row, words_of
from mllmu_med.image_folder import row_image
from mllmu_med.pixels import model_image
from mllmu_med.schema import DEFAULT_FOLDER
from mllmu_med_dataset import Record, UserError, load

if TYPE_CHECKING:
    from PIL.Image import Image

Doc = dict[str, Any]

#: The dataset: a folder that the builder wrote or a Hub id; default: the folder ./mllmu-med.
VARIABLE: Final = "MLLMU_MED_DATA"
#: Not own: lmms-eval logs what it asks and gets.
CONFIGS: Final = ("privacy", "incorrect")


def __getattr__(name: str) -> Any:
    """`!function` reads an attribute: these are made when a task's YAML file is read.

    `privacy` and `incorrect` are the dataset's path, checked; `signatures` says what each number is
    and goes into the result file as the task's metadata. `score_privacy` and `score_incorrect` are
    `process_results` with the words of that config.
    """
    if name in CONFIGS:
        return _dataset_path(name)
    if name == "signatures":
        return metrics.signatures()
    if name.removeprefix("score_") in CONFIGS:
        return _scorer(name.removeprefix("score_"))
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _dataset_path(config: str) -> str:
    where = os.environ.get(VARIABLE) or DEFAULT_FOLDER
    try:
        # lmms-eval tries five times to load what is not there: say so at once, and how to mend it.
        load(config, where, split="forget", streaming=True)
    except UserError as error:
        raise UserError(f"{VARIABLE}: {error}") from error
    folder = Path(where).expanduser()
    return str(folder) if folder.is_dir() else where


def doc_to_visual(doc: Doc) -> list[Image]:
    """The row's image as `eval answer` shows it."""
    return [model_image(doc["image"] or row_image(doc))]


def _scorer(config: str) -> Callable[[Doc, Sequence[str]], dict[str, Any]]:
    words = functools.cache(lambda: words_of(os.environ.get(VARIABLE), config))
    return lambda doc, results: process_results(doc, results, words())


def process_results(doc: Doc, results: Sequence[str], vocabulary: str) -> dict[str, Any]:
    """What one answer scores, in `eval score`'s names.

    An open question has no accuracy and a closed one no ROUGE: a metric that does not apply is left
    out, so that each mean is over the rows which it is about. `corpus_bleu` is a pair of answer and
    reference: it only exists for a whole set. `id` and `answer` are no metrics: with them, the
    lines that `--log_samples` writes are predictions which `eval score` and its kin read.
    """
    record = Record.from_json({name: doc[name] for name in text_columns()})
    row = score_row(Ask(record, record.question), Prediction(record.id, results[0]), vocabulary)
    scores = {name: row[name] for name in ("id", "answer")}
    scores |= measured(row)
    if record.answer_type == "closed":
        return scores
    return scores | {"corpus_bleu": (answer_of(row["answer"]), row["reference"])}


def corpus_bleu(pairs: Sequence[tuple[str, str]]) -> float:
    """sacrebleu's corpus BLEU of pairs of answer and reference, 0..1."""
    return metrics.corpus_bleu(*zip(*pairs, strict=True))
