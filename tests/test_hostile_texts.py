"""Texts of others steer no terminal, run in no spreadsheet, and are no markup in any page."""

import csv
import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from cases import cases
from corpora import command, make_clinic
from review_page import an_item, image_of
from test_deletion_requests import evidence_page
from test_eval_report import run
from test_markdown import MD

from builder.dataset_folder.card.front_matter import config_entries, head
from builder.review.page import render_page
from eval.hub_results import eval_results
from eval.report import to_csv, to_latex, to_markdown, to_terminal
from eval.report_html import to_html
from eval.report_templates import fill
from eval.results import Figure, Report, read_results
from mllmu_med.csv_tables import read_rows

CASES = cases(__file__)

HOSTILE = CASES["hostile"]
PLAIN = [f"plain {number}" for number in range(len(HOSTILE))]
#: Colours, the clipboard, a link, a bell, other directions, a return, an 8-bit CSI, half a pair.
STEERS = "a\x1b[31mb\x1b]52;c;eA==\x07c\x1b]8;;http://x\x1b\\d\u202ee\u2066f\rg\x9bh\x7fi"


class Shape(HTMLParser):
    """The elements of a page with their attributes, those that hold addresses with their values."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, Any]] = []
        self.feed(page.replace("<span></span>", ""))  # which keeps Markdown from making links
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        data = (value for value in dict(attrs).values() if (value or "").startswith("data:"))
        self.seen.append((tag, [name for name, _ in attrs] + [value[:20] for value in data]))

    def handle_endtag(self, tag: str) -> None:
        self.seen.append((f"/{tag}", []))

    def handle_comment(self, data: str) -> None:
        self.seen.append(("comment", data))


def report(names: list[str]) -> Report:
    """Figures of runs of these names, which also name a modality and how they were made."""
    figures = []
    for role, run_name in [
        ("base", "base"),
        ("finetune", "finetune"),
        *(("method", n) for n in names),
    ]:
        about = {"config": "privacy", "metric": "rouge1", "value": 0.5, "n": 3, "role": role}
        for split in ("forget", "retain", "test"):
            for cut in ("", f"modality={names[0]}"):
                signed = {"signature": f"s {run_name}", "cut": cut, "split": split}
                figures.append(Figure(**about, run=run_name, **signed))
        ues = {"metric": "ues", "value": -0.25, "low": -0.5, "high": 0.5}
        figures.append(Figure(**{**about, **ues}, run=run_name, versus=""))
    models = {name: {"model": name, name: [name]} for name in names}
    return Report("privacy", figures, models=models, notes=names)


def review_page(names: list[str]) -> str:
    fields = ("id", "modality", "image_id", "question", "clean_answer", "answer", "what_is_wrong")
    items = [an_item(n, **dict.fromkeys(fields, name)) for n, name in enumerate(names)]
    return render_page(items, image_of, names[0], "0123456789ab")


def leaderboard(names: list[str]) -> str:
    files = dict(zip(names, names, strict=True))
    refused = {name: [name, name] for name in names}
    return fill(
        "leaderboard.html", title=names[0], boards=[], files=files, others={names[0]: refused}
    )


def evidence(names: list[str]) -> str:
    with TemporaryDirectory() as place:
        return evidence_page([" ".join(name.split()) for name in names], Path(place))[0]


PAGES: dict[str, Callable[[list[str]], str]] = {
    "report": lambda names: to_html(report(names)),
    "review page": review_page,
    "leaderboard": leaderboard,
    "evidence": evidence,
    "report as Markdown": lambda names: MD.render(to_markdown(report(names))),
}


@pytest.mark.parametrize("page", PAGES)
def test_no_element_of_a_page_comes_from_a_text(page: str) -> None:
    assert Shape(PAGES[page](HOSTILE)).seen == Shape(PAGES[page](PLAIN)).seen


def test_no_command_of_latex_comes_from_a_text() -> None:
    tex = to_latex(report(HOSTILE))
    code = re.sub(r"(?m)^% .*$", "", tex)
    assert "\\input" not in code
    assert not re.search(r"(?m)^(?:input|#|\|)", tex)
    bare = re.sub(r"\\[\\{}&%$#_]", "", code)
    assert bare.count("{") == bare.count("}")
    assert "%" not in bare.replace("% needs", "")


def test_no_cell_is_a_formula_and_numbers_stay_numbers(tmp_path: Path) -> None:
    text = to_csv(report(HOSTILE))
    first, *cells = [cell for row in read_rows(text) for cell in row.cells]
    assert first == "source"
    for cell in cells:
        if cell.startswith(("=", "+", "-", "@", "\t", "\r")):
            float(cell)
    assert "-0.25" in cells
    path = tmp_path / "results.csv"
    path.write_text(text, "utf-8")
    back = read_results(path)["privacy"]
    assert {figure.run for figure in back.figures} == {"base", "finetune", *HOSTILE}
    assert len(list(csv.reader(io.StringIO(text)))) == len(back.figures) + 1


def test_yaml_for_the_hub_has_the_keys_that_we_wrote() -> None:
    for names in (HOSTILE, PLAIN):
        front = {"pretty_name": names[0], "license": names[1], "tags": names}
        text = head({**front, "configs": config_entries({n: {n: [n]} for n in names}, names[0])})
        read = yaml.safe_load(text.removeprefix("---\n").split("\n---\n")[0])
        assert {**read, "configs": 0} == {**front, "configs": 0}
        assert [entry["config_name"] for entry in read["configs"]] == names
    for name, text in eval_results(report(HOSTILE), "ORG/mllmu-med").items():
        assert re.fullmatch(r"[\w.-]+\.yaml", name)
        assert isinstance(yaml.safe_load(text), list)


def hostile_corpus(folder: Path) -> list[str]:
    make_clinic(folder)
    table = (folder / "patients.csv").read_text("utf-8")
    table = table.replace("organ", STEERS.replace("\r", "")).replace("withdrawn", f"x{STEERS[:9]}")
    (folder / "patients.csv").write_text(table, "utf-8")
    return ["builder", "corpus", "."]


def hostile_recipe(folder: Path) -> list[str]:
    (folder / "r.yaml").write_text(yaml.safe_dump({STEERS: {STEERS: 1}}))
    return ["builder", "rebuild", "--recipe", "r.yaml"]


def hostile_runs(folder: Path) -> list[str]:
    for name in ("base", "finetune", "odd"):
        run(folder / name, 0.5, 0.3, 0.5, name=STEERS if name == "odd" else name)
    return ["eval", "report", ".", "-v"]


COMMANDS: dict[str, Callable[[Path], list[str]]] = {
    "a file's name": lambda _: ["eval", "report", STEERS],
    "an option": lambda _: ["eval", "report", f"--{STEERS}"],
    "an option's value": lambda _: ["eval", "report", "--format", STEERS, "x"],
    "a corpus": hostile_corpus,
    "a recipe": hostile_recipe,
    "a run's name": hostile_runs,
    "a submission": lambda _: ["eval", "verify", f"{STEERS}.zip"],
}


@pytest.mark.parametrize("case", COMMANDS)
def test_no_text_steers_the_terminal(case: str, tmp_path: Path) -> None:
    done = command(*COMMANDS[case](tmp_path), cwd=tmp_path, code=None)
    said = done.stdout + done.stderr
    assert not re.search(r"[\0-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", said), said
    assert re.search(r"\\(?:u001b|x1b)", said)
    assert "Traceback" not in said


def test_a_report_as_a_file_steers_none() -> None:
    assert "\x1b" not in to_terminal(report([STEERS]))
