"""The YAML at the head of a dataset's README.md, which `datasets` and the Hub read."""

from __future__ import annotations

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
        raise CardHeadError(f"its head is no YAML ({' '.join(str(error).split())})") from error
    if head is None:
        raise CardHeadError("has no YAML at its head")
    if not isinstance(head.get("configs"), list):
        raise CardHeadError("names no configs")
    return head
