"""Errors that the user can mend: one line that says what, where and what to do next."""

from collections.abc import Iterator


class UserError(Exception):
    """A mistake that the user can mend: shown as one line (what, where, what to do next)."""

    exit_code = 1
    label = "error"  # heads the line


class UsageError(UserError):
    """The command itself is wrong: an unknown key, a value out of range."""

    exit_code = 2


def first_line(error: BaseException) -> str:
    """What a library says went wrong, without the explanation that follows."""
    return str(error).strip().split("\n")[0]


def causes(error: BaseException) -> Iterator[BaseException]:
    """An error and those that lie under it, whatever a library has made of them."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
