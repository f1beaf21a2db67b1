"""A method of one's own: what it may be, what is said of one that may not, and that it runs."""

import json
from pathlib import Path
from typing import Any

import pytest
from cases import cases
from small_training import MethodSettings
from test_baselines_run import place, run  # noqa: F401  # a fixture
from test_readme import ROOT, commands

from baselines.command_options import Options
from baselines.methods import METHODS, UNLEARNING, purpose
from baselines.own_methods import TEMPLATE, name_own, read_own, tried
from eval import load_results
from eval.results import LABELS
from mllmu_med_dataset import UsageError

CASES = cases(__file__)

HEAD = "import torch\nfrom baselines.losses import mean_nll, mean_kl\n"
GOOD = "def loss(forget, retain):\n    return mean_nll(retain) - mean_nll(forget)\n"


def read(folder: Path, text: str, name: str = "mine.py", function: str = "loss") -> Any:
    (folder / name).write_text(HEAD + text)
    method = read_own(f"{folder / name}:{function}")
    return tried(method, method.options)


def test_the_template_is_a_method(tmp_path: Path) -> None:
    (tmp_path / "my_loss.py").write_text(TEMPLATE)
    name, text = name_own(str(tmp_path / "my_loss.py:loss"))
    method = read_own(text)
    assert name == "my_loss"
    assert (method.parts, dict(method.options)) == (
        ("forget", "retain"), {"gamma": 2.0, "retain_weight": 1.0}
    )  # fmt: skip
    assert tried(method, method.options).reference == ()
    assert not method.draws(MethodSettings(retain_weight=0))


@pytest.mark.parametrize(
    ("body", "parts"),
    [
        ("mean_kl(retain) - mean_nll(forget)", ("retain",)),
        ("forget.mean_of_samples(forget.nll - forget.reference) + mean_nll(retain)", ("forget",)),
        ("forget.mean_of_tokens((forget.logits - forget.reference_logits).sum(-1))", ("forget",)),
        ("mean_nll(retain) - mean_nll(forget)", ()),
    ],
)
def test_what_it_reads_of_the_reference_is_seen(tmp_path: Path, body: str, parts: Any) -> None:
    assert read(tmp_path, f"def loss(forget, retain):\n    return {body}\n").reference == parts


def test_settings_decide_what_it_reads(tmp_path: Path) -> None:
    body = "mean_nll(forget) + (kl and kl * mean_kl(forget))"
    method = read(tmp_path, f"def loss(forget, *, kl=0.0):\n    return {body}\n")
    assert method.reference == ()
    assert tried(method, {"kl": 0.5}).reference == ("forget",)


@pytest.mark.parametrize(("text", "said"), CASES["what_is_wrong_with_it_is_one_line"])
def test_what_is_wrong_with_it_is_one_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        read(tmp_path, text)
    assert said in str(error.value)
    assert str(error.value).startswith("method mine.py:loss: ")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("text", "said"), CASES["where_it_is_and_what_it_is_called"])
def test_where_it_is_and_what_it_is_called(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_own(name_own(text)[1])


def test_a_recipe_knows_it_and_its_settings(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(TEMPLATE)
    own = [str(tmp_path / "mine.py:loss")]

    def of(*choices: str, methods: str = "") -> Any:
        return Options("demo", choices=[*choices]).read_recipe([], methods, own)

    recipe, names = of("methods.mine.gamma=3", methods="ga")
    assert names == ["ga", "mine"]
    assert recipe.method("mine").values(recipe.settings("mine"))["gamma"] == 3.0
    assert of()[1][-2:] == ["dpo", "mine"]
    again = type(recipe).model_validate(recipe.to_json())
    assert again.settings("mine") == recipe.settings("mine")
    for choice, said in {
        "methods.mine.gamme=3": "unknown key methods.mine.gamme (nearest: gamma)",
        "methods.mine.gamma=much": "methods.mine.gamma: input should be a valid number",
        "methods.mine.beta=3": "mine does not take it, npo, ",
        "methods.npo.gamma=3": "npo does not take it, simnpo, mine do",
        "methods.mine.gamma=-1.0e+9": "is inf on small made parts",
    }.items():
        with pytest.raises(UsageError) as error:
            of(choice)
        assert said in str(error.value).replace("-inf", "inf").replace("nan", "inf")
    with pytest.raises(UsageError, match="mine is named twice"):
        Options("demo").read_recipe([], "", own * 2)


def test_every_shipped_method_has_a_label_and_a_purpose() -> None:
    assert {*UNLEARNING} <= {*LABELS}
    assert all(0 < len(purpose(METHODS[name])) < 110 for name in UNLEARNING)


@pytest.mark.slow
def test_the_guides_commands_run_in_turn(place: Path) -> None:  # noqa: F811
    """As they stand, on a small model by a small recipe; in processes beside each other, too."""
    turns = commands((ROOT / "docs" / "add-a-method.md").read_text("utf-8"))
    assert [words[3] for words in turns] == ["method", "method", "run", "unlearn", "run"]
    file = place / "my_loss.py"
    file.write_text(run(place, turns[0][3]))
    assert "my_loss: trains on forget, retain" in run(place, *turns[1][3:])
    small = ("--recipe", "small.yaml")
    whole = (*small, "--model", "model", "--out", "runs/demo-privacy", "--jobs", "2")
    run(place, *turns[2][3:], *whole)
    done = place / "runs/demo-privacy/my_loss"
    record, before = (done / "record.json").read_text(), (done / "done.json").read_bytes()
    assert json.loads(record)["identity"]["loss"].keys() == {"my_loss.py:loss"}
    frame = load_results(place / "runs/demo-privacy")
    assert {"ga", "llmu", "my_loss"} <= {*frame.run}
    run(place, *turns[3][3:], *small)
    ours, alone = (f / "adapter/adapter_model.safetensors" for f in (done, place / "runs/mine"))
    assert ours.read_bytes() == alone.read_bytes()
    assert "my_loss: done already" in run(place, *turns[2][3:], *whole)
    assert (done / "done.json").read_bytes() == before
    other = (*whole[:-3], "runs/other", "--jobs", "2")
    run(place, *turns[4][3:], *other, "--plan")
    file.write_text(file.read_text() + "\n")
    read_own.cache_clear()
    said = run(place, *turns[2][3:], *whole, ok=False)
    assert "was run otherwise (loss.my_loss.py:loss: " in said
