"""Shortens every sleep of a process that has this folder on its path."""

import time

_sleep = time.sleep


def _short(seconds: float) -> None:
    _sleep(min(seconds, 0.05))


time.sleep = _short
