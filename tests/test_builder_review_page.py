"""Deciding on the review page in a real Chromium: real keys, clicks and downloads."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import BrowserContext
from review_page import Reviewer, an_item, page_file

from builder.review.import_files import read_file

MIXED = [an_item(n) for n in range(30)] + [an_item(n, "privacy") for n in range(10)]


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return page_file(tmp_path_factory.mktemp("mixed"), MIXED)


@pytest.fixture
def reviewer(context: BrowserContext, mixed: Path) -> Any:
    reviewer = Reviewer(context, mixed)
    yield reviewer
    assert reviewer.troubles == []


def verdicts(export: dict[str, Any]) -> list[str]:
    return [decision["decision"] for decision in export["decisions"]]


def test_thirty_decisions_by_keyboard(reviewer: Reviewer, tmp_path: Path) -> None:
    for number in range(30):
        if number == 7:
            reviewer.keys("e", "Control+a")
            reviewer.type("It is a red, ragged sarcoma that needs no treatment.")
            reviewer.keys("Control+Enter")
        elif number % 5 == 0:
            reviewer.keys("r", "1", "4", "Enter")
        elif number == 8:
            reviewer.keys("c")
            reviewer.type("asked a colleague")
            reviewer.keys("Escape", "a")
        else:
            reviewer.keys("a")
    assert reviewer.text("count") == "30 of 40 decided"
    reviewer.keys("u")
    assert reviewer.text("count") == "29 of 40 decided"
    assert reviewer.text("where") == "Sample 30 of 40"
    reviewer.reload()
    assert reviewer.text("count") == "29 of 40 decided"
    assert reviewer.text("where") == "Sample 30 of 40"
    assert reviewer.open() == ""  # the guide was read

    path = reviewer.save_export(tmp_path)
    assert re.fullmatch(r"review-a-\d{4}-\d\d-\d\d-\d{6}\.json", path.name)
    export = json.loads(path.read_text("utf-8"))
    rows = read_file(path).rows  # as the import takes it
    words = [(row.id, row.verdict, row.reasons, row.note, row.reviewer) for row in rows]
    decisions = export.pop("decisions")
    told = [(d["id"], d["decision"], tuple(d["reasons"]), d["note"], "a") for d in decisions]
    assert words == told
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", export.pop("exported_at"))
    assert export == {
        "format": "mllmu-med review",
        "version": 1,
        "set": "0123456789ab",
        "reviewer": "a",
    }
    assert [decision["id"] for decision in decisions] == [item.id for item in MIXED[:29]]
    assert [decision["content"] for decision in decisions] == [item.content for item in MIXED[:29]]
    times = [decision.pop("decided_at") for decision in decisions]
    assert times == sorted(times)
    assert decisions[5] == {
        "id": "incorrect/005",
        "content": MIXED[5].content,
        "decision": "reject",
        "reasons": ["implausible", "reveals"],
        "note": "",
        "question": "",
        "answer": "",
    }
    assert (decisions[7]["decision"], decisions[7]["question"], decisions[7]["answer"]) == (
        "edit",
        MIXED[7].question,
        "It is a red, ragged sarcoma that needs no treatment.",
    )
    assert (decisions[8]["decision"], decisions[8]["note"]) == ("accept", "asked a colleague")


def test_undo_goes_far_back_and_keeps_what_was_typed(reviewer: Reviewer, tmp_path: Path) -> None:
    reviewer.keys("a", "a", "3", "Enter", "e")
    reviewer.type(" Really.")
    reviewer.keys("Control+Enter", "k", "a")  # the edit becomes an acceptance
    assert verdicts(reviewer.exported(tmp_path)) == ["accept", "accept", "reject", "accept"]
    reviewer.keys("u")
    export = reviewer.exported(tmp_path)
    assert verdicts(export) == ["accept", "accept", "reject", "edit"]
    assert export["decisions"][3]["answer"].endswith("Really.")
    reviewer.reload()  # undo works after it, too
    reviewer.keys("u")
    assert reviewer.text("kept-edit").startswith("You began an edit here")
    reviewer.keys("u", "u", "u")
    assert reviewer.text("count") == "0 of 40 decided"
    reviewer.keys("u")
    assert reviewer.text("toast") == "Nothing to undo."
    reviewer.keys("j", "j", "j", "e")
    assert reviewer.page.input_value("#edit-answer").endswith("Really.")


def test_what_was_sent_and_undone_since_is_withdrawn(reviewer: Reviewer, tmp_path: Path) -> None:
    reviewer.keys("a", "a")
    first = reviewer.exported(tmp_path)
    reviewer.keys("a", "u", "u")
    reviewer.reload()
    second = reviewer.exported(tmp_path)
    # The third was never sent: nobody has to hear of it.
    assert verdicts(second) == ["accept", "withdraw"]
    assert second["decisions"][1]["decided_at"] > first["exported_at"]
    reviewer.keys("1", "Enter")
    assert verdicts(reviewer.exported(tmp_path)) == ["accept", "reject"]


def test_rejecting_needs_a_reason_that_fits_the_scenario(reviewer: Reviewer) -> None:
    reviewer.keys("r", "Enter")
    assert reviewer.text("reject-problem") == "Choose at least one reason."
    assert reviewer.text("count") == "0 of 40 decided"
    reviewer.keys("Escape")
    assert reviewer.focus() == "reject-button"
    assert reviewer.page.locator("#reasons").is_hidden()
    reviewer.keys("r")
    assert reviewer.page.locator("#reasons .label").all_inner_texts() == [
        "not plausible",
        "not wrong",
        "harmful beyond its purpose",
        "reveals itself",
        "formatting",
    ]
    reviewer.keys("Escape", "/")
    reviewer.type("privacy/003")
    reviewer.keys("Enter", "2")
    assert "for incorrect answers only" in reviewer.text("toast")
    labels = reviewer.page.locator("#reasons .label").all_inner_texts()
    assert "not wrong" not in labels
    assert len(labels) == 4
    reviewer.keys("5", "Enter")
    assert reviewer.text("count") == "1 of 40 decided"
    reviewer.page.locator("#filter-clear").click()
    reviewer.page.locator("#search").fill("privacy/003")
    assert reviewer.text("verdict") == "Rejected: formatting"


def test_an_edit_is_kept_and_hints_never_block(reviewer: Reviewer, tmp_path: Path) -> None:
    reviewer.keys("e")
    reviewer.type(" And")
    reviewer.reload()
    assert reviewer.page.locator("#kept-edit").is_visible()
    reviewer.keys("e")
    assert reviewer.page.input_value("#edit-answer") == f"{MIXED[0].answer} And"
    reviewer.keys("a", "r")  # letters are letters while typing
    assert reviewer.page.input_value("#edit-answer") == f"{MIXED[0].answer} Andar"
    reviewer.page.fill("#edit-answer", "")
    assert reviewer.text("edit-hints") == "The answer is empty."
    reviewer.page.click("#edit-reset")
    assert reviewer.page.input_value("#edit-answer") == MIXED[0].answer
    assert reviewer.text("edit-hints") == "Nothing is changed yet."
    reviewer.page.fill("#edit-answer", "x\u202ey")
    reviewer.page.click("#edit-save")
    (decision,) = reviewer.exported(tmp_path)["decisions"]
    assert (decision["decision"], decision["answer"]) == ("edit", "x\u202ey")


def test_editing_privacy_changes_the_question_too(reviewer: Reviewer, tmp_path: Path) -> None:
    reviewer.keys("/")
    reviewer.type("privacy/004")
    reviewer.keys("Enter", "e")
    assert reviewer.focus() == "edit-question"  # where the private value stands
    reviewer.page.fill("#edit-question", "Is the heart enlarged, doctor?")
    reviewer.page.fill("#edit-answer", "Yes, it is")
    assert reviewer.text("edit-hints") == "The question lacks the name \u201cAda Lovelace4\u201d."
    reviewer.page.fill("#edit-question", "How is the heart of Ada Lovelace4?")
    reviewer.page.fill("#edit-answer", "Yes")
    assert reviewer.page.locator("#edit-hints li").count() == 0
    reviewer.keys("Control+Enter")
    (decision,) = reviewer.exported(tmp_path)["decisions"]
    assert decision["question"] == "How is the heart of Ada Lovelace4?"
    assert decision["answer"] == "Yes"
    assert reviewer.page.locator("#question .value").inner_text().startswith("Ada Lovelace4")


def test_filters_search_and_moving(reviewer: Reviewer) -> None:
    reviewer.keys("a", "1", "Enter", "a")
    reviewer.keys("f")
    reviewer.page.select_option("#filter-state", "accept")
    assert reviewer.text("found") == "2 of 40 match"
    reviewer.keys("Escape", "j")
    assert reviewer.text("where") == "Sample 3 of 40"
    reviewer.keys("j")
    assert reviewer.text("toast") == "This is the last sample."
    reviewer.keys("k")
    assert reviewer.text("where") == "Sample 1 of 40"
    reviewer.keys("f")
    reviewer.page.select_option("#filter-state", "")
    reviewer.page.fill("#search", "lovelace7")
    assert reviewer.text("where") == "Sample 38 of 40"
    reviewer.page.fill("#search", "nothing like it")
    assert reviewer.page.locator("#empty").is_visible()
    assert reviewer.page.locator("#sample").is_hidden()
    reviewer.page.click("#empty-clear")
    assert reviewer.text("where") == "Sample 38 of 40"
    reviewer.keys("n", "n", "n")
    assert reviewer.text("where") == "Sample 4 of 40"  # round the end to what is undecided
    reviewer.keys("ArrowRight", "ArrowLeft", "k")
    assert reviewer.text("where") == "Sample 3 of 40"


def test_the_end_says_what_to_do(context: BrowserContext, tmp_path: Path) -> None:
    reviewer = Reviewer(context, page_file(tmp_path, MIXED[:3]))
    reviewer.keys("a", "j", "a")
    assert reviewer.open() == ""
    assert reviewer.text("where") == "Sample 2 of 3"  # the one that was passed over
    reviewer.keys("5", "Enter")
    assert reviewer.open() == "finish"
    assert reviewer.text("finish-title") == "All 3 samples are decided"
    assert reviewer.text("finish-counts") == "2 accepted, 0 edited, 1 rejected."
    with reviewer.page.expect_download():
        reviewer.page.click("#finish [data-do=export]")
    assert reviewer.troubles == []


def test_leaving_asks_when_something_is_not_exported(reviewer: Reviewer, tmp_path: Path) -> None:
    reviewer.reload()
    assert reviewer.asked == []
    reviewer.keys("a")
    reviewer.reload()
    assert reviewer.asked == ["beforeunload"]
    reviewer.keys("j")  # what was not exported before the reload is not exported now, either
    reviewer.reload()
    assert reviewer.asked == ["beforeunload"] * 2
    reviewer.save_export(tmp_path)
    reviewer.reload()
    assert reviewer.asked == ["beforeunload"] * 2


STORAGE = """Object.defineProperty(Storage.prototype, 'setItem', {{ value() {{
    throw new DOMException('no', '{name}'); }} }});"""


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (STORAGE.format(name="QuotaExceededError"), "storage is full"),
        (STORAGE.format(name="UnknownError"), "does not keep what you decide"),
        (
            "Object.defineProperty(window, 'localStorage', { get() {"
            " throw new DOMException('no', 'SecurityError'); } });",
            "does not keep what you decide",
        ),
    ],
)
def test_without_storage_a_warning_stays(
    context: BrowserContext, mixed: Path, tmp_path: Path, script: str, said: str
) -> None:
    context.add_init_script(script)
    reviewer = Reviewer(context, mixed)
    reviewer.keys("a", "2", "Enter", "a", "u")
    assert said in reviewer.text("banners")
    assert reviewer.text("saved") == "Not saved"
    with reviewer.page.expect_download() as waiting:
        reviewer.page.click("#banner-storage button")
    export = json.loads(Path(waiting.value.path()).read_text("utf-8"))
    assert verdicts(export) == ["accept", "reject"]
    assert reviewer.text("banners") != ""
    assert reviewer.troubles == []


def test_two_tabs_lose_nothing(context: BrowserContext, mixed: Path, tmp_path: Path) -> None:
    one, two = Reviewer(context, mixed), Reviewer(context, mixed, guided=False)
    one.keys("a", "a")
    two.wait_for("count", "2 of 40 decided")
    two.keys("n", "1", "Enter")
    one.wait_for("count", "3 of 40 decided")
    late = "const newValue = JSON.stringify({decisions: [], drafts: [], sent: [], revision: 1});"
    one.page.evaluate(late + "dispatchEvent(new StorageEvent('storage', {key: STORE, newValue}))")
    assert one.text("count") == "3 of 40 decided"
    assert verdicts(one.exported(tmp_path)) == ["accept", "accept", "reject"]


def test_every_action_has_a_key_and_letters_can_be_turned_off(reviewer: Reviewer) -> None:
    for key, dialog in (("?", "help"), ("g", "guide"), ("v", "viewer")):
        reviewer.keys(key)
        assert reviewer.open() == dialog
        reviewer.keys("Escape")
        assert reviewer.open() == ""
    reviewer.keys("?")
    reviewer.page.uncheck("#letters")
    reviewer.keys("Escape", "a", "1", "n")
    assert reviewer.text("count") == "0 of 40 decided"
    assert reviewer.page.locator("#reasons").is_hidden()
    reviewer.reload()
    reviewer.keys("a")
    assert reviewer.text("count") == "0 of 40 decided"
    reviewer.page.click("#accept-button")
    assert reviewer.text("count") == "1 of 40 decided"
    assert reviewer.focus() == "accept-button"
    assert reviewer.text("heard") == "1 of 40 decided. Now sample 2."


@pytest.mark.slow
def test_the_image_opens_at_full_size(reviewer: Reviewer) -> None:
    reviewer.page.focus("#picture-button")
    reviewer.keys("Enter")
    assert reviewer.open() == "viewer"
    scale = reviewer.text("viewer-scale")
    reviewer.page.click("#viewer-in")
    reviewer.page.click("#viewer-in")
    assert int(reviewer.text("viewer-scale").split()[0]) > int(scale.split()[0])
    left = "document.getElementById('viewer-stage').scrollLeft"
    assert reviewer.page.evaluate(left) > 0  # what was in the middle still is
    reviewer.page.click("#viewer-fit")
    assert reviewer.text("viewer-scale") == scale
    reviewer.keys("Escape")
    assert reviewer.open() == ""
    assert reviewer.focus() == "picture-button"
