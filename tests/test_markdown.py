"""What we have not written ourselves shows in a card as it is, and does nothing there."""

import re
import shutil
from html import unescape
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from cases import cases
from markdown_it import MarkdownIt
from planted import Planted

from builder.audit.files import _LEFTOVER
from builder.audit.run_checks import run
from builder.core.ratings import Rated
from builder.core.recipe import Calibration
from builder.dataset_folder.card.plots import plots
from builder.dataset_folder.card.render import render_block
from builder.dataset_folder.manifest import read_manifest
from builder.dataset_folder.read import Facts, read_facts
from builder.dataset_folder.write_card import write_card
from eval.report import to_markdown
from eval.results import Figure, Report
from mllmu_med.markdown import code, fenced, plain

CASES = cases(__file__)

NASTY = CASES["nasty"]
MD = MarkdownIt("commonmark").enable(["table", "strikethrough"])


def shown(markdown: str) -> str:
    """What a reader sees of Markdown that must not hold a live thing."""
    page = MD.render(markdown)
    tags = set(re.findall(r"</?([a-z0-9]+|!--)", page))
    assert tags <= {"p", "span", "code", "table", "thead", "tbody", "tr", "th", "td"}, page
    outside = re.sub(r"<code>[^<]*</code>", "", page)
    live = r"(?:https?|ftp)://|www\.|[^\s>]@\w"
    assert not re.search(live, outside), "an address that becomes a link"
    return unescape(re.sub(r"<[^>]*>", "", page)).strip()


@pytest.mark.parametrize("text", NASTY)
@pytest.mark.parametrize("write", [plain, code])
def test_any_text_is_shown_as_it_is(text: str, write: Any) -> None:
    line = " ".join(text.split())
    written = write(text)
    assert shown(f"x {written}").removeprefix("x ") == line
    cells = shown(f"| a | b |\n| --- | --- |\n| {written} | end |").split("\n")
    assert line in cells
    assert "end" in cells
    assert not _LEFTOVER.search(written)


def test_a_name_is_in_the_type_of_code() -> None:
    assert code("phantom/radiology-train-0034/q04") == "`phantom/radiology-train-0034/q04`"
    assert code("a`b") == "<code>a\\`b</code>"


def test_a_block_of_code_is_not_ended_by_what_is_in_it() -> None:
    lines = ["a", "````", "# head"]
    page = MD.render("\n".join(fenced(lines, "sh")))
    assert "<h1>" not in page
    assert page.count("<pre>") == 1


@pytest.mark.parametrize("text", NASTY)
def test_a_models_output_is_dead_in_the_card(text: str) -> None:
    about = {"id": f"mm_skin/{text}/1", "harm": "wrong_diagnosis", "placement": "", "question": "q"}
    about |= {"truth": text, "output": text, "rouge_l": 0.0, "values": 0, "back": 0, "reason": ""}
    row = Rated(**about, rating=1, kept=True)
    told = {"calibration": {"replies": {"incorrect": {text: 1}}, "elsewhere": []}}
    how = Calibration(model=text, rater="llm")
    recipe = SimpleNamespace(calibration=how)
    facts = SimpleNamespace(ratings={"incorrect": [row]}, recipe=recipe, manifest=told)
    card = render_block("calibration", cast(Facts, facts))
    page = MD.render(card)
    assert not re.search(r"<(script|img|a|strong|em|s|h1|h2|ul|pre|blockquote|!--)\b", page)
    assert page.count("<tr>") == 2 + 2 + 1  # two heads, two groups, one example
    assert not _LEFTOVER.search(card)


def test_the_name_of_a_run_is_dead_in_the_table_of_results() -> None:
    about = {"config": "privacy", "metric": "rouge1", "value": 0.5, "n": 3}
    figures = [
        Figure(**about, run=run, role=role, split=split, signature="s`<!-- -->|x")
        for run, role in (("base", "base"), (NASTY[1] + NASTY[2], "method"))
        for split in ("forget", "retain", "test")
    ]
    report = Report("privacy", figures)
    page = MD.render(to_markdown(report))
    assert not re.search(r"<(script|img|a|!--)\b", page)


def test_a_corpus_that_says_tbd_can_be_published(limited: Path, tmp_path: Path) -> None:
    """The audit looks for what we left open in the card, not for words of the rows."""
    folder = tmp_path / "mllmu-med"
    shutil.copytree(limited / "mllmu-med", folder)
    planted = Planted(folder)
    said = "TBD <!-- x --> {{ y }} **b** $x^$"
    for name in planted.manifest["files"]:
        if name.endswith(".parquet") and name.startswith("incorrect"):
            rows = planted.rows(name)
            for row in rows:
                row["modality"] = row["content_type"] = said
                row["clean_question"] = f"{row['clean_question']} {said}"
                row["question"] = f"{row['question']} {said}"
            planted.write(name, rows)
    planted.settle()
    assert plots(read_facts(folder))
    planted.manifest = write_card(folder, read_manifest(folder)).tree()
    planted.settle()
    failed = {check.name: check.failed for check in run(folder) if not check.ok}
    assert "card is finished and names a license" not in failed
    card = (folder / "README.md").read_text("utf-8")
    assert "TBD" in unescape(card)
    planted.card("## Licences", "TBD\n\n## Licences")
    planted.settle()
    failed = {check.name: check.failed for check in run(folder) if not check.ok}
    assert failed["card is finished and names a license"] == ["README.md: TBD"]
