"""Tables for people on stdout: one console and one look for all commands."""

from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.console import Console
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from mllmu_med.terminal import visible

_WIDTH: Final = 160  # of a file or a pipe, whose lines are not wrapped


class SafeConsole(Console):
    """Sends rich's own controls and none that is in a text."""

    def render(self, *args: Any, **kwargs: Any) -> Iterable[Segment]:
        for segment in super().render(*args, **kwargs):
            yield segment if segment.control else segment._replace(text=visible(segment.text))


def make_console() -> Console:
    """Stdout; a file or a pipe gets lines that are not wrapped."""
    console = SafeConsole(highlight=False)
    return console if console.is_terminal else SafeConsole(highlight=False, width=_WIDTH)


def make_table(*columns: str) -> Table:
    """Columns whose name begins with `#` hold numbers."""
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column.removeprefix("#"), justify="right" if column[0] == "#" else "left")
    return table


def print_table(
    out: Console, columns: Sequence[str], rows: Iterable[Sequence[object]], gap: bool = True
) -> None:
    """A table below a gap, whole numbers with their commas; nothing without rows."""
    table = make_table(*columns)
    for row in rows:
        shown = (f"{cell:,}" if isinstance(cell, int) else cell for cell in row)
        table.add_row(*(c if isinstance(c, Text) else Text(visible(str(c))) for c in shown))
    if table.row_count:
        if gap:
            out.print()
        out.print(table)


def print_whole(out: Console, table: Table) -> None:
    """A table without a cut number; on a terminal in blocks of columns, the first in each."""
    from rich.measure import Measurement

    kept, (name, *left) = out.width, table.columns
    while left:
        for fit in range(len(left), 0, -1):
            table.columns = [name, *left[:fit]]
            room = Measurement.get(out, out.options.update(max_width=1000), table).maximum
            if room <= kept or not out.is_terminal:
                break
        out.width = max(room, kept)
        out.print(table, *[""] * (fit < len(left)), sep="\n")
        out.width, left = kept, left[fit:]
