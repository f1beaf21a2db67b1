"""Recipes: the paper's numbers, and one line for every mistake."""

from itertools import pairwise
from pathlib import Path

import pytest
from cases import cases

from builder.core.load_recipe import load_recipe
from mllmu_med.recipe_files import Choice, recipe_text, shipped
from mllmu_med_dataset import UsageError, UserError

CASES = cases(__file__)


def test_the_paper_recipe_holds_the_papers_numbers() -> None:
    recipe = load_recipe("paper")
    assert recipe.privacy is not None
    assert recipe.incorrect is not None
    sizes = (recipe.privacy.forget, recipe.privacy.retain, recipe.privacy.test)
    assert sizes == (351, 3960, 1500)
    sizes = (recipe.incorrect.forget, recipe.incorrect.retain, recipe.incorrect.test)
    assert sizes == (300, 3000, 1500)
    assert recipe.privacy.candidates + recipe.privacy.retain == 4400


def test_ratios_keep_the_sum() -> None:
    """r/(1+r) of 4,311, by hand; the 10 % row is the paper's own 351."""
    privacy = load_recipe("paper").privacy
    assert privacy is not None
    sizes = {ratio: privacy.forget_at(ratio) for ratio in privacy.ratios}
    assert sizes == {5: 205, 10: 351, 15: 562, 20: 719, 25: 862, 30: 995}
    assert privacy.harmful == 995
    assert privacy.retain_core == 4311 - 995
    assert privacy.candidates_needed == 1248  # 440/351 of 995, rounded up


def test_the_demo_is_a_tenth() -> None:
    paper, demo = load_recipe("paper"), load_recipe("demo")
    assert paper.privacy and demo.privacy and paper.incorrect and demo.incorrect  # noqa: PT018
    assert (demo.privacy.forget, demo.privacy.retain) == (44, 440)  # few would tell little
    for key in ("forget", "retain", "test", "candidates"):
        # Of the incorrect candidates fewer: drawings nearly all get a wrong answer without a model.
        tenth = getattr(paper.incorrect, key) // 10
        assert key == "candidates" or getattr(demo.incorrect, key) == tenth
    assert demo.privacy.test == paper.privacy.test // 10
    for key in ("ratios", "placements", "kinds", "split_by"):
        assert getattr(demo.privacy, key) == getattr(paper.privacy, key)


def test_limit_keeps_the_proportions() -> None:
    privacy = load_recipe("paper", limit=581).privacy
    assert privacy is not None
    assert (privacy.forget, privacy.retain, privacy.test) == (35, 395, 149)


def test_a_limit_above_the_size_changes_nothing() -> None:
    assert load_recipe("demo", limit=10**6) == load_recipe("demo")


@pytest.mark.parametrize("name", shipped("builder"))
def test_a_printed_recipe_is_the_recipe(name: str, tmp_path: Path) -> None:
    copy = tmp_path / "mine.yaml"
    copy.write_text(recipe_text("builder", name), "utf-8")
    assert load_recipe(str(copy)) == load_recipe(name)


@pytest.mark.parametrize(("choice", "line"), CASES["one_line_for_each_mistake"])
def test_one_line_for_each_mistake(choice: str, line: str) -> None:
    key, _, value = choice.partition("=")
    with pytest.raises(UsageError) as error:
        load_recipe("demo", [Choice(key, value)])
    assert line in str(error.value)
    assert "\n" not in str(error.value)


def test_the_rater_is_shown_no_image() -> None:
    rated = [Choice("calibration.rater", "llm"), Choice("llm.model", "m")]
    assert load_recipe("demo", [*rated, Choice("llm.tries", "5")]).llm.tries == 5
    with pytest.raises(UsageError, match=r"llm.picture: nothing reads it: raters and judges are"):
        load_recipe("demo", [*rated, Choice("llm.picture", "true")])
    author = [*rated, Choice("author", "llm"), Choice("llm.picture", "true")]
    assert load_recipe("demo", author).llm.picture


def test_a_file_is_told_what_it_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One file serves several builds: what this one does not read is said, once a key."""
    path = tmp_path / "mine.yaml"
    text = recipe_text("builder", "paper").replace("  tries: 3 ", "  tries: 5 ")
    path.write_text(text.replace("drop_conversation: false", "drop_conversation: true"), "utf-8")
    load_recipe(str(path), [Choice("incorrect.source", "phantom")])
    said = capsys.readouterr().err
    assert "llm is not read: the author is offline" in said
    assert "incorrect.drop_conversation is not read: no phantom row" in said
    load_recipe(str(path), [Choice("author", "llm"), Choice("llm.model", "m")])
    assert capsys.readouterr().err == ""
    load_recipe("demo", [Choice("incorrect.forget", "20")], scenario="privacy")
    assert "incorrect.forget: not read: incorrect is left out" in capsys.readouterr().err
    for name in shipped("builder"):
        load_recipe(name)
    assert capsys.readouterr().err == ""


#: Each stands for 30 of the one before.
ALIASES = "".join(f"{b}: &{b} [{', '.join(30 * [f'*{a}'])}]\n" for a, b in pairwise("abcdefghij"))


@pytest.mark.parametrize(
    ("text", "line"),
    CASES["broken_files"],
)
def test_broken_files(text: str, line: str, tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(UsageError, match=line):
        load_recipe(str(path))


def test_unknown_recipes_name_the_known_ones() -> None:
    with pytest.raises(UserError, match="neither a file nor one of demo, own, paper, table"):
        load_recipe("papper")


@pytest.mark.parametrize("limit", [1, 20])
def test_a_limit_too_small_says_so(limit: int) -> None:
    with pytest.raises(UsageError, match="--limit"):
        load_recipe("paper", limit=limit)
