"""Reports: figures come from the files, the best are marked, names are only ever text."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpora import SHARED, command
from PIL import Image

from eval import paper_tables
from eval.collect_results import collect
from eval.plots import name, plots, to_svg, write_plots
from eval.report import FORMATS, to_csv, to_latex, to_markdown, to_terminal, write
from eval.report_html import to_html
from eval.report_tables import tables
from eval.results import Figure, Key, Report
from eval.score import summarise, write_scores
from eval.ues import compare, read_run
from mllmu_med_dataset import SPLITS, UsageError, UserError

NASTY = "<script>alert('$x_1$')</script> & 50% [bold]|#{"
KINDS = ("name", "phone", "email", "address", "date", "mrn")


def run(
    folder: Path, forget: float, retain: float, test: float, config: str = "privacy", **more: Any
) -> Path:
    """A scored run of 40 open and 20 closed rows a split, of about these mean scores."""
    rows: list[dict[str, Any]] = []
    for split, mean in zip(SPLITS, (forget, retain, test), strict=True):
        for i in range(60):
            row: dict[str, Any] = {
                "id": f"{split}/{i}",
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
            else:
                row |= {"read": "yes", "correct": i < 40 + 20 * mean}
            if config == "privacy" or i < 40:
                rows.append(row)
    summary = {
        "name": more.get("name", folder.name),
        "config": config,
        "model": {"model": "tiny", "adapters": [{"path": "ft", "weights": "ab"}]},
        "splits": summarise(rows),
        "signatures": {"rouge1": "rouge1|f1", "accuracy": "accuracy|closed"},
    }
    write_scores(folder, summary, rows)
    return folder


def leak(folder: Path, share: float, ways: Iterable[str] = ("own", "direct")) -> None:
    """A leak.json in which half as much leaks exactly, and more in fuzzy form."""

    def measure(n: int) -> dict[str, Any]:
        shares = {"exact": share / 2, "normalised": share, "fuzzy": min(1, share * 1.5)}
        return {**shares, "interval": {"normalised": [0, 1]}, "n": n, "chance": {"n": 0}}

    def way(times: int) -> dict[str, Any]:
        some = {what: measure(10 * times) for what in ("rows", "values", "persons", "others")}
        some["values"]["chance"] = {**measure(50 * times), "normalised": 0.02}
        return {**some, "by_kind": {kind: measure(i) for i, kind in enumerate(KINDS[:times])}}

    def all_ways() -> dict[str, Any]:
        return {"ways": {name: way(3) for name in ways}, "any_way": way(4)}

    found = {
        "name": folder.name,
        "config": "privacy",
        "model": {},
        "signature": "leak|v1",
        **all_ways(),
        "question_only": all_ways(),
        "by_person": {},
    }
    (folder / "leak.json").write_text(json.dumps(found))


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
    (tmp_path / "idk" / "likelihood.json").write_text(
        json.dumps(
            {
                "name": "idk",
                "signature": "tokens|v1",
                "probability": {"forget": {"value": 0.25, "n": 60}},
                "truth_ratio": {"value": 0.5, "n": 9},
                "attacks": {"loss": {"value": 0.625, "n": 120}, "min_k": {"value": 0.5, "n": 120}},
                "forget_quality": {"value": 1.5e-7, "n": 9},
            }
        )
    )
    return made


def test_the_order_and_names_of_the_paper(runs: list[Path]) -> None:
    report = collect(runs)
    labels = [line.label for line in report.lines]
    assert labels == ["Base", "Finetune", "IDK", NASTY, "KL-Min", "Retrain"]
    assert [line.role for line in report.lines][2:5] == ["method"] * 3
    other = collect(runs[1:5], base=runs[0], finetuned=runs[3])
    assert [line.label for line in other.lines] == [
        "Retrain (base)",
        f"{NASTY} (finetune)",
        "IDK",
        "Finetune",
        "KL-Min",
    ]
    assert [line.role for line in other.lines] == ["base", "finetune", "method", "method", "method"]


def test_every_figure_is_the_files(runs: list[Path]) -> None:
    report = collect(runs)
    by_name = {line.name: line for line in report.lines}
    for folder in runs:
        scores = json.loads((folder / "scores.json").read_text())
        line = by_name[scores["name"]]
        for split, found in scores["splits"].items():
            for metric in ("rouge1", "bleu", "accuracy", "corpus_bleu", "parse_rate", "refusals"):
                assert line.figures[Key(metric, split)] == Figure(**found[metric])
                part = found["by_modality"]["MRI"][metric]
                assert line.figures[Key(metric, split, "modality=MRI")] == Figure(**part)
    idk = by_name["idk"].figures
    (wanted,) = compare(
        [read_run(runs[1])], read_run(runs[2]), read_run(runs[5]), read_run(runs[0])
    )["runs"]
    assert idk[Key("ues")] == Figure(wanted["ues"])
    assert idk[Key("gain")] == Figure(wanted["gain"])
    assert idk[Key("distance_to_retrain")] == Figure(wanted["distance_to_retrain"])
    assert idk[Key("below_base", "forget")].value == 1
    assert idk[Key("leaked_rows", "forget", "way=any")] == Figure(0.1, 40)
    assert idk[Key("leaked_chance", "forget", "way=own")] == Figure(0.02, 150)
    assert idk[Key("leaked_question", "forget", "way=any")] == Figure(0.1, 40)
    assert idk[Key("leaked_values", "forget", "way=own,kind=email")] == Figure(0.1, 2)
    assert Key("leaked_values", "forget", "way=own,kind=name") not in idk  # of 0 values
    assert idk[Key("auc_loss")] == Figure(0.625, 120)
    assert idk[Key("forget_quality", "forget")] == Figure(1.5e-7, 9)
    assert Key("ues") not in by_name["finetune"].figures
    assert Key("below_base", "forget") not in by_name["base"].figures


def test_intervals_are_the_bootstraps(runs: list[Path]) -> None:
    report = collect(runs, intervals=True)
    idk = next(line for line in report.lines if line.name == "idk").figures
    (wanted,) = compare([read_run(runs[1])], read_run(runs[2]))["runs"]
    assert [idk[Key("ues")].low, idk[Key("ues")].high] == wanted["interval"]
    assert [idk[Key("gain")].low, idk[Key("gain")].high] == wanted["gain_interval"]
    # Against the normal theory of a mean of 40 scores.
    scores = np.array(list(read_run(runs[4]).rouge["retain"].values()))
    kl_min = next(line for line in report.lines if line.name == "kl_min").figures[
        Key("rouge1", "retain")
    ]
    sigma = scores.std() / len(scores) ** 0.5
    assert kl_min.low == pytest.approx(kl_min.value - 1.96 * sigma, abs=0.15 * sigma)
    assert kl_min.high == pytest.approx(kl_min.value + 1.96 * sigma, abs=0.15 * sigma)
    assert re.search(r"\[\d+\.\d\d, \d+\.\d\d\]", to_terminal(report))
    assert all(one.low is None for line in collect(runs).lines for one in line.figures.values())


def test_the_best_of_the_methods_are_marked(runs: list[Path]) -> None:
    scores, hidden, leakage = tables(collect(runs))
    heads = [(column.group, column.head) for column in scores.columns]
    assert heads[:3] == [("Forget", "ACC"), ("Forget", "ROUGE"), ("Forget", "BLEU")]
    assert heads[-1] == ("", "UES")
    cells = {
        line.name: dict(zip(heads, row, strict=True))
        for line, row in scores.rows(scores.sections[0])
    }
    assert {n for n, row in cells.items() if row["Forget", "ROUGE"].best} == {"idk"}
    # Both print .60 on retain; finetune and retrain are higher but no unlearning methods.
    assert {n for n, row in cells.items() if row["Retain", "ROUGE"].best} == {"idk", "kl_min"}
    assert {n for n, row in cells.items() if row["Test", "ROUGE"].best} == {"kl_min"}
    assert {n for n, row in cells.items() if row["", "UES"].best} == {"idk"}
    assert cells["base"]["", "UES"].text == "-"
    shown = {
        line.name: [cell.text for cell in row] for line, row in hidden.rows(hidden.sections[0])
    }
    assert shown["idk"][1:4] == ["yes", "0.00", "20.00"]
    assert {line.name for line, row in leakage.rows(leakage.sections[0]) if row[0].best} == {"idk"}
    assert "(own 30 rows, 30 values; any 40 rows, 40 values)" in leakage.caption
    assert "| **2.50** |" not in to_markdown(collect(runs))
    assert "**5.00**" in to_markdown(collect(runs))
    assert "*5.00" in to_terminal(collect(runs))
    assert r"\textbf{5.00}" in to_latex(collect(runs))
    assert "<strong>5.00</strong>" in to_html(collect(runs))


def test_one_method_is_not_called_the_best(runs: list[Path]) -> None:
    assert "**" not in to_markdown(collect([runs[1], runs[2], runs[5]]))


def test_without_a_fine_tuned_run_there_is_no_ues(runs: list[Path]) -> None:
    report = collect([runs[5], runs[1]])
    assert sum(note.startswith("No UES: no fine-tuned run") for note in report.notes) == 1
    columns = [column.head for table in tables(report) for column in table.columns]
    assert not {"UES", "gain", "distance"} & set(columns)
    assert "< base" in columns  # that needs the base run only
    assert "No UES" in to_terminal(report)


def test_incorrect_has_no_accuracy(tmp_path: Path) -> None:
    some = [run(tmp_path / one, 0.4, 0.5, 0.5, "incorrect") for one in ("base", "finetune", "ga")]
    report = collect(some, paper=True)
    (scores, _hidden) = tables(report)
    assert [column.head for column in scores.columns] == ["ROUGE", "BLEU"] * 3 + ["UES"]
    assert "Table 2" in scores.caption
    (note,) = [note for note in report.notes if "do not recompute" in note]
    assert "GD -0.310 for -0.29" in note
    assert note.count(" for ") == 5


def test_the_papers_table_beside_ours(runs: list[Path]) -> None:
    report = collect(runs, paper=True)
    assert not any("recompute" in note for note in report.notes)
    ga = next(line for line in report.paper if line.label == "GA")
    assert ga.figures[Key("rouge1", "forget")].value == 0.6359
    rows = re.findall(r"^\| IDK \| (.*) \|$", to_markdown(report), re.M)
    assert rows[1].startswith("72.09 | **25.50** | 12.08 | 79.00 | 77.62 | 18.67 | **76.94** | ")
    assert rows[1].endswith("**74.08** | **18.21** | **1.26**")
    for form, render in FORMATS.items():
        assert ("printed" if form == "csv" else "Paper, Table 1") in render(report), form
    with pytest.raises(UserError, match="the paper prints no table of privacy_r05"):
        paper_tables.paper_lines("privacy_r05", [])


def test_the_papers_values_are_the_shared_ones() -> None:
    shared = SHARED / "data" / "paper_tables.json"
    if not shared.is_file():
        pytest.skip("no ../shared")
    assert paper_tables.paper_tables() == json.loads(shared.read_text("utf-8"))


def test_csv_loses_no_digit(runs: list[Path]) -> None:
    report = collect(runs, intervals=True, paper=True)
    rows = list(csv.DictReader(io.StringIO(to_csv(report))))
    for source, lines in (("ours", report.lines), ("paper", report.paper)):
        for line in lines:
            mine = [r for r in rows if (r["source"], r["run"]) == (source, line.name)]
            read = {
                Key(r["metric"], r["split"], r["part"]): Figure(
                    float(r["value"]),
                    int(r["n"] or 0),
                    float(r["low"]) if r["low"] else None,
                    float(r["high"]) if r["high"] else None,
                )
                for r in mine
            }
            assert read == line.figures
    assert {r["signature"] for r in rows if r["metric"] == "leaked_rows"} == {"leak|v1|normalised"}


def test_latex_is_balanced_and_escaped(runs: list[Path]) -> None:
    text = to_latex(collect(runs, intervals=True, paper=True))
    bare = re.sub(r"\\[{}\\&%$#_]", "", text)
    depth = 0
    for character in bare:
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
    assert re.findall(r"\\begin{(.*?)}", text) == ["table*", "tabular"] * 3
    assert text.count(r"\toprule") == text.count(r"\bottomrule") == 3
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
    assert names.count("img") == names.count("source") == 3
    assert names.count("table") == names.count("caption") == 3 + 4
    assert names.count("details") == 4 + 6  # tables, runs
    for wanted in ("By modality", "By kind of question", "rouge1|f1", "adapters 1 path"):
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
    assert note.endswith("IDK: direct, own; KL-Min: own.")


def test_a_run_scored_in_another_way_is_named(runs: list[Path]) -> None:
    path = runs[4] / "scores.json"
    path.write_text(path.read_text().replace("rouge1|f1", "rouge1|recall"))
    assert any("rouge1 of kl_min was made another way" in note for note in collect(runs).notes)


@pytest.mark.parametrize("count", [2, 12])
def test_plots(tmp_path: Path, count: int) -> None:
    names = ["base", "finetune", *(f"_m{i} $x$" for i in range(10))][:count]
    made = [run(tmp_path / one, 0.05 * i, 0.6, 0.6) for i, one in enumerate(names)]
    leak(made[0], 0.5)
    report = collect(made, intervals=True)
    found = plots(report)
    assert list(found) == ["rouge1", "tradeoff", "leakage"]
    panels = found["rouge1"].axes
    assert [len(panel.patches) for panel in panels] == [count] * 3
    widths = [bar.get_width() for bar in panels[0].patches]
    assert widths == pytest.approx(
        [100 * line.figures[Key("rouge1", "forget")].value for line in report.lines]
    )
    legend = found["tradeoff"].axes[0].get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()][:2] == ["Base", "Finetune (no-op)"]
    assert len(legend.get_texts()) == count
    assert to_svg(found["tradeoff"]) == to_svg(plots(report)["tradeoff"])
    paths = write_plots(report, tmp_path / "plots")
    assert [path.name for path in paths] == ["rouge1.png", "tradeoff.png", "leakage.png"]
    with Image.open(paths[0]) as image:
        assert image.width > 1000
    assert not list((tmp_path / "plots").glob("*.tmp"))
    assert "leakage" not in plots(collect(made[1:]))
    for line in report.lines:
        assert len(name(line)) < 32


def no_scores(runs: list[Path]) -> None:
    (runs[1] / "scores.json").unlink()


def other_config(runs: list[Path]) -> None:
    run(runs[1], 0.5, 0.5, 0.5, "incorrect")


def fewer_rows(runs: list[Path]) -> None:
    rows = (runs[1] / "scores.rows.jsonl").read_text().splitlines(keepends=True)
    (runs[1] / "scores.rows.jsonl").write_text("".join(rows[1:]))


def same_name(runs: list[Path]) -> None:
    run(runs[1], 0.5, 0.5, 0.5, name="kl_min")


def percents(runs: list[Path]) -> None:
    path = runs[1] / "scores.json"
    summary = json.loads(path.read_text())
    summary["splits"]["test"]["bleu"]["value"] = 14.5
    path.write_text(json.dumps(summary))


def no_splits(runs: list[Path]) -> None:
    (runs[1] / "scores.json").write_text('{"name": "idk", "config": "privacy", "model": {}}')


def leak_of_another_config(runs: list[Path]) -> None:
    path = runs[1] / "leak.json"
    path.write_text(path.read_text().replace('"privacy"', '"incorrect"'))


def half_a_leak(runs: list[Path]) -> None:
    (runs[1] / "leak.json").write_text('{"config": "privacy", "ways": {"own": {}}, "any_way": {}}')


def no_json(runs: list[Path]) -> None:
    (runs[1] / "likelihood.json").write_text("{oh")


def likelihood_of_another_config(runs: list[Path]) -> None:
    path = runs[1] / "likelihood.json"
    path.write_text(path.read_text().replace('"n": 60', '"n": 30'))


def a_file(runs: list[Path]) -> None:
    runs.append(runs[1] / "scores.json")


def twice(runs: list[Path]) -> None:
    runs.append(runs[1])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (no_scores, r"idk/scores\.json: no such file: make it with `python -m eval score"),
        (other_config, r"scores of config .*compare runs of one config"),
        (fewer_rows, r"its forget rows are not those of"),
        (same_name, r"its name is kl_min, and so is that of .*idk"),
        (twice, r"idk: this run is given twice"),
        (percents, r"idk/scores\.json: bleu of test is 14\.5: a fraction in 0\.\.1 is due"),
        (no_splits, r"idk/scores\.json: not as eval writes it \(KeyError: 'splits'\)"),
        (leak_of_another_config, r"idk/leak\.json: leakage of config incorrect"),
        (half_a_leak, r"idk/leak\.json: not as eval writes it \(KeyError: 'question_only'\)"),
        (no_json, r"idk/likelihood\.json: cannot be read"),
        (likelihood_of_another_config, r"likelihoods of 30 forget rows, but scores\.json .* of 60"),
        (a_file, r"scores\.json: a file, but a run is a folder: leave it out"),
        (list.clear, r"no runs: give the folders that `eval score` wrote"),
    ],
)
def test_bad_runs_are_one_line(
    runs: list[Path], change: Callable[[list[Path]], None], said: str
) -> None:
    change(runs)
    with pytest.raises(UserError, match=said) as caught:
        collect(runs)
    assert "\n" not in str(caught.value)


def test_one_run_has_one_role(runs: list[Path]) -> None:
    with pytest.raises(UsageError, match="given in two roles"):
        collect(runs, base=runs[0], retrain=runs[0])


def test_writing_is_all_or_nothing(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report: Report = collect(runs[:3])
    out = tmp_path / "new" / "report.md"
    write(report, "markdown", out)
    assert out.read_text("utf-8") == to_markdown(report)

    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="disk full"):
        write(report, "csv", out)
    assert out.read_text("utf-8") == to_markdown(report)
    with pytest.raises(UsageError, match="this is a folder"):
        write(report, "csv", tmp_path)


@pytest.mark.slow
def test_the_command(runs: list[Path], tmp_path: Path) -> None:
    done = command("eval", "report", *runs, "--intervals", "--plots", "pictures", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Privacy disclosure (privacy)" in done.stdout
    assert NASTY in done.stdout
    assert (tmp_path / "pictures" / "rouge1.png").is_file()
    done = command("eval", "report", *runs, "--format", "html", "--out", "r.html", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert (tmp_path / "r.html").read_text("utf-8").startswith("<!doctype html>")
    for given, said in (
        (["--format", "html", *runs], "--format html: give --out FILE"),
        (["--format", "pdf", *runs], "--format pdf: use terminal, markdown, latex, csv, html"),
        ([], "no runs"),
    ):
        done = command("eval", "report", *given, cwd=tmp_path)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert said in done.stderr
