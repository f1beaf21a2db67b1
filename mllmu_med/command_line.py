"""What the command lines of eval, baselines and builder share."""

import functools
import inspect
import os
import signal
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import MISSING, fields, is_dataclass
from io import TextIOWrapper
from pathlib import Path
from textwrap import indent
from typing import Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from mllmu_med.disk import STDOUT, disk_message, refused
from mllmu_med.errors import UserError
from mllmu_med.files import packaged_yaml
from mllmu_med.terminal import LOCALE, guard_streams, visible


class _Commands(TyperGroup):
    def main(self, *args: Any, **kwargs: Any) -> Any:
        guard_streams()
        return super().main(*args, **kwargs)


#: A module of these that is not there is a bug, of others an installation without it.
_OURS = ("mllmu_med", "mllmu_med_dataset", "eval", "baselines", "builder")


class _Command(TyperCommand):
    """Refuses an empty value, of which typer would make a default or, as a path, this folder."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        typed, _, _ = self.make_parser(ctx).parse_args([*args])
        for parameter in ctx.command.params:
            value = typed.get(parameter.name)
            if "" in (value if isinstance(value, list | tuple) else [value]):
                name = parameter.get_error_hint().strip("'")
                print(f"error: {name}: is empty: give a value, or leave it out", file=sys.stderr)
                raise typer.Exit(2)
        return super().parse_args(ctx, args)


class App(typer.Typer):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the encoding of stdout lacks comes as an escape there, as on stderr."""
        # A stream that was closed (`>&-`) takes what is written, and nobody reads it.
        nowhere = Path(os.devnull)
        sys.stdout, sys.stderr = sys.stdout or nowhere.open("w"), sys.stderr or nowhere.open("w")
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        return super().__call__(*args, **kwargs)

    def command(
        self, *args: Any, examples: str = "", epilog: str | None = None, **kwargs: Any
    ) -> Callable[..., Any]:
        """`examples`: lines as they are typed, after a command's --help; then comes `epilog`."""
        if examples:
            epilog = f"Examples:\n\n\b\n{indent(examples.strip(), '  ')}\n\n{epilog or ''}"
        return super().command(*args, cls=_Command, epilog=epilog, **kwargs)


def option(metavar: str, meaning: str, *names: str, **more: Any) -> Any:
    """An option with a value: how --help names the value, and what it says of it."""
    own = "[default:" in meaning  # it says itself what happens without the option
    return typer.Option(*names, metavar=metavar, help=meaning, show_default=not own, **more)


def options_of(package: str) -> Callable[..., Any]:
    """The options, flags and arguments of which a package's `options.yaml` says what they are.

    An entry is [METAVAR, meaning], a flag's its meaning alone; it is named COMMAND.OPTION.
    """
    said = packaged_yaml(package, "options.yaml")

    def told(name: str, *names: str, argument: bool = False, **more: Any) -> Any:
        command, _, key = name.partition(".")
        entry = said[command][key]
        if isinstance(entry, str):
            return typer.Option(*(names or [f"--{key.replace('_', '-')}"]), help=entry, **more)
        if argument:
            return typer.Argument(metavar=entry[0], help=entry[1], **more)
        return option(*entry, *names, **more)

    return told


def make_app(purpose: str) -> App:
    """An empty command line; `purpose` heads its --help."""
    return App(
        cls=_Commands,
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help=purpose,
    )


def one_line_errors(command: Callable[..., None]) -> Callable[..., None]:
    """A user's mistake or a full disk ends in one line on stderr; a bug keeps its traceback.

    A parameter whose type is a dataclass stands for its fields, each an option.
    """
    groups, parameters = _options_of(command)

    @functools.wraps(command)
    def run(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{part.name: values.pop(part.name) for part in fields(group)})
        try:
            _attend(command, values)
        except UserError as error:
            message = " ".join(map(str.strip, str(error).splitlines()))
            print(f"{error.label}: {message}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from error
        except ModuleNotFoundError as error:
            if (name := (error.name or "").partition(".")[0]) in ("", *_OURS):
                raise
            advice = f"pip install -c requirements.lock {name}; see `python -m builder doctor`"
            print(f"error: {name}: not installed in this Python: {advice}", file=sys.stderr)
            raise typer.Exit(1) from error
        except UnicodeEncodeError as error:
            if (names := " ".join([str(Path.cwd()), *sys.argv])) == visible(names):
                raise
            print(f"error: a folder or argument has {LOCALE}", file=sys.stderr)
            raise typer.Exit(1) from error
        except Exception as error:
            refusal = refused(error)
            if refusal is None:
                raise
            print(f"error: {disk_message(refusal.name, refusal.number)}", file=sys.stderr)
            raise typer.Exit(1) from error
        except KeyboardInterrupt:
            print("stopped: the same command goes on from here", file=sys.stderr)
            raise typer.Exit(130) from None

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return run


def _attend(command: Callable[..., None], values: dict[str, Any]) -> None:
    """Call it; Ctrl-C comes out as KeyboardInterrupt, whatever the libraries below make of it.

    They drop it, or raise an ImportError or a RuntimeError of their own in its place.
    """
    pressed = False

    def interrupt(*_: Any) -> None:
        nonlocal pressed
        pressed = True
        raise KeyboardInterrupt

    ours = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    ours = ours and threading.current_thread() is threading.main_thread()  # which alone may set it
    if ours:
        signal.signal(signal.SIGINT, interrupt)
    try:
        command(**values)
        _flush()
    except Exception:
        if not pressed:
            raise
    finally:
        if ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
    if pressed:
        raise KeyboardInterrupt


def _options_of(command: Callable[..., None]) -> tuple[dict[str, Any], list[inspect.Parameter]]:
    """The parameters of a command that are dataclasses, and all that it takes on the line."""
    groups: dict[str, Any] = {}
    parameters = []
    for name, parameter in inspect.signature(command, eval_str=True).parameters.items():
        if not is_dataclass(parameter.annotation):
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        groups[name] = parameter.annotation
        hints = get_type_hints(groups[name], include_extras=True)
        for part in fields(groups[name]):
            default = inspect.Parameter.empty if part.default is MISSING else part.default
            kind = inspect.Parameter.KEYWORD_ONLY
            parameters.append(
                inspect.Parameter(part.name, kind, default=default, annotation=hints[part.name])
            )
    return groups, parameters


def _flush() -> None:
    """What stdout does not take is told here: as the process ends it would be a traceback."""
    try:
        sys.stdout.flush()
    except OSError as error:
        if refused(error) is None or error.errno is None:
            raise
        with suppress(OSError):  # what it still holds would be tried again as the process ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise UserError(disk_message(STDOUT, error.errno, writes=True)) from error
