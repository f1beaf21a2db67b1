"""What the command lines of eval, baselines and builder share."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_type_hints

import typer
from typer.models import OptionInfo

from eval.disk import STDOUT, refused, told
from mllmu_med_dataset import UsageError, UserError


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
    """A user's mistake or a full disk ends in one line on stderr; a bug keeps its traceback."""

    @functools.wraps(command)
    def run(*args: Any, **kwargs: Any) -> None:
        try:
            _check_given(command, kwargs)
            command(*args, **kwargs)
            _flush()
        except UserError as error:
            print(f"{error.label}: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from error
        except Exception as error:
            found = refused(error)
            if found is None:
                raise
            print(f"error: {told(found.name, found.number)}", file=sys.stderr)
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            print("stopped: the same command goes on from here", file=sys.stderr)
            raise typer.Exit(130) from None

    return run


def _flush() -> None:
    """What stdout does not take is told here: as the process ends it would be a traceback."""
    try:
        sys.stdout.flush()
    except OSError as error:
        if refused(error) is None or error.errno is None:
            raise
        raise UserError(told(STDOUT, error.errno, writes=True)) from error


def _check_given(command: Callable[..., None], given: Mapping[str, Any]) -> None:
    """Refuse an option without a value: a script's variable that is not set is no default."""
    hints = get_type_hints(command, include_extras=True)
    for name, parameter in inspect.signature(command).parameters.items():
        value = given.get(name)
        empty = value == "" or (isinstance(value, list | tuple) and "" in value)
        if not empty or value == parameter.default:
            continue
        for option in get_args(hints[name])[1:]:
            if isinstance(option, OptionInfo):
                # Its flags; beside `Annotated`, typer has taken the first for a default.
                names = [option.default, *(option.param_decls or ())]
                flags = [one for one in names if isinstance(one, str) and one.startswith("--")]
                flag = flags[0] if flags else f"--{name.replace('_', '-')}"
                raise UsageError(f"{flag}: is empty: give a value, or leave the option out")
