"""The whole loop on a small dataset and a small random model: parts, resume, refusals, the plan."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE, Popen
from typing import cast

import pytest
import tiny_llava
import yaml
from corpora import PLAIN, builder, command, process

import baselines.run
from baselines.__main__ import Options
from baselines.measure import Data, rouge_means, swapped, watched
from baselines.recipe import Answers, load_recipe
from baselines.run import Part, Stack, do
from baselines.steps_and_memory import gigabytes, plan, size_of
from baselines.tiny import TinySettings
from eval.attacks import Ask
from eval.dataset_rows import read_rows
from eval.load_model import load_model
from eval.model import Answer, Model
from eval.weights import weights_hash
from mllmu_med.files import new_folder
from mllmu_med.locks import held
from mllmu_med.recipe_files import Choice, shipped
from mllmu_med_dataset import SPLITS, Record, UsageError, UserError

SMALL = """\
name: small
config: privacy
answers: {max_new_tokens: 6, batch_size: 32}
watch: 6
finetune: {rank: 4, alpha: 8, epochs: 2, learning_rate: 2.0e-3, save_every: 2}
unlearn: {rank: 4, alpha: 8, epochs: 1, learning_rate: 1.0e-3, retain_sampling: paired}
methods:
  ga: {epochs: 2}
  llmu: {}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small dataset, a small model and a recipe, as a user would have it."""
    folder = tmp_path_factory.mktemp("loop")
    small = ("--limit", "90", "--set", "privacy.ratios=[10]", *PLAIN)
    done = builder("rebuild", *small, cwd=folder)
    assert done.returncode == 0, done.stderr
    texts = [row.question for row in read_rows(folder / "mllmu-med", "privacy")]
    tiny_llava.make(folder / "model", texts)
    (folder / "small.yaml").write_text(SMALL)
    return folder


def run(place: Path, *words: str, ok: bool = True) -> str:
    done = command("baselines", *words, cwd=place)
    assert (done.returncode == 0) == ok, done.stderr
    if not ok:
        assert done.stderr.count("error:") == 1
        assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


LOOP = ("run", "--recipe", "small.yaml", "--model", "model")


@pytest.fixture(scope="module")
def loop(place: Path) -> Path:
    """A whole run, undisturbed."""
    said = run(place, *LOOP, "--out", "calm")
    assert "ROUGE" in said
    assert "With another image, ROUGE-1" in said
    return place / "calm"


PARTS = ("base", "retrain", "finetune", "ga", "llmu")


@pytest.mark.slow
def test_every_part_is_there_and_says_what_it_is(loop: Path, place: Path) -> None:
    data = Data.read(str(place / "mllmu-med"), "privacy")
    for part in PARTS:
        folder = loop / part
        names = {path.name for path in folder.iterdir()}
        assert names >= {"answers.jsonl", "scores.json", "leak.json", "likelihood.json"}
        done = json.loads((folder / "done.json").read_text())
        assert done["identity"]["data"] == data.hash
        if part == "base":
            continue
        record = json.loads((folder / "record.json").read_text())
        assert record["outcome"]["status"] == "finished"
        assert record["settings"]["rank"] == 4
        lines = (folder / "log.jsonl").read_text().splitlines()
        assert len(lines) == record["outcome"]["steps"]
        epochs = [json.loads(x) for x in (folder / "trajectory.jsonl").read_text().splitlines()]
        assert [one["epoch"] for one in epochs] == list(range(1, len(epochs) + 1))
        assert ("ues" in epochs[0]) == (part in ("ga", "llmu"))
        assert (folder / "adapter" / "README.md").is_file()
    page = (loop / "report.html").read_text()
    assert all(label in page for label in ("Finetune", "LLMU", "Retrain", "another image"))
    quality = json.loads((loop / "ga" / "likelihood.json").read_text())["forget_quality"]
    assert 0 <= quality["value"] <= 1
    swapped = json.loads((loop / "finetune" / "done.json").read_text())["swapped"]
    assert swapped["n"] > 10


@pytest.mark.slow
def test_the_saved_adapters_are_the_model_that_was_measured(loop: Path, place: Path) -> None:
    """Loading base, fine-tuned and unlearned adapter gives the answers in the run's folder."""
    done = command(
        *("eval", "answer", "--model", "model", "--adapter", loop / "finetune" / "adapter"),
        *("--adapter", loop / "llmu" / "adapter", "--max-new-tokens", "6"),
        *("--split", "forget", "--out", place / "again.jsonl"),
        cwd=place,
    )
    assert done.returncode == 0, done.stderr
    again = {r["id"]: r["answer"] for r in map(json.loads, open_lines(place / "again.jsonl"))}
    measured = map(json.loads, open_lines(loop / "llmu" / "answers.jsonl"))
    found = {r["id"]: r["answer"] for r in measured if r["id"] in again}
    assert again == found
    assert len(again) >= 3


def open_lines(path: Path) -> list[str]:
    return path.read_text("utf-8").splitlines()


@pytest.mark.slow
def test_killed_and_resumed_is_as_undisturbed(loop: Path, place: Path) -> None:
    out = place / "shaken"
    line = [sys.executable, "-m", "baselines", *LOOP, "--out", "shaken"]
    for kills in range(60):
        before = stamp(out)
        with Popen(line, cwd=place, stdout=PIPE, stderr=PIPE) as process:
            while process.poll() is None:
                if kills < 6 and stamp(out) > before + kills % 3:
                    process.send_signal(signal.SIGKILL)
                    break
                time.sleep(0.02)
        if process.returncode == 0:
            break
    assert kills >= 6
    for part in PARTS:
        for name in ("answers.jsonl", "scores.json", "leak.json", "likelihood.jsonl"):
            ours, theirs = (x / part / name for x in (out, loop))
            assert comparable(ours) == comparable(theirs), (part, name)
        if part != "base":
            assert weights_hash(out / part / "adapter") == weights_hash(loop / part / "adapter")
    # Nothing is done again.
    changed = {path: path.stat().st_mtime_ns for path in out.rglob("adapter_model.safetensors")}
    said = run(place, *LOOP, "--out", "shaken")
    assert said.count("done already") == len(PARTS)
    assert {path: path.stat().st_mtime_ns for path in changed} == changed


@pytest.mark.slow
def test_two_processes_make_one_run(loop: Path, place: Path) -> None:
    """Each trains its share, one measures and reports; the adapters are those of one process."""
    import torch
    from safetensors.torch import load_file

    done = process(
        *("torch.distributed.run", "--nproc_per_node", "2", "-m", "baselines"),
        *(*LOOP, "--methods", "ga", "--set", "watch=0", "--out", "two"),
        cwd=place,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Unlearning") + done.stdout.count("What UES hides") == 1
    record = json.loads((place / "two" / "ga" / "record.json").read_text())
    assert record["processes"] == 2
    for part in ("finetune", "retrain", "ga"):
        name = "adapter/adapter_model.safetensors"
        one, two = (load_file(folder / part / name) for folder in (loop, place / "two"))
        far = torch.cat([(one[key] - two[key]).flatten() for key in one]).norm()
        assert far < 1e-3 * torch.cat([value.flatten() for value in one.values()]).norm()


def stamp(out: Path) -> int:
    """How many things a run has written so far."""
    return sum(len(open_lines(path)) for path in out.rglob("*.jsonl")) if out.is_dir() else 0


def comparable(path: Path) -> str:
    return path.read_text("utf-8").replace("shaken", "calm")


@pytest.mark.slow
def test_one_part_at_a_time_and_another_recipe(loop: Path, place: Path) -> None:
    """`unlearn --from` finds model, data and adapters; two unlearned rounds stack."""
    words = ("--recipe", "small.yaml")
    run(place, "unlearn", "gd", "--from", "calm/finetune", "--out", "gd", *words)
    record = json.loads((place / "gd" / "record.json").read_text())
    assert [Path(one["path"]).parts[-2:] for one in record["model"]["adapters"]] == [
        ("finetune", "adapter")
    ]
    run(place, "unlearn", "idk", "--from", "gd", "--out", "idk", *words)
    record = json.loads((place / "idk" / "record.json").read_text())
    assert len(record["model"]["adapters"]) == 2


@pytest.mark.slow
def test_another_run_in_the_same_folder_is_refused_and_changes_nothing(
    loop: Path, place: Path
) -> None:
    before = {path: path.read_bytes() for path in loop.rglob("*") if path.is_file()}
    cases = {
        "retrain: was run otherwise (settings.epochs: 2 there, 1 now)": "--set=finetune.epochs=1",
        "was run otherwise (data": "--config=incorrect",
        "was run otherwise (dtype: 'float32' there, 'bfloat16' now)": "--dtype=bfloat16",
        "finetune.keep: best needs scores by epoch: set watch": (
            "--set=watch=0",
            "--set=finetune.keep=best",
        ),
    }
    for wanted, words in cases.items():
        added = [words] if isinstance(words, str) else words
        assert wanted in run(place, *LOOP, "--out", "calm", *added, ok=False)
    with held(loop):
        assert "calm: another command is writing here" in run(
            place, *LOOP, "--out", "calm", ok=False
        )
    assert before == {path: path.read_bytes() for path in loop.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_unlearning_wants_the_dataset_that_was_learnt(loop: Path, place: Path) -> None:
    done = builder(
        *("rebuild", "--limit", "90", "--set", "seed=5", "--set", "calibration=null"),
        *("--set", "privacy.ratios=[10]", "--out", "other"),
        cwd=place,
    )
    assert done.returncode == 0, done.stderr
    words = ("--recipe", "small.yaml", "--data", "other", "--out", "no")
    said = run(place, "unlearn", "ga", "--from", "calm/finetune", *words, ok=False)
    assert "calm/finetune: was trained on another dataset" in said
    assert not (place / "no").exists()


def test_one_command_writes_a_run_folder(place: Path) -> None:
    with held(place / "busy"):
        said = run(place, "finetune", *LOOP[1:], "--out", "busy", ok=False)
    assert "busy: another command is writing here" in said
    assert not list((place / "busy").iterdir())


def test_a_second_round_is_scored_against_the_fine_tuned_model(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def means(folder: Path, *_: object) -> None:
        raise UserError(f"means of {folder.name}")

    monkeypatch.setattr(baselines.run, "watched_means", means)
    monkeypatch.setattr(Stack, "at", lambda *_: None)
    below = [tmp_path / name / "adapter" for name in ("finetune", "gd")]
    for folder in below:
        folder.mkdir(parents=True)
        (folder / "adapter_model.safetensors").touch()
    data = Data.read(str(place / "mllmu-med"), "privacy")
    recipe = load_recipe(str(place / "small.yaml"))
    part = Part("idk", tmp_path / "idk", tuple(below))
    with pytest.raises(UserError, match="means of finetune"):
        do(part, recipe, data, Stack(str(place / "model")))


def test_a_watched_row_is_one_that_counts(place: Path) -> None:
    """However few: closed questions have no ROUGE-1."""
    data = Data.read(str(place / "mllmu-med"), "privacy")
    for most in (1, 6):
        rows = watched(data, most)
        assert {row.answer_type for row in rows} == {"open"}
        assert {row.split for row in rows} == set(SPLITS)


@pytest.mark.parametrize(
    ("model", "recipe"),
    [(None, "demo"), ("tiny", "demo"), ("runs/tiny-342dacb2", "demo"), ("tiny-llava", "paper")],
)
def test_a_tiny_model_that_was_made_has_the_demos_recipe(model: str | None, recipe: str) -> None:
    """Also in `unlearn --from`, which finds the model under its folder's name."""
    assert Options(model=model).read_recipe(["finetune"]).name == recipe


def test_two_that_make_a_model_at_once_make_one(tmp_path: Path) -> None:
    made = tmp_path / "model"
    with (
        pytest.raises(UserError, match="exists already"),
        new_folder(made, "a model"),
        new_folder(made, "a model") as first,
    ):
        (first / "weights").touch()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (made / "weights").is_file()


def test_swapped_images_are_other_images(place: Path) -> None:
    """Each question is asked with its own picture, then with one of other content."""
    data = Data.read(str(place / "mllmu-med"), "privacy")
    row = next(row for row in data.rows["retain"] if row.answer_type == "open")
    far = next(
        other
        for other in data.rows["retain"]
        if other.answer_type == "open" and other.image_sha256 != row.image_sha256
    )
    # The only other answer to the same question is of the same picture: any other picture will do.
    twin = replace(row, id="twin", answer="something else", question=row.question)
    copy = replace(row, id="copy", image_id="copy", answer="something else again")
    far = replace(far, question="Nobody else asks this?")
    some = replace_rows(data, [row, twin, copy, far])
    asked: list[tuple[str, str]] = []

    class Seeing:
        def answer(self, asks: list[Ask], *_: object) -> list[Answer]:
            asked.extend((ask.row.id, ask.row.image_id) for ask in asks)
            return [Answer("", 0, "eos") for _ in asks]

    found = swapped(cast("Model", Seeing()), some, Answers())
    assert found["n"] == 4
    own = {one.id: one.image_id for one in (row, twin, copy, far)}
    assert dict(asked[:4]) == own
    same = {row.image_id, "copy"}
    assert all((image in same) != (own[row_id] in same) for row_id, image in asked[4:])


def replace_rows(data: Data, retain: list[Record]) -> Data:
    return replace(data, rows={**data.rows, "retain": retain})


def test_bad_use_is_one_line(place: Path) -> None:
    cases = {
        "method ada: use": ("unlearn", "ada", "--from", "x", "--out", "y"),
        "x: no run of baselines here": ("unlearn", "ga", "--from", "x", "--out", "y"),
        "method nope: use ga": (*LOOP, "--methods", "ga,nope"),
        "--model is missing": ("run", "--recipe", "small.yaml"),
        "unknown key finetune.epoch (nearest: epochs)": (*LOOP, "--set", "finetune.epoch=1"),
        "nowhere: no such folder": (*LOOP, "--data", "nowhere"),
        "use privacy or incorrect": (*LOOP, "--config", "privat"),
        "neither a file nor one of demo": ("run", "--recipe", "none"),
        "gpt: its configuration cannot be read: Unrecognized": (*LOOP[:-1], "gpt", "--plan"),
        "no such folder here; a model": (*LOOP[:-1], "nothing", "--out", "z"),
        "write KEY=VALUE": (*LOOP, "--set", "epochs"),
    }
    (place / "gpt").mkdir()
    (place / "gpt" / "config.json").write_text('{"model_type": "gpt2"}')
    for wanted, words in cases.items():
        assert wanted in run(place, *words, ok=False)


def test_a_split_without_open_questions(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is trained: there would be no ROUGE-1, and so no UES."""
    data = Data.read(str(place / "mllmu-med"), "privacy")
    assert all(row.answer_type == "open" for row in watched(data, 50))
    assert {row.split for row in watched(data, 2)} == set(SPLITS)
    rows = [row for row in data.all if row.split != "forget" or row.answer_type == "closed"]
    monkeypatch.setattr("baselines.measure.read_rows", lambda *_: rows)
    with pytest.raises(UserError, match="privacy/forget holds no open question"):
        Data.read(str(place / "mllmu-med"), "privacy")


def test_the_plan_counts_what_would_run(place: Path) -> None:
    said = run(place, *LOOP, "--plan", "--out", "never")
    assert not (place / "never").exists()
    assert "finetune" in said
    data = Data.read(str(place / "mllmu-med"), "privacy")
    recipe = load_recipe(str(place / "small.yaml"), [Choice("model", "model")])
    forget, retain = len(data.rows["forget"]), len(data.rows["retain"])
    size = size_of(str(place / "model"), TinySettings())
    model = load_model(str(place / "model")).model
    assert size.weights == sum(p.numel() for p in model.parameters())
    counted = {one.part: one for one in plan(recipe, data, size, ["ga", "llmu"])}
    assert counted["finetune"].samples == forget + retain
    assert counted["retrain"].samples == retain
    assert counted["ga"].samples == forget
    assert counted["llmu"].samples == 3 * forget  # forget, its refusal, a retain row
    assert counted["finetune"].steps == 2 * -(-(forget + retain) // 16)


def test_llava_meds_size_is_estimated_near_what_is_known() -> None:
    """7.57 B weights in bf16 are 15.1 GB; LoRA of rank 128 trains 335.5 M of 16 bytes each."""
    from baselines.steps_and_memory import Size

    size = Size(7_566_000_000, 335_500_000 // 128, 32, 4096, 576)
    settings = load_recipe("paper-privacy", [Choice("model", "x")]).finetune
    assert 15.1 + 5.4 < gigabytes(size, settings) < 28


@pytest.mark.parametrize("name", shipped("baselines"))
def test_shipped_recipes_hold_what_the_paper_states(name: str) -> None:
    recipe = load_recipe(name)
    assert list(recipe.methods)[:5] == ["ga", "gd", "kl-min", "idk", "llmu"]
    if name.startswith("paper"):
        tune = recipe.finetune
        stated = {"privacy": (128, 256, 3, 2e-4), "incorrect": (128, 256, 2, 2e-5)}
        assert (tune.rank, tune.alpha, tune.epochs, tune.learning_rate) == stated[recipe.config]


def test_what_stands_under_unlearn_holds_for_every_method(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump({**yaml.safe_load(SMALL), "methods": {"ga": None, "gd": {}}}))
    recipe = load_recipe(str(path), [Choice("unlearn.epochs", "7"), Choice("methods.gd.rank", "2")])
    assert recipe.settings("ga").epochs == recipe.settings("gd").epochs == 7
    assert (recipe.settings("ga").rank, recipe.settings("gd").rank) == (4, 2)
    assert recipe.settings("npo").epochs == 7
    assert recipe.methods_in("") == ["ga", "gd"]
    assert recipe.methods_in("npo, ga") == ["npo", "ga"]
    with pytest.raises(UsageError, match="named twice"):
        recipe.methods_in("ga,ga")
    with pytest.raises(UsageError, match="no method 'gg'"):
        load_recipe(str(path), [Choice("methods", "{gg: {}}")])


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (
            "methods.gd.retain_weight=0.3",
            "methods.gd.retain_weight: gd does not take it, npo, simnpo, dpo do; gd takes "
            "collapse, reduction, retain_sampling",
        ),
        ("methods.ga.retain_weight=1.0", "ga does not take it"),
        ("methods.ga.retain_sampling=paired", "ga does not take it"),
        ("methods.gd.beta=2", "gd does not take it, npo, simnpo, dpo do"),
        ("methods.idk.gamma=2", "idk does not take it, simnpo do"),
        ("methods.llmu.retain_weight=0.5", "llmu does not take it"),
        ("methods.idk.collapse=9", "idk does not take it"),
        ("methods.npo.refusals=[No.]", "npo does not take it, idk, llmu, dpo do"),
        ("methods.npo={retain_weight: 0, reduction: token}", "npo with retain_weight 0 does not"),
        ("methods.simnpo={retain_weight: 0, retain_sampling: paired}", "simnpo with retain_weight"),
        ("finetune.refusals=[No.]", "finetune.refusals: finetune does not take it"),
        ("finetune.collapse=4", "finetune.collapse: finetune does not take it"),
    ],
)
def test_a_setting_that_its_method_does_not_take_is_refused(choice: str, said: str) -> None:
    key, _, value = choice.partition("=")
    with pytest.raises(UsageError) as error:
        load_recipe("demo", [Choice(key, value)])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("choice", "parts", "said"),
    [
        ("methods.ga.epochs=2", ["gd"], "ga is not run here"),
        ("methods.npo.beta=2", ["finetune", "retrain", "ga"], "npo is not run here"),
        ("finetune.epochs=2", ["gd"], "gd trains on top of a model that is fine-tuned already"),
        ("unlearn.epochs=2", ["finetune"], "no method is run here"),
        ("unlearn.retain_weight=0.3", ["gd"], "gd does not take it, npo, simnpo, dpo do"),
        ("unlearn.beta=0.3", ["ga", "gd"], "gd does not take it"),
        ("unlearn.epochs=5", ["idk"], "the recipe has methods.idk.epochs, set that"),
        ("tiny.seed=5", ["finetune"], "the model is llava, not one made on the spot"),
        ("unlearn={epochs: 3, retain_weight: 0.3}", ["gd"], "unlearn.retain_weight: nothing"),
        ("methods={npo: {epochs: 9}}", ["ga"], "methods.npo.epochs: nothing reads it: npo is not"),
        ("methods={ga: {epochs: 9}, npo: {}}", ["ga"], "methods.npo: nothing reads it"),
    ],
)
def test_a_choice_that_nothing_reads_is_refused(choice: str, parts: list[str], said: str) -> None:
    model = "llava" if choice.startswith("tiny") else None
    with pytest.raises(UsageError) as error:
        Options("demo", model, choices=[choice]).read_recipe(parts)
    assert re.match(
        rf"--set {choice.partition('=')[0]}[\w.]*: nothing reads it: ", str(error.value)
    )
    assert said in str(error.value)


def test_what_is_read_is_taken() -> None:
    for choice, parts in {
        "methods.npo.retain_weight=0.3": ["npo"],
        "methods.dpo.refusals=[No.]": ["dpo"],
        "unlearn.refusals=[No.]": ["finetune"],  # the tiny model's vocabulary holds them
        "unlearn.epochs=5": ["idk", "gd"],
        "unlearn={epochs: 5, beta: 0.3}": ["gd", "npo"],
        "methods={ga: {epochs: 9}}": ["ga"],
        "unlearn.beta=0.3": ["gd", "npo"],
        "finetune.epochs=2": ["retrain"],
        "tiny.seed=5": ["finetune"],
        "answers.batch_size=5": ["ga"],
        "watch=5": ["ga"],
    }.items():
        assert Options("demo", choices=[choice]).read_recipe(parts)


def test_a_method_has_of_unlearn_what_it_reads() -> None:
    recipe = load_recipe("demo", [Choice("unlearn.retain_weight", "0.3")])
    assert recipe.settings("npo").retain_weight == 0.3
    assert recipe.settings("gd") == load_recipe("demo").settings("gd")
    assert recipe.settings("ga").retain_sampling == "union"  # no retain row is drawn


@pytest.mark.parametrize("name", shipped("baselines"))
def test_what_a_run_keeps_of_its_recipe_is_that_recipe(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    (tmp_path / "recipe.json").write_text(json.dumps(recipe.to_json()), "utf-8")
    again = load_recipe(str(tmp_path / "recipe.json"))
    for part in ("finetune", *recipe.methods):
        assert again.settings(part) == recipe.settings(part)


def test_means_are_of_open_questions() -> None:
    rows = [{"split": s, "rouge1": v} for s in SPLITS for v in (0.0, 1.0)]
    rows.append({"split": "forget", "correct": True})
    assert rouge_means(rows) == dict.fromkeys(SPLITS, 0.5)


@pytest.mark.slow
def test_help_is_quick() -> None:
    best = 9.0
    for _ in range(4):
        started = time.perf_counter()
        done = command("baselines", "--help", cwd=Path(os.sep))
        best = min(best, time.perf_counter() - started)
        assert "unlearn" in done.stdout
    assert best < 0.5
