"""From the page in a real Chromium to the published rows: export, decide, import, rebuild."""

import json
from pathlib import Path

import pytest
from corpora import PLAIN, process
from playwright.sync_api import BrowserContext
from review_page import Reviewer

from eval.dataset_rows import read_rows
from mllmu_med.files import read_jsonl


@pytest.mark.slow
def test_what_the_page_decides_is_in_the_dataset(context: BrowserContext, tmp_path: Path) -> None:
    build = ["rebuild", *PLAIN, "--scenario", "incorrect", "--set", "incorrect.review=true"]
    build += ["--set", "incorrect.candidates=33"]
    waits = process("builder", *build, cwd=tmp_path, code=3)
    assert "33 of 33 texts wait for review" in waits.stderr
    process("builder", "review", "export", "--reviewers", "anna", cwd=tmp_path)

    anna = Reviewer(context, tmp_path / "mllmu-med.review" / "review-anna.html")
    for number in range(30):
        if number == 7:
            anna.keys("e", "Control+End")
            anna.type(" The lung is failing.")
            anna.keys("Control+Enter")
        elif number == 9:
            anna.keys("r", "2", "Enter")
        else:
            anna.keys("a")
    anna.keys("u")
    assert anna.text("count") == "29 of 33 decided"
    anna.reload()
    assert anna.text("count") == "29 of 33 decided"
    anna.keys("r", "5", "Enter", "a", "a", "a")
    assert anna.text("count") == "33 of 33 decided"
    anna.keys("Escape")  # the last page, which says what to do
    sent = anna.save_export(tmp_path)
    assert anna.troubles == []

    process("builder", "review", "import", sent, cwd=tmp_path)
    process("builder", *build, cwd=tmp_path)
    decided = {one["id"]: one for one in json.loads(sent.read_text("utf-8"))["decisions"]}
    verdicts = [one["decision"] for one in decided.values()]
    assert [verdicts.count(one) for one in ("accept", "edit", "reject")] == [30, 1, 2]
    forget = read_rows(tmp_path / "mllmu-med", "incorrect", ["forget"])
    assert len(forget) == 30
    words = {"accept": "accepted", "edit": "edited"}
    for row in forget:
        one = decided[row.id]
        assert row.review == words[one["decision"]]
        if one["decision"] == "edit":
            assert row.answer == one["answer"]
            assert row.answer.endswith(" The lung is failing.")
            assert row.clean_answer not in (row.answer, "")
    provenance = tmp_path / "mllmu-med" / "provenance"
    dropped = {one["id"]: one["reason"] for one in read_jsonl(provenance / "incorrect-drops.jsonl")}
    rejected = {one: dropped[one] for one, told in decided.items() if told["decision"] == "reject"}
    assert sorted(rejected.values()) == [
        "review: rejected (formatting)",
        "review: rejected (not wrong)",
    ]
    assert "anna" not in "".join(path.read_text("utf-8") for path in provenance.glob("*.json*"))
    card = (tmp_path / "mllmu-med" / "README.md").read_text("utf-8")
    assert "30 accepted" in card
