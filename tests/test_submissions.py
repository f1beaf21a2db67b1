"""Submissions: runs in one file, recomputed; each kind of tampering is refused by name."""

import io
import json
import re
import shutil
import stat
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import yaml
from corpora import command

from eval.attack_kinds import Attack, ChangedImages, asked_rows, asks_of, attackable
from eval.attacks import WAYS, asks
from eval.collect_results import collect
from eval.dataset_rows import read_rows, rows_hash
from eval.hub_results import eval_results, eval_yaml
from eval.leaderboard import ranks
from eval.leak import leak_answers, write_leak
from eval.likelihood import asked_of
from eval.other_commands import verify as verify_command
from eval.predictions import Prediction
from eval.results import Report
from eval.score import score_answers, words_of, write_scores
from eval.submission_file import plain_json, read_submission, to_zip
from eval.submissions import Disagrees, submit, verify
from mllmu_med.files import digest, write_json, write_jsonl
from mllmu_med_dataset import UserError

Zip = dict[str, bytes]
NASTY = "<script>alert(1)</script>"


def record(method: str, seed: Any = 0, weights: str = "w" * 16) -> dict[str, Any]:
    """What `baselines` writes of a training."""
    settings = {"seed": seed, "learning_rate": 0.1}
    identity = {"method": method, "settings": settings, "model": {"weights": weights}}
    identity |= {"rows": "r", "parents": []}
    about = {"run": digest(identity)[:12], "method": method, "identity": identity}
    return {**about, "settings": {**settings, "tracker": ""}}


def runs_of(data: Path, place: Path) -> list[Path]:
    """A fine-tuned run that says all, one that refuses on forget, one that is half right."""
    rows, words = read_rows(data, "privacy"), words_of(data, "privacy")
    private = [row for row in rows if row.pii]
    forget = [row for row in rows if row.split == "forget"]
    folders = []
    for name in ("finetune", "ga", NASTY):
        folder = place / ("odd" if name == NASTY else name)
        model = {"run": "", "weights": "w" * 16, "adapters": [], "model": "/home/joe/m"}
        model["dtype"] = "float32"

        def say(ask: Any, name: str = name) -> Prediction:
            refuse = name == "ga" and ask.row.split == "forget"
            half = name == NASTY and len(ask.row.id) % 2
            return Prediction(ask.row.id, "I cannot say." if refuse or half else ask.row.answer)

        own = [(ask, say(ask)) for ask in asks(rows)]
        write_scores(folder, *score_answers(own, "privacy", name, model, words))
        leaks = [(ask, say(ask)) for ask in asks(forget, WAYS)]
        write_leak(folder, *leak_answers(leaks, private, "privacy", name, model))
        lines = []
        for (row_id, asked), row in zip(asked_of(rows), rows, strict=True):
            known = -0.1 if say(asks([row])[0]).answer == row.answer else -3.0
            line = {"id": row_id, "split": row.split, "asked": asked, "end": 1, "zlib": 9}
            line |= {"logprobs": [known, -0.01], "right": "11", "means": [-2.0, -2.0]}
            line |= {"deviations": [1.0, 1.0], "alternatives": [], "choices": [], "parts": []}
            lines.append({**line, "blind_logprobs": [], "blind_choices": []})
        write_jsonl(folder / "likelihood.jsonl", lines)
        write_json(folder / "likelihood.run.json", model)
        write_json(folder / "record.json", record(folder.name))
        write_json(folder / "done.json", {})
        attack = Attack("relearn-forget", 5)
        asked = asks_of(attack, asked_rows(attack, attackable(rows)), ChangedImages({}))
        out = folder / "attacks" / attack.name
        pairs = [(ask, Prediction(ask.row.id, ask.row.answer)) for ask in asked]
        write_scores(out, *score_answers(pairs, "privacy", name, model, words))
        write_leak(out, *leak_answers(pairs, private, "privacy", name, model))
        told = digest([[*ask.key, ask.hash] for ask in asked])[:12]
        identity = {"model": "", "data": rows_hash(rows), "attack": attack.name, "version": 2}
        about = {"kind": attack.kind, "strength": 5, "steps": 5, "seconds": 1.5, "rows": 0}
        write_json(out / "attack.json", {**about, "identity": {**identity, "asked": told}})
        folders.append(folder)
    return folders


@pytest.fixture(scope="module")
def data(limited: Path) -> Path:
    return limited / "mllmu-med"


@pytest.fixture(scope="module")
def given(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Path]]:
    """A submission, and the runs in it."""
    place = tmp_path_factory.mktemp("given")
    runs = runs_of(data, place)
    path = place / "given.zip"
    path.write_bytes(submit(runs, str(data))[0])
    return path, runs


def opened(content: bytes) -> Zip:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def hashed(files: Zip) -> Zip:
    """With the hashes of the files as they now are: what a careful forger would do."""
    about = json.loads(files["submission.json"])
    others = {name: of for name, of in files.items() if name != "submission.json"}
    about["files"] = {name: sha256(of).hexdigest() for name, of in others.items()}
    return {**others, "submission.json": json.dumps(about).encode()}


Change = Callable[[Zip], Zip]
Rows = list[dict[str, Any]]
GA = "runs/02"


def rows(name: str, change: Callable[[Rows], Rows | None]) -> Change:
    """Change a file's rows, and its hash."""

    def changed(files: Zip) -> Zip:
        of = [json.loads(line) for line in files[name].splitlines()]
        of = change(of) or of
        text = "".join(json.dumps(row) + "\n" for row in of)
        return hashed({**files, name: text.encode()})

    return changed


def put(name: str, column: str, value: Any, at: int = 0) -> Change:
    """One value of one row; `a.b` is b in a."""

    def change(of: Rows) -> None:
        row: Any = of[at]
        *path, last = column.split(".")
        for key in path:
            row = row[int(key) if isinstance(row, list) else key]
        assert row[last] != value
        row[last] = value

    return rows(name, change)


def figure(column: str, value: Any) -> Change:
    def change(of: Rows) -> None:
        ues = next(f for f in of if f["metric"] == "ues" and f["run"] == "ga")
        assert ues.get(column) != value
        ues[column] = value

    return rows("figures.jsonl", change)


def bare(name: str, content: bytes) -> Change:
    return lambda files: {**files, name: content}


def about(column: str, value: Any) -> Change:
    return lambda files: {
        **files,
        "submission.json": json.dumps(
            {**json.loads(files["submission.json"]), column: value}
        ).encode(),
    }


def false_hash(files: Zip) -> Zip:
    told = json.loads(files["submission.json"])
    told["files"][f"{GA}/scores.rows.jsonl"] = "0" * 64
    return {**files, "submission.json": json.dumps(told).encode()}


def stale(files: Zip) -> Zip:
    """An answer altered, its hash left as it was."""
    name = f"{GA}/scores.rows.jsonl"
    return {**files, name: files[name].replace(b"I cannot say.", b"I can not say.", 1)}


def renamed(files: Zip) -> Zip:
    """An outcome put under the name of another strength."""
    old, new = "relearn-forget-5/", "relearn-forget-30/"
    return hashed({name.replace(old, new): of for name, of in files.items()})


def without(name: str) -> Change:
    return lambda files: hashed({n: of for n, of in files.items() if n != name})


SCORES, LEAK = f"{GA}/scores.rows.jsonl", f"{GA}/leak.rows.jsonl"
WEIGHED, ATTACK = f"{GA}/likelihood.jsonl", f"{GA}/attacks/relearn-forget-5/attack.json"
RECORD = f"{GA}/record.json"
FORGED = f"{GA}/attacks/relearn-forget-5/leak.rows.jsonl"

#: What is done to a submission, and what its refusal says.
TAMPERED: dict[str, tuple[Change, str]] = {
    "answer, hash stale": (stale, r"scores.rows.jsonl: its sha256 is \w{12}, said to be \w{12}"),
    "answer": (
        rows(
            SCORES,
            lambda of: [{**r, "answer": "Liver."} if "retain" in r["split"] else r for r in of],
        ),
        r"scores.rows.jsonl: phantom\S+ rouge1 is said to be 1.0, recomputed 0",
    ),
    "answer of the leaks alone": (put(LEAK, "answers", ["no"]), "answered .* but .no. in leak"),
    "grade": (put(SCORES, "rouge1", 0.123), r"rouge1 is said to be 0.123, recomputed"),
    "question": (put(SCORES, "question", "Why?"), "its question is another than this dataset's"),
    "reference": (put(SCORES, "reference", "x"), "its reference is another than this dataset's"),
    "row missing": (rows(SCORES, lambda of: of[1:]), r"row phantom\S+ is missing"),
    "row extra": (rows(SCORES, lambda of: [*of, {**of[0], "id": "x"}]), "row x is extra"),
    "row twice": (rows(SCORES, lambda of: [*of, of[0]]), r"row phantom\S+ is there twice"),
    "rows reordered": (rows(SCORES, lambda of: of[::-1]), "in another order than the dataset's"),
    "split of a row": (put(SCORES, "split", "test"), "split is said to be .test., recomputed"),
    "leak level": (put(LEAK, "values.0.level", "exact"), "is said to be .*exact"),
    "leak row missing": (rows(LEAK, lambda of: of[1:]), r"row phantom\S+, own is missing"),
    "way of asking left out": (
        rows(LEAK, lambda of: [row for row in of if row["way"] != "prefix"]),
        "figures.jsonl: .* leaked_values",
    ),
    "log-probability": (put(WEIGHED, "logprobs", [-0.5, -0.5]), "probability .* recomputed"),
    "log-probability above 0": (put(WEIGHED, "logprobs", [0.5, -1.0]), "log-probability above 0"),
    "likelihood row missing": (rows(WEIGHED, lambda of: of[1:]), r"rows, not these \d+ texts"),
    "likelihood of another text": (put(WEIGHED, "asked", "0" * 12), "weigh the answers of this"),
    "likelihoods of another model": (
        put(f"{GA}/likelihood.run.json", "weights", "v"),
        "weights is said to be .v., recomputed .www",
    ),
    "model": (put(f"{GA}/scores.json", "model.dtype", "v"), "model run is said to be"),
    "name": (put(f"{GA}/scores.json", "name", "npo"), "figures.jsonl: .* ga .*is extra"),
    "signature": (
        put(f"{GA}/scores.json", "signatures.rouge1", "mine"),
        "signatures rouge1 is said to be .mine., recomputed .rouge1",
    ),
    "signature of a figure": (figure("signature", "mine"), "signature is said to be .mine."),
    "figure": (figure("value", 1.9), r"ga method 0 ues ours value is said to be 1.9, recomputed"),
    "interval": (figure("low", 1.0), r"ues ours low is said to be 1.0, recomputed"),
    "n": (figure("n", 9), "ues ours n is said to be 9, recomputed 0"),
    "mark": (figure("mark", "tied"), "ues ours mark is said to be .tied., recomputed .best."),
    "figure missing": (rows("figures.jsonl", lambda of: of[1:]), r"figures.jsonl: .*: is missing"),
    "figure extra": (
        rows("figures.jsonl", lambda of: [*of, {**of[0], "run": "best"}]),
        "best .*: is extra",
    ),
    "figure twice": (rows("figures.jsonl", lambda of: [*of, of[0]]), r"\(again\): is extra"),
    "figure NaN": (figure("value", float("nan")), "figures.jsonl: .*holds nan"),
    "attack's answer": (put(FORGED, "answers", ["I cannot say."]), "answered .* in scores.rows"),
    "attack's row missing": (
        rows(FORGED, lambda of: of[1:]),
        r"leak.rows.jsonl: row .* is missing",
    ),
    "attack of another model": (put(ATTACK, "identity.model", "x"), "identity model is said to be"),
    "attack on other data": (put(ATTACK, "identity.data", "x"), "identity data is said to be .x."),
    "attack's strength": (renamed, "attack.json: is of relearn-forget-5"),
    "attack left out": (without(ATTACK), "attack.json: missing"),
    "hash": (false_hash, r"scores.rows.jsonl: its sha256 is \w{12}, said to be 0{12}"),
    "other data": (about("data", "0" * 12), "of another dataset"),
    "unknown key": (about("note", "hi"), "submission.json: note: Extra inputs"),
    "scores left out": (without(SCORES), "scores.rows.jsonl: missing"),
    "file not listed": (bare("runs/09/record.json", b"{}"), "record.json: extra, by the list"),
    "file outside": (bare("../../evil.json", b"{}"), r"'../../evil.json' is no file of a subm"),
    "file of another kind": (bare("runs/02/x.py", b""), "'runs/02/x.py' is no file of a subm"),
    "record without identity": (put(RECORD, "identity", None), "record.json: run: is extra"),
    "record's settings": (put(RECORD, "settings", "x"), "runs/02: not as eval writes it"),
    "record's seed": (rows(RECORD, lambda _: [record("ga", "seven")]), "not as eval writes it"),
    "record's large seed": (rows(RECORD, lambda _: [record("ga", 10**400)]), "not as eval writes"),
    "record's method": (put(RECORD, "method", "retrain"), "method is said to be .retrain., recomp"),
    "record's rate": (put(RECORD, "settings.learning_rate", 5), "rate is said to be 5, recomputed"),
    "record's run": (put(RECORD, "run", "0" * 12), "run is said to be .0{12}., recomputed"),
    "record's model": (
        rows(RECORD, lambda _: [record("ga", 0, "v")]),
        "record.json: of another mo",
    ),
    "no model": (put(f"{GA}/scores.json", "model", []), "runs/02: not as eval writes it"),
    "odd name": (put(f"{GA}/scores.json", "name", {"a": 1}), "not as eval writes it"),
    "long id": (rows(SCORES, lambda of: [*of, {**of[0], "id": "\n" * 9 + "x" * 999}]), "is extra"),
    "long key": (about("x" * 999, 1), "Extra inputs are not permitted"),
    "real patients": (about("config", "own"), "submission.json: config: "),
    "no JSON": (bare(f"{GA}/scores.json", b"{"), "scores.json: line 1 is no JSON"),
    "nested": (bare(f"{GA}/scores.json", b'{"a":' * 99 + b"1" + b"}" * 99), "nested too deeply"),
}


@pytest.fixture
def truths() -> dict[str, Any]:
    return _TRUTHS


_TRUTHS: dict[str, Any] = {}


def test_a_submission_agrees_and_is_the_same_file_again(
    given: tuple[Path, list[Path]], data: Path, tmp_path: Path
) -> None:
    path, runs = given
    checked = verify(path, {}, str(data), tmp_path)
    files = opened(path.read_bytes())
    assert b"/home/joe" not in b"".join(files.values())
    assert submit(runs, str(data))[0] == path.read_bytes()
    assert to_zip(files) == path.read_bytes()
    by_key = {(f.run, f.key): f for f in checked.report.figures if not f.versus}
    for f in collect(runs).figures:  # as the user's own report has them
        if f.metric in ("ues", "rouge1", "leaked_values", "probability") and not f.versus:
            assert by_key[f.run, f.key].value == pytest.approx(f.value, rel=1e-6), f.key


@pytest.mark.parametrize("kind", TAMPERED)
def test_tampering_is_refused_by_name(
    kind: str, given: tuple[Path, list[Path]], data: Path, truths: dict[str, Any], tmp_path: Path
) -> None:
    change, says = TAMPERED[kind]
    files = opened(given[0].read_bytes())
    path = tmp_path / "tampered.zip"
    path.write_bytes(to_zip(hashed(files)))
    if not truths:  # untouched it agrees, packed anew too
        verify(path, truths, str(data), tmp_path / "before")
    path.write_bytes(to_zip(change(files)))
    with pytest.raises(UserError) as refused:
        verify(path, truths, str(data), tmp_path / "after")
    lines = str(refused.value).split("\n")
    assert any(re.search(says, line) for line in lines), lines
    assert all(line.startswith(str(path)) for line in lines)
    assert isinstance(refused.value, Disagrees) is (kind != "other data")
    assert all(len(line) < 300 + len(str(path)) for line in lines)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zips_that_are_traps_are_not_read(
    given: tuple[Path, list[Path]], tmp_path: Path, monkeypatch: Any
) -> None:
    files = opened(given[0].read_bytes())
    path = tmp_path / "trap.zip"

    def refused() -> str:
        with pytest.raises(UserError) as error:
            read_submission(path)
        return str(error.value)

    assert refused() == f"{path}: no such file"
    path.write_bytes(given[0].read_bytes()[:5000])
    assert "cannot be read as a zip" in refused()
    path.write_bytes(b"PK")
    assert "cannot be read as a zip" in refused()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        archive.writestr("figures.jsonl", b"")
    assert "figures.jsonl is there twice" in refused()
    with zipfile.ZipFile(path, "w") as archive:
        link = zipfile.ZipInfo("figures.jsonl")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    assert "is no file of a submission" in refused()
    monkeypatch.setattr("eval.submission_file.MOST_BYTES", 1 << 20)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("figures.jsonl", b"0" * (1 << 21))
    assert path.stat().st_size < 1 << 14
    assert "more than" in refused()


def test_what_is_unfinished_or_private_is_not_submitted(
    given: tuple[Path, list[Path]], data: Path, tmp_path: Path
) -> None:
    run = tmp_path / "ga"
    shutil.copytree(given[1][1], run)
    (run / "attacks" / ".DS_Store").touch()
    (run / "record.json").unlink()
    (run / "done.json").unlink()
    for name, says in (
        ("attacks/.relearn-forget-1234abcd", "not finished"),
        ("record.json", "not finished .no done.json."),
    ):
        path = run / name
        path.mkdir() if name[0] == "a" else path.write_text("{}")
        with pytest.raises(UserError, match=says):
            submit([run], str(data))
        path.rmdir() if name[0] == "a" else path.unlink()
    (run / "scores.rows.jsonl").write_text("")
    with pytest.raises(UserError, match=r"row phantom\S+ is missing, and \d+ more"):
        submit([run], str(data))
    (run / "scores.json").write_text('{"name": "ga", "config": "own"}')
    with pytest.raises(UserError, match="rows of real patients are not handed on"):
        submit([run], str(data))


def test_the_page_ranks_what_agrees_and_lists_what_does_not(
    given: tuple[Path, list[Path]], data: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "all"
    folder.mkdir()
    files = opened(given[0].read_bytes())
    (folder / "one.zip").write_bytes(given[0].read_bytes())
    (folder / "two.zip").write_bytes(submit(given[1][:2], str(data))[0])
    for name, change in (
        ("wrong", figure("value", 1.9)),
        ("odd", put(RECORD, "identity", None)),
        ("else", about("data", "0" * 12)),
    ):
        (folder / f"{name}.zip").write_bytes(to_zip(change(files)))
    easy = tmp_path / "easy"  # of the attacks that the fine-tuned run has been through: none
    shutil.copytree(given[1][1], easy, ignore=lambda _, names: {"attacks"} & {*names})
    write_json(easy / "scores.json", json.loads((easy / "scores.json").read_text()) | {"name": "z"})
    (tmp_path / "one.zip").write_bytes(submit([given[1][0], easy], str(data))[0])
    page = tmp_path / "page.html"
    words = ["verify", str(folder), str(tmp_path / "one.zip"), "--data", str(data)]
    done = command("eval", *words, "--page", str(page), cwd=tmp_path, code=1)
    assert "2 of 6 submissions do not agree, 1 not compared" in done.stderr
    assert "wrong.zip: figures.jsonl" in done.stdout
    text = page.read_text("utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert "ues ours value is said to be 1.9" in text
    assert "http" not in text.replace("http-equiv", "")
    ranking = text[text.index("<table") : text.index("</table>")]
    heads = re.findall(r'<th scope="row">(.+?)</th>', ranking)
    assert [head for head in heads if head[0].isdigit()] == [
        "1= GA",
        "1= z",
        f"3 {_escaped(NASTY)}",
    ]
    assert "worst of 1 attacks" in ranking
    cells = {row.split("</th>")[0]: row for row in ranking.split('<th scope="row">')}
    assert ["–</td>" in cells[name].split("<td")[-1] for name in ("1= GA", "1= z")] == [False, True]
    for name in ("wrong.zip", folder / "one.zip", tmp_path / "one.zip"):
        assert f"<dt>{name}</dt>" in text
    assert "<dt>else.zip</dt>" in text.split("<h2>Of another dataset</h2>")[1]
    # A run that both hold stands there once: their fine-tuned run, and GA.
    assert sum("Finetune" in head for head in heads) == 1


def test_a_readers_own_mistakes_are_not_the_submissions(
    given: tuple[Path, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    for where, says in (
        (page, "0 of 1 submissions do not agree, 1 not compared"),
        (tmp_path, f"^{tmp_path}: this is a folder"),
    ):
        with pytest.raises(UserError, match=says):
            verify_command([given[0]], str(tmp_path / "nothere"), where)
    assert not page.exists()
    capsys.readouterr()
    twice = [shutil.copy(given[0], tmp_path / name) for name in ("a.zip", "b.zip")]
    with pytest.raises(UserError, match="2 not compared"):
        verify_command([*map(Path, twice)], str(tmp_path / "nothere"))
    first, second = capsys.readouterr().out.splitlines()
    assert "nothere: no such folder" in first
    assert second == f"{twice[1]}: not compared, as above"


def _escaped(text: str) -> str:
    return text.replace("<", "&lt;").replace(">", "&gt;")


def test_methods_that_cannot_be_told_apart_share_a_rank(
    given: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    runs = given[1]
    twin = tmp_path / "npo"
    shutil.copytree(runs[1], twin)
    about = json.loads((twin / "scores.json").read_text())
    write_json(twin / "scores.json", {**about, "name": "npo"})
    assert ranks(collect([*runs, twin])) == {"ga": 1, "npo": 1, NASTY: 3}


def test_the_hubs_own_classes_read_the_results(given: tuple[Path, list[Path]]) -> None:
    from huggingface_hub import parse_eval_result_entries

    report = collect(given[1])
    found = eval_results(report, "ORG/mllmu-med")
    assert "ga.yaml" in found
    assert all("/" not in name and "<" not in name for name in found)
    entries = parse_eval_result_entries(yaml.safe_load(found["ga.yaml"]))
    board = yaml.safe_load(eval_yaml(["privacy", "incorrect"]))
    assert {*board} == {"name", "description", "tasks"}
    tasks = {task["id"] for task in board["tasks"]}
    assert {entry.task_id for entry in entries} == {t for t in tasks if t.startswith("privacy")}
    assert {entry.dataset_id for entry in entries} == {"ORG/mllmu-med"}
    values = {entry.task_id: entry.value for entry in entries}
    assert values["privacy_withheld"] == 100
    assert values["privacy_retain"] == pytest.approx(100)


@pytest.mark.parametrize("name", ["/", "a/", "a b/c", "a/b/c", "a"])
def test_the_hubs_name_of_a_dataset_is_checked(name: str) -> None:
    with pytest.raises(UserError, match="ORG/NAME"):
        eval_results(Report("privacy", []), name)


def test_the_hub_is_told_no_more_than_the_page(
    given: tuple[Path, list[Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No UES of what is no language, no withheld values of whom few ways were tried on."""
    for name, file, keep in (("few", "leak", "own"), ("mad", "scores", "")):
        shutil.copytree(given[1][1], tmp_path / name)
        path = tmp_path / name / f"{file}.rows.jsonl"
        of = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        write_jsonl(path, [{**r, "degenerate": 1} for r in of if r.get("way", "") == keep])
        path = tmp_path / name / "scores.json"
        write_json(path, json.loads(path.read_text()) | {"name": name})
    found = eval_results(collect([given[1][0], tmp_path / "few", tmp_path / "mad"]), "ORG/NAME")
    assert [*found] == ["few.yaml"]
    assert "_ues" in found["few.yaml"]
    assert "withheld" not in found["few.yaml"]
    said = capsys.readouterr().err
    assert "few: without privacy_withheld" in said
    assert "mad: answers with what is no language" in said


def test_places_of_a_machine_are_left_out() -> None:
    texts = ["/home/joe/m", "runs/demo/tiny", "../x/y", "C:\\Users\\joe\\m", "http://h:1/v1"]
    assert plain_json({"a": texts})["a"] == ["m", "tiny", "y", "m", "v1"]
    for key, text in (
        ("model", "runs ü 22/demo privacy/tiny/x"),
        ("path", "klinikum-nord/x"),
        ("server", "http://u:secret@h/x?key=abc"),
        ("root", "patients mueller\\models\\x/"),
        ("server_model", "localhost:8000/x"),
        ("other", "http://h/x?key=abc"),
    ):
        assert plain_json({"a": [{key: text}]}) == {"a": [{key: "x"}]}
    assert plain_json({"server": "http://h:8000"}) == {"server": ""}
    kept = ["ORG/NAME", "[INST] <image>\n{question} [/INST]", "greedy, no penalties"]
    assert plain_json(kept) == kept


def test_the_shipped_runs_are_of_the_plain_demo(demo: Path, tmp_path: Path) -> None:
    from eval import submissions

    path = Path(submissions.__file__).with_name("shipped") / "demo-privacy.zip"
    assert path.stat().st_size < 300_000
    checked = verify(path, {}, str(demo / "mllmu-med"), tmp_path)
    assert {f.run for f in checked.report.figures} > {"finetune", "retrain"}
    runs = runs_of(demo / "mllmu-med", tmp_path / "mine")
    done = command("eval", "report", str(runs[1]), "--references", cwd=tmp_path)
    assert "Retrain" in done.stdout


def test_the_shipped_runs_are_not_put_beside_other_rows(
    given: tuple[Path, list[Path]], tmp_path: Path
) -> None:
    done = command("eval", "report", str(given[1][1]), "--references", cwd=tmp_path, code=1)
    assert "this one is of other rows" in done.stderr
