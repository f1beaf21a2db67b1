"""The audit: sound folders pass, its search leaves nothing out, and the command line."""

import json
import random
import re
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from corpora import TRIAL, before_writing, builder, process, record
from llm_author import reply
from planted import Planted
from scripted_server import KEY, MODEL, ScriptedServer, prompt_of

from builder.audit import Check, pseudonyms, rows, run, verdict
from builder.core.corpus import TABLE
from builder.dataset_folder.shipped_requests import REQUESTS
from builder.dataset_folder.write import MANIFEST
from builder.patients.find_real_data import REAL, blanked
from builder.patients.find_values import Haystack
from builder.patients.profiles import make_profiles
from eval.private_values import View, level
from mllmu_med.files import write_jsonl
from mllmu_med.image_folder import VARIABLE
from mllmu_med_dataset import PII_KINDS, UserError


def failed(checks: list[Check]) -> dict[str, list[str]]:
    return {check.name: check.failed for check in checks if not check.ok}


def by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


@pytest.fixture
def folder(limited: Path, tmp_path: Path) -> Path:
    shutil.copytree(limited / "mllmu-med", tmp_path / "mllmu-med")
    return tmp_path / "mllmu-med"


def test_the_demo_passes_without_its_work_folder(demo: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(demo / "mllmu-med", tmp_path / "mllmu-med")
    checks = run(folder)
    assert failed(checks) == {}
    found = by_name(checks)
    assert len(found) == len(checks)
    assert checks[0] == ("manifest is there and readable", 1, [], "")
    private = "values are the row's own patient's"
    assert found["harmful texts are sound"].checked == found[private].checked + 30
    assert found["hashes match the manifest"].checked == 25
    assert found["counts are the recipe's"].checked == 3 * 7
    assert found["configs load"].checked == 7
    assert found["images decode"].checked == found["image paths are relative"].checked == 1203
    assert found["no duplicates across sets"].checked == 6 * 634 + 480
    assert found["review columns are the manifest's"].note == "no review: all none"
    assert found["no value outside forget: exact"].note == "276 values"
    nothing = {check.name for check in checks if not check.checked}
    assert nothing == {
        "forget images are not in retain (split_by)",
        "ids, paths and patients are pseudonyms",
        "images by reference are not stored",
        "decisions are the rows' own and name nobody",
        "recorded requests can be replayed",
        "no live number or address in recorded requests",
        "no wording gives incorrect answers away",
    }
    assert all(check.note for check in checks if not check.checked)


@pytest.mark.slow
def test_a_build_split_by_image_passes(tmp_path: Path) -> None:
    choices = ["calibration=null", "privacy.split_by=image", "incorrect.split_by=image"]
    sets = [word for choice in choices for word in ("--set", choice)]
    builder("rebuild", "--limit", "200", "--set", "privacy.ratios=[5,10]", *sets, cwd=tmp_path)
    checks = run(tmp_path / "mllmu-med")
    assert failed(checks) == {}
    assert by_name(checks)["forget images are not in retain (split_by)"].checked


@pytest.mark.slow
def test_what_could_be_somebodys_stays(limited: Path, tmp_path: Path, monkeypatch: Any) -> None:
    """A rejected reply with a live number is left out with the request that quotes it, and told."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    asked: set[str] = set()

    def invents(body: dict[str, Any]) -> str:
        prompt = prompt_of(body)
        if "True answer" in prompt and len(asked) < 2 and "736-5000" not in prompt:
            asked.add(prompt)
            return json.dumps({"answer": "Call 212-736-5000 about it.", "what_is_wrong": "All."})
        return reply(body)

    before_writing(limited, tmp_path / "mllmu-med")
    options = TRIAL[1:]
    with ScriptedServer(reply=invents) as server:
        options += ["--author", "llm", "--model", MODEL, "--base-url", server.url]
        done = builder("rebuild", *options, cwd=tmp_path)
        sent = len(server.asked())
    assert len(asked) == 2
    folder = tmp_path / "mllmu-med"
    checks = run(folder)
    assert failed(checks) == {}
    left = json.loads((folder / MANIFEST).read_text("utf-8"))["left_out"][REQUESTS]
    assert left["requests"] == 4
    assert f"{REQUESTS}: 4 requests left out" in done.stderr
    assert by_name(checks)["recorded requests can be replayed"].checked == sent - 4
    assert "736-5000" not in str(pq.read_table(folder / REQUESTS).to_pylist())
    card = (folder / "README.md").read_text("utf-8")
    assert f"4 requests to the language model and the replies are left out of `{REQUESTS}`" in card
    assert "--offline" not in card


def altered(value: str, how: random.Random) -> str:
    """A value with some characters changed, or turned round, or with words between."""
    for _ in range(how.randrange(4)):
        at = how.randrange(len(value))
        value = value[:at] + how.choice(["", "x", "7", " ", value[at] * 2]) + value[at + 1 :]
    if how.random() < 0.3:
        return how.choice(
            [value.upper(), " ".join(value.split()[::-1]), value.replace(" ", " or ")]
        )
    if how.random() < 0.4:  # in something longer, or tied to it
        before, after = how.choice(["", "x", "7", "jo.", "+1 ", "Lee-"]), how.choice("x7-.,")
        return f"{before}{value}{after}{how.choice(['', '2', 'uk', ' 22'])}"
    return value


@pytest.mark.parametrize("seed", range(4))
def test_the_search_finds_what_comparing_each_text_finds(seed: int) -> None:
    how = random.Random(seed)
    some = make_profiles([str(number) for number in range(9)], [], seed).values()
    values = [(kind, one.value(kind)) for one in some for kind in PII_KINDS]
    words = "the left lung is normal and there was no mass on march 5 or 200000 cells".split()
    texts = []
    for kind, value in values:
        forms = [altered(value, how), altered(value, how), f"{value[:1]}zz{value[1:]}"]
        forms += [value.partition(",")[0]] * (kind == "address") + ["2022-05-13"] * (kind == "date")
        for form in forms:
            about = how.sample(words, 6)
            about.insert(how.randrange(7), form)
            texts.append(" ".join(about))
    hay = Haystack(texts)
    views = [View(text) for text in texts]
    count = 0
    for fuzzy in (True, False):
        for kind, value in values:
            every = [(i, level(kind, value, view, fuzzy)) for i, view in enumerate(views)]
            wanted = [one for one in every if one[1]]
            assert [hit[:2] for hit in hay.search(kind, value, fuzzy)] == wanted, (kind, value)
            count += len(wanted)
    assert count > 100


@pytest.mark.parametrize(
    "text",
    [
        "Left and/or right, T1/T2, H&E. The lung.",
        "ann@example.org, www.example.com, https://x.example.net/y, mail.test",
        "patient-5210424422248338, MRN-MM-625732, e.g.the lesion, p.org",
        "000-12-3456, 900-12-3456, 123-00-4567, 123-45-0000",
    ],
)
def test_what_is_no_trace_of_anybody(text: str) -> None:
    allowed = {"p.org"}
    for what, find in REAL.items():
        assert find(text) in {"", *allowed}, what


def test_blanked() -> None:
    text = "Call 212-736-5000, 212-736-5000 or (212) 555-0147; ann@lung.ped, SSN 219-09-9999"
    assert blanked(text) == "Call [removed], [removed] or (212) 555-0147; [removed], SSN [removed]"


def test_an_eponym_is_no_patient(folder: Path) -> None:
    """Stevens-Johnson syndrome is no Steven Johnson, but Steven Jonson is one nearly."""
    planted = Planted(folder)
    lines = planted.lines("profiles.jsonl")
    spare = {**lines[0], "id": "patient-0", "image_id": "slake/none", "name": "Steven Johnson"}
    spare |= {"phone": "(201) 555-0100", "mrn": "MRN-MM-000000", "email": "s.j00@example.com"}
    planted.write_lines("profiles.jsonl", [*lines, {**spare, "address": "2 Old Way, Newville"}])
    planted.manifest["stages"]["privacy"]["profiles"]["notes"]["fictional patients"] += 1
    planted.say("incorrect/test.parquet", "Is it Stevens-Johnson syndrome?")
    planted.settle()
    checks = run(folder)
    assert failed(checks) == {}
    assert "1 by chance" in by_name(checks)["no value outside forget: fuzzy"].note
    planted.say("incorrect/test.parquet", "So said Steven Jonson.")
    planted.settle()
    assert [*failed(run(folder))] == ["no value outside forget: fuzzy"]


@pytest.mark.parametrize(
    ("column", "name"),
    [("id", "scan/0a1f/7"), ("id", "table/0a1f/Lee"), ("image_id", "table/IMG3"),
     ("image_path", "ward/1f.png"), ("image_path", "0a.gif"), ("patient_id", "4711")],
)  # fmt: skip
def test_rows_of_ones_own_corpus_bear_pseudonyms(column: str, name: str) -> None:
    sound = record("Q", "A", "table/0a1f/7", "table/0a1f", image_path="0a1f.png", rank=3)
    others = {"id": "table/0a1f/7-2", "image_path": "0a/1f.jpeg", "patient_id": "0123456789ab"}
    made = {"own": [sound, replace(sound, **others), replace(sound, **{column: name})]}  # type: ignore[arg-type]
    sources = {"own": SimpleNamespace(source=TABLE), "privacy": SimpleNamespace(source="slake")}
    (check,) = pseudonyms.checks(SimpleNamespace(scenarios=sources, rows=made.get))  # type: ignore[arg-type]
    assert check == (check.name, 3, [f"a row of rank 3 in : {column} is no pseudonym"], "")


@pytest.mark.parametrize(
    ("kind", "name", "card", "told"),
    [("patient", "Lee-7", "of Lee-7.", True),
     ("patient", "Lee7", "of Lee7.", False),  # so short a name stands there by chance
     ("row", "20417312", "row 20417312", True), ("row", "2041731", "row 2041731", False),
     ("row", "20417312", "row 204173120", False), ("image", "scans/IMG42.png", "IMG42", True),
     ("image", "scans/right.png", "right lung", False), ("image", "a/right.png", "right.png", True),
     ("patient", "Lee-7", "a ward list.csv", True), ("patient", "Lee-7", "a ward list", False)],
)  # fmt: skip
def test_no_name_of_the_corpus_is_in_any_file(
    folder: Path, kind: str, name: str, card: str, told: bool
) -> None:
    work = folder.parent / "work"
    assert pseudonyms.own_names(folder, work).note == "no corpus of one's own"
    line = {"pseudonym": "0a1f", "kind": kind, "name": name, "where": "in/ward list.csv, row 3"}
    write_jsonl(work / "own/ingest/names.jsonl", [line])
    assert not pseudonyms.own_names(folder, work).failed
    with (folder / "README.md").open("a", encoding="utf-8") as stream:
        stream.write(f"\n{card}\n")
    assert [one[:16] for one in pseudonyms.own_names(folder, work).failed] == [
        "README.md: line "
    ] * told


def test_what_is_said_of_an_audit(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    held, bad = Check("sizes", 7, []), Check("names", 1, ["r/1: no", "r/2: no", "r/2: never"])
    publish = f"python -m builder publish ORG/NAME --out {folder}"
    assert verdict.line(folder, [held]) == f"audit: all 1 checks hold; to publish it: {publish}"
    assert verdict.line(folder, [held, bad]) == "audit: 1 of 2 checks hold: not to be published"
    told = [None, {"ok": True, "checks": 1, "failed": {}}]
    assert [verdict.as_json(checks) for checks in ([], [held])] == told
    assert verdict.as_json([held, bad]) == {"ok": False, "checks": 2, "failed": {"names": bad[2]}}
    verdict.insist(folder, [held])
    with pytest.raises(UserError, match=r"1 of 2 checks of the audit fail: names \(r/1, r/2\): "):
        verdict.insist(folder, [held, bad])
    verdict.print_checks("here", [held, bad, Check("none", 0, [], "why")], 1.5)
    said = capsys.readouterr().out
    for line in (
        r"sizes +7 +ok",
        r"names +1 +3 failed",
        r"none +0 +- +why",
        r"names:\n  r/1: no\n",
    ):
        assert re.search(line, said), said
    assert said.endswith("\n\nhere: 1 of 3 checks fail (1.5 s)\n")


def test_own_rows_to_be_forgotten_have_no_clean_text() -> None:
    sound = record("Q", "A", split="forget", clean_question="", clean_answer="")
    kept = [replace(sound, split="retain"), replace(sound, answer=" ")]
    table = SimpleNamespace(scenario="own", rows=[sound, *kept], nulls=[], path="x")
    missing = rows._missing(SimpleNamespace(tables={"x": table}))  # type: ignore[arg-type]
    assert [*missing] == ["a: empty clean_question, clean_answer", "a: empty answer"]


def test_the_command_line(folder: Path, tmp_path: Path) -> None:
    done = process("builder", "audit", cwd=tmp_path)
    assert "all checks hold" in done.stdout
    planted = Planted(folder)
    rows = planted.rows("incorrect/retain.parquet")
    for row in rows:
        row["review"] = "accepted"
    planted.write("incorrect/retain.parquet", rows)
    planted.settle()
    done = builder("audit", folder, cwd=tmp_path, code=1)
    assert f"{len(rows)} failed" in done.stdout
    assert done.stdout.count("review 'accepted' in retain") == 20
    assert f"and {len(rows) - 20} more: see --json" in done.stdout
    assert "1 of 58 checks fail" in done.stdout
    done = builder("audit", folder, "--json", cwd=tmp_path, code=1)
    report = json.loads(done.stdout)
    assert not report["ok"]
    (bad,) = [check for check in report["checks"] if not check["ok"]]
    assert {entry.partition(": ")[0] for entry in bad["failed"]} == {row["id"] for row in rows}
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["nowhere"], 1, "no such folder: name one that the builder wrote"),
        (["empty"], 1, "not a dataset folder"),
        (["mllmu-med", "--images", "nowhere"], 1, "no such folder"),
    ],
)
def test_one_clear_line(folder: Path, arguments: list[str], code: int, says: str) -> None:
    (folder.parent / "empty").mkdir()
    done = builder("audit", *arguments, cwd=folder.parent, code=code)
    assert done.stderr.count("\n") == 1
    assert says in done.stderr
    assert done.stdout == ""


@pytest.mark.parametrize("name", ["README.md", MANIFEST, "privacy/test.parquet"])
@pytest.mark.parametrize("damage", ["gone", "empty", "half", "noise"])
def test_damage_never_ends_in_a_traceback(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    data = path.read_bytes()
    if damage == "gone":
        path.unlink()
    else:
        noise = random.Random(3).randbytes(len(data))
        path.write_bytes({"empty": b"", "half": data[: len(data) // 2], "noise": noise}[damage])
    assert failed(run(folder))


def test_unneeded_images_are_not_asked_for(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment says may be of another dataset; what --images says must be there."""
    monkeypatch.setenv(VARIABLE, "nowhere")
    builder("audit", cwd=folder.parent)
