"""Special tokens in a question or an answer are text: `<image>` shows none, `</s>` ends none.

A prompt is put together as text, the template's own special tokens in it. What comes from a row is
quoted first: a mark breaks its special tokens up, and is taken out again where tokens are made.
"""

import re
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

from mllmu_med_dataset import UserError

#: A noncharacter of Unicode: no text holds it.
MARK: Final = "\ufdd0"


class Quoting:
    """Quotes texts for prompts and makes tokens of prompts; `identity`: the model's, for errors."""

    def __init__(self, tokenizer: Any, identity: Mapping[str, Any]) -> None:
        self._tokenizer, self._identity = tokenizer, identity

    @cached_property
    def _special(self) -> re.Pattern[str]:
        tokens = self._tokenizer.added_tokens_decoder.values()
        texts = sorted({t.content for t in tokens if t.special}, key=len, reverse=True)
        return re.compile(f"({'|'.join(map(re.escape, texts)) or '(?!)'})")

    def quoted(self, text: str) -> str:
        """A text to be put into a prompt, in which nothing is left that is read as special."""
        return self._special.sub(lambda m: m[0][0] + MARK + m[0][1:], text.replace(MARK, ""))

    def encode(self, text: str, begin: bool) -> list[int]:
        """The tokens of a prompt; `begin`: with what the tokenizer puts before every text."""
        if MARK not in text:
            whole: list[int] = self._tokenizer(text, add_special_tokens=begin)["input_ids"]
            return whole
        # Without what is quoted both ways can be had: they have to agree.
        plain = re.sub(f".{MARK}", "", text)
        if self._pieces(plain, begin) != self.encode(plain, begin):
            raise self.unreadable("its tokens of a part of a text are not those of the whole")
        return self._pieces(text, begin)

    def _pieces(self, text: str, begin: bool) -> list[int]:
        """Between two special tokens of the template, everything is text."""
        ids: list[int] = self._tokenizer("")["input_ids"] if begin else []
        for i, piece in enumerate(self._special.split(text)):
            if i % 2:
                ids.append(self._tokenizer.convert_tokens_to_ids(piece))
            elif piece:
                as_text = {"add_special_tokens": False, "split_special_tokens": True}
                ids += self._tokenizer(piece.replace(MARK, ""), **as_text)["input_ids"]
        return ids

    def unreadable(self, why: str) -> UserError:
        return UserError(
            f"{self._identity.get('model')}: a question or an answer holds one of its "
            f"special tokens, which cannot be given as text ({why}): take such rows out"
        )
