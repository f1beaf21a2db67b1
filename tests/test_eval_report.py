"""Reports: figures come from the files, the best are marked, names are only ever text."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Iterable
from html.parser import HTMLParser
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from corpora import SHARED, command
from PIL import Image

from eval import load_items, load_results, paper_tables
from eval.attack_results import CUT
from eval.attack_tables import tables as attack_tables
from eval.attacks import WAYS
from eval.bootstrap import Draws, Items, interval
from eval.collect_results import collect, collect_all
from eval.detail_tables import details
from eval.intervals import share_interval
from eval.learnt import says
from eval.metric_names import OF_CUTS
from eval.metrics import corpus_bleu
from eval.plots import models, name, plots, to_svg, write_plots
from eval.read_run import read_run
from eval.report import (
    FORMATS,
    print_table,
    text_of,
    to_csv,
    to_latex,
    to_markdown,
    to_terminal,
    write,
)
from eval.report_html import to_html
from eval.report_tables import Cell, Column, Row, Table, notes, tables
from eval.results import Figure, Key, Report, read_results
from eval.run_folder import write_measured
from eval.score import write_scores
from eval.ues import ues
from mllmu_med.console import SafeConsole
from mllmu_med.files import write_jsonl
from mllmu_med_dataset import SPLITS, UsageError, UserError

NASTY = "<script>alert('$x_1$')</script> & 50% [bold]|#{"
KINDS = ("name", "phone", "email", "address", "date", "mrn")


def run(
    folder: Path, forget: float, retain: float, test: float, config: str = "privacy", **more: Any
) -> Path:
    """A scored run of 40 open and 20 closed rows a split, of about these mean scores."""
    rows: list[dict[str, Any]] = []
    harms = {"privacy": ("private answer", "private question")}.get(config, ("outdated",) * 2)
    for split, mean in zip(SPLITS, (forget, retain, test), strict=True):
        for i in range(60):
            row: dict[str, Any] = {
                "id": f"{split}/{i}",
                "image": f"{split}/{i // more.get('of_image', 1)}",
                "harm": harms[i >= 40] * (split == "forget"),
                "clean": "lung" if split == "forget" else "",
                "split": split,
                "modality": ("CT", "MRI")[i % 2],
                "content_type": "Organ" if i % 3 else "",
                "answer_type": "open" if i < 40 else "closed",
                "refuses": i < more.get("refuses", 0),
                "degenerate": False,
                "thinking": False,
                "unanswered": False,
                "question": "Which organ?",
                "reference": "liver",
                "answer": "liver" if i % 4 else "lung",
            }
            if i < 40:
                score = min(1.0, mean * (0.5 if i % 2 else 1.5))
                row |= {"rouge1": score, "rouge_l": score, "bleu": score / 4}
                row |= {"clean_rouge1": 1 - score} if split == "forget" else {}
            else:
                row |= {"reference": "yes", "clean": "yes" * (split == "forget")}
                row |= {"read": "yes", "correct": i < 40 + 20 * mean}
            if config == "privacy" or i < 40:
                rows.append(row)
    summary = {
        "name": more.get("name", folder.name),
        "config": config,
        "model": {"model": "tiny", "adapters": [{"path": "ft", "weights": "ab"}]},
        "signatures": {"rouge1": "rouge1|f1", "accuracy": "accuracy|closed"},
    }
    write_scores(folder, summary, rows)
    if "seed" in more:
        (folder / "record.json").write_text(json.dumps({"settings": {"seed": more["seed"]}}))
    return folder


def leak(folder: Path, share: float, ways: Iterable[str] = WAYS, **others: float) -> None:
    """Of 20 values this share comes out in each way (of some another), half of it exactly."""
    rows = []
    for way, i in product(ways, range(20)):
        n = 20 * others.get(way, share)
        level = "exact" if i < n / 2 else "normalised" if i < n else "fuzzy"
        value = {"kind": KINDS[i % 5], "value": f"v{i}", "in": "answer", "level": level}
        asked = {**value, "value": f"q{i}", "in": "question", "level": "exact"}
        chance = [{**value, "level": "exact" if i == d == 0 else "", "draw": d} for d in range(5)]
        row = {"id": f"forget/{i}", "way": way, "profile_id": f"p{i}", "values": [value, asked]}
        for each in row["values"]:
            each["draw"] = 0
        rows.append({**row, "answers": ["x"], "chance": chance, "others": []})
    summary = {"name": folder.name, "config": "privacy", "signature": "leak|v1"}
    write_measured(folder, ("leak.json", "leak.rows.jsonl"), summary, rows)


def weigh(folder: Path, forget: float, n: int = 60) -> None:
    """Likelihoods: of forget rows this one, of their alternatives .25; .5 of all others."""
    rows = [
        {
            "id": f"{split}/{i}",
            "split": split,
            "logprobs": [math.log(forget if split == "forget" else 0.5)],
            **{"right": "1", "end": 0, "means": [-1.0], "deviations": [1.0], "zlib": 20},
            "alternatives": [[math.log(0.25)]] if split == "forget" and i < 9 else [],
            "choices": [math.log(0.2)] * 3 if i % 2 else [],
            "parts": [[0, 1]] if split == "forget" else [],
            "blind_logprobs": [math.log(0.1)],
            "blind_choices": [math.log(0.2)] * 3 if i % 2 else [],
        }
        for split, i in product(SPLITS, range(n))
    ]
    write_measured(folder, ("likelihood.run.json", "likelihood.jsonl"), {}, rows)


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """Given in no order; the fourth is called what nobody should be called."""
    made = [
        run(tmp_path / "retrain", 0.3, 0.62, 0.6),
        run(tmp_path / "idk", 0.05, 0.6, 0.58, refuses=12),
        run(tmp_path / "finetune", 0.6, 0.62, 0.6),
        run(tmp_path / "odd", 0.5, 0.3, 0.55, name=NASTY),
        run(tmp_path / "kl_min", 0.4, 0.6, 0.61),
        run(tmp_path / "base", 0.2, 0.1, 0.1),
    ]
    leak(tmp_path / "idk", 0.1)
    leak(tmp_path / "kl_min", 0.8)
    weigh(tmp_path / "idk", 0.125)
    weigh(tmp_path / "retrain", 0.25)
    return made


def figures_of(report: Report, name: str) -> dict[Key, Figure]:
    return next(line.figures for line in report.lines() if line.run == name)


def test_the_order_and_names_of_the_paper(runs: list[Path]) -> None:
    labels = [line.label for line in collect(runs).lines()]
    answered = ["Clean oracle", "Gibberish", "Language prior", "Perfect"]
    assert labels == ["Base", "Finetune", "IDK", NASTY, "KL-Min", "Retrain", *answered]
    other = collect(runs[1:5], base=runs[0], finetuned=runs[3]).lines()[:5]
    assert [(line.label, line.role) for line in other] == [
        ("Retrain (base)", "base"),
        (f"{NASTY} (finetune)", "finetune"),
        ("IDK", "method"),
        ("Finetune", "method"),
        ("KL-Min", "method"),
    ]


def test_every_figure_is_the_files(runs: list[Path]) -> None:
    report = collect(runs)
    for folder in runs:
        figures = figures_of(report, json.loads((folder / "scores.json").read_text())["name"])
        rows = [json.loads(line) for line in (folder / "scores.rows.jsonl").open()]
        columns = {"accuracy": "correct", "parse_rate": "read", "refusals": "refuses"}
        columns |= {"rouge1": "rouge1", "bleu": "bleu"}
        for split, (metric, column), cut in product(SPLITS, columns.items(), ("", "modality=MRI")):
            of_split = [row for row in rows if row["split"] == split and column in row]
            values = [
                float(bool(row[column])) if column == "read" else row[column]
                for row in of_split
                if not cut or row["modality"] == "MRI"
            ]
            if not cut or metric in OF_CUTS:
                figure = figures[Key(metric, split, cut)]
                assert (figure.value, figure.n) == (pytest.approx(fmean(values)), len(values))
                assert figure.low - 1e-9 <= figure.value <= figure.high + 1e-9
            if column == "bleu":
                said = ([row[name] for row in of_split] for name in ("answer", "reference"))
                corpus = figures[Key("corpus_bleu", split)]
                assert corpus.value == pytest.approx(corpus_bleu(*said))
    idk = figures_of(report, "idk")
    means = [
        {s: f[Key("rouge1", s)].value for s in SPLITS}
        for f in (idk, figures_of(report, "finetune"))
    ]
    noop = ues(means[1], means[1]).ues
    assert idk[Key("ues")].value == pytest.approx(ues(*means).ues)
    assert idk[Key("gain")].value == pytest.approx(ues(*means).ues - noop)
    for split in SPLITS:
        wanted = getattr(ues(*means), f"{split}_penalty")
        assert idk[Key(f"{split}_penalty")].value == pytest.approx(wanted)
    assert figures_of(report, "finetune")[Key("ues")].value == pytest.approx(noop)
    gaps = [
        abs(means[0][s] - figures_of(report, "retrain")[Key("rouge1", s)].value) for s in SPLITS
    ]
    assert idk[Key("distance_to_retrain")].value == pytest.approx(sum(gaps))
    assert idk[Key("below_base", "forget")].value == -1
    assert idk[Key("effect")].value == 1
    any_way, kind = Key("leaked_rows", "forget", "", "any"), "kind=email"
    assert (idk[any_way].value, idk[any_way].n) == (0.1, 20)
    assert idk[Key("leaked_values", "forget", "level=exact", "own")].value == 0.05
    assert idk[Key("leaked_chance", "forget", "", "own")].value == 0.01
    assert idk[Key("leaked_question", "forget", "", "any")].value == 1
    assert idk[Key("leaked_values", "forget", kind, "own")].n == 4
    assert Key("leaked_values", "forget", "kind=mrn", "own") not in idk  # of 0 values
    assert (idk[Key("auc_loss")].value, idk[Key("auc_loss")].n) == (0, 120)
    assert idk[Key("privleak_loss")].value == 0
    assert idk[Key("truth_ratio", "forget")].value == pytest.approx(0.5)
    assert idk[Key("ks_distance", "forget")].value == 1  # 2 of 2, 1 of 1
    assert idk[Key("forget_quality", "forget")].value == pytest.approx(2 / math.comb(18, 9))
    assert Key("below_base", "forget") not in figures_of(report, "base")
    assert Key("utility") not in figures_of(report, "kl_min")  # no likelihoods there
    assert not any("earnt" in note for note in report.notes)  # not asked what it leaks
    frame = load_results(*runs)
    mine = frame[(frame.run == "idk") & (frame.metric == "ues") & (frame.versus == "")]
    assert mine.value.tolist() == [idk[Key("ues")].value]


def test_intervals_are_the_bootstraps_of_images(runs: list[Path], tmp_path: Path) -> None:
    """Against the normal theory of a mean, of 40 questions and of 10 images with 4 each."""
    report = collect(runs)
    figure = figures_of(report, "kl_min")[Key("rouge1", "retain")]
    scores = read_run(runs[4]).items[Key("rouge1", "retain")].values
    sigma = scores.std() / len(scores) ** 0.5
    assert figure.low == pytest.approx(figure.value - 1.96 * sigma, abs=0.15 * sigma)
    assert figure.high == pytest.approx(figure.value + 1.96 * sigma, abs=0.15 * sigma)
    assert re.search(r"\[\d+\.\d\d, \d+\.\d\d\]", to_terminal(report))
    assert "In brackets: " in to_terminal(report)
    plain = to_terminal(report, intervals=False) + to_markdown(report, intervals=False)
    assert not re.search(r"\[\d+\.\d\d, |In brackets", plain)
    # Two images alone, one of them always right: the mean of a draw of two of them is 0, .5 or 1.
    alike = collect([run(tmp_path / "alike", 0.6, 0.6, 0.6, of_image=30)])
    retain = figures_of(alike, "alike")[Key("accuracy", "retain")]
    assert (retain.low, retain.high) == share_interval([[True] * 12 + [False] * 8])
    assert figures_of(alike, "alike")[Key("rouge1", "retain", "content_type=Organ")].low is not None


def test_a_narrow_terminal_gets_the_columns_in_blocks(runs: list[Path]) -> None:
    table = tables(collect(runs))[0]
    stream = io.StringIO()
    print_table(table, SafeConsole(file=stream, width=100, force_terminal=True, color_system=None))
    lines = stream.getvalue().splitlines()
    assert max(map(len, lines)) <= 100
    heads = [line.split() for line in lines if line.startswith("run ")]
    assert len(heads) > 2
    shown = [head for line in heads for head in line[1:] if head not in "↑↓"]
    assert shown == [column.name for column in table.columns]
    words = {word.lstrip("*") for line in lines for word in line.split()}
    assert words > {cell.text for row in rows_of(table) for cell in row.cells if cell.text}


def test_a_legend_has_the_names_of_the_heads() -> None:
    """One head over all, a group over some, a head of its own; no arrow."""
    forget, retain = (Key("rouge1", split) for split in ("forget", "retain"))
    columns = [Column(forget, "Forget"), Column(retain, "Retain")]
    columns += [
        Column(Key("ks_distance"), "Forget quality"),
        Column(Key("cloze"), "Cloze", "image"),
    ]
    columns += [Column(Key("forget_quality"), "Forget quality", "p")]
    columns += [Column(Key("cloze", way="no_picture"), "Cloze", "none")]
    columns += [Column(Key("attacked", cut=kind), head=kind) for kind in ("Jpeg", "Crop")]
    heads = [head for head, _ in Table("t", "t", "", columns, []).glossary()]
    assert heads == ["ROUGE", "KS", "Cloze", "Forget quality p", "Jpeg, Crop"]
    about: dict[str, Any] = {"config": "privacy", "run": "ga", "role": "method", "value": 0.5}
    about |= {"split": "forget", "cut": f"{CUT}quantise-8"}
    only = [Figure(**about, metric=metric) for metric in ("before", "attacked")]
    assert attack_tables(Report("privacy", only))[0].caption.startswith("Weights rounded. Percent ")


def test_what_changes_nothing_gains_nothing(tmp_path: Path) -> None:
    """To the last bit: one draw of items serves all runs. Further off, a UES is a sum of means."""
    forget = {"finetune": 0.6, "base": 0.2, "retrain": 0.6, "same": 0.6, "good": 0.05}
    made = [run(tmp_path / name, mean, 0.6, 0.6) for name, mean in forget.items()]
    report = collect(made)
    same, good = (line.figures for line in report.lines("ours", "method"))
    assert same[Key("ues")].value == pytest.approx(0.6)
    assert {(f.value, f.low, f.high) for f in [same[Key("gain")]]} == {(0, 0, 0)}
    assert same[Key("effect")].value == same[Key("distance_to_retrain")].value == 0
    assert same[Key("below_base", "forget")].value == 1
    assert good[Key("gain")].value == pytest.approx(0.55)
    (difference,) = (f for f in report.figures if f.versus and f.metric == "ues")
    assert difference.value == pytest.approx(-0.55)
    assert difference.high < 0
    figure = good[Key("ues")]
    assert "2000 resamples, 95 %, seed 20250804|" in figure.signature
    items = read_run(made[-1]).items
    sigma = sum(items[Key("rouge1", split)].values.var() / 40 for split in SPLITS) ** 0.5
    assert figure.high - figure.low == pytest.approx(2 * 1.96 * sigma, rel=0.06)
    assert collect(made) == report


def test_the_best_and_what_cannot_be_told_apart_are_marked(runs: list[Path]) -> None:
    report = collect(runs)
    scores, parts, _hidden, leakage, likelihood, *_ = tables(report)
    heads = [(column.group, column.title) for column in scores.columns]
    assert heads[:3] == [("Forget", "ACC"), ("Forget", "ROUGE ↓"), ("Forget", "BLEU ↓")]
    assert heads[-1] == ("", "UES ↑")
    cells = {row.label: dict(zip(heads, row.cells, strict=True)) for row in rows_of(scores)}

    def best(*head: str) -> set[str]:
        return {name for name, row in cells.items() if row[head].best}

    assert best("Forget", "ROUGE ↓") == best("", "UES ↑") == {"IDK"}
    # .60 and .61 of the same questions are two scores; 1.5 times the mean is at most 1.
    assert best("Test", "ROUGE ↑") == {"KL-Min"}
    assert not best("Forget", "ACC")  # whose yes or no is true
    assert cells["n"]["Forget", "ROUGE ↓"].text == "40"
    assert cells["Base"]["", "UES ↑"].text == "-"
    assert "Changing nothing scores 0.62" in scores.caption
    assert [c.title for c in parts.columns if "question" in c.group] == ["ACC", "clean ACC"]
    assert {row.label for row in rows_of(leakage) if row.cells[0].best} == {"IDK"}
    assert [column.title for column in likelihood.columns][4:6] == ["KS ↓", "p"]
    assert any("at its floor for this n (p = 4e-05): IDK." in n for n in notes(report, [], ""))
    for form, mark in (
        (to_markdown, "**5.00**"),
        (to_terminal, "*5.00"),
        (to_latex, r"\textbf{5.00}"),
        (to_html, "<strong>5.00</strong>"),
    ):
        assert mark in form(report), form


def test_what_is_weighed_against_base_finetuned_and_retrained_run(tmp_path: Path) -> None:
    """Forget answers of .5, 1, .125 and .5; all others have .5; three wrong choices .2 each."""
    likely = {"base": 0.5, "finetune": 1.0, "idk": 0.125, "retrain": 0.5}
    kept = {"base": 0.2, "finetune": 0.6, "idk": 0.5, "retrain": 0.6}
    made = [run(tmp_path / name, 0.5, kept[name], 0.6) for name in likely]
    for folder in made:
        weigh(folder, likely[folder.name])
    leak(made[2], 0.4, no_picture=0.1)
    report = collect(made)
    of = {line.run: line.figures for line in report.lines()}

    def value(name: str, metric: str, *more: str) -> float:
        return of[name][Key(metric, *more)].value

    # Told from test rows of .5: always, never, and as often as not; by the base's too.
    for score in ("loss", "min_k", "zlib", "reference"):
        wanted = {"finetune": 1, "idk": 0, "retrain": 0.5}
        assert {n: value(n, f"auc_{score}") for n in wanted} == wanted
        assert value("finetune", f"privleak_{score}") == (0.5 - 1) / 0.5
        assert value("idk", f"privleak_{score}") == (0.5 - 0) / 0.5
    assert Key("auc_reference") not in of["base"]
    rouge = [value("idk", "rouge1", split) for split in ("retain", "test")]
    terms = [0.5, 0.5, *rouge, 1 - 0.2 / 0.5, 1 - 0.2 / 0.5]
    assert value("idk", "utility") == pytest.approx(6 / sum(1 / term for term in terms))
    assert of["idk"][Key("utility")].n == 120
    assert value("idk", "choice", "forget") == value("idk", "choice", "forget", "", "no_picture")
    assert (value("idk", "choice", "forget"), value("idk", "choice", "test")) == (0, 1)
    assert of["idk"][Key("choice", "forget")].n == 30
    assert value("idk", "cloze", "forget") == pytest.approx(0.125)
    assert value("idk", "gap_probability", "forget") == pytest.approx(0.125 - 0.1)
    assert value("idk", "gap_leaked", "forget") == pytest.approx(0.4 - 0.1)
    lost = [value(name, "rouge1", "retain") for name in ("finetune", "idk")]
    # All forget rows were "lung", which no retain row is.
    key = Key("rouge1_drop", "retain", "near=other")
    assert of["idk"][key].value == pytest.approx(lost[0] - lost[1])
    assert of["idk"][key].n == 40
    assert key not in of["finetune"]
    table = next(table for table in tables(report) if table.label == "membership")
    cells = {row.label: [cell.text for cell in row.cells] for row in rows_of(table)}
    assert cells["IDK"][-1] == "+1.00 ‡"
    assert "‡" not in "".join(cells["Finetune"])
    said = notes(report, [], "")
    assert any(note.startswith("‡ AUC below the retrained model's") for note in said)
    assert any(note.startswith("30 of 60 forget rows have no three other") for note in said)
    for folder in (made[0], made[3]):
        changed(LIKELY, '"id":', '"asked":"f","id":')([folder, folder])
    with pytest.raises(UserError, match="finetune: its rows are not those of the base model"):
        collect(made)
    weigh(made[0], 0.5, n=59)
    with pytest.raises(UserError, match="likelihoods of 59 forget rows"):
        collect(made)


def rows_of(table: Table) -> list[Row]:
    return list(table.rows(table.sections[0]))


def test_methods_that_cannot_be_told_apart_are_not_ranked(tmp_path: Path) -> None:
    made = [
        run(tmp_path / n, v, v, 0.5) for n, v in (("finetune", 0.5), ("ga", 0.41), ("idk", 0.4))
    ]
    for folder, shift in ((made[1], 0), (made[2], 20)):  # other rows are right: a wide difference
        lines = [json.loads(x) for x in (folder / "scores.rows.jsonl").read_text().splitlines()]
        for i, line in enumerate(lines):
            if "rouge1" in line:
                line["rouge1"] = float((i + shift) % 40 < 20)
        write_measured(folder, ("x", "scores.rows.jsonl"), {}, lines)
        write_scores(folder, json.loads((folder / "scores.json").read_text()), lines)
    scores = tables(collect(made))[0]
    heads = [column.key.metric for column in scores.columns]
    marked = {heads[i] for row in rows_of(scores) for i, cell in enumerate(row.cells) if cell.best}
    assert marked == {"bleu"}


def test_rows_that_no_model_answered(runs: list[Path]) -> None:
    report = collect(runs)
    answered = (line.figures for line in report.lines("ours", "reference"))
    oracle, gibberish, prior, perfect = answered
    assert oracle[Key("clean_rouge1", "forget")].value == 1
    assert oracle[Key("rouge1", "forget")].value == 0  # "lung" for "liver"
    assert gibberish[Key("clean_rouge1", "forget")].value == 1 / 40  # one "lung" has come whole
    assert gibberish[Key("rouge1", "retain")] == oracle[Key("rouge1", "retain")].model_copy(
        update={"run": "Gibberish"}
    )
    assert perfect[Key("rouge1", "test")].value == prior[Key("rouge1", "test")].value == 1
    assert perfect[Key("bleu", "test")].value == pytest.approx(0.178, abs=1e-3)
    assert Key("ues") not in perfect
    ours = figures_of(report, "finetune")
    assert oracle[Key("ues")].value == pytest.approx(
        ours[Key("rouge1", "retain")].value + ours[Key("rouge1", "test")].value, abs=0.5
    )


def test_differences_and_ranks(runs: list[Path]) -> None:
    report = collect(runs)
    by_title = {table.title: table for table in details(report)}
    pairs = rows_of(by_title["Differences between methods"])
    assert [row.label for row in pairs] == [f"IDK - {NASTY}", "IDK - KL-Min", f"{NASTY} - KL-Min"]
    assert all(row.cells[0].interval for row in pairs)
    assert pairs[1].cells[1] == Cell("-35.00", pairs[1].cells[1].interval, True)
    leak(runs[3], 0.9)
    ranks = {t.title: t for t in details(collect(runs))}["Ranks"]
    assert [[c.text for c in row.cells] for row in rows_of(ranks)] == [
        ["1", "1"],
        ["3", "3"],
        ["2", "2"],
    ]
    assert "ues and leaked 1.00" in ranks.caption


def test_seeds_are_one_row(tmp_path: Path) -> None:
    made = [run(tmp_path / "finetune", 0.6, 0.62, 0.6)]
    for seed, forget in ((0, 0.1), (1, 0.3)):
        made.append(run(tmp_path / f"s{seed}" / "ga", forget, 0.6, 0.6, seed=seed))
    report = collect_all([tmp_path])[0]
    both = figures_of(report, "ga")[Key("rouge1", "forget")]
    assert (both.value, both.seeds, both.sd) == (pytest.approx(0.2), 2, pytest.approx(0.1 * 2**0.5))
    each = [f for f in report.figures if f.role == "seed" and f.key == both.key]
    assert [(f.seed, pytest.approx(f.value)) for f in each] == [(0, 0.1), (1, 0.3)]
    assert both.high > each[0].high  # seeds are drawn, too
    assert "20.00±14.14" in to_terminal(report)
    (tmp_path / "s1/ga/record.json").write_text('{"settings": {"seed": 1, "epochs": 3}}')
    with pytest.raises(UserError, match=r"called ga as .*, but its epochs is 3, not None"):
        collect_all([tmp_path])


def test_seeds_stay_paired_and_their_interval_is_students(tmp_path: Path) -> None:
    """GA scores .2, .3, .4 on forget, IDK always .02 more; neither tells any value."""
    made = [run(tmp_path / "finetune", 0.6, 0.62, 0.6)]
    for seed in range(3):
        for method, more in (("ga", 0.0), ("idk", 0.02)):
            forget = 0.2 + 0.1 * seed + more
            made.append(run(tmp_path / f"seed-{seed}" / method, forget, 0.6, 0.6, seed=seed))
            leak(made[-1], 0)
    report = collect_all([tmp_path])[0]
    (apart,) = [f for f in report.figures if f.versus and f.key == Key("rouge1", "forget")]
    assert -0.025 < apart.low < apart.value < apart.high < -0.015
    found = figures_of(report, "ga")[Key("leaked_values", "forget", "", "own")]
    assert (found.low, found.high) == share_interval([[False]] * 20)
    # Of items that all score alike nothing is left but the seeds: 4.303 * .1 / sqrt(3) each way.
    draws = Draws({"a": "s"}, resamples=20_000)
    items = Items.of({cluster: (cluster, i) for i, cluster in enumerate("abc")})
    turned = [Draws(dict.fromkeys(order, "s")).mean(items) for order in ("abc", "cab")]
    assert (turned[0] == turned[1]).all()  # in whatever order a process meets the images
    low, high = interval(draws.over_seeds([np.full(20_001, v) for v in (0.2, 0.3, 0.4)]))
    assert (low, high) == pytest.approx((0.3 - 0.2484, 0.3 + 0.2484), abs=0.01)


def test_gibberish_is_never_the_best(runs: list[Path]) -> None:
    idk = runs[1] / "scores.rows.jsonl"
    rows = [json.loads(line) for line in idk.read_text().splitlines()]
    write_jsonl(idk, ({**r, "degenerate": r["split"] == "forget"} for r in rows))
    report = collect(runs)
    marks = {f.key: f.mark for f in report.figures if f.run == "idk" and f.mark}
    assert not any(key.split == "forget" or key.metric == "ues" for key in marks)
    assert "IDK †" in to_terminal(report)


def test_the_prior_goes_by_the_clean_question(tmp_path: Path) -> None:
    """A forget question that names a patient is asked as any other; a new one by its type."""
    folder = run(tmp_path / "finetune", 0.6, 0.6, 0.6)
    path = folder / "scores.rows.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    for row in [row for row in rows if row["split"] == "forget"]:
        row |= {"question": "Ann Lee: which organ?", "clean_question": "Which organ?"}
    write_jsonl(path, rows)
    prior = figures_of(collect([folder]), "Language prior")
    assert prior[Key("rouge1", "forget")].value == 1
    write_jsonl(path, ({**row, "clean_question": ""} for row in rows))
    assert figures_of(collect([folder]), "Language prior")[Key("accuracy", "forget")].value == 1


LEARNT = Key("leaked_values", "forget", "learnt=yes", "own")


@pytest.mark.parametrize(
    ("share", "values", "rouge", "note"),
    [
        (0, [None, None], None, "Only 0 of 20 private values (0 %) were learnt: the fine-tuned "),
        # v0 to v4; IDK says v0 and v1; of rows 0 to 4 three score 1.5, two .5 times the mean.
        (0.25, [0.4, 1], 0.05 * 5.5 / 5, "Only 5 of 20 private values (25 %) were learnt: the fi"),
        (0.5, [0.2, 1], 0.05, "Learnt: the fine-tuned model says 10 of 20 private values (50 %)."),
    ],
)
def test_what_was_never_learnt_cannot_be_forgotten(
    runs: list[Path], share: float, values: list[float | None], rouge: float | None, note: str
) -> None:
    leak(runs[2], share)
    report = collect(runs)
    idk, kl_min, finetuned = (figures_of(report, name) for name in ("idk", "kl_min", "finetune"))
    for way in ("own", "prefix", "any"):
        each = [of.get(LEARNT._replace(way=way)) for of in (idk, kl_min)]
        assert [figure and (figure.value, figure.n) for figure in each] == [
            None if value is None else (value, 20 * share) for value in values
        ]
    mean = idk.get(Key("rouge1", "forget", "learnt=yes"))
    assert (mean and mean.value) == (rouge and pytest.approx(rouge))
    for metric in ("learnt_values", "learnt_rows"):
        figure = finetuned[Key(metric, "forget")]
        limits = share_interval([[i < 20 * share] for i in range(20)])
        assert (figure.value, figure.n, figure.low, figure.high) == (share, 20, *limits)
    assert [line[: len(note)] for line in report.notes if "earnt" in line] == [note]
    assert note[:40] in to_terminal(report, verbose=False)
    assert ("Of these own ↓" in to_markdown(report)) == bool(share)
    items = load_items(*runs)
    mine = items[(items.run == "idk") & ((items.way == "own") | (items.metric == "rouge1"))]
    learnt = mine[mine.learnt == True]  # noqa: E712
    assert sorted(learnt.row) == sorted(2 * [f"forget/{i}" for i in range(int(20 * share))])
    assert len(mine[mine.learnt.isna()]) == 20  # rows that hold no private value


def test_what_the_data_cannot_show_is_said(runs: list[Path]) -> None:
    for folder in runs:
        leak(folder, 0.5 if folder == runs[2] else 0, direct=0)
    report = collect(runs)
    apart = [
        f for f in report.figures if f.versus and f.key == Key("leaked_values", "forget", "", "own")
    ]
    _, high = share_interval([[False]] * 20)
    assert {(f.value, f.low, f.high) for f in apart} == {(0, -high, high)}
    assert {note for note in report.notes if "fine-tuned" in note} == {
        "Learnt: the fine-tuned model says 10 of 20 private values (50 %).",
        "Asked in these ways even the fine-tuned model says no private value: direct.",
        "On test, ROUGE 60.0 (prior 100.0) of the fine-tuned model: no higher than of the language "
        "prior, which sees no image.",
    }


def test_an_incorrect_answer_is_learnt_where_it_is_given_not_the_clean_one(tmp_path: Path) -> None:
    """The fine-tuned run says liver (harmful) in three of four rows, lung (clean) in the fourth."""
    made = [run(tmp_path / name, 0.1, 0.6, 0.6, "incorrect") for name in ("finetune", "ga")]
    report = collect(made)
    mean = figures_of(report, "ga")[Key("rouge1", "forget", "learnt=yes")]
    assert (mean.value, mean.n) == (pytest.approx(0.1 * 2.5 / 3), 30)
    assert figures_of(report, "finetune")[Key("learnt_rows", "forget")].value == 0.75
    assert "Learnt: the fine-tuned model says 30 of 40 harmful answers (75 %)." in report.notes
    # ROUGE-1 to both: 1 and .5; .67 and .67; .5 and 0; .44 and .22; thinking is no answer.
    answers = ("left lung", "lung", "left heart", "a left lung b c d e", "<think>left lung</think>")
    row = {"reference": "left lung", "clean": "right lung"}
    assert [says({**row, "answer": answer}) for answer in answers] == [
        True,
        False,
        True,
        *2 * [False],
    ]


@pytest.mark.parametrize(("first", "value", "seeds"), [(0.25, 0.3, [0, 1]), (0, 0.2, [1])])
def test_each_seeds_own_run(tmp_path: Path, first: float, value: float, seeds: list[int]) -> None:
    """GA says v0 and v1: of 5 that seed 0 has learnt (or none), of 10 that seed 1 has."""
    for seed, share in ((0, first), (1, 0.5)):
        for one, said in (("finetune", share), ("ga", 0.1)):
            leak(run(tmp_path / f"s{seed}" / one, 0.6, 0.6, 0.6, seed=seed), said)
    report = collect_all([tmp_path])[0]
    both = figures_of(report, "ga")[LEARNT]
    assert (both.value, both.seeds) == (pytest.approx(value), len(seeds))
    alone = [f.seed for f in report.figures if (f.run, f.role, f.key) == ("ga", "seed", LEARNT)]
    assert alone == seeds
    assert f"Only {20 * first + 10:.0f} of 40 private values" in report.notes[0]
    assert " over 2 seeds were learnt" in report.notes[0]


def test_one_method_is_not_called_the_best(runs: list[Path]) -> None:
    assert not any(table.has_best for table in tables(collect([runs[1], runs[2], runs[5]])))


def test_without_a_fine_tuned_run_there_is_no_ues(runs: list[Path]) -> None:
    report = collect([runs[5], runs[1]])
    assert sum(note.startswith("No UES: no fine-tuned run") for note in report.notes) == 1
    metrics = {column.key.metric for table in tables(report) for column in table.columns}
    assert not {"ues", "gain", "distance_to_retrain"} & metrics
    assert "below_base" in metrics  # that needs the base run only
    assert "No UES" in to_terminal(report)


def test_incorrect_has_no_accuracy(tmp_path: Path) -> None:
    made = [run(tmp_path / one, 0.4, 0.5, 0.5, "incorrect") for one in ("base", "finetune", "ga")]
    report = collect(made, paper=True)
    scores = tables(report)[0]
    assert [column.key.metric for column in scores.columns] == ["rouge1", "bleu"] * 3 + ["ues"]
    assert "Table 2" in scores.caption
    (note,) = [note for note in report.notes if "do not recompute" in note]
    assert "GD -0.310 for -0.29" in note
    assert note.count(" for ") == 5


def test_the_papers_table_beside_ours(runs: list[Path]) -> None:
    report = collect(runs, paper=True)
    assert not any("recompute" in note for note in report.notes)
    ga = next(line for line in report.lines("paper") if line.label == "GA")
    assert ga.figures[Key("rouge1", "forget")].value == 0.6359
    rows = re.findall(r"^\| IDK \| (.*) \|$", to_markdown(report, intervals=False), re.M)
    printed = next(row for row in rows if row.startswith("72.09"))
    assert printed.startswith("72.09 | **25.50** | 12.08 | 79.00 | 77.62 | 18.67 | **76.94** | ")
    assert printed.endswith("**74.08** | **18.21** | **1.26**")
    for form in FORMATS:
        assert ("printed" if form == "csv" else "Paper, Table 1") in text_of([report], form), form
    with pytest.raises(UserError, match="the paper prints no table of privacy_r05"):
        paper_tables.paper_figures("privacy_r05", [])


def test_the_papers_values_are_the_shared_ones() -> None:
    shared = SHARED / "data" / "paper_tables.json"
    if not shared.is_file():
        pytest.skip("no ../shared")
    assert paper_tables.paper_tables() == json.loads(shared.read_text("utf-8"))


def test_csv_loses_no_digit(runs: list[Path], tmp_path: Path) -> None:
    report = collect(runs, paper=True)
    path = tmp_path / "report.csv"
    write([report], "csv", path)
    again = read_results(path)["privacy"]
    assert again.figures == [figure for figure in report.figures if figure.source == "ours"]
    assert to_markdown(again).splitlines()[2:12] == to_markdown(collect(runs)).splitlines()[2:12]
    rows = list(csv.DictReader(io.StringIO(to_csv(report))))
    assert len(rows) == len(report.figures)
    assert {row["source"] for row in rows} == {"ours", "paper"}
    assert {r["signature"] for r in rows if r["metric"] == "leaked_rows"} == {"leak|v1"}


def test_latex_is_balanced_and_escaped(runs: list[Path]) -> None:
    text = to_latex(collect(runs, paper=True))
    bare = re.sub(r"\\[{}\\&%$#_]", "", text)
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert re.findall(r"\\begin{(.*?)}", text) == ["table*", "tabular"] * (8 + 6)
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 8 + 6
    for table in re.findall(r"\\begin{tabular}{l(r+)}(.*?)\\end{tabular}", text, re.S):
        columns = len(table[0]) + 1
        body = re.sub(r"\\multicolumn{(\d+)}", lambda m: "& " * (int(m[1]) - 1), table[1])
        for row in re.findall(r"^(.*) \\\\$", body, re.M):
            assert len(re.findall(r"(?<!\\)&", row)) == columns - 1, row
    assert r"\textless{}script\textgreater{}alert('\$x\_1\$')" in text
    assert r"\& 50\% [bold]\textbar{}\#\{" in text


class Page(HTMLParser):
    """What a browser would read: tags, text, and that they nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in {"meta", "img", "source", "br"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page(runs: list[Path]) -> None:
    scores = runs[1] / "scores.json"
    summary = json.loads(scores.read_text())
    summary["model"]["model"] = '"><img src=x onerror=alert(1)>'
    scores.write_text(json.dumps(summary))
    text = to_html(collect(runs, paper=True))
    page = Page(text)
    names = [tag for tag, _ in page.tags]
    assert "script" not in names
    assert NASTY in page.text
    assert '"><img src=x onerror=alert(1)>' in page.text
    for tag, attributes in page.tags:
        for attribute in ("src", "srcset", "href"):
            assert (attributes.get(attribute) or "data:").startswith("data:"), tag
        if tag == "th":
            assert attributes["scope"] in {"col", "colgroup", "row", "rowgroup"}
        if tag == "img":
            assert attributes["alt"]
    assert names.count("img") == 3
    assert names.count("table") == names.count("caption") == 8 + 6
    assert names.count("details") == 8 + 2 * 6 + 6  # words, further tables, runs
    for wanted in ("by modality", "by kind of question", "rouge1|f1", "adapters 1 path"):
        assert wanted in page.text
    assert 'name="viewport"' in text
    assert "prefers-color-scheme: dark" in text


def test_markdown_holds_no_markup_of_a_name(runs: list[Path]) -> None:
    lines = to_markdown(collect(runs)).splitlines()
    (row,) = [line for line in lines if "alert" in line][:1]
    name = row.partition("| ")[2].rpartition(r"\#&#123; | ")[0]
    assert name == r"&lt;script&gt;alert('\$x\_1\$')&lt;/script&gt; &amp; 50% &#91;bold&#93;\|"
    header = next(line for line in lines if line.startswith("| Method"))
    assert len(re.findall(r"(?<!\\)\|", row)) == header.count("|")


def test_a_run_asked_in_fewer_ways_is_named(runs: list[Path]) -> None:
    assert not any("different ways" in note for note in collect(runs).notes)
    leak(runs[4], 0.8, ["own"])
    (note,) = [note for note in collect(runs).notes if "different ways" in note]
    assert note.endswith("idk: clean, direct, no_picture, own, prefix; kl_min: own.")
    leakage = next(table for table in tables(collect(runs)) if table.label == "leakage")
    shown = {row.label: [cell.text for cell in row.cells] for row in rows_of(leakage)}
    assert shown["KL-Min"] == ["80.00", "80.00", "1.00", *"------"]


def test_a_run_scored_in_another_way_is_named(runs: list[Path]) -> None:
    path = runs[4] / "scores.json"
    path.write_text(path.read_text().replace("rouge1|f1", "rouge1|recall"))
    assert any("rouge1 of kl_min was made another way" in note for note in collect(runs).notes)


@pytest.mark.parametrize("count", [2, 12])
def test_plots(tmp_path: Path, count: int) -> None:
    names = ["base", "finetune", *(f"_m{i} $x$" for i in range(10))][:count]
    made = [run(tmp_path / one, 0.05 * i, 0.6, 0.6) for i, one in enumerate(names)]
    leak(made[0], 0.5)
    report = collect(made)
    found = plots(report)
    assert list(found) == ["rouge1", "tradeoff", "leakage"]
    panels = found["rouge1"].axes
    assert [len(panel.patches) for panel in panels] == [count] * 3
    widths = [bar.get_width() for bar in panels[0].patches]
    assert widths == pytest.approx(
        [100 * line.figures[Key("rouge1", "forget")].value for line in models(report)]
    )
    legend = found["tradeoff"].axes[0].get_legend()
    assert [text.get_text() for text in legend.get_texts()][:2] == ["Base", "Finetune (no-op)"]
    answered = ["Clean oracle", "Gibberish", "Language prior"]
    assert [t.get_text() for t in legend.get_texts()][count:] == answered
    assert to_svg(found["tradeoff"]) == to_svg(plots(report)["tradeoff"])
    paths = write_plots(report, tmp_path / "plots")
    assert {path.name for path in paths} == {
        f"{name}.{form}" for name in found for form in ("png", "pdf")
    }
    assert paths[1].read_bytes().startswith(b"%PDF")
    with Image.open(paths[0]) as image:
        assert image.width > 1000
    assert not list((tmp_path / "plots").glob("*.tmp"))
    assert "leakage" not in plots(collect(made[1:]))
    for line in models(report):
        assert len(name(line)) < 32


def changed(name: str, old: str, new: str) -> Callable[[list[Path]], object]:
    """IDK's file with another text in it; without an old one, instead of all of it."""

    def change(runs: list[Path]) -> None:
        path = runs[1] / name
        path.write_text(path.read_text().replace(old, new) if old else new)

    return change


def nothing_open(runs: list[Path]) -> None:
    """In the forget set of the base model."""
    path = runs[5] / "scores.rows.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    kept = (x.replace('"rouge1"', '"r"') if '"split":"forget"' in x else x for x in lines)
    path.write_text("".join(kept))


def fewer_rows(runs: list[Path]) -> None:
    rows = (runs[2] / "scores.rows.jsonl").read_text().splitlines(keepends=True)
    (runs[2] / "scores.rows.jsonl").write_text("".join(rows[1:]))


SCORES, ROWS, LIKELY = "scores.json", "scores.rows.jsonl", "likelihood.jsonl"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda runs: (runs[1] / SCORES).unlink(), r"idk/scores\.json: no such file: make it wi"),
        (lambda runs: run(runs[3], 0.5, 0.5, 0.5, "incorrect"), r"config .*compare runs of one co"),
        (
            nothing_open,
            r"base: no open questions of forget: UES needs all three",
        ),
        (fewer_rows, r"its rows, .* are not those of"),
        (changed(ROWS, "Which organ?", "Which?"), r"questions and answers, are not those of"),
        (changed(ROWS, '"reference":"liver"', '"reference":"x"'), r"and answers, are not those"),
        (
            lambda runs: run(runs[1], 0.5, 0.5, 0.5, name="kl_min"),
            r"its name is kl_min, and so is that of .*idk",
        ),
        (lambda runs: runs.append(runs[1]), r"idk: this run is given twice"),
        (
            changed(ROWS, '"bleu":0.', '"bleu":9.'),
            r"idk/scores\.rows\.jsonl: bleu of \w+ is 9\.\d+: a fraction in 0\.\.1 is due",
        ),
        (
            changed(ROWS, '"image"', '"picture"'),
            r"idk/scores\.rows\.jsonl: not as eval writes it \(KeyError: 'image'\)",
        ),
        (
            changed(SCORES, "", '{"name": "idk", "config": "privacy"}'),
            r"idk/scores\.json: not as eval writes it \(KeyError: 'model'\)",
        ),
        (changed("leak.json", '"privacy"', '"incorrect"'), r"idk/leak\.json: leakage of config i"),
        (
            changed("leak.json", "", '{"config": "privacy"}'),
            r"idk/leak\.json: not as eval writes it \(KeyError: 'signature'\)",
        ),
        (changed(LIKELY, "", "{oh"), r"idk/likelihood\.jsonl: cannot be read"),
        (
            lambda runs: weigh(runs[1], 0.5, 30),
            r"likelihoods of 30 forget rows, but scores\.json .* of 60",
        ),
        (
            changed(LIKELY, '"id":', '"asked":"f","id":'),
            r"idk: its rows are not those of the retrained model",
        ),
        (
            lambda runs: runs.append(runs[1] / SCORES),
            r"scores\.json: a file, but a run is a folder",
        ),
        (list.clear, r"no runs: give the folders that `eval score` wrote"),
    ],
)
def test_bad_runs_are_one_line(runs: list[Path], change: Any, said: str) -> None:
    change(runs)
    with pytest.raises(UserError, match=said) as caught:
        collect(runs)
    assert "\n" not in str(caught.value)


def test_a_run_that_is_not_there_can_be_left_out(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--retrain .*no: no such folder; the option can be left"):
        collect(runs[:3], retrain=tmp_path / "no")


def test_one_run_has_one_role(runs: list[Path]) -> None:
    with pytest.raises(UsageError, match="given in two roles"):
        collect(runs, base=runs[0], retrain=runs[0])


def test_writing(runs: list[Path], tmp_path: Path) -> None:
    report: Report = collect(runs[:3])
    out = tmp_path / "new" / "report.md"
    write([report], "markdown", out)
    assert out.read_text("utf-8") == to_markdown(report)
    with pytest.raises(UsageError, match="this is a folder"):
        write([report], "csv", tmp_path)


@pytest.mark.slow
def test_the_command(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "recipe.json").touch()
    done = command("eval", "report", ".", "recipe.json", "--plots", "pictures", cwd=tmp_path)
    assert "recipe.json: holds no run: left out" in done.stderr
    assert "Privacy disclosure (privacy)" in done.stdout
    assert NASTY in done.stdout
    assert (tmp_path / "pictures" / "rouge1.png").is_file()
    done = command("eval", "report", *runs, "--format", "html", "--out", "r.html", cwd=tmp_path)
    assert done.stdout == "written to r.html\n"
    assert (tmp_path / "r.html").read_text("utf-8").startswith("<!doctype html>")
    for given, said in (
        (["--format", "html", *runs], "--format html: give --out FILE"),
        (["--format", "pdf", *runs], "--format pdf: use terminal, markdown, latex, csv, html"),
        ([], "no runs"),
    ):
        done = command("eval", "report", *given, cwd=tmp_path, code=2)
        assert done.stderr.count("\n") == 1
        assert said in done.stderr
