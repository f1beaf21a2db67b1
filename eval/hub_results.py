"""Results as the Hub's own leaderboards read them: `eval.yaml` and `.eval_results/*.yaml`.

`eval.yaml` lies in the dataset's repository and lists tasks, each a leaderboard of one value, the
higher the better; a file in the folder `.eval_results` of a model's repository gives its values.
The Hub's list of evaluation frameworks does not have ours, so `evaluation_framework` is left out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from eval.dataset_rows import split_config
from eval.results import Key, Line, Report
from mllmu_med.progress import say
from mllmu_med_dataset import UsageError

_ABOUT: Final = (
    "Unlearning in biomedical multimodal models: what is forgotten, what is kept, what leaks. "
    "CONFIG_ues: Unlearning Efficiency Score, at most 2. CONFIG_retain, CONFIG_test: ROUGE-1 in "
    "percent. CONFIG_withheld: percent of private values that no way of asking brings out."
)


def tasks_of(config: str) -> dict[str, str]:
    """A config's tasks, each with the split that it is of."""
    splits = {"ues": "forget", "retain": "retain", "test": "test", "withheld": "forget"}
    kept = [task for task in splits if task != "withheld" or split_config(config)[0] == "privacy"]
    return {f"{config}_{task}": splits[task] for task in kept}


def eval_yaml(configs: Iterable[str]) -> str:
    """The benchmark as the Hub reads it, with the tasks of some configs."""
    tasks = [
        {"id": task, "config": config, "split": split}
        for config in configs
        for task, split in tasks_of(config).items()
    ]
    return _yaml({"name": "MLLMU-Med", "description": _ABOUT, "tasks": tasks})


def eval_results(report: Report, repository: str) -> dict[str, str]:
    """The file of each method for the folder `.eval_results` of its model's repository.

    repository: the dataset's on the Hub, ORG/NAME.
    """
    from huggingface_hub import EvalResultEntry, eval_result_entries_to_yaml

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise UsageError(f"--hub {repository}: write the dataset's ORG/NAME on the Hub")
    files = {}
    for line in report.lines("ours", "method"):
        if line.is_broken:
            say(f"{line.run}: answers with what is no language: nothing for the Hub")
            continue
        values = _values(report.config, line)
        if left := [task for task in tasks_of(report.config) if task not in values]:
            needs = "UES needs a fine-tuned run, withheld all ways of `eval leak`"
            say(f"{line.run}: without {', '.join(left)}: {needs}")
        entries = [EvalResultEntry(repository, task, value) for task, value in values.items()]
        name = re.sub(r"[^\w.-]+", "-", line.run)
        files[f"{name}.yaml"] = _yaml(eval_result_entries_to_yaml(entries))
    return files


def _values(config: str, line: Line) -> dict[str, float]:
    leaked, ues = line.value(Key("leaked_values", "forget", "", "any")), line.value(Key("ues"))
    percent = {s: 100 * (line.value(Key("rouge1", s)) or 0) for s in ("retain", "test")}
    found = {"ues": ues, **percent, "withheld": None if leaked is None else 100 * (1 - leaked)}
    due = tasks_of(config)
    named = {f"{config}_{task}": value for task, value in found.items()}
    return {t: round(v, 4) for t, v in named.items() if t in due and v is not None}


def _yaml(value: Any) -> str:
    import yaml

    return yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=98)
