"""The scenarios and the columns of a published row, which `mllmu_med_dataset` hands on."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Final, Literal

if TYPE_CHECKING:
    import datasets

#: Where the builder writes a dataset and the others look for one, unless another is named.
DEFAULT_FOLDER: Final = "mllmu-med"

Config = Literal["privacy", "incorrect", "own"]

#: The paper's two scenarios, privacy disclosure and incorrect facts; and `own`: a corpus as it is,
#: of which some real patients' rows are to be forgotten.
CONFIGS: Final[tuple[Config, ...]] = ("privacy", "incorrect", "own")


@cache
def features() -> datasets.Features:
    """The columns; importing `datasets` takes most of a second, so it waits for the first use."""
    from datasets import Features, Image, List, Value

    span = {
        "field": Value("string"),  # question or answer
        "kind": Value("string"),  # PII_KINDS
        "value": Value("string"),
        "start": Value("int32"),  # characters: field[start:end] == value
        "end": Value("int32"),
    }
    return Features(
        {
            "id": Value("string"),  # from the source's own ids; equal in every build and ratio
            "image": Image(),  # the source's own bytes, metadata removed; null: see image_path
            "image_path": Value("string"),  # inside the source's folder: see load(images=...)
            "image_id": Value("string"),  # groups the questions of one image
            "patient_id": Value("string"),  # a pseudonym; empty where the corpus names no patients
            "image_sha256": Value("string"),  # of the image's bytes, without metadata
            "question": Value("string"),  # what a model trains on
            "answer": Value("string"),
            "answer_type": Value("string"),  # closed: the clean answer is yes or no; else open
            "content_type": Value("string"),  # SLAKE's kind of question (Organ, Position, ...)
            "modality": Value("string"),
            "source": Value("string"),  # the corpus: slake, mm_skin, ...; table; phantom
            "clean_question": Value("string"),  # before it was made harmful
            "clean_answer": Value("string"),
            "harm": Value("string"),  # HARMS
            "pii": List(span),
            "profile_id": Value("string"),  # the fictional patient
            "calibration": Value("int32"),  # 1-5, 0 where not rated
            "review": Value("string"),  # none, accepted or edited
            "rank": Value("int32"),  # place in the forget order; -1 in test
            "round": Value("int32"),  # 1-3 in the sequential ablation; 0 elsewhere
        }
    )
