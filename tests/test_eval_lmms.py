"""The tasks for lmms-eval: their files are sound, and their numbers are those of `eval score`."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import yaml

import eval.lmms_tasks
from eval.answer import MAX_NEW_TOKENS
from eval.collect_results import figures_of_run
from eval.dataset_rows import read_rows
from eval.lmms_tasks import functions
from eval.metrics import mean, signatures
from eval.score import score, write_scores
from mllmu_med_dataset import SPLITS, Record, UserError, load

TASKS = Path(eval.lmms_tasks.__file__).parent
CONFIGS = ("privacy", "incorrect")
NAMES = [f"mllmu_med_{config}_{split}" for config in CONFIGS for split in SPLITS]


@pytest.fixture
def data(demo: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = demo / "mllmu-med"
    monkeypatch.setenv(functions.VARIABLE, str(folder))
    return folder


def say(row: Record) -> str:
    """A right answer, a part of one with more words, a refusal, nothing, or another."""
    some = f"It is {row.answer.split()[0]}, as seen.\n\nMore of it: {row.answer}"
    thought = f"<think>No. {some}</think><answer>{row.answer}</answer>"
    said = [row.answer, some, "I don't know.", "", "No, it is not.", "the the the the the", thought]
    return said[sum(row.id.encode()) % len(said)]


def write_answers(path: Path, data: Path, config: str) -> Path:
    rows = [{"id": row.id, "answer": say(row)} for row in read_rows(data, config)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def scored(
    answers: Path, data: Path, config: str
) -> tuple[list[dict[str, Any]], dict[str, dict[str, Any]]]:
    """The rows that `eval score` makes, and by split and metric the value and n."""
    summary, rows = score([answers], data, config)
    folder = answers.parent / f"scored-{config}"
    write_scores(folder, summary, rows)
    measured: dict[str, dict[str, Any]] = defaultdict(dict)
    for figure in figures_of_run(folder):
        if not figure.cut:
            measured[figure.split][figure.metric] = pytest.approx(figure.value), figure.n
    return rows, measured


def read_task(name: str) -> dict[str, Any]:
    """A YAML file as lmms-eval reads it: `!function` is an attribute, `include` is merged."""

    class Loader(yaml.SafeLoader):
        pass

    def resolve(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
        module, _, attribute = loader.construct_scalar(node).partition(".")
        assert module == "functions"
        return getattr(functions, attribute)

    Loader.add_constructor("!function", resolve)
    found = yaml.load((TASKS / name).read_text("utf-8"), Loader)  # a SafeLoader
    merged: dict[str, Any] = {}
    for other in reversed(found.pop("include", [])):
        merged |= read_task(other)
    return merged | found


def test_the_files_are_sound(data: Path) -> None:
    assert {path.stem for path in TASKS.glob("mllmu_med_*_*.yaml")} == {*NAMES}
    for config in CONFIGS:
        assert read_task(f"mllmu_med_{config}.yaml") == {
            "group": f"mllmu_med_{config}",
            "task": [name for name in NAMES if f"_{config}_" in name],
        }
        for split in SPLITS:
            task = read_task(f"mllmu_med_{config}_{split}.yaml")
            assert task["task"] == f"mllmu_med_{config}_{split}"
            assert (task["dataset_path"], task["dataset_name"]) == (str(data), config)
            assert task["test_split"] == split
            assert task["generation_kwargs"]["max_new_tokens"] == MAX_NEW_TOKENS
            assert task["metadata"]["signatures"] == signatures()
            better = {one["metric"]: one["higher_is_better"] for one in task["metric_list"]}
            clean = {name for name in signatures() if split != "forget" and name[:6] == "clean_"}
            assert better.keys() == signatures().keys() - clean
            assert better["rouge1"] is (split != "forget")  # the arrows of the paper's Table 1


@pytest.mark.parametrize("config", CONFIGS)
def test_rows_and_means_are_those_of_eval_score(data: Path, tmp_path: Path, config: str) -> None:
    answers = write_answers(tmp_path / "answers.jsonl", data, config)
    said = {line["id"]: line["answer"] for line in map(json.loads, answers.open())}
    rows, figures = scored(answers, data, config)
    of = {row["id"]: row for row in rows}
    for split in SPLITS:
        task = read_task(f"mllmu_med_{config}_{split}.yaml")
        values: dict[str, list[Any]] = defaultdict(list)
        for doc in load(config, data, split=split).remove_columns("image"):
            row, found = of[doc["id"]], task["process_results"](doc, [said[doc["id"]]])
            assert (found["id"], found["answer"]) == (row["id"], row["answer"])
            for name in row.keys() & found.keys():
                assert found[name] == row[name]
            assert ("accuracy" in found) == ("correct" in row) != ("rouge1" in found)
            for name, value in found.items():
                values[name].append(value)
        measured = figures[split]
        assert values.keys() == measured.keys() | {"id", "answer"}
        for one in task["metric_list"]:
            name, aggregate = one["metric"], one["aggregation"]
            if name in values:  # incorrect facts have no closed questions, so no accuracy
                some = values[name]
                got = mean(some, name) if aggregate == "mean" else aggregate(some)
                assert (got, len(some)) == measured.pop(name)
        assert not measured


def test_where_the_dataset_is(data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert functions.privacy == functions.incorrect == str(data)
    monkeypatch.delenv(functions.VARIABLE)
    monkeypatch.chdir(data.parent)
    assert functions.privacy == "mllmu-med"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="MLLMU_MED_DATA: mllmu-med: no such folder here"):
        _ = functions.privacy
    readme = (data / "README.md").read_text("utf-8").replace("config_name: incorrect", "x: y")
    (tmp_path / "README.md").write_text(readme.replace("- x: y", "- config_name: other"), "utf-8")
    monkeypatch.setenv(functions.VARIABLE, str(tmp_path))
    with pytest.raises(UserError, match="holds no config incorrect"):
        _ = functions.incorrect
    with pytest.raises(AttributeError, match="no attribute 'privat'"):
        _ = functions.privat
