"""The pieces of a SentencePiece model file, read without the library that wrote it.

The file is a protocol buffer of which only field 1 matters here: a list of pieces, each with its
text (field 1), score (2) and type (3).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mllmu_med_dataset import UserError

_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5


def read_pieces(path: Path) -> list[str]:
    """The texts of a model's pieces in the order of their ids.

    Raises:
        UserError: no such file, or not a SentencePiece model.
    """
    try:
        data = path.read_bytes()
        pieces = [value for field, value in _fields(data) if field == 1]
        found = [
            next(text for field, text in _fields(piece) if field == 1).decode()  # type: ignore[union-attr]
            for piece in pieces
            if isinstance(piece, bytes)
        ]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, IndexError, StopIteration) as error:
        raise UserError(f"{path}: not a SentencePiece model: fetch it again") from error
    if not found or len(found) != len(pieces):
        raise UserError(f"{path}: not a SentencePiece model: fetch it again")
    return found


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    """Fields of a protocol buffer message: number and value (bytes, or an int we do not need)."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == _VARINT:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind == _BYTES:
            size, at = _varint(data, at)
        elif kind in (_EIGHT, _FOUR):
            size = 8 if kind == _EIGHT else 4
        else:
            raise ValueError(f"wire type {kind}")
        if at + size > len(data):
            raise ValueError("cut off")
        yield key >> 3, data[at : at + size]
        at += size


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if not byte & 0x80:
            return value, at
