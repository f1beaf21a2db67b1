"""MLLMU-Med as data: the record type, the configs and splits, the row schema and `load()`.

This module is the contract between the builder, which writes a folder or a Hub repository, and
everything that reads one. It imports nothing heavy until a dataset is really loaded.

    from mllmu_med_dataset import by_picture, load

    data = load("privacy")                        # ./mllmu-med, the paper's forget ratio
    data = load("privacy", forget_ratio=0.05)     # a smaller forget set, more retain rows
    data = load("incorrect", "ORG/mllmu-med", images="MM-Skin")  # rows that only name images
    for picture in by_picture(data["forget"]):
        print(picture.image_id, picture.image.size, len(picture.rows))

It is not a loading script: `load_dataset("mllmu-med")` reads the same folder without it.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from mllmu_med.errors import UsageError, UserError
from mllmu_med.schema import CONFIGS, DEFAULT_FOLDER, Config

if TYPE_CHECKING:
    import datasets
    from PIL.Image import Image

    FEATURES: datasets.Features

__all__ = [
    "CONFIGS",
    "FEATURES",
    "FORGET_RATIOS",
    "HARMS",
    "PII_KINDS",
    "SPLITS",
    "Config",
    "Picture",
    "PiiSpan",
    "Record",
    "UsageError",
    "UserError",
    "by_picture",
    "config_name",
    "load",
]

Split = Literal["forget", "retain", "test"]

#: Forget set D_F, retain set D_R and test set D_T of the paper's Preliminaries.
SPLITS: Final[tuple[Split, ...]] = ("forget", "retain", "test")
#: Forget ratios in percent of |D_R|: the main one (10) and the paper's ablation (Figure 4).
FORGET_RATIOS: Final = (5, 10, 15, 20, 25, 30)
MAIN_RATIO: Final = 10
#: What was done to a row's text.
HARMS: Final = ("none", "privacy", "wrong_diagnosis", "outdated_knowledge")
#: Kinds of private values: the paper's "names, contact details, and appointment dates", and the
#: record number (MRN) by which hospitals find a patient.
PII_KINDS: Final = ("name", "phone", "email", "address", "date", "mrn")


@dataclass(frozen=True, slots=True)
class PiiSpan:
    """Where a private value stands: `getattr(record, field)[start:end] == value`."""

    field: Literal["question", "answer"]
    kind: str
    value: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Record:
    """One question about one image, clean or harmful.

    The published columns are those of `FEATURES`; the image's bytes are read at publishing.
    Besides, a record travels through the builder with `context` (the image's caption, for
    authors), `split` (the set it belongs to), `what_is_wrong` (with an incorrect answer, in a
    line by its author, for reviewers) and `private` ((kind, value) out of the corpus' columns).
    """

    id: str
    image_id: str
    image_path: str
    image_sha256: str
    question: str
    answer: str
    answer_type: Literal["open", "closed"]
    modality: str
    source: str
    clean_question: str
    clean_answer: str
    patient_id: str = ""
    content_type: str = ""
    context: str = ""
    private: tuple[tuple[str, str], ...] = ()
    what_is_wrong: str = ""
    split: str = ""
    harm: str = "none"
    pii: tuple[PiiSpan, ...] = ()
    profile_id: str = ""
    calibration: int = 0
    review: str = "none"
    rank: int = -1
    round: int = 0

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Record:
        pii = tuple(PiiSpan(**span) for span in row["pii"])
        return cls(**{**row, "pii": pii, "private": tuple(map(tuple, row.get("private", ())))})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @property
    def whose(self) -> str:
        """The patient whose values stand in it: fictional, else the corpus', else the image's."""
        return self.profile_id or self.patient_id or self.image_id

    def cleaned(self) -> Record:
        """The record as it was before it was made harmful."""
        return replace(
            self,
            question=self.clean_question,
            answer=self.clean_answer,
            harm="none",
            what_is_wrong="",
            pii=(),
            profile_id="",
            calibration=0,
            review="none",
            round=0,
        )


def config_name(config: str, forget_ratio: float | None = None) -> str:
    """The name `load_dataset` knows a forget ratio by: 0.05 of privacy is `privacy_r05`.

    The main ratio, 0.10, is the config itself.
    """
    if forget_ratio is None:
        return config
    percent = round(forget_ratio * 100) if isinstance(forget_ratio, int | float) else 0
    if percent not in FORGET_RATIOS or abs(percent / 100 - forget_ratio) > 1e-8:
        known = ", ".join(f"{ratio / 100:.2f}" for ratio in FORGET_RATIOS)
        raise UsageError(f"forget ratio {forget_ratio}: use one of {known} (fractions of retain)")
    return config if percent == MAIN_RATIO else f"{config}_r{percent:02d}"


def load(
    config: str = "privacy",
    source: str | Path | None = None,
    *,
    forget_ratio: float | None = None,
    split: str | None = None,
    streaming: bool = False,
    images: str | Path | Mapping[str, str | Path] | None = None,
    **kwargs: Any,
) -> Any:
    """Load one scenario.

    Args:
        config: `privacy`, `incorrect` or `own`.
        source: a folder that the builder wrote, or a Hub id such as `ORG/mllmu-med`. Default: the
            folder `./mllmu-med`.
        forget_ratio: 0.05 ... 0.30, |forget| as a fraction of |retain| with their sum fixed (the
            paper's Figure 4). Default: the main set (351 / 3,960 at the paper's size).
        split: `forget`, `retain` or `test`. Default: all three.
        streaming: read while iterating, without a copy in the cache, and without `images`.
        images: where the images are that rows only name (`image` is None, `image_path` and
            `image_sha256` are set): the folder of their source, with SLAKE's `imgs.zip` packed or
            not; or a folder for each config. Every distinct image is checked against its hash.
            Rows that hold their image keep it. Default: the folder that the environment variable
            MLLMU_MED_IMAGES names; without it, such rows have no image.
        **kwargs: passed on to `datasets.load_dataset` (`cache_dir`, `revision`, `token`, ...).

    Returns:
        A `DatasetDict` with the three splits, or one `Dataset` when `split` is given (iterable ones
        with `streaming`). Columns: `FEATURES`. A row's `image` is as its file holds it (16 bits,
        a palette, ...): `mllmu_med.pixels.model_image` gives what models are shown of it.

    Raises:
        UserError: the folder is not there, is damaged or holds no such config or split; the Hub
            cannot be reached or refuses; the cache cannot be written; images are missing in
            `images` or are others than the dataset was built from.
        UsageError: an unknown config or ratio; `images` for a stream.
    """
    if config not in CONFIGS:
        raise UsageError(
            f"config {config!r}: use one of {', '.join(CONFIGS)}, with forget_ratio=0.05 for what "
            "load_dataset calls privacy_r05"
        )
    name = config_name(config, forget_ratio)
    where = str(source) if source is not None else DEFAULT_FOLDER
    folder = Path(where).expanduser()
    what: dict[str, Any] = {"path": where, "name": name}
    if folder.is_dir():
        where = str(folder)
        what = _check_folder(folder, name)
    elif isinstance(source, Path) or where.count("/") != 1 or where.startswith((".", "/", "~")):
        # A bare name that is no folder would make `load_dataset` serve whatever an old cache holds.
        if folder.is_file():
            raise UserError(f"{where}: is a file: give the dataset's folder, unpacked")
        raise UserError(
            f"{where}: no such folder here: build one with `python -m builder rebuild`, or name a "
            "Hub repository as ORG/NAME"
        )
    import datasets
    import httpx2

    from mllmu_med.image_folder import images_folder, put_back

    if streaming and images:
        raise UsageError("images: are put back into whole splits: load them without streaming")
    image_source = None if streaming else images_folder(images, config)
    try:
        data = datasets.load_dataset(**what, split=split, streaming=streaming, **kwargs)
    except (
        *(datasets.exceptions.DatasetsError, httpx2.HTTPError, OSError, ValueError, TypeError),
    ) as error:
        raise _unread(error, where, name, split, folder.is_dir()) from error
    return put_back(data, image_source, f"{where}: config {name}") if image_source else data


def _unread(error: Exception, where: str, name: str, split: str | None, local: bool) -> Exception:
    """A library's error in one line."""
    import datasets

    from mllmu_med.disk import disk_message, refused
    from mllmu_med.errors import causes, first_line

    refusal = refused(error)
    if refusal:
        return UserError(
            disk_message(refusal.name or datasets.config.HF_DATASETS_CACHE, refusal.number)
        )
    if f'Unknown split "{split}"' in str(error):
        reason = str(error).partition("Should be one of ")[2].strip(" .[]").replace("'", "")
        return UserError(f"{where}: config {name} holds no {split} set; it has {reason}")
    root = [*causes(error)][-1]
    if isinstance(error, TypeError) and root is error:  # a keyword that `load_dataset` lacks
        return error
    advice = "check its name, `hf auth login` and the connection, or give a folder in its place"
    if local:
        advice = "it is damaged, or of another program: copy or build it again"
        if isinstance(root, OSError) and root.filename:
            advice = "mend that; HF_HOME names another folder for the cache of `datasets`"
    why = first_line(root)
    if isinstance(error, datasets.exceptions.SplitsVerificationError):
        why = "its rows are not as many as its card says"
    return UserError(f"{where}: config {name}: cannot be read ({why}): {advice}")


def _check_folder(folder: Path, name: str) -> dict[str, Any]:
    """What to give to `load_dataset` for a config; a UserError where the folder cannot be read."""
    import pyarrow.parquet as pq

    from mllmu_med.card_head import CardHeadError, data_files, load_arguments, read_card_head
    from mllmu_med.errors import first_line
    from mllmu_med.files import stand_in
    from mllmu_med.schema import features

    try:
        head = read_card_head(folder)
    except CardHeadError as error:
        near = [
            *folder.glob("*/provenance/manifest.json"),
            *folder.glob("../provenance/manifest.json"),
        ]
        advice = f"copy it again, or build it with `python -m builder rebuild --out {folder}`"
        advice = f"give {near[0].parents[1].resolve()}" if near else advice
        raise UserError(f"{folder}: not a built dataset (README.md {error}): {advice}") from error
    known = [entry["config_name"] for entry in head["configs"]]
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f" (nearest: {near[0]})" if near else ""
        raise UserError(f"{folder}: holds no config {name}{hint}; it has {', '.join(known)}")
    stated = str(head.get("dataset_info"))
    for file in (folder / file for files in data_files(head, name).values() for file in files):
        if problem := stand_in(file):
            raise UserError(f"{file}: {problem}")
        try:
            there = pq.read_schema(file).names
            missing = [
                name for name in features() if name not in there and f"'name': '{name}'" in stated
            ]
            if missing:  # which `datasets` would fill with nothing
                raise ValueError(f"it has no column {missing[0]}")
        except (OSError, ValueError) as error:
            raise UserError(
                f"{file}: no rows here ({first_line(error)}): copy it again, or build the dataset "
                "again"
            ) from error
    return load_arguments(folder, name)


class Picture(NamedTuple):
    """An image and all its questions."""

    image_id: str
    image: Image  # as models are shown it: RGB of 8 bits, upright, on white
    rows: list[dict[str, Any]]  # every column but the image, in the dataset's order


def by_picture(dataset: datasets.Dataset) -> Iterator[Picture]:
    """Yield each image once, decoded once, with its rows: about 11 in SLAKE, 1-2 in MM-Skin.

    Images come in the order of their first row. A set whose files share images (the retain set
    of a ratio study) still yields each image once. Needs a map-style dataset (no streaming).
    """
    if isinstance(dataset, dict) or not hasattr(dataset, "select_columns"):
        raise UsageError("by_picture needs one split, e.g. by_picture(load('privacy')['forget'])")
    if not hasattr(dataset, "__len__"):  # an iterable one
        raise UsageError("by_picture needs a map-style dataset: load it without streaming")
    from mllmu_med.image_folder import lacks_images, no_images
    from mllmu_med.pixels import model_image

    if lacks_images(dataset):
        raise no_images("by_picture")
    texts = dataset.select_columns([name for name in dataset.column_names if name != "image"])
    images = dataset.select_columns(["image"])
    groups: dict[str, list[int]] = {}
    for index, image_id in enumerate(dataset["image_id"]):
        groups.setdefault(image_id, []).append(index)
    for image_id, indices in groups.items():
        rows = [dict(texts[index]) for index in indices]
        yield Picture(image_id, model_image(images[indices[0]]["image"]), rows)


def __getattr__(name: str) -> Any:
    """`FEATURES`, made on first use: importing `datasets` takes most of a second."""
    if name != "FEATURES":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from mllmu_med.schema import features

    return features()
