"""Attacks on the models of a run: outcomes, what is trained on, kill and resume, refusals."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest
import small_training as small
import yaml
from corpora import ROOT, command
from test_baselines_run import loop, place  # noqa: F401  # fixtures
from test_eval_attacks import private
from test_readme import commands

from baselines import attack as attacks
from baselines.attack import Work, attack_all, attack_run
from baselines.attack_target import Target, target_of
from baselines.measure import Data
from baselines.recipe import Recipe
from baselines.run import Part, Stack, do
from eval import load_results
from eval.answer import answer_with_model
from eval.attack_kinds import RELEARNT, Attack, parse, relearnt
from eval.attack_results import outcomes
from eval.collect_results import collect_attacks
from eval.read_run import read_run
from mllmu_med_dataset import Record, UsageError, UserError

RECIPE = """\
name: small
config: privacy
model: model
answers: {max_new_tokens: 6, batch_size: 32}
finetune: {rank: 4, alpha: 8, epochs: 9, max_steps: 3, learning_rate: 2.0e-3}
unlearn: {rank: 4, alpha: 8, max_steps: 2, learning_rate: 1.0e-3}
methods: {ga: {}}
"""
#: A few of each group, in our order.
SOME = [Attack("adapter"), Attack("quantise", 4), *(Attack("relearn-forget", n) for n in (3, 5))]
SOME += [Attack("relearn-retain", 2), Attack("paraphrase"), Attack("jpeg", 10)]


def data(rows: list[Record]) -> Data:
    by_split = {
        split: [r for r in rows if r.split == split] for split in ("forget", "retain", "test")
    }
    return Data("made", "privacy", by_split, cast(Any, small.Images()), "")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Base, a fine-tuned and an unlearned run on rows of five patients; `rows.py` of them."""
    folder = tmp_path_factory.mktemp("runs")
    small.make(folder / "model")
    recipe = Recipe.model_validate(yaml.safe_load(RECIPE))
    tuned = Part("finetune", folder / "finetune")
    stack = Stack(str(folder / "model"))
    (folder / "recipe.json").write_text(json.dumps(recipe.to_json()))
    for part in (Part("base", folder / "base"), tuned, Part("ga", folder / "ga", (tuned.adapter,))):
        do(part, recipe, data(ROWS), stack)
    return folder


FORGET = [private(number) for number in range(8)]
ROWS = [*FORGET, *small.rows("retain", 3), *small.rows("test", 2)]


def work(folder: Path, rows: list[Record] = ROWS) -> Work:
    target = target_of(folder)
    return Work(target, data(rows), Stack(target.who["model"]))


def files(folder: Path) -> dict[str, Any]:
    """All that attacks have left, without the seconds that they took."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            content: Any = path.read_bytes()
            if path.name == "attack.json":
                content = {**json.loads(content), "seconds": 0}
            found[str(path.relative_to(folder))] = content
    return found


@pytest.fixture(scope="module")
def attacked(runs: Path) -> Path:
    for name in ("base", "finetune", "ga"):
        attack_run(work(runs / name), SOME)
    return runs


def test_each_outcome_is_a_run_of_its_own(attacked: Path) -> None:
    assert {attack for attack, _ in outcomes(attacked / "ga")} == {*SOME}
    assert {attack for attack, _ in outcomes(attacked / "base")} == {
        *SOME[1:]
    }  # nothing to take off
    for attack, folder in outcomes(attacked / "ga"):
        names = {path.name for path in folder.iterdir()}
        assert names >= {"answers.jsonl", "answers.run.json", "leak.json", "attack.json"}
        assert ("likelihood.jsonl" in names) == (attack.group in ("weights", "relearn"))
        ways = {k.way for k in read_run(folder, scored=False).items if k.metric == "leaked_values"}
        assert ("own" if "likelihood.jsonl" in names else attack.kind) in ways
    assert not [*attacked.glob("*/attacks/.relearn*")]
    fine = attacked / "finetune" / "leak.jsonl"
    assert fine.is_file()
    taken_off = (attacked / "ga/attacks/adapter/answers.jsonl").read_text().splitlines()
    answers = {r["id"]: r["answer"] for r in map(json.loads, taken_off)}
    own = (attacked / "finetune/answers.jsonl").read_text().splitlines()
    assert answers == {r["id"]: r["answer"] for r in map(json.loads, own) if r["id"] in answers}


def test_figures_stand_beside_base_and_fine_tuned(attacked: Path) -> None:
    report = collect_attacks([attacked])
    by_run = {line.run: line.figures for line in report.lines()}
    assert {*by_run} == {"base", "finetune", "ga"}
    for figures in by_run.values():
        for key, figure in figures.items():
            if key.metric == "attacked":
                other = figures[key._replace(metric="before")]
                gain = figures[key._replace(metric="attack_gain")]
                assert gain.value == pytest.approx(figure.value - other.value)
                assert figure.n == other.n == (5 if "relearn-forget" in key.cut else 8)
                assert figure.low is not None
    assert any("tells nothing on this model, under: " in note for note in report.notes)


def test_relearning_never_trains_on_whom_it_asks(attacked: Path) -> None:
    seen = relearnt(FORGET)
    assert len(seen) == RELEARNT
    for number in (3, 5):
        folder = attacked / f"ga/attacks/relearn-forget-{number}"
        asked = {json.loads(x)["id"] for x in (folder / "answers.jsonl").read_text().splitlines()}
        assert asked == {row.id for row in FORGET} - {row.id for row in seen}
    twin = replace(seen[0], id="twin", image_id="another")
    again = work(attacked / "ga", [*ROWS, twin])
    assert "twin" not in {row.id for row in again.asked(Attack("relearn-forget", 1))}
    shares = replace(FORGET[-1], id="shares", image_id=seen[0].image_id, profile_id="another")
    again = work(attacked / "ga", [*ROWS, shares])
    if "shares" not in {row.id for row in again.trained_on(Attack("relearn-forget", 1))}:
        assert "shares" not in {row.id for row in again.asked(Attack("relearn-forget", 1))}
    few = work(attacked / "ga", [*seen, *ROWS[len(FORGET) :]])
    assert not few.takes(Attack("relearn-forget", 1))  # nobody is left to be asked about


def test_fewer_steps_are_the_beginning_of_more(attacked: Path, tmp_path: Path) -> None:
    """The outcome after three steps of five is that of a training of three steps."""
    shutil.copytree(attacked, tmp_path / "runs")
    for path in (tmp_path / "runs" / "ga" / "attacks").iterdir():
        shutil.rmtree(path)
    alone = work(tmp_path / "runs" / "ga")
    attack_run(alone, [Attack("relearn-forget", 3)])
    name = "ga/attacks/relearn-forget-3"
    for file in ("leak.rows.jsonl", "likelihood.jsonl"):
        assert (tmp_path / "runs" / name / file).read_bytes() == (
            attacked / name / file
        ).read_bytes()


class Killed(BaseException):
    """As a kill is: nothing of ours goes on after it."""


@pytest.mark.slow
def test_killed_and_resumed_is_as_undisturbed(
    attacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each time that a model is asked, between the strengths of a relearning too."""
    wanted = files(attacked / "ga" / "attacks")
    shutil.copytree(attacked, tmp_path / "runs")
    shutil.rmtree(tmp_path / "runs" / "ga" / "attacks")
    asked = 0

    def dying(*args: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked % 2:  # each outcome is killed once
            raise Killed
        return answer_with_model(*args)

    monkeypatch.setattr(attacks, "answer_with_model", dying)
    kills = 0
    while True:
        try:
            attack_run(work(tmp_path / "runs" / "ga"), SOME)
            break
        except Killed:
            kills += 1
    assert kills == len(SOME)
    assert files(tmp_path / "runs" / "ga" / "attacks") == wanted


def test_another_model_or_dataset_is_refused_and_another_wording_replaced(
    attacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(attacked, tmp_path / "runs")
    ga = tmp_path / "runs" / "ga"
    before = files(ga / "attacks")
    other = [*ROWS[:-1], replace(ROWS[-1], answer="another")]
    with pytest.raises(UserError, match="adapter: is of another data "):
        attack_run(work(ga, other), SOME)
    path = ga / "answers.run.json"
    told = json.loads(path.read_text())
    path.write_text(json.dumps({**told, "run": "another"}))
    with pytest.raises(UserError, match="adapter: is of another model "):
        attack_run(work(ga), SOME)
    shutil.rmtree(ga / "attacks" / "adapter")
    with pytest.raises(UserError, match="has changed since it was measured"):
        attack_run(work(ga), SOME[:1])
    path.write_text(json.dumps(told))
    assert files(ga / "attacks") == {n: c for n, c in before.items() if n[:8] != "adapter/"}
    jpeg, seen = Attack("jpeg", 10), []
    monkeypatch.setattr("eval.attack_kinds.VERSION", 99)

    def asking(*args: Any) -> Any:
        seen.append((ga / "attacks/jpeg-10/attack.json").is_file())  # the old one still stands
        return answer_with_model(*args)

    monkeypatch.setattr(attacks, "answer_with_model", asking)
    attack_run(work(ga), [jpeg])
    assert seen == [True]
    attack_run(work(ga), [jpeg])
    assert len(seen) == 1
    (ga / "answers.run.json").write_text(json.dumps({"server": "http://x", "run": "1"}))
    with pytest.raises(UserError, match="a server's model: an attack needs the model itself"):
        target_of(ga)


def test_settings_are_those_of_a_run_that_learns(tmp_path: Path) -> None:
    """A method's own, or a record of what was only measured, are none."""
    unlearned = {"method": "satimp", "settings": {"beta1": 5.0}, "model": {}}
    target = Target(tmp_path / "satimp", {}, {}, unlearned, "privacy")
    for name, record in (("satimp", unlearned), ("finetune", {"outcome": {"status": "measured"}})):
        (tmp_path / name).mkdir()
        (tmp_path / name / "record.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="relearning takes the settings of fine-tuning"):
        target.settings()
    learnt = {"method": "finetune", "settings": {"learning_rate": 0.5}}
    (tmp_path / "finetune" / "record.json").write_text(json.dumps(learnt))
    assert target.settings().learning_rate == 0.5
    with pytest.raises(UsageError, match="no runs"):
        attack_all([], [])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_command_and_the_report(loop: Path, place: Path) -> None:  # noqa: F811
    """The commands of docs/attacks.md in turn, two runs at once."""
    command("eval", "attack", "calm", "--kind", "quantise,relearn-forget", "--jobs", "2", cwd=place)
    names = {attack.name for attack in parse("quantise,relearn-forget")}
    for name in ("base", "retrain", "finetune", "ga", "llmu"):
        assert {attack.name for attack, _ in outcomes(loop / name)} == names
    (place / "runs").mkdir()
    (place / "runs/demo-privacy").symlink_to(loop)
    page = (ROOT / "docs" / "attacks.md").read_text("utf-8")
    said = ""
    for words in commands(page):
        given = [word.replace("/npo", "/ga") for word in words[3:]]
        done = command("eval", *given, cwd=place)
        said += done.stdout
    assert "under: " in said
    assert all(len(x) <= 110 for x in said.splitlines() if "  [" in x)
    made = {path.name for path in [*loop.iterdir(), *(place / "prompts").iterdir()]}
    assert {"attacks.csv", "attacks.png", "attacks.svg"} <= made
    shown = (place / "attacks.html").read_text()
    assert "Relearning on forget rows" in shown
    assert "over an attack&#39;s strength" in shown
    frame = load_results(place / "runs/demo-privacy")
    some = frame[(frame.metric == "attacked") & (frame.cut == "attack=relearn-outside-30")]
    assert {*some.run} == {"base", "retrain", "finetune", "ga", "llmu"}
