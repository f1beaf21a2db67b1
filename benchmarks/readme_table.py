"""The README's table: both scenarios of the demo, from runs over several seeds.

python -m baselines run --seeds 0,1,2
python -m baselines run --seeds 0,1,2 --config incorrect
python benchmarks/readme_table.py runs/demo-privacy runs/demo-incorrect
"""

import sys
from pathlib import Path
from typing import Final, NamedTuple

from eval.collect_results import collect_all
from eval.results import Figure, Key, Line

LEFT_OUT: Final = ("Base", "Perfect")


class Column(NamedTuple):
    """A column: its head, the figure, what the fraction is multiplied by, its digits."""

    head: str
    key: Key
    times: int = 100
    digits: int = 0
    interval: bool = True

    def cell(self, line: Line) -> str:
        figure = line.figures.get(self.key)
        return self._text(figure) if figure else "-"

    def _text(self, figure: Figure) -> str:
        text = f"{figure.value * self.times:.{self.digits}f}"
        text = f"**{text}**" if figure.mark else text
        if self.interval and figure.low is not None and figure.high is not None:
            low, high = (end * self.times for end in (figure.low, figure.high))
            text += f" [{low:.{self.digits}f}, {high:.{self.digits}f}]"
        return text


UES: Final = Column("UES", Key("ues"), 1, 2)
FORGET: Final = Column("forget", Key("rouge1", "forget"))
RETAIN: Final = Column("retain", Key("rouge1", "retain"), interval=False)
TEST: Final = Column("test", Key("rouge1", "test"), interval=False)
COLUMNS: Final = {
    "privacy": (
        UES,
        FORGET,
        *(
            Column(f"leaked, {way}", Key("leaked_values", "forget", "", way))
            for way in ("own", "prefix")
        ),
        RETAIN,
        TEST,
    ),
    "incorrect": (
        UES,
        FORGET,
        Column("clean", Key("clean_rouge1", "forget"), interval=False),
        RETAIN,
    ),
}


def main(folders: list[Path]) -> None:
    heads, rows = ["run"], {}
    for report in collect_all(folders):
        scenario = report.config.split("_")[0]
        heads += [f"{scenario}: {c.head}" for c in COLUMNS[scenario]]
        for line in report.lines():
            broken = " †" if line.is_broken else ""
            cells = [f"{c.cell(line)}{broken * (not i)}" for i, c in enumerate(COLUMNS[scenario])]
            rows.setdefault(line.label, []).extend(cells)
    print(f"| {' | '.join(heads)} |\n| --- |{' ---: |' * (len(heads) - 1)}")
    for label, cells in rows.items():
        if label not in LEFT_OUT:
            print(f"| {' | '.join([label, *cells])} |")


if __name__ == "__main__":
    main([Path(folder) for folder in sys.argv[1:]])
