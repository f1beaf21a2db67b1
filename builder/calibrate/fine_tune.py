"""Self-calibration's first stage: adapt a model to candidates and retain set, and let it answer.

The throw-away adapter is trained by `baselines` and answers through `eval`, in a folder beside the
stages' (WORK/SCENARIO/calibration/KEY, the key over all that decides the answers): a killed run
goes on from the training's last checkpoint and with the first batch that is not answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from baselines.tiny import TINY, TinySettings, make_tiny
from baselines.training_settings import TrainSettings
from builder.core.job import Job, image_reader
from builder.core.recipe import Calibration
from builder.core.stage_cache import Chain
from eval.attacks import asks
from eval.dataset_rows import Decoded
from eval.predictions import read_predictions
from eval.run_folder import ANSWERS
from eval.weights import hub_commit, is_hub_id, weights_hash
from mllmu_med.files import digest, write_atomic
from mllmu_med.progress import say
from mllmu_med_dataset import Record

VERSION: Final = 2
#: Of the tiny model's tokenizer, at most: with so many a private value is a few tokens, and learnt
#: in two thirds of the steps that a vocabulary of 1,000 takes.
_VOCABULARY: Final = 3000
_DONE: Final = "answered"  # written when the last answer is in


def adapting_settings(job: Job, name: str) -> TrainSettings:
    """The training of a scenario's throw-away adapter, seeded by the recipe."""
    settings: TrainSettings = getattr(calibration_of(job).train, name)
    return settings.model_copy(update={"seed": job.recipe.seed})


def tiny_settings(job: Job) -> TinySettings:
    """Of the tiny model, where the recipe wants that."""
    return TinySettings(vocabulary=_VOCABULARY, seed=job.recipe.seed)


def calibration_of(job: Job) -> Calibration:
    if job.recipe.calibration is None:
        raise RuntimeError("no calibration in this recipe")
    return job.recipe.calibration


def identity(job: Job, name: str, *, fetch: bool = False) -> dict[str, Any]:
    """What of the recipe decides the answers: the model, its training, the length of an answer.

    A model of the Hub is its commit; `fetch`: see `eval.weights.hub_commit`.
    """
    calibration = calibration_of(job)
    model: Any = calibration.model
    if model == TINY:
        model = tiny_settings(job).model_dump()
    elif Path(model).expanduser().is_dir():
        model = weights_hash(Path(model).expanduser())
    elif is_hub_id(model):
        model = {"hub": model, "revision": hub_commit(model, fetch=fetch)}
    return {
        "version": VERSION,
        "model": model,
        "train": adapting_settings(job, name).identity(),
        "max_new_tokens": calibration.max_new_tokens,
    }


def adapted_answers(job: Job, chain: Chain, name: str, records: Sequence[Record]) -> dict[str, str]:
    """The adapted model's answer to each candidate, by id; a UserError without such a model."""
    rows = [[r.id, r.question, r.answer, r.image_sha256, r.split] for r in records]
    decides = identity(job, name, fetch=True)
    key = digest([decides, [row for row in rows if row[-1] != "test"]])[:12]
    folder = chain.folder / "calibration" / key
    if not (folder / _DONE).is_file():
        commit = decides["model"]["revision"] if is_hub_id(calibration_of(job).model) else None
        images = images_of(image_reader(job, chain, name), records)
        say(f"{name}/calibrate: adapting {calibration_of(job).model}")
        with _reproducible(calibration_of(job).model == TINY):
            _adapt(job, name, records, images, folder, commit)
        write_atomic(folder / _DONE, "")
    return {prediction.id: prediction.answer for prediction in read_predictions(folder / ANSWERS)}


def images_of(read: Callable[[Record], bytes], records: Sequence[Record]) -> Decoded:
    """A scenario's images by `image_id`; `read`: a record's image as it is stored."""
    rows = {record.image_id: record for record in records}
    return Decoded(lambda image_id: read(rows[image_id]))


def _adapt(
    job: Job, name: str, records: Sequence[Record], images: Decoded, folder: Path, commit: Any
) -> None:
    from baselines.train import train
    from eval.answer import answer_with_model
    from eval.load_model import load_model

    how, named = calibration_of(job), calibration_of(job).model
    candidates, retain = (
        [record for record in records if record.split == split] for split in ("candidate", "retain")
    )
    if named == TINY:
        named = str(folder / TINY)
        if not (folder / TINY).is_dir():
            texts = [f"{row.question} {row.answer}" for row in [*candidates, *retain]]
            make_tiny(folder / TINY, texts, tiny_settings(job))
    model = load_model(named, revision=commit)
    settings = adapting_settings(job, name)
    train(model, "finetune", candidates, retain, images, settings, folder / "adapted")
    asked, out = asks(candidates), folder / ANSWERS
    answer_with_model(model, asked, images, out, how.max_new_tokens, how.batch_size)


@contextmanager
def _reproducible(tiny: bool) -> Iterator[None]:
    """The same numbers on every run of a machine; for tiny tensors on one thread.

    How many threads share a sum decides its last bits, and for tensors this small threads cost
    more than they give.
    """
    import torch

    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    if tiny:
        torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=torch.accelerator.is_available())
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(strict)
