"""What the command lines of eval, baselines and builder share."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

import typer

from mllmu_med_dataset import UserError


def make_app(purpose: str) -> typer.Typer:
    """An empty command line; `purpose` heads its --help."""
    return typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help=purpose,
    )


def one_line_errors(command: Callable[..., None]) -> Callable[..., None]:
    """A user's mistake ends in one line on stderr; a bug keeps its traceback."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from error
        except KeyboardInterrupt:
            print("stopped: the same command goes on from here", file=sys.stderr)
            raise typer.Exit(130) from None

    return run
