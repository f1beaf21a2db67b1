"""What goes out to a terminal or a log: texts of others may steer neither.

ESC, returns and signs that turn the direction of writing are written as `\\u001b`: in JSON it is
the same.
"""

import re
import sys
from typing import Any, Final

#: Controls but for tab and line feed; what turns writing around; half surrogates.
_STEERING: Final = re.compile(r"[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
#: What to do about bytes in a path that Python reads as half surrogates.
LOCALE: Final = "letters that this locale cannot read: set PYTHONUTF8=1, or rename it"
#: What a bar of tqdm, as huggingface-hub draws them, moves the cursor by.
_MOVES: Final = re.compile(r"\r?\n*(?:\x1b\[A)*")


def visible(text: str) -> str:
    """A text without what steers a terminal, each such character as its escape."""
    return _STEERING.sub(lambda sign: f"\\u{ord(sign[0]):04x}", text)


class _Visible:
    """A text stream that writes no control but those of bars. Rich, for its own, writes past it."""

    def __init__(self, stream: Any) -> None:
        self.rich_proxied_file = stream

    def write(self, text: str) -> int:
        bar = str(sys._getframe(1).f_globals.get("__name__")).startswith("tqdm.")
        moves = len(_MOVES.match(text)[0]) if bar else 0  # type: ignore[index]  # it always matches
        self.rich_proxied_file.write(text[:moves] + visible(text[moves:]))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rich_proxied_file, name)


def guard_streams() -> None:
    """From here on stdout and stderr show controls instead of sending them."""
    for name in ("stdout", "stderr"):
        if not isinstance(stream := getattr(sys, name), _Visible):
            setattr(sys, name, _Visible(stream))
