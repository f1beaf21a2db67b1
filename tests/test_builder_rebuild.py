"""The whole way, as a user walks it: build, build again, change something, get killed, look."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from cases import cases
from corpora import (
    SMALL,
    TRIAL,
    copy_build,
    make_mm_skin,
    make_slake,
    mm_skin_rows,
    python_beside,
    slake_rows,
    tree,
)
from reviews import run

from builder.audit import Check, verdict
from builder.core.job import read_job
from builder.core.stage_cache import Chain
from builder.rebuild.pipeline import stale
from builder.rebuild.stages import plan
from mllmu_med.files import write_atomic

CASES = cases(__file__)

#: Where neither plots nor audits are tried.
plain = pytest.mark.usefixtures("undrawn", "unaudited")


@pytest.fixture
def trial(limited: Path, tmp_path: Path) -> Path:
    """The folder of a small build of the test's own, out of `TRIAL`."""
    return copy_build(limited / "mllmu-med", tmp_path / "mllmu-med")


def load_ids(folder: Path, config: str) -> dict[str, list[str]]:
    from datasets import load_dataset

    data = load_dataset(str(folder), config)
    return {split: list(data[split]["id"]) for split in data}


def test_the_demo_says_what_it_made(demo: Path) -> None:
    said = (demo / "stdout.txt").read_text("utf-8")
    for part in ("privacy", "440", "incorrect", "300", "spare", "asked about", "load_dataset"):
        assert part in said
    publish = "python -m builder publish ORG/NAME"
    assert f"audit: all 59 checks hold; to publish it: {publish}\n" in said
    assert str(demo) not in said


def test_the_bare_name_loads_beside_the_folder(demo: Path, tmp_path: Path) -> None:
    code = (
        "from datasets import load_dataset\n"
        "for config in ('privacy', 'incorrect'):\n"
        "    data = load_dataset('mllmu-med', config)\n"
        "    print(*(len(rows) for rows in data.values()), data['test'][0]['image'].size)\n"
    )
    told = python_beside(demo, code, tmp_path).stdout.splitlines()
    assert told == ["44 440 150 (320, 320)", "30 300 150 (320, 320)"]


def test_a_second_run_does_nothing_and_says_so(trial: Path) -> None:
    before = tree(trial)
    times = {path: path.stat().st_mtime_ns for path in trial.rglob("*")}
    result = run(*TRIAL, "--out", trial)
    assert "nothing to do" in result.stdout
    assert "audit: all 59 checks hold" in result.stdout
    assert result.stderr == ""  # the audit is remembered
    assert tree(trial) == before
    assert {path: path.stat().st_mtime_ns for path in trial.rglob("*")} == times


@pytest.mark.parametrize("lost", [None, "", '{"checks": []}', '{"manifest": "", "checks": []}'])
def test_an_audit_that_was_cut_off_is_made_up_for(lost: str | None, trial: Path) -> None:
    record = trial.with_name("mllmu-med.work") / "audit.json"
    before = record.read_bytes()
    record.unlink() if lost is None else record.write_text(lost)
    result = run(*TRIAL, "--out", trial, "--json")
    assert result.stderr == "audit: looking at every file and row\n"
    told = json.loads(result.stdout)
    assert (told["ran"], told["audit"]) == ([], {"ok": True, "checks": 59, "failed": {}})
    assert record.read_bytes() == before


def test_what_is_remembered_of_an_audit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That all held, for this manifest and the checks of this version."""
    manifest, record = tmp_path / "provenance" / "manifest.json", tmp_path / "audit.json"
    write_atomic(manifest, "{}")
    looks = [
        [Check("a", 1, [failed] if failed else [])] for failed in ("b: a full disk", *3 * [""])
    ]
    left = list(looks)
    monkeypatch.setattr(verdict, "run", lambda folder: left.pop(0))

    def audited(changed: bool = False) -> list[Check]:
        return verdict.audited(tmp_path, record, changed)

    assert audited() == looks[0]
    assert not record.exists()
    assert audited() == audited() == looks[1]
    assert len(left) == 2
    monkeypatch.setattr(verdict, "VERSION", verdict.VERSION + 1)
    assert audited() == audited() == looks[2]
    assert len(left) == 1
    left[:] = [looks[0], looks[1]]
    assert audited(changed=True) == looks[0]
    assert audited() == looks[1]  # what held before is forgotten


def test_a_folder_that_fails_its_audit_stays_and_is_told_about(tmp_path: Path) -> None:
    """A number that could be somebody's stands in the corpus itself."""
    called = [{**row, "answer": "Ring (212) 736-5000."} for row in slake_rows(50, 4)]
    root = make_slake(tmp_path / "slake", test=called)
    command = ["rebuild", "--recipe", "paper", "--scenario", "privacy", "--slake", root]
    command += [*SMALL[:10], "--out", tmp_path / "out"]
    first = run(*command, code=1)
    assert "audit: 57 of 58 checks hold: not to be published\n" in first.stdout
    assert "ORG/NAME" not in first.stdout
    before = tree(tmp_path / "out")
    second = run(*command, "--json", code=1)
    told = json.loads(second.stdout)
    assert (told["ran"], told["audit"]["ok"], told["audit"]["checks"]) == ([], False, 58)
    ((name, failed),) = told["audit"]["failed"].items()
    assert (name, len(failed)) == ("no dialable telephone number", 20)
    looked = "audit: looking at every file and row\n"  # what fails is not remembered
    assert second.stderr == looked + first.stderr.splitlines(keepends=True)[-1]
    assert f"out: 1 of 58 checks of the audit fail: {name} (slake/xmlab5" in second.stderr
    assert " and 7 more): the folder stays, but is not to be published" in second.stderr
    assert tree(tmp_path / "out") == before


@plain
def test_another_seed_gives_the_new_rows_under_the_same_name(trial: Path) -> None:
    """The trap: `datasets` caches a local folder under a key that does not cover its files.

    Copies of the user's beside the folder stay.
    """
    copies = [trial.with_name(trial.name + end) for end in (".old", ".building", ".bak")]
    for copy in copies:
        shutil.copytree(trial / "provenance", copy)
        (copy / "notes.txt").write_text("mine")
    there = [tree(copy) for copy in copies]
    before = load_ids(trial, "privacy")
    result = run(*TRIAL, "--out", trial, "--set", "seed=7")
    assert "replaces build" in result.stderr
    after = load_ids(trial, "privacy")
    assert {k: len(v) for k, v in after.items()} == {k: len(v) for k, v in before.items()}
    assert after != before
    assert [tree(copy) for copy in copies] == there


@pytest.mark.usefixtures("unaudited")
def test_what_is_damaged_is_made_again(trial: Path) -> None:
    before, work = tree(trial), trial.with_name("mllmu-med.work")
    picture = next((work / "privacy/ingest/pictures").rglob("*.png"))
    for damage, ran in (
        (lambda: (trial / "privacy/test.parquet").write_bytes(b"x" * 10), "write"),
        # The stage's name in older work folders.
        (lambda: (work / "write.json").rename(work / "publish.json"), "write"),
        (lambda: (work / "privacy/inject/records.jsonl").write_text(""), "privacy/inject"),
        (picture.unlink, "privacy/ingest"),
    ):
        damage()
        assert json.loads(run(*TRIAL, "--out", trial, "--json").stdout)["ran"] == [ran]
        assert tree(trial) == before


@plain
def test_a_changed_field_runs_only_what_uses_it(trial: Path) -> None:
    result = run(*TRIAL, "--out", trial, "--set", "incorrect.blend=2", "--json")
    assert json.loads(result.stdout)["ran"] == ["incorrect/corrupt", "incorrect/split", "write"]
    half = json.loads(run(*TRIAL, "--out", trial, "--json").stdout)["ran"]
    assert half == ["incorrect/corrupt", "incorrect/split", "write"]
    changes = ["--set", "privacy.placements={question: 0, answer: 1, both: 0}"]
    ran = json.loads(run(*TRIAL, "--out", trial, *changes, "--json").stdout)["ran"]
    assert ran == ["privacy/inject", "privacy/split", "write"]


@plain
def test_a_touched_source_is_not_read_again_and_a_changed_one_is(tmp_path: Path) -> None:
    root = make_slake(tmp_path / "slake")
    command = ["rebuild", "--recipe", "paper", "--scenario", "privacy", "--slake", root]
    command += [*SMALL[:10], "--out", tmp_path / "out", "--json"]
    assert len(json.loads(run(*command).stdout)["ran"]) == 6
    os.utime(root / "train.json")
    os.utime(root / "imgs/xmlab1/source.jpg")
    assert json.loads(run(*command).stdout)["ran"] == []
    moved = tmp_path / "moved"
    root.rename(moved)
    command[command.index(root)] = moved
    assert json.loads(run(*command).stdout)["ran"] == []
    text = (moved / "train.json").read_text("utf-8")
    (moved / "train.json").write_text(text.replace("spleen", "aorta"), "utf-8")
    assert json.loads(run(*command).stdout)["ran"][0] == "privacy/ingest"
    (moved / "validate.json").write_text("[]", "utf-8")
    assert json.loads(run(*command).stdout)["ran"] == ["privacy/ingest"]


@plain
def test_stopping_early_and_going_on(tmp_path: Path) -> None:
    out = tmp_path / "o"
    result = run(*TRIAL, "--until", "inject", "--out", out)
    assert "stopped as asked" in result.stdout
    assert "audit" not in result.stdout + result.stderr
    assert not out.exists()
    ran = json.loads(run(*TRIAL, "--out", out, "--json").stdout)["ran"]
    assert ran == ["incorrect/corrupt", "privacy/split", "incorrect/split", "write"]


def test_a_dry_run_changes_nothing(tmp_path: Path) -> None:
    out = tmp_path / "o"
    result = run(*TRIAL, "--dry-run", "--out", out)
    assert "to do" in result.stdout
    assert list(tmp_path.iterdir()) == []
    plan = json.loads(run(*TRIAL, "--dry-run", "--json", "--out", out).stdout)
    assert plan["would_run"][0] == "privacy/ingest"
    assert plan["would_run"][-1] == "write"


def test_status_and_show(trial: Path) -> None:
    said = run("status", "--out", trial).stdout
    assert "privacy/inject" in said
    assert "spare" in said
    counts = json.loads(run("status", "--json", "--out", trial).stdout)["stages"]
    assert all(stage["current"] for stage in counts.values())
    forget = load_ids(trial, "privacy")["forget"][0]
    life = run("show", forget, "--out", trial).stdout
    assert "candidate, rank" in life
    assert "harm: privacy" in life
    assert "privacy/forget-" in life
    drops = (trial.with_name("mllmu-med.work") / "privacy" / "inject" / "drops.jsonl").read_text()
    dropped = json.loads(drops.splitlines()[0])["id"]
    assert "dropped: spare" in run("show", dropped, "--out", trial).stdout
    listed = run("show", "privacy/inject", "--out", trial).stdout.splitlines()[1:]
    assert [line.split()[0] for line in listed] == [json.loads(d)["id"] for d in drops.splitlines()]
    assert "none" in run("show", "incorrect/ingest", "--out", trial).stdout
    chain = Chain(trial.with_name("mllmu-med.work") / "privacy")
    last = max(
        (row for row in chain.records("split") if row.split == "forget"), key=lambda r: r.rank
    )
    lives = [run("show", row_id, "--out", trial).stdout for row_id in (forget, last.id)]
    assert ["(its clean version, retained at smaller" in life for life in lives] == [False, True]
    unknown = run("show", forget + "x", "--out", trial, code=1)
    assert forget in unknown.stderr


def test_status_before_any_rebuild(tmp_path: Path) -> None:
    result = run("status", "--out", tmp_path / "none", code=1)
    assert "no rebuild has run here" in result.stderr


def foreign(out: Path) -> None:
    out.mkdir()
    (out / "thesis.tex").write_text("years of work")


@pytest.mark.parametrize(
    ("block", "line"),
    [
        (foreign, "holds thesis.tex and is no dataset of ours"),
        (lambda out: out.write_text("a file"), "is a file"),
    ],
)
def test_a_target_that_holds_something_else(block: Any, line: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    block(out)
    before = out.read_text() if out.is_file() else tree(out)
    result = run(*TRIAL, "--out", out, code=1)
    assert line in result.stderr
    assert (out.read_text() if out.is_file() else tree(out)) == before


def test_a_file_of_the_users_in_our_folder_is_not_lost(trial: Path) -> None:
    (trial / "notes.txt").write_text("mine")
    result = run(*TRIAL, "--out", trial, "--set", "seed=7", code=1)
    assert "holds notes.txt, which the builder did not write" in result.stderr
    assert (trial / "notes.txt").read_text() == "mine"


def test_a_work_folder_that_holds_something_else(tmp_path: Path) -> None:
    thesis = tmp_path / "project" / "privacy" / "ingest" / "thesis.tex"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("years of work")
    result = run(*TRIAL, "--out", tmp_path / "o", "--work", tmp_path / "project", code=1)
    assert "is no work folder of ours" in result.stderr
    assert thesis.read_text() == "years of work"


@plain
def test_the_next_command_finds_this_build(limited: Path, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (copy_build(limited / "mllmu-med", tmp_path / "a trial") / "README.md").unlink()
    result = run(*TRIAL, "--out", "a trial")
    assert "builder show ID --out 'a trial'" in result.stdout


def test_patients_avoid_the_other_scenarios_texts(tmp_path: Path) -> None:
    """Theirs are drawn again when that scenario's rows change; alone, they need it not."""
    words = ["rebuild", "--work", tmp_path / "work", "--out", tmp_path / "out"]
    slake, skin = make_slake(tmp_path / "slake"), make_mm_skin(tmp_path / "skin")
    sources = ["--recipe", "paper", "--slake", slake, "--mm-skin", skin, *SMALL]

    def patients() -> list[dict[str, str]]:
        run(*words, *sources, "--until", "profiles")
        path = tmp_path / "work/privacy/profiles/profiles.jsonl"
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]

    first = patients()
    rows = mm_skin_rows(60)
    for row in rows:
        row["answer"] += f" So said {first[0]['name']}."
    make_mm_skin(skin, rows)
    job = read_job(tmp_path / "work")
    due = [name for name in stale(plan(job), job) if name.startswith("privacy/")]
    assert due == ["privacy/profiles", "privacy/inject", "privacy/split"]
    assert patients()[0]["name"] != first[0]["name"]
    assert not {n for n in stale(plan(job), job) if n.endswith(("draw", "profiles"))}
    sources = ["--recipe", "paper", "--slake", slake, "--scenario", "privacy", *SMALL]
    assert patients() == first
    shutil.rmtree(tmp_path / "work")
    assert patients() == first


def test_show_stops_where_the_build_is_stale(trial: Path) -> None:
    forget = load_ids(trial, "privacy")["forget"][0]
    run(*TRIAL, "--out", trial, "--set", "privacy.kinds=[[name]]", "--until", "draw")
    life = run("show", forget, "--out", trial).stdout
    assert "draw " in life
    assert "\nwrite" not in life


@plain
def test_a_failing_rebuild_leaves_the_previous_output_whole(trial: Path) -> None:
    before = tree(trial)
    run("rebuild", "--out", trial, "--set", "privacy.placements.both=3", code=2)
    run("rebuild", "--slake", trial / "nowhere", "--out", trial, code=1)
    assert tree(trial) == before
    assert len(load_ids(trial, "privacy")["forget"]) > 0


@pytest.mark.parametrize(
    ("arguments", "line"),
    CASES["wrong_usage_exits_with_2"],
)
def test_wrong_usage_exits_with_2(arguments: list[str], line: str, tmp_path: Path) -> None:
    arguments = [str(tmp_path / word) if word == "o" else word for word in arguments]
    result = run("rebuild", "--out", tmp_path / "o", *arguments, code=2)
    assert line in result.stderr
    assert list(tmp_path.iterdir()) == []
