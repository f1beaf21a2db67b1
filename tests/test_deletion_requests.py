"""Deletion requests: what is asked for, a log that shows every change, and a request end to end."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from cases import cases
from corpora import command
from test_eval_attacks import ROWS
from test_own import PATIENTS, data, rows_of  # noqa: F401  # a fixture
from test_readme import ROOT, commands

from baselines.request_log import LOG, Log, read_requests, receive
from eval.report_templates import fill
from mllmu_med.files import canonical_json
from mllmu_med_dataset import UserError

CASES = cases(__file__)

TEST = replace(ROWS[0], id="r/test", split="test")
FILE = "patient_id,request,received\npatient-1,2026/014,2026-11-20\npatient-2,,\n"


def logged(folder: Path) -> Log:
    (folder / "request.csv").write_text(FILE)
    log = Log(folder / LOG)
    receive(log, folder / "request.csv", ROWS, True)
    for number in (1, 2):
        log.add("unlearned", number, method="npo")
    return log


def test_what_is_new_is_logged_once_for_its_owner_alone(tmp_path: Path) -> None:
    log = logged(tmp_path)
    assert receive(log, tmp_path / "request.csv", ROWS, True) == 2
    assert [one["id"] for one in log.requests()] == ["patient-1", "patient-2"]
    assert len(log.entries) == 3
    assert (tmp_path / LOG).stat().st_mode & 0o777 == 0o600
    assert "555-01" not in (tmp_path / LOG).read_text()
    with (tmp_path / LOG).open("a") as stream:
        stream.write('{"at":"2026')  # killed while writing
    again = Log(tmp_path / LOG, log.entries[0]["sha256"])
    again.add("checked", 2)
    assert Log(tmp_path / LOG).entries == again.entries


@pytest.mark.parametrize("number", [1, 2, 3])
@pytest.mark.parametrize("how", ["changed", "missing", "moved"])
def test_a_log_that_was_changed_is_refused_by_number(how: str, number: int, tmp_path: Path) -> None:
    logged(tmp_path)
    path = tmp_path / LOG
    lines = path.read_text().splitlines()
    if how == "changed":
        lines[number - 1] = canonical_json({**json.loads(lines[number - 1]), "at": "2020"})
    elif how == "missing":
        del lines[number - 1]
    else:
        lines.append(lines.pop(number - 1))
    path.write_text("".join(line + "\n" for line in lines))
    if number == 3 and how != "changed":  # the end is missing, or is where it was
        assert len(Log(path).entries) == (2 if how == "missing" else 3)
        return
    with pytest.raises(UserError, match=f"{LOG}, entry {number}: was changed, or it"):
        Log(path)


def test_a_cut_log_lacks_the_head_that_was_noted(tmp_path: Path) -> None:
    head = logged(tmp_path).head
    path = tmp_path / LOG
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(UserError, match="none of its 2 entries has the head hash"):
        Log(path, head)


@pytest.mark.parametrize(
    ("text", "why"),
    CASES["a_request_that_cannot_be_met_is_refused"],
)
def test_a_request_that_cannot_be_met_is_refused(text: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "request.csv").write_text(text)
    with pytest.raises(UserError, match=why):
        receive(Log(tmp_path / LOG), tmp_path / "request.csv", [*ROWS, TEST], True)
    assert not (tmp_path / LOG).exists()


def test_a_patient_may_ask_after_one_row_and_again(tmp_path: Path) -> None:
    """What is missing is taken, another reference is noted, and neither is done twice."""
    log, path = Log(tmp_path / LOG), tmp_path / "request.csv"
    rows = [*ROWS, *(replace(ROWS[1], id=f"r/1/{n}") for n in (1, 2))]
    for text in ("id\nr/1/1\n", *["patient_id,request\npatient-1,2026/9\n"] * 2):
        path.write_text(text)
        receive(log, path, rows, True)
    assert [one["rows"] for one in log.requests()] == [1, 2]
    path.write_text("patient_id,request\npatient-1,2026/10\n")
    receive(log, path, rows, True)
    assert receive(log, path, rows, True) == 1
    assert [entry["kind"] for entry in log.entries] == ["received", "received", "repeated"]
    assert log.entries[-1]["requests"][0]["request"] == "2026/10"


def test_a_last_line_without_its_end_is_an_entry(tmp_path: Path) -> None:
    log = logged(tmp_path)
    path = tmp_path / LOG
    path.write_bytes(path.read_bytes().rstrip())  # as an editor leaves it
    again = Log(path, log.head)
    again.add("checked", 2)
    assert Log(path, log.head).entries == again.entries
    assert len(again.entries) == 4


def test_a_real_name_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "request.csv").write_text("patient_id\nMaria Gruber\n")
    with pytest.raises(UserError, match=r"row 2: patient: not in the dataset") as told:
        receive(Log(tmp_path / LOG), tmp_path / "request.csv", ROWS, False)
    assert "Maria" not in str(told.value)
    assert [one.id for one in read_requests(tmp_path / "request.csv")] == ["Maria Gruber"]


def evidence_page(names: list[str], place: Path) -> tuple[str, Log]:
    """The page of as many patients, asked for in as many requests of these references."""
    rows = [replace(ROWS[0], id=name, profile_id=name) for name in names]
    with (place / "request.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["profile_id"], *([name] for name in names)])
    log = Log(place / LOG)
    receive(log, place / "request.csv", rows, True)
    people = [(one, {}) for one in log.requests()]
    figures = {"all": dict.fromkeys(("before", "after", "retrained", "chance"))}
    nothing: dict[str, object] = {"rounds": [], "later": {}, "kept": [], "ways": {}, "attacks": {}}
    nothing |= {"patients": [], "ceiling": 0.2, "signature": "", "folder": "", "made": ""}
    what = "private values"
    return fill("evidence.html", log=log, people=people, what=what, **figures, **nothing), log


def test_the_page_shows_text_as_text(tmp_path: Path) -> None:
    page, log = evidence_page(["<script>alert(1)</script>"], tmp_path)
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert log.head in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_requests_of_own_patients_end_to_end(data: Path, tmp_path: Path) -> None:  # noqa: F811
    """Two requests in turn, the second of a patient who was retained; then every file is read."""

    def do(*words: str) -> str:
        done = command("baselines", *words, "--data", "data", "--config", "own", cwd=tmp_path)
        return done.stdout + done.stderr

    few = ("--set", "answers.max_new_tokens=40")
    do("finetune", "--set", "finetune.epochs=80", *few, "--out", "runs/finetune")
    (tiny,) = (tmp_path / "runs").glob("tiny-*")
    names = {"MODEL": str(tiny), "BEFORE": "runs/finetune/adapter"}
    page = commands((ROOT / "docs" / "deletion-request.md").read_text("utf-8"))
    forget, merge = ([names.get(word, word) for word in words[3:]] for words in page)
    words = (*forget, *few, "--attacks", "quantise")
    request = tmp_path / "request.csv"
    request.write_text("patient_id,request\npseudonym0,2026/1\n")
    said = do(*words)
    out = tmp_path / "requests"
    before = (out / LOG).read_bytes()
    said += do(*words)  # nothing is left to do
    assert (out / LOG).read_bytes() == before
    request.write_text("patient_id,request\npseudonym2,2026/2\n")
    said += do(*words)
    command("baselines", *merge, cwd=tmp_path)
    assert [*(tmp_path / "unlearned").glob("*.safetensors")]
    log = Log(out / LOG)
    assert (out / LOG).read_bytes().startswith(before)
    assert [entry["kind"] for entry in log.entries] == ["received", "unlearned", "checked"] * 2
    told = out / "request-2" / "npo" / "leak.rows.jsonl"
    kept = told.read_bytes()
    told.write_bytes(kept + b"\n")
    with pytest.raises(AssertionError, match=r"leak\.rows\.jsonl: is not as entry 6 of the log"):
        do(*words)
    told.write_bytes(kept)
    people = log.entries[-1]["people"]
    assert [one["id"] for one in people] == ["pseudonym0", "pseudonym2"]
    assert all(one["before"][0] > 0 for one in people)
    evidence = (out / "evidence.html").read_text()
    assert "pseudonym2" in evidence
    assert log.head in evidence
    texts = {t for n in range(6) for row in rows_of(n) for t in (row.question, row.answer)}
    hidden = {*texts, *(value for person in PATIENTS for value in person)} - {"Yes"}
    shown = said + evidence + (out / LOG).read_text()
    assert not [text for text in hidden if text in shown or json.dumps(text)[1:-1] in shown]
