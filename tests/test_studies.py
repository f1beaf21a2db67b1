"""Rounds of unlearning that go on from each other, forget ratios, and what is shown of both."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pandas as pd
import pytest
import small_training as small
import tiny_llava
import torch
from corpora import PLAIN, builder
from safetensors.torch import load_file
from test_baselines_run import SMALL, run
from test_readme import ROOT, commands

from baselines.adapters import Start, add_adapter
from baselines.methods import UNLEARNING
from baselines.studies import cut
from baselines.train import train
from eval import plots
from eval.attacks import Ask
from eval.dataset_rows import read_rows
from eval.load_model import load_model
from eval.model import Model
from eval.paper_tables import paper_rounds
from eval.plots import look
from eval.results import Line
from eval.score import scored_rows
from mllmu_med_dataset import UsageError, UserError

ROUNDS = small.FORGET[:6], small.FORGET[6:]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small.make(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture(scope="module")
def tuned(tiny: Path) -> Path:
    """The adapter of a short fine-tuning."""
    out = tiny.parent / "tuned"
    how = small.settings(rank=16, alpha=32)  # another rank than unlearning's
    train(load_model(str(tiny)), "finetune", small.FORGET, small.RETAIN, small.Images(), how, out)
    return out / "adapter"


def unlearn(model: Model, method: str, number: int, out: Path, **how: Any) -> None:
    start, on_step = how.pop("start", None), how.pop("on_step", None)
    more: dict[str, Any] = {"start": start, "on_step": on_step}
    more["settings"] = small.settings(retain_sampling="paired", batch_size=3, **how)
    train(model, method, ROUNDS[number], small.RETAIN, small.Images(), out=out, **more)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "adapter" / "adapter_model.safetensors")


def logprobs(model: Model) -> list[list[float]]:
    asked = [Ask(row, row.question) for row in small.FORGET]
    return small.logprobs(model, asked, [row.answer for row in small.FORGET], small.Images())


@pytest.fixture(scope="module")
def first(tiny: Path, tuned: Path) -> Path:
    """A first round of KL-Min."""
    out = tiny.parent / "round-1"
    unlearn(load_model(str(tiny), [tuned]), "kl-min", 0, out)
    return out


def test_a_round_starts_from_the_last_ones_adapter(tiny: Path, tuned: Path, first: Path) -> None:
    """Its weights are the first ones, its model the reference; there are three adapters at most."""
    before = logprobs(load_model(str(tiny), [tuned, first / "adapter"]))
    fine = logprobs(load_model(str(tiny), [tuned]))
    assert before != fine
    start = {n.replace(".weight", ""): w for n, w in weights(first).items()}
    for reference, wanted in (("previous", before), ("finetuned", fine)):
        for compares in (True, False):
            model = load_model(str(tiny), [tuned])
            going = Start(first / "adapter", reference)
            adapter = add_adapter(model, 8, 16, 0, False, going, compares)
            kept = compares and reference == "previous"
            assert len(model.model.peft_config) == 2 + kept
            own = adapter.weights()
            assert len(own) == len(start)
            for name, weight in own.items():
                plain = name.replace(f".{adapter.name}.weight", "")
                assert torch.equal(weight, start[plain]), name
                assert weight.requires_grad
            assert sum(p.requires_grad for p in model.model.parameters()) == len(own)
            assert logprobs(model) == before
            with torch.no_grad():
                next(iter(own.values())).add_(1.0)
            assert logprobs(model) != before
            if compares:
                with adapter.reference():
                    assert logprobs(model) == wanted
            adapter.let_go()
            assert len(model.model.peft_config) == 2


def test_a_second_round_is_recorded_and_loads_as_two_adapters(
    tiny: Path, tuned: Path, first: Path, tmp_path: Path
) -> None:
    model = load_model(str(tiny), [tuned])
    start = Start(first / "adapter")
    unlearn(model, "kl-min", 1, tmp_path / "two", start=start)
    assert [*model.model.peft_config] == ["adapter_0", "adapter_2"]
    stack = [tuned, tmp_path / "two" / "adapter"]
    assert logprobs(load_model(str(tiny), stack)) == logprobs(model)
    record = json.loads((tmp_path / "two" / "record.json").read_text())
    wanted = {"path": str(first / "adapter"), **start.identity(True)}
    assert record["start"] == wanted
    assert record["identity"]["start"] == start.identity(True)
    assert len(record["identity"]["parents"]) == 1
    assert "Goes on from" in (tmp_path / "two" / "adapter" / "README.md").read_text()
    log = small.log_of(tmp_path / "two")
    assert abs(log[0]["kl"]) < 1e-6 < log[-1]["kl"]  # compared with where it begins
    other = tmp_path / "other"
    how: dict[str, Any] = {"start": start._replace(reference="finetuned")}
    unlearn(load_model(str(tiny), [tuned]), "kl-min", 1, other, **how)
    assert small.log_of(other)[0]["kl"] > 1e-4  # with what the first round has changed
    with pytest.raises(UserError, match=r"holds another run .start.reference: .previous. there"):
        unlearn(load_model(str(tiny), [tuned]), "kl-min", 1, tmp_path / "two", **how)
    assert start.identity(False) == {"weights": record["start"]["weights"]}


def test_a_killed_round_goes_on_bit_for_bit(
    tiny: Path, tuned: Path, first: Path, tmp_path: Path
) -> None:
    start = Start(first / "adapter")
    how: dict[str, Any] = {"start": start, "epochs": 3, "save_every": 1}
    unlearn(load_model(str(tiny), [tuned]), "kl-min", 1, tmp_path / "calm", **how)

    def stop(step: int) -> None:
        if step == 4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unlearn(load_model(str(tiny), [tuned]), "kl-min", 1, tmp_path / "cut", on_step=stop, **how)
    assert (tmp_path / "cut" / "checkpoint.pt").is_file()
    unlearn(load_model(str(tiny), [tuned]), "kl-min", 1, tmp_path / "cut", **how)
    ours, theirs = weights(tmp_path / "calm"), weights(tmp_path / "cut")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert small.log_of(tmp_path / "calm") == small.log_of(tmp_path / "cut")


def test_what_cannot_be_gone_on_with_is_refused(
    tiny: Path, tuned: Path, first: Path, tmp_path: Path
) -> None:
    start = Start(first / "adapter")
    for changed in ({"rank": 4}, {"alpha": 8}, {"projector": True}):
        with pytest.raises(UserError, match="cannot be gone on with: its layers, rank or alpha"):
            unlearn(load_model(str(tiny), [tuned]), "ga", 1, tmp_path / "x", start=start, **changed)
        shutil.rmtree(tmp_path / "x")
    with pytest.raises(UserError, match=r"was trained on top of \S+adapter, otherwise"):
        unlearn(load_model(str(tiny)), "ga", 1, tmp_path / "x", start=start)
    with pytest.raises(UserError, match="no PEFT adapter here"):
        unlearn(load_model(str(tiny), [tuned]), "ga", 1, tmp_path / "x", start=Start(tmp_path))
    for method in ("negation", "manu", "chip"):
        with pytest.raises(UsageError, match=f"^{method}: takes no training steps, so it cannot"):
            unlearn(load_model(str(tiny), [tuned]), method, 1, tmp_path / "x", start=start)
    assert not (tmp_path / "x").exists()


def test_rounds_are_the_datasets_or_cut_by_rank() -> None:
    rows = [replace(row, rank=i, round=i // 4 + 1) for i, row in enumerate(small.FORGET)]
    ids = [row.id for row in rows]
    assert cut(rows[::-1], 3) == [tuple(ids[:4]), tuple(ids[4:8]), tuple(ids[8:])]
    assert cut(rows[::-1], 2) == [tuple(ids[:6]), tuple(ids[6:])]
    with pytest.raises(UsageError, match="--rounds 1: give 2 or more"):
        cut(rows, 1)
    closed = [replace(row, answer_type="closed") for row in rows[:4]]
    with pytest.raises(UserError, match="round 1 of 3 has no open question"):
        cut([*closed, *rows[4:]], 3)
    with pytest.raises(UserError, match="of 20 has no open question"):
        cut(rows, 20)


def test_a_run_looks_the_same_whatever_is_drawn_beside_it() -> None:
    shipped = {name: look(Line(name, "method", {})) for name in UNLEARNING}
    assert len({*shipped.values()}) == len(UNLEARNING)
    paper = [shipped[name][0] for name in ("ga", "gd", "kl-min", "idk", "llmu")]
    assert paper == [*plots.METHODS]
    assert look(Line("KL_Min", "method", {})) == shipped["kl-min"]
    own = [look(Line(name, "method", {})) for name in ("mine", "mine", "other")]
    assert own[0] == own[1]
    assert not {*own} & {*shipped.values()}
    roles = {look(Line(name, name, {})) for name in ("base", "finetune", "retrain")}
    assert len(roles) == 3
    assert not roles & {*shipped.values()}


def test_the_papers_rounds_are_as_printed() -> None:
    figures = {(f.run, f.split, f.cut): f for f in paper_rounds()}
    assert len(figures) == 3 * (2 * 3 + 5 * 4)
    assert figures["idk", "", "round=2"].value == 1.44
    assert figures["llmu", "forget", "round=3"].value == 0.0
    assert figures["idk", "forget", "round=2"].mark == "best"
    assert figures["gd", "", "round=1"].mark == "best"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small dataset of two ratios, a small model and a recipe."""
    folder = tmp_path_factory.mktemp("studies")
    builder("rebuild", "--limit", "90", "--set", "privacy.ratios=[5,10]", *PLAIN, cwd=folder)
    texts = [row.question for row in read_rows(folder / "mllmu-med", "privacy")]
    tiny_llava.make(folder / "model", texts)
    (folder / "small.yaml").write_text(SMALL)
    return folder


HOW = ("--recipe", "small.yaml", "--model", "model", "--methods", "ga,llmu")


def test_what_the_studies_refuse(place: Path) -> None:
    for words, wanted in {
        ("sequential", "--rounds", "1"): "--rounds 1: give 2 or more",
        ("sequential", "--rounds", "99"): "of 99 has no open question",
        ("sequential", "--reference", "base"): "--reference base: use previous or finetuned",
        ("sequential", "--methods", "ga,negation"): "negation: takes no training steps",
        ("sequential", "--set", "methods.idk.epochs=2"): "nothing reads it: idk is not run here",
        ("ratios", "--ratios", "5,5"): "--ratios 5,5: write different percents",
        ("ratios", "--ratios", "7"): "forget ratio 0.07: use one of 0.05",
        ("ratios", "--ratios", "5,15"): "holds no config privacy_r15",
        ("ratios", "--config", "privacy_r05"): "give privacy, and its ratios by --ratios",
    }.items():
        said = run(place, words[0], *HOW, *words[1:], "--out", "no", ok=False)
        assert wanted in said, said
        assert not [*place.glob("no/*/record.json")]


@pytest.mark.slow
def test_rounds_from_one_command(place: Path) -> None:
    """As a guide has it; what is printed is what the rows say; a second call does nothing."""
    turns = commands((ROOT / "docs" / "studies.md").read_text("utf-8"))
    sequential = next(words for words in turns if words[3] == "sequential")
    words = (*sequential[3:], *HOW, "--rounds", "2", "--out", "rounds", "--jobs", "2")
    said = run(place, *words)
    assert "Earlier requests" in said
    out = place / "rounds"
    frame = pd.read_csv(out / "rounds.csv", keep_default_na=False)
    rows = [row for row in read_rows(place / "mllmu-med", "privacy") if row.split == "forget"]
    first, second = cut(rows, 2)

    def rouge(folder: str, ids: tuple[str, ...]) -> float:
        scored = [row for row in scored_rows(out / folder) if row["id"] in ids]
        return fmean(row["rouge1"] for row in scored if "rouge1" in row)

    def printed(metric: str, cut: str, name: str = "llmu") -> float:
        at = (frame.run == name) & (frame.metric == metric) & (frame.cut == cut)
        return float(frame[at & (frame.split == "forget") & (frame.way == "")].value.item())

    wanted = {
        "round=1": rouge("round-1/llmu", first),
        "round=2": rouge("round-2/llmu", second),
        "then=2": rouge("round-1/llmu", first),
        "earlier=2": rouge("round-2/llmu", first),
    }
    for at, value in wanted.items():
        assert printed("rouge1", at) == pytest.approx(value, abs=1e-12), at
    change = wanted["earlier=2"] - wanted["then=2"]
    assert printed("resurgence", "earlier=2") == pytest.approx(change, abs=1e-12)
    assert printed("rouge1", "round=2", "finetune") == pytest.approx(rouge("finetune", second))
    record = json.loads((out / "round-2" / "llmu" / "record.json").read_text())
    assert record["start"]["path"] == "rounds/round-1/llmu/adapter"
    assert record["data"]["forget"] == len(second)
    assert len(record["model"]["adapters"]) == 1
    done = json.loads((out / "round-2" / "ga" / "done.json").read_text())["identity"]
    assert set(done["start"]) == {"weights"}  # GA compares with nothing
    retrained = json.loads((out / "retrain" / "record.json").read_text())
    assert retrained["data"]["forget"] == 0
    names = {"report.html", "rounds.csv", "rounds.png", "rounds.svg"}
    assert names <= {path.name for path in out.iterdir()}
    before = {path: path.stat().st_mtime_ns for path in out.glob("**/done.json")}
    assert run(place, *words).count("done already") == len(before) == 7
    assert {path: path.stat().st_mtime_ns for path in before} == before
    wrong = run(place, *words, "--set", "unlearn.rank=2", ok=False)
    assert "round-1/ga: was run otherwise (settings.rank: 4 there, 2 now)" in wrong
    again = run(place, *words, "--rounds", "3", ok=False)
    assert "round-1/ga: was run otherwise (forget" in again
    shown = run(place, *words, "--seeds", "0,1")
    assert shown.count("done already") == 7
    assert "standard deviation over 2 seeds" in shown


@pytest.mark.slow
def test_ratios_from_one_command(place: Path) -> None:
    turns = commands((ROOT / "docs" / "studies.md").read_text("utf-8"))
    ratios = next(words for words in turns if words[3] == "ratios")
    words = (*ratios[3:], *HOW, "--out", "ratios", "--jobs", "2", "--ratios")
    assert "UES by ratio" in run(place, *words, "10")
    said = run(place, *words, "5,10")
    assert said.count("done already") == 5
    assert "Finetune 2, GA 2, LLMU 1." in " ".join(said.split())
    out = place / "ratios"
    frame = pd.read_csv(out / "ratios.csv", keep_default_na=False)
    ues = frame[(frame.metric == "ues") & (frame.run == "ga")]
    assert [*ues.cut] == ["ratio=5", "ratio=10"]
    assert {*ues.config} == {"privacy", "privacy_r05"}
    done = [json.loads((out / x / "finetune" / "done.json").read_text()) for x in ("r05", "r10")]
    hashes = [each["identity"]["model"] for each in done]
    assert hashes[0] == hashes[1]
    assert done[0]["identity"]["data"] != done[1]["identity"]["data"]
