"""A text's words as they are compared: in small letters, without accents and signs."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

#: Letters that are no accented ones, and how German and Danish write theirs without a keyboard.
_LETTERS: Final = str.maketrans("øØłŁđĐı", "oOlLdDi", "")
_SPELLED: Final = str.maketrans(
    {
        "ä": "ae",
        "ö": "oe",
        "ü": "ue",
        "ø": "oe",
        "å": "aa",
        "Ä": "AE",
        "Ö": "OE",
        "Ü": "UE",
        "Ø": "OE",
    }
)


def plain(text: str) -> str:
    """Lower case without accents."""
    return unaccented(text).casefold()


def unaccented(text: str) -> str:
    """Without accents and what is not seen: soft hyphens, spaces of no width."""
    if text.isascii():
        return text
    apart = unicodedata.normalize("NFKD", text)
    return "".join(
        c for c in apart if not unicodedata.combining(c) and unicodedata.category(c) != "Cf"
    ).translate(_LETTERS)


def spelled(text: str) -> str:
    """With "ue" for each "ü", as it is typed without one."""
    return text if text.isascii() else unicodedata.normalize("NFC", text).translate(_SPELLED)


def words_of(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text)
