"""The dataset's rows as eval sees them: texts first, images only when a model looks at them."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mllmu_med.errors import first_line
from mllmu_med.files import digest
from mllmu_med.image_folder import lacks_images, no_images
from mllmu_med.pixels import model_image
from mllmu_med.schema import DEFAULT_FOLDER, features
from mllmu_med_dataset import CONFIGS, SPLITS, Record, UsageError, UserError, config_name, load

if TYPE_CHECKING:
    from PIL.Image import Image


def text_columns() -> list[str]:
    """Columns that hold no image: reading them alone leaves the images on the disk."""
    return [name for name in features() if name != "image"]


def split_config(name: str) -> tuple[str, float | None]:
    """`privacy_r05` is config `privacy` at forget ratio 0.05; `privacy` is the main ratio."""
    named = re.fullmatch(r"(\w+)_r(\d\d)", name)
    config, ratio = (named[1], int(named[2]) / 100) if named else (name, None)
    if config not in CONFIGS:
        raise UsageError(f"--config {name}: use {' or '.join(CONFIGS)}, or a ratio as privacy_r05")
    config_name(config, ratio)
    return config, ratio


def is_own(config: str) -> bool:
    """Whether a config is of real patients: nothing of their rows may be shown."""
    return split_config(config)[0] == "own"


def check_splits(splits: Sequence[str]) -> list[str]:
    """The wanted splits in the dataset's order; none named means all."""
    for split in splits:
        if split not in SPLITS:
            raise UsageError(f"--split {split}: use {', '.join(SPLITS)}")
    return [split for split in SPLITS if split in splits or not splits]


def read_rows(source: str | Path | None, config: str, splits: Iterable[str] = ()) -> list[Record]:
    """The rows of some splits (default: all three), in the dataset's order, without images.

    Raises:
        UserError: no such dataset, or it holds no such config.
        UsageError: an unknown config or split.
    """
    name, ratio = split_config(config)
    _quiet(config)
    rows = []
    for split in check_splits(list(splits)):
        table = load(name, source, forget_ratio=ratio, split=split, columns=text_columns())
        for row in table.to_list():
            if None in row.values():
                raise UserError(
                    f"{source or DEFAULT_FOLDER}: config {config}: {split} row {row['id']} has no "
                    f"{next(n for n in row if row[n] is None)}: build the dataset again"
                )
            rows.append(Record.from_json({**row, "split": split}))
    return rows


def rows_hash(rows: Iterable[Record]) -> str:
    """12 hex digits of all that a model is trained on, asked and held to, by a config's rows."""
    shown = [
        [r.id, r.question, r.answer, r.clean_answer, r.image_sha256, r.split, [*map(str, r.pii)]]
        for r in rows
    ]
    return digest(shown)[:12]


def _quiet(config: str) -> None:
    """Without the library's own bars: ours say what is going on.

    Of real patients this process writes, from here on, only files that its owner alone can read:
    the library's copy of the rows, answers, models.
    """
    from datasets.utils.logging import disable_progress_bar

    if is_own(config):
        os.umask(0o077)
    disable_progress_bar()


class ImageStore(Protocol):
    """Images by `image_id`, each as `model_image` gives it."""

    def __getitem__(self, image_id: str, /) -> Image: ...


class Decoded:
    """Images by `image_id`, each decoded once, as `model_image` gives it.

    They are kept in memory as far as they fit into `most` bytes; the others are decoded again
    whenever they are asked for.
    """

    def __init__(self, read: Callable[[str], bytes | Image], most: int = 2**30) -> None:
        """`read`: the image of an `image_id`; most: 1 GiB holds SLAKE's."""
        self._read, self._left = read, most
        self._kept: dict[str, Image] = {}

    def __getitem__(self, image_id: str, /) -> Image:
        kept = self._kept.get(image_id)
        if kept is not None:
            return kept
        image = model_image(self._read(image_id))
        size = 4 * image.width * image.height  # Pillow pads a pixel of RGB
        if size <= self._left:
            self._left -= size
            self._kept[image_id] = image
        return image


class DatasetImages(Decoded):
    """The images of a config's splits."""

    def __init__(self, source: str | Path | None, config: str, splits: Iterable[str]) -> None:
        """
        Raises:
            UserError: no such dataset, config or split; rows only name their images.
        """
        name, ratio = split_config(config)
        _quiet(config)
        self._where: dict[str, tuple[Any, int]] = {}
        for split in check_splits(list(splits)):
            table = load(name, source, forget_ratio=ratio, split=split)
            if lacks_images(table):
                raise no_images(f"{source or DEFAULT_FOLDER}: config {config}")
            images = table.select_columns(["image"])
            for index, image_id in enumerate(table["image_id"]):
                self._where.setdefault(image_id, (images, index))
        super().__init__(self._open)

    def _open(self, image_id: str) -> Image:
        images, index = self._where[image_id]
        try:
            image: Image = images[index]["image"]
        except (OSError, ValueError, SyntaxError) as error:  # Pillow's, as it decodes
            raise UserError(
                f"image {image_id}: is damaged in the dataset ({first_line(error)}): build or copy "
                "it again"
            ) from error
        return image
