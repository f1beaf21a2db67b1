"""The README's table: both scenarios of the demo, from runs over several seeds.

python -m baselines run --seeds 0,1,2
python -m baselines run --seeds 0,1,2 --config incorrect
python benchmarks/readme_table.py runs/demo-privacy runs/demo-incorrect
"""

from __future__ import annotations

import sys
from typing import Final

import pandas as pd

from eval import load_results
from eval.results import LABELS

#: By scenario the columns: head, metric, split, way, and what the fraction is multiplied by.
COLUMNS: Final = {
    "privacy": [
        ("UES", "ues", "", "", 1),
        ("forget ROUGE", "rouge1", "forget", "", 100),
        ("leaked, own", "leaked_values", "forget", "own", 100),
        ("leaked, prefix", "leaked_values", "forget", "prefix", 100),
        ("retain ROUGE", "rouge1", "retain", "", 100),
        ("test ROUGE", "rouge1", "test", "", 100),
    ],
    "incorrect": [
        ("UES", "ues", "", "", 1),
        ("forget ROUGE", "rouge1", "forget", "", 100),
        ("clean ROUGE", "clean_rouge1", "forget", "", 100),
        ("retain ROUGE", "rouge1", "retain", "", 100),
        ("test ROUGE", "rouge1", "test", "", 100),
    ],
}


def table(frame: pd.DataFrame, scenario: str) -> str:
    """Markdown; each figure with its 95 % interval, over seeds also their standard deviation."""
    columns = COLUMNS[scenario]
    of_runs = frame[(frame.versus == "") & (frame.role != "seed") & (frame.cut == "")]
    heads = ["run", *(head for head, *_ in columns)]
    lines = [f"| {' | '.join(heads)} |", f"| --- |{' ---: |' * len(columns)}"]
    for run in dict.fromkeys(of_runs.run):
        of_run = of_runs[of_runs.run == run]
        cells = [LABELS.get(run.replace("_", "-"), run)]
        broken = of_run[(of_run.metric == "degenerate") & (of_run.split == "forget")].value
        if of_run.role.iloc[0] == "method" and (broken > 0.2).any():
            cells[0] += " †"
        for _, metric, split, way, times in columns:
            chosen = of_run[
                (of_run.metric == metric) & (of_run.split == split) & (of_run.way == way)
            ]
            cells.append(cell(chosen.iloc[0], times) if len(chosen) else "-")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def cell(figure: pd.Series, times: int) -> str:
    digits = 2 if times == 1 else 0
    text = f"{figure.value * times:.{digits}f}"
    if figure.mark:
        text = f"**{text}**"
    if pd.notna(figure.low):
        text += f" [{figure.low * times:.{digits}f}, {figure.high * times:.{digits}f}]"
    return text


if __name__ == "__main__":
    for folder in sys.argv[1:]:
        results = load_results(folder)
        print(table(results, results.config.iloc[0].split("_")[0]), end="\n\n")
