"""A page of submissions that agree: every figure recomputed, methods ranked, ties as ties.

Methods are ranked by UES among those that were unlearned from one fine-tuned run, which UES
compares with: another fine-tuned run, dataset or config begins another table.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Final, NamedTuple

from eval.attack_results import CUT
from eval.attack_tables import tables as attack_tables
from eval.collect_results import collect_all
from eval.dataset_rows import split_config
from eval.metric_names import WORDS
from eval.report_tables import (
    DAGGER,
    Column,
    Section,
    Table,
    by_split,
    notes,
    seen,
    signature_lines,
    tables,
    widest_way,
)
from eval.report_templates import fill
from eval.results import Key, Report
from eval.run_folder import read_json
from eval.score import SCORES
from eval.submissions import Checked
from mllmu_med.files import digest, file_digest, write_json

_WORST: Final = Key("attacked", "forget", "worst")
_CAPTION: Final = (
    "Ranked by UES. A rank is one more than the number of methods whose UES is higher by a 95 % "
    "interval of the paired difference; = stands where several have one. " + DAGGER + " answers "
    "with what is no language: not ranked. Worst of the attacks that the fine-tuned run has been "
    "through, but for taking off the last adapter; – where one of them is missing."
)


class Board(NamedTuple):
    """The methods of one fine-tuned run."""

    title: str
    notes: list[str]
    ranking: Table
    tables: list[Table]
    signatures: list[str]


def to_page(agreed: Mapping[Path, Checked], others: dict[str, dict[Path, list[str]]]) -> str:
    """What agrees, ranked; others under their headings. Any name is text, never markup."""
    paths = [path for of in (agreed, *others.values()) for path in of]
    names = Counter(path.name for path in paths)
    called = {path: path.name if names[path.name] == 1 else str(path) for path in paths}
    groups: dict[tuple[str, ...], dict[Path, Checked]] = {}
    for path, checked in agreed.items():
        about = checked.submission.about
        prints = sorted(p for name, p, _ in _runs(checked) if name == "finetune")
        groups.setdefault((about.config, about.data, *prints), {})[path] = checked
    return fill(
        "leaderboard.html",
        title="MLLMU-Med leaderboard",
        boards=[_board(group, called) for _, group in sorted(groups.items())],
        intervals=True,
        files={called[path]: _about(path, checked) for path, checked in agreed.items()},
        others={head: {called[p]: of for p, of in told.items()} for head, told in others.items()},
    )


def _about(path: Path, checked: Checked) -> str:
    about, names = checked.submission.about, Counter(name for name, *_ in _runs(checked))
    runs = ", ".join(f"{name} ({n} seeds)" if n > 1 else name for name, n in names.items())
    figures = f"{len(checked.report.figures):,} figures"
    return f"{about.config} {about.data}; {runs}; {figures}; sha256 {file_digest(path)}"


def _runs(checked: Checked) -> list[tuple[str, str, Path]]:
    """The runs of a submission: name, hash of all that is in it, folder."""
    found = []
    for folder in checked.submission.runs:
        files = checked.submission.about.files.items()
        inside = sorted(sha for name, sha in files if name.startswith(f"{folder}/"))
        place = checked.folder.parent / folder
        found.append((str(read_json(place / SCORES)["name"]), digest(inside), place))
    return found


def _board(group: Mapping[Path, Checked], called: Mapping[Path, str]) -> Board:
    """Runs of several submissions together: one that several hold once, others of a name told
    apart by their file's."""
    folders: dict[str, Path] = {}
    owner: dict[str, Path] = {}
    said: list[str] = []
    for path, checked in group.items():
        for name, mark, folder in _runs(checked):
            if mark in folders:
                continue
            if owner.setdefault(name, path) != path:
                if name in ("base", "finetune", "retrain"):
                    whose = called[owner[name]]
                    said.append(f"{called[path]}: its run {name} is not {whose}'s: left out.")
                    continue
                told = read_json(folder / SCORES)
                write_json(folder / SCORES, {**told, "name": f"{name} ({called[path]})"})
            folders[mark] = folder
    report = collect_all([*folders.values()])[0]
    checked = next(iter(group.values()))
    config, data = checked.submission.about.config, checked.submission.about.data
    made = [_ranking(report), *tables(report), *attack_tables(report)]
    return Board(
        f"{WORDS['titles'][split_config(config)[0]]} ({config}, dataset {data})",
        [*said, *notes(report, made, "Bold: {}.")],
        made[0],
        made[1:],
        signature_lines(report, made),
    )


def ranks(report: Report) -> dict[str, int]:
    """Of each method that has a UES and a language: one more than how many are surely above it."""
    lines = [line for line in report.lines("ours", "method") if not line.is_broken]
    names = {line.run for line in lines if Key("ues") in line.figures}
    above: Counter[str] = Counter()
    for figure in report.figures:
        if figure.metric == "ues" and {figure.run, figure.versus} <= names:
            above[figure.versus] += (figure.low or 0) > 0
            above[figure.run] += (figure.high or 0) < 0
    return {name: 1 + above[name] for name in names}


def _ranking(report: Report) -> Table:
    ranked, methods = ranks(report), report.lines("ours", "method")
    shared = Counter(ranked.values())
    others = report.lines("ours", "base", "finetune", "retrain")
    # Without its last adapter each is the fine-tuned run again: that would be the worst of all.
    tuned = [key for line in report.lines("ours", "finetune") for key in line.figures]
    attacks = {key.cut for key in tuned if key.metric == "attacked"} - {f"{CUT}adapter"}
    for line in [*methods, *others]:
        attacked = [f for f in line.figures.values() if f.metric == "attacked" and f.cut in attacks]
        if attacked and len(attacked) == len(attacks):
            most = max(attacked, key=lambda figure: figure.value)
            # Attacks ask about different numbers of rows: none is the column's.
            line.figures[_WORST] = most.model_copy(update={"n": 0})
    labels = {}
    for line in methods:
        rank = ranked.get(line.run)
        place = DAGGER if line.is_broken else f"{rank or '-'}{'=' * (shared[rank or 0] > 1)}"
        labels[line.run] = f"{place} {line.label}"
    last = len(methods) + 1
    methods.sort(key=lambda m: (ranked.get(m.run, last), -(m.value(Key("ues")) or -9), m.run))
    sections = [
        Section(methods),
        Section(others, "Not ranked"),
        Section(report.lines("ours", "reference"), "Without a model"),
    ]
    widest = widest_way(methods + others)
    columns = [
        Column(Key("ues")),
        *by_split("rouge1"),
        Column(Key("leaked_values", "forget", "", "own"), "Leaked", "own question"),
        Column(Key("leaked_values", "forget", "", widest), "Leaked", "any way"),
        Column(_WORST, "Leaked", f"worst of {len(attacks)} attacks"),
    ]
    filled = [section for section in sections if section.lines]
    return Table("ranking", "Ranking", _CAPTION, seen(columns, filled), filled, labels)
