"""The YAML at the head of a dataset's README.md, which `datasets` and the Hub read."""

import glob
from pathlib import Path
from typing import Any, Final

CARD: Final = "README.md"


class CardHeadError(Exception):
    """A card without a head that can be used; the message says why, without the place."""


def read_card_head(folder: Path) -> dict[str, Any]:
    """The head of a folder's card, whose `configs` are a list; else a CardHeadError."""
    import yaml
    from huggingface_hub import metadata_load

    try:
        head = metadata_load(folder / CARD)
    except FileNotFoundError as error:
        raise CardHeadError("is not there") from error
    except (OSError, UnicodeDecodeError) as error:
        raise CardHeadError(f"cannot be read ({error})") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CardHeadError(f"has no YAML at its head ({' '.join(str(error).split())})") from error
    if head is None:
        raise CardHeadError("has no YAML at its head")
    configs = head.get("configs")
    if not isinstance(configs, list) or not all(
        isinstance(one, dict) and isinstance(one.get("config_name"), str) and one.get("data_files")
        for one in configs
    ):
        raise CardHeadError("names no configs")
    return head


def data_files(head: dict[str, Any], config: str) -> dict[str, list[str]]:
    """The files of each split of a config, as a card's head names them."""
    entry = next(entry for entry in head["configs"] if entry["config_name"] == config)
    listed = entry.get("data_files")
    parts = [part for part in listed if isinstance(part, dict)] if isinstance(listed, list) else []
    named = {str(part.get("split")): part.get("path") or [] for part in parts}
    lists = {split: path if isinstance(path, list) else [path] for split, path in named.items()}
    return {s: [path for path in paths if isinstance(path, str)] for s, paths in lists.items()}


def load_arguments(folder: Path, config: str) -> dict[str, Any]:
    """What `datasets.load_dataset` is given for a config of a folder on the disk.

    It takes brackets in the folder's own path for a pattern, and may read the rows of another
    folder: then the files are named to it one by one.
    """
    place = str(folder.resolve())
    escaped = glob.escape(place)
    if escaped == place:
        return {"path": str(folder), "name": config}
    files = data_files(read_card_head(folder), config)
    paths = {split: [f"{escaped}/{name}" for name in names] for split, names in files.items()}
    return {"path": "parquet", "name": config, "data_files": paths}
