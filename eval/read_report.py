"""Reports read back from what `eval report --format csv` wrote."""

from __future__ import annotations

from pathlib import Path

from eval.report import CSV_COLUMNS
from eval.results import Figure, Key, Line, Report, label_of
from mllmu_med.csv_tables import read_csv
from mllmu_med_dataset import SPLITS, UserError


def read_results(path: Path) -> dict[str, Report]:
    """Reports by config, out of what `python -m eval report ... --format csv --out FILE` wrote.

    Several such files can be put into one, any other is a UserError. The paper's own lines are left
    out.
    """
    reports: dict[str, Report] = {}
    lines: dict[tuple[str, str], Line] = {}
    rows = read_csv(
        path,
        CSV_COLUMNS,
        "write it with `python -m eval report RUN... --format csv --out FILE`",
    )
    for number, row in rows.items():
        if row["source"] != "ours":  # the paper's, or the head of a second file
            continue
        report = reports.setdefault(row["config"], Report(row["config"], [], [], {}, []))
        at = (row["config"], row["run"])
        if at not in lines:
            label = label_of(row["run"], row["role"])
            lines[at] = Line(row["run"], label, row["role"], {})
            report.lines.append(lines[at])
        try:
            figure = Figure(
                float(row["value"]),
                int(row["n"] or 0),
                *(float(row[limit]) if row[limit] else None for limit in ("low", "high")),
            )
        except ValueError as error:
            raise UserError(
                f"{path}, row {number}: cannot be read as a report's CSV: {error}"
            ) from error
        lines[at].figures[Key(row["metric"], row["split"], row["part"])] = figure
        report.signatures[row["metric"]] = row["signature"]
    if not reports:
        raise UserError(f"{path}: holds no figures: write it with `eval report --format csv`")
    for report in reports.values():
        line = report.lines[0]  # of which the table's head tells the counts
        for split in SPLITS:
            if Key("rouge1", split) not in line.figures:
                raise UserError(
                    f"{path}: no rouge1 of {line.name} on {split}: lines are missing: write it "
                    "again with `eval report --format csv`"
                )
    return reports
