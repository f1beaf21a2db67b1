"""The whole loop on a small dataset and a small random model: parts, resume, refusals, the plan."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Any, cast

import pytest
import tiny_llava
import yaml
from cases import cases
from corpora import PLAIN, builder, command, process

from baselines.__main__ import Options
from baselines.measure import Data, rouge_means, swapped
from baselines.methods import METHODS
from baselines.recipe import Answers, load_recipe
from baselines.run import FINETUNED, Part, _origin
from baselines.steps_and_memory import gigabytes, plan, size_of
from baselines.tiny import TinySettings
from baselines.tune import unseen
from baselines.tune_space import Bars, Trial, choose
from eval import load_results
from eval.attacks import Ask
from eval.dataset_rows import read_rows
from eval.load_model import load_model
from eval.model import Answer, Model
from eval.weights import weights_hash
from mllmu_med.folders import new_folder
from mllmu_med.locks import held
from mllmu_med.recipe_files import Choice, shipped
from mllmu_med_dataset import SPLITS, UsageError, UserError

CASES = cases(__file__)

SMALL = """\
name: small
config: privacy
answers: {max_new_tokens: 6, batch_size: 32}
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
    builder("rebuild", *small, cwd=folder)
    texts = [row.question for row in read_rows(folder / "mllmu-med", "privacy")]
    tiny_llava.make(folder / "model", texts)
    (folder / "small.yaml").write_text(SMALL)
    return folder


def run(place: Path, *words: str, ok: bool = True) -> str:
    done = command("baselines", *words, cwd=place, code=None)
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
        assert names >= {"answers.jsonl", "scores.json", "leak.json", "likelihood.jsonl"}
        done = json.loads((folder / "done.json").read_text())
        assert done["identity"]["data"] == data.hash
        if part == "base":
            continue
        record = json.loads((folder / "record.json").read_text())
        assert record["outcome"]["status"] == "finished"
        assert record["settings"]["rank"] == 4
        lines = (folder / "log.jsonl").read_text().splitlines()
        assert len(lines) == record["outcome"]["steps"]
        assert (folder / "adapter" / "README.md").is_file()
    page = (loop / "report.html").read_text()
    assert all(label in page for label in ("Finetune", "LLMU", "Retrain", "another image"))
    frame = load_results(loop)
    quality = frame[(frame.run == "ga") & (frame.metric == "forget_quality")]
    assert quality.value.between(0, 1).tolist() == [True]
    swapped = json.loads((loop / "finetune" / "done.json").read_text())["swapped"]
    assert swapped["n"] > 10


@pytest.mark.slow
def test_the_saved_adapters_are_the_model_that_was_measured(loop: Path, place: Path) -> None:
    """Loading base, fine-tuned and unlearned adapter gives the answers in the run's folder."""
    command(
        *("eval", "answer", "--model", "model", "--adapter", loop / "finetune" / "adapter"),
        *("--adapter", loop / "llmu" / "adapter", "--max-new-tokens", "6"),
        *("--split", "forget", "--out", place / "again.jsonl"),
        cwd=place,
    )
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
    # Side by side, where `calm` did one part after another.
    line = [sys.executable, "-m", "baselines", *LOOP, "--out", "shaken", "--jobs", "2"]
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
            logs = {(folder / part / "log.jsonl").read_bytes() for folder in (out, loop)}
            assert len(logs) == 1
    # Nothing is done again.
    changed = {path: path.stat().st_mtime_ns for path in out.rglob("adapter_model.safetensors")}
    said = run(place, *LOOP, "--out", "shaken", "--jobs", "2")
    assert said.count("done already") == len(PARTS)
    assert {path: path.stat().st_mtime_ns for path in changed} == changed
    assert not list(out.rglob("checkpoint.pt"))


@pytest.mark.slow
def test_two_processes_make_one_run(loop: Path, place: Path) -> None:
    """Each trains and answers its share, one reports: the base model's bytes, near adapters."""
    import torch
    from safetensors.torch import load_file

    done = process(
        *("torch.distributed.run", "--nproc_per_node", "2", "-m", "baselines"),
        *(*LOOP, "--methods", "ga", "--out", "two"),
        cwd=place,
    )
    assert done.stdout.count("What UES hides") == 1
    record = json.loads((place / "two" / "ga" / "record.json").read_text())
    assert record["processes"] == 2
    for name in ("answers.jsonl", "leak.jsonl", "likelihood.jsonl"):
        path = Path("base") / name
        assert (place / "two" / path).read_bytes() == (loop / path).read_bytes()
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
def test_another_run_in_the_same_folder_changes_nothing(loop: Path, place: Path) -> None:
    before = {path: path.read_bytes() for path in loop.rglob("*") if path.is_file()}
    cases = {
        "retrain: was run otherwise (settings.epochs: 2 there, 1 now)": "--set=finetune.epochs=1",
        "was run otherwise (data": "--config=incorrect",
        "was run otherwise (dtype: 'float32' there, 'bfloat16' now)": "--dtype=bfloat16",
    }
    for wanted, word in cases.items():
        assert wanted in run(place, *LOOP, "--out", "calm", word, ok=False)
    assert before == {path: path.read_bytes() for path in loop.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_seeds_share_what_is_finished(loop: Path, place: Path) -> None:
    out = place / "seeded"
    shutil.copytree(loop, out)
    words = (*LOOP, "--methods", "ga", "--out", "seeded", "--seeds", "0,1")
    said = run(place, *words)
    assert said.count("done already") == 4 + 3  # one seed looks as without --seeds
    frame = load_results(out)
    gain = frame[(frame.run == "ga") & (frame.metric == "gain")]
    assert gain.seeds.max() == 2
    assert sorted(gain.seed.dropna()) == [0, 1]
    assert sorted(path.name for path in (out / "seed-1").iterdir()) == ["ga", "recipe.json"]
    seeds = [json.loads((out / x / "ga/record.json").read_text()) for x in ("", "seed-1")]
    assert [record["settings"]["seed"] for record in seeds] == [0, 1]
    assert len({weights_hash(out / x / "ga" / "adapter") for x in ("", "seed-1")}) == 2
    shutil.rmtree(out / "seed-1")
    assert run(place, *words, "--seeds-of", "all").count("done already") == 4 + 1
    assert (out / "seed-1" / "finetune" / "done.json").is_file()
    frame = load_results(out)
    references = {"Clean oracle", "Gibberish"}
    assert set(frame[frame.seeds == 2].run) == {"finetune", "ga", "retrain"} | references


@pytest.fixture(scope="module")
def hospital(place: Path) -> Path:
    """An adapter that plain PEFT has trained, on modules of its own choice."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForImageTextToText, AutoProcessor

    torch.manual_seed(0)
    data = Data.read(str(place / "mllmu-med"), "privacy")
    base = AutoModelForImageTextToText.from_pretrained(place / "model")
    processor = AutoProcessor.from_pretrained(place / "model", backend="pil")
    targets = ["q_proj", "v_proj", "up_proj"]  # in the vision tower too
    net: Any = get_peft_model(base, LoraConfig(r=6, lora_alpha=24, target_modules=targets))
    learns = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], 5e-3)
    for row in [*data.rows["forget"], *data.rows["retain"]][:30] * 2:
        text = f"[INST] <image>\n{row.question} [/INST] {row.answer}</s>"
        read = processor(text=[text], images=[data.images[row.image_id]], return_tensors="pt")
        net(**read, labels=read["input_ids"]).loss.backward()
        learns.step()
        learns.zero_grad()
    net.save_pretrained(place / "hospital")
    (place / "hospital" / "training_args.bin").touch()
    return place / "hospital"


def test_what_is_known_of_a_fine_tuned_model_is_told(tmp_path: Path) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    (ours / "record.json").touch()
    said = [_origin(Part(FINETUNED, tmp_path, (of / "adapter",))) for of in (ours, theirs)]
    assert f"{ours / 'record.json'} says" in said[0]
    assert "is not known" in said[1]


ELSEWHERE = (*LOOP, "--adapter", "hospital", "--methods", "ga,npo", "--out", "theirs")


@pytest.fixture(scope="module")
def theirs(hospital: Path) -> Path:
    """A run on top of a model that was fine-tuned elsewhere."""
    said = run(hospital.parent, *ELSEWHERE)
    for wanted in ("Finetune", "is one from elsewhere", "PrivLeak", "are absent, not 0"):
        assert wanted in said
    assert "\nRetrain" not in said
    return hospital.parent / "theirs"


@pytest.mark.slow
def test_a_model_fine_tuned_elsewhere_is_unlearned(theirs: Path, place: Path) -> None:
    names = {path.name for path in theirs.iterdir() if path.is_dir()}
    assert names == {"base", "finetune", "ga", "npo"}
    assert not (theirs / "finetune" / "adapter").exists()
    frame = load_results(theirs)
    assert set(frame[frame.metric == "ues"].run) >= {"finetune", "ga", "npo"}
    assert frame[frame.metric.isin(["forget_quality", "privleak"])].empty
    record = json.loads((theirs / "npo" / "record.json").read_text())
    assert record["finetuned"] == "elsewhere"
    assert [one["path"] for one in record["model"]["adapters"]] == ["hospital"]
    card = (theirs / "npo" / "adapter" / "README.md").read_text()
    assert "Fine-tuned: elsewhere" in card
    assert "gives the data back" in card
    answered = [(theirs / x / "answers.jsonl").read_bytes() for x in ("base", "finetune", "ga")]
    assert len({*answered}) == 3
    leak = ("leak", "--model", "model", "--adapter", "hospital", "--out", "asked")
    command("eval", *leak, "--max-new-tokens", "6", cwd=place)
    asked, own = (x / "leak.rows.jsonl" for x in (place / "asked", theirs / "finetune"))
    assert sorted(open_lines(asked)) == sorted(open_lines(own))


@pytest.mark.slow
def test_whose_adapter_it_is_decides_not_where_it_is(theirs: Path, place: Path) -> None:
    assert run(place, *ELSEWHERE).count("done already") == 4
    shutil.copytree(place / "hospital", place / "moved")
    (place / "moved" / "training_args.bin").unlink()
    moved = [word.replace("hospital", "moved") for word in ELSEWHERE]
    assert run(place, *moved).count("done already") == 4
    plan = run(place, *moved, "--plan")
    assert "4 models answer" in plan
    assert "finetune" not in plan
    config = place / "moved" / "adapter_config.json"
    config.write_text(config.read_text().replace('"lora_alpha": 24', '"lora_alpha": 23'))
    said = run(place, *moved, ok=False)
    assert "finetune: was run otherwise (parents" in said


@pytest.mark.slow
def test_one_method_on_a_model_from_elsewhere(theirs: Path, place: Path) -> None:
    """With an adapter, then a second round, then with the merged weights as the model itself."""
    words = ("--recipe", "small.yaml", "--out")
    alone = ("unlearn", "ga", "--model", "model", "--adapter", "hospital", *words, "alone/ga")
    run(place, *alone)
    for name in ("finetune", "ga"):
        for file in ("answers.jsonl", "leak.rows.jsonl"):
            alone_file, run_file = (x / name / file for x in (place / "alone", theirs))
            assert alone_file.read_bytes() == run_file.read_bytes()
    run(place, "unlearn", "idk", "--from", "alone/ga", *words, "second/idk")
    record = json.loads((place / "second" / "idk" / "record.json").read_text())
    assert len(record["model"]["adapters"]) == 2
    assert record["measured"] == "alone/finetune"
    run(place, "unlearn", "npo", "--from", "alone/finetune", *words, "alone/npo")
    ours, other = (x / "npo" / "adapter" for x in (place / "alone", theirs))
    assert weights_hash(ours) == weights_hash(other)

    run(place, "merge", "alone/ga", "--out", "one")
    run(place, "merge", "alone/ga", "--out", "whole", "--into-weights", "--dtype", "float32")
    for who in (("model", "--adapter", "one"), ("whole",)):
        out = place / f"{who[-1]}.jsonl"
        words = ("--max-new-tokens", "6", "--out", str(out))
        command("eval", "answer", "--model", *who, *words, cwd=place)
        given, stack = (map(json.loads, open_lines(x)) for x in (out, theirs / "ga/answers.jsonl"))
        assert [r["answer"] for r in given] == [r["answer"] for r in stack]

    itself = ("run", "--recipe", "small.yaml", "--model", "whole", "--as-finetuned")
    said = run(place, *itself, "--methods", "gd", "--out", "itself")
    assert "no base run" in said
    assert {x.name for x in (place / "itself").iterdir() if x.is_dir()} == {"finetune", "gd"}
    assert "2 models answer" in run(place, *itself, "--methods", "gd", "--plan")


@pytest.mark.slow
def test_retraining_is_there_for_who_wants_it(theirs: Path, place: Path) -> None:
    words = [word.replace("ga,npo", "ga") for word in ELSEWHERE]
    assert run(place, *words, "--retrain", "--seeds", "0,1").count("done already") == 6
    assert sorted(path.name for path in (theirs / "seed-1").iterdir()) == ["ga", "recipe.json"]
    frame = load_results(theirs)
    assert not frame[frame.metric == "forget_quality"].empty


@pytest.fixture(scope="module")
def other(place: Path) -> Path:
    """A build of another seed: other rows, other patients."""
    builder(
        *("rebuild", "--limit", "90", "--set", "seed=5", "--set", "calibration=null"),
        *("--set", "privacy.ratios=[10]", "--out", "other"),
        cwd=place,
    )
    return place / "other"


@pytest.mark.slow
def test_unlearning_wants_the_dataset_that_was_learnt(loop: Path, place: Path, other: Path) -> None:
    words = ("--recipe", "small.yaml", "--data", "other", "--out", "no")
    said = run(place, "unlearn", "ga", "--from", "calm/finetune", *words, ok=False)
    assert "calm/finetune: was trained on another dataset" in said
    assert not (place / "no").exists()


@pytest.mark.slow
def test_trials_are_recorded_and_survive_a_kill(place: Path, other: Path) -> None:
    words = ["tune", *LOOP[1:], "--methods", "ga,npo", "--set", "tune.trials=2", "--out", "tuned"]
    assert "--data is missing" in run(place, *words, ok=False)
    assert "its results are reported" in run(place, *words, "--data", "mllmu-med", ok=False)
    words += ["--data", "other", "--jobs", "2"]
    out = place / "tuned"
    with Popen([sys.executable, "-m", "baselines", *words], cwd=place, stderr=PIPE) as process:
        while process.poll() is None and not (out / "ga-0" / "done.json").is_file():
            time.sleep(0.02)
        process.kill()
    said = run(place, *words)
    assert "ga-0: done already" in said
    assert "methods:" in said
    trials = [json.loads(line) for line in open_lines(out / "trials.jsonl")]
    assert [(one["method"], one["trial"]) for one in trials] == [
        (method, i) for method in ("ga", "npo") for i in range(2)
    ]
    assert [sum(t["chosen"] for t in trials if t["method"] == m) for m in ("ga", "npo")] == [1, 1]
    assert len({one["settings"]["learning_rate"] for one in trials}) == 2
    assert all(("retain_weight" in t["settings"]) == (t["method"] == "npo") for t in trials)
    chosen = {t["method"]: t["settings"] for t in trials if t["chosen"]}
    assert yaml.safe_load((out / "tuned.yaml").read_text())["methods"] == chosen
    scored = [json.loads(line) for line in open_lines(out / "npo-1" / "scores.rows.jsonl")]
    assert {row["split"] for row in scored} == {"forget", "retain"}
    assert "criterion" in json.loads((out / "tune.json").read_text())
    assert {path.parent.name for path in out.rglob("adapter")} == {"finetune", "retrain"}
    before = (out / "trials.jsonl").read_bytes()
    assert run(place, *words).count("done already") == 6
    assert (out / "trials.jsonl").read_bytes() == before


def test_the_criterion() -> None:
    bars = Bars(retain=0.9, degenerate_retain=0.0, degenerate_forget=0.2)
    cases = {  # retain, degenerate on retain and forget, objective
        "best": (0.86, 0.01, 0.20, 0.2),
        "tied, keeps less": (0.851, 0.0, 0.0, 0.2),
        "worse": (0.9, 0.0, 0.0, 0.3),
        "loses too much": (0.84, 0.0, 0.0, 0.0),
        "gibberish": (0.89, 0.0, 0.3, 0.0),
        "more gibberish": (0.89, 0.05, 0.3, -0.1),
        "collapsed": (0.9, 0.0, 0.0, 0.0),
    }
    trials = {
        name: Trial("ga", i, {}, *values, 20, "collapsed" if name == "collapsed" else "finished")
        for i, (name, values) in enumerate(cases.items())
    }
    assert choose([*trials.values()], bars) == (trials["best"], "")
    nearest, lacks = choose([trials[name] for name in [*cases][3:]], bars)
    assert (nearest, "more degenerate" in lacks) == (trials["gibberish"], True)
    nearest, lacks = choose([trials["loses too much"]], bars)
    assert (nearest, "keeps most" in lacks) == (trials["loses too much"], True)


def test_trials_fill_the_space_alike_for_every_method() -> None:
    space = load_recipe("demo").tune
    drawn = [space.draw(i, ()) for i in range(space.trials)]
    assert len({tuple(one.values()) for one in drawn}) == space.trials == 8
    for name, (low, high) in (("learning_rate", space.learning_rate), ("epochs", space.epochs)):
        values = sorted(one[name] for one in drawn)
        assert low <= values[0] < low + (high - low) / 8
        assert high - (high - low) / 4 < values[-1] <= high
    with_weight = [space.draw(i, METHODS["npo"].options) for i in range(8)]
    assert [{**one, "retain_weight": 0} for one in drawn] == [
        {**one, "retain_weight": 0} for one in with_weight
    ]
    assert all(0.05 <= one["retain_weight"] <= 2 for one in with_weight)
    with pytest.raises(UsageError, match="lowest first"):
        load_recipe("demo", [Choice("tune.epochs", "[5, 2]")])


def test_tuning_sees_nothing_of_the_reported_tables(place: Path) -> None:
    data = Data.read(str(place / "mllmu-med"), "privacy")
    with pytest.raises(UserError, match="its results are reported"):
        unseen(data, data)
    person, shared, other = data.rows["forget"][0], data.rows["retain"][0], data.rows["retain"][-1]
    more = [*data.rows["forget"], replace(other, id="new", answer_type="open")]
    data = replace(data, rows={**data.rows, "forget": more})
    far = {"forget": [replace(person, image_sha256="x")], "test": [shared], "retain": []}
    kept, left_out = unseen(data, replace(data, rows=far))
    ids = {row.id for row in kept.all}
    assert not {shared.id, person.id} & ids
    values = {span.value for span in person.pii}
    assert not any(values & {span.value for span in row.pii} for row in kept.all)
    assert kept.rows["test"] == []
    assert left_out == len(data.rows["forget"] + data.rows["retain"]) - len(ids) >= 2


def test_one_command_writes_a_run_folder(place: Path) -> None:
    with held(place / "busy"):
        said = run(place, "finetune", *LOOP[1:], "--out", "busy", ok=False)
    assert "busy: another command is writing here" in said
    assert not list((place / "busy").iterdir())


@pytest.mark.parametrize(
    ("model", "recipe"),
    [(None, "demo"), ("tiny", "demo"), ("runs/tiny-342dacb2", "demo"), ("tiny-llava", "paper")],
)
def test_a_tiny_model_that_was_made_has_the_demos_recipe(model: str | None, recipe: str) -> None:
    """Also in `unlearn --from`, which finds the model under its folder's name."""
    assert Options(model=model).read_recipe(["finetune"])[0].name == recipe


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


def test_what_a_killed_command_left_of_a_new_folder_goes_with_the_next(tmp_path: Path) -> None:
    made = tmp_path / "model [1]"
    killed = (
        "import os, pathlib, sys; from mllmu_med.folders import new_folder\n"
        "with new_folder(pathlib.Path(sys.argv[1]), 'a model') as new:\n"
        "    (new / 'weights').touch(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", killed, made], check=False)
    assert [path.name.startswith(".model [1].") for path in tmp_path.iterdir()] == [True]
    with new_folder(made, "a model"):
        assert len([*tmp_path.iterdir()]) == 1
    assert [*tmp_path.iterdir()] == [made]


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
    some = replace(data, rows={**data.rows, "retain": [row, twin, copy, far]})
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
        "gpt: cannot be loaded as an image-text model: Unrec": (*LOOP[:-1], "gpt", "--plan"),
        "no such folder here; a model": (*LOOP[:-1], "nothing", "--out", "z"),
        "write KEY=VALUE": (*LOOP, "--set", "epochs"),
        "--seeds 0,0: write different": (*LOOP, "--seeds", "0,0"),
        "--seeds-of most: use": (*LOOP, "--seeds", "0", "--seeds-of", "most"),
        "--adapter model: no PEFT adapter here": (*LOOP, "--adapter", "model"),
        "--adapter: --model is missing": ("run", "--adapter", "model"),
        "--as-finetuned: --model is missing": ("run", "--model", "tiny", "--as-finetuned"),
        "--adapter and --as-finetuned": (*LOOP, "--adapter", "model", "--as-finetuned"),
        "--retrain: starts from the base": (*LOOP, "--as-finetuned", "--retrain"),
        "--seeds-of all: the fine-tuned": (*LOOP, "--as-finetuned", "--seeds-of", "all"),
        "ga trains on top of a model that": (
            *(*LOOP, "--as-finetuned", "--methods", "ga", "--set", "finetune.epochs=1"),
        ),
        "give the fine-tuned model one way": ("unlearn", "ga", "--out", "y"),
        "one way: --from RUN": ("unlearn", "ga", "--from", "x", "--model", "model", "--out", "y"),
        "finetune: is for the fine-tuned": (
            *("unlearn", "ga", "--model", "model", "--as-finetuned", "--out", "finetune"),
        ),
    }
    (place / "gpt").mkdir()
    (place / "gpt" / "config.json").write_text('{"model_type": "gpt2"}')
    for wanted, words in cases.items():
        assert wanted in run(place, *words, ok=False)


def test_a_split_without_open_questions(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said before anything is trained: there would be no ROUGE-1, and so no UES."""
    data = Data.read(str(place / "mllmu-med"), "privacy")
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
    size = size_of(str(place / "model"), TinySettings(), data)
    model = load_model(str(place / "model")).model
    assert size.weights == sum(p.numel() for p in model.parameters())
    assert size.image_tokens == 17  # 16, and the end of the line after them
    counted = {one.part: one for one in plan(recipe, data, size, ["ga", "llmu"])}
    assert counted["finetune"].samples == forget + retain
    assert counted["retrain"].samples == retain
    assert counted["ga"].samples == forget
    assert counted["llmu"].samples == 3 * forget  # forget, its refusal, a retain row
    assert counted["ga"].buckets == size.lora_per_rank * 4 * 4 / 1e9
    assert re.search(r"^finetune( +[\d,]+){3} +[1-9][\d.]* [kM]B +\+[1-9][\d.]* [kM]B$", said, re.M)
    assert re.search(
        r"holds [1-9][\d.]* [kM]B of main memory while it loads", " ".join(said.split())
    )
    assert counted["finetune"].steps == 2 * -(-(forget + retain) // 16)


def test_llava_meds_size_is_estimated_near_what_is_known() -> None:
    """7.57 B weights in bf16 are 15.1 GB; LoRA of rank 128 trains 335.5 M of 16 bytes each."""
    from baselines.steps_and_memory import Size

    size = Size(7_566_000_000, 335_500_000 // 128, 32, 4096, 32_064, 576)
    settings = load_recipe("paper-privacy", [Choice("model", "x")]).finetune
    assert 15.1 + 5.4 + 0.5 < gigabytes(size, settings) < 28  # 0.5: the output layer in float32


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
    path.write_text("like: paper")
    with pytest.raises(UsageError, match="like 'paper': use demo, "):
        load_recipe(str(path))


@pytest.mark.parametrize(
    ("choice", "said"), CASES["a_setting_that_its_method_does_not_take_is_refused"]
)
def test_a_setting_that_its_method_does_not_take_is_refused(choice: str, said: str) -> None:
    key, _, value = choice.partition("=")
    with pytest.raises(UsageError) as error:
        load_recipe("demo", [Choice(key, value)])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("choice", "parts", "said"), CASES["a_choice_that_nothing_reads_is_refused"]
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
        "unlearn.rank=5": ["idk", "gd"],
        "methods={ga: {epochs: 9}}": ["ga"],
        "unlearn.beta=0.3": ["gd", "npo"],
        "finetune.epochs=2": ["retrain"],
        "tiny.seed=5": ["finetune"],
    }.items():
        assert Options("demo", choices=[choice]).read_recipe(parts)


def test_a_method_has_of_unlearn_what_it_reads() -> None:
    recipe = load_recipe("demo", [Choice("unlearn.beta", "0.3")])
    assert recipe.settings("npo").beta == 0.3
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
