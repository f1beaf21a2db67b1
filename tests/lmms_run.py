"""lmms-eval's own loader and evaluator on the tasks of eval/lmms_tasks, with a scripted model.

    python lmms_run.py ANSWERS.jsonl TASKS OUT.json

In a process of its own: importing lmms-eval changes how Pillow reads broken pictures and how
`filelock` locks, for the whole process.
"""

import json
import sys
from pathlib import Path
from typing import Any

from lmms_eval.api.model import lmms
from lmms_eval.evaluator import simple_evaluate
from lmms_eval.tasks import TaskManager


class Scripted(lmms):
    """Answers each row with what a predictions file says."""

    def __init__(self, answers: Path) -> None:
        super().__init__()
        lines = map(json.loads, answers.read_text("utf-8").splitlines())
        self.answers = {line["id"]: line["answer"] for line in lines}
        self.asked: list[dict[str, Any]] = []

    def generate_until(self, requests: list[Any]) -> list[str]:
        said = []
        for context, settings, doc_to_visual, doc_id, task, split in [one.args for one in requests]:
            doc = self.task_dict[task][split][doc_id]
            (image,) = doc_to_visual(doc)
            shown = {"id": doc["id"], "context": context, "mode": image.mode}
            self.asked.append({**shown, "size": image.size, "settings": settings})
            said.append(self.answers[doc["id"]])
        return said

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        raise NotImplementedError

    def generate_until_multi_round(self, requests: list[Any]) -> list[str]:
        raise NotImplementedError


if __name__ == "__main__":
    answers, tasks, out = map(Path, sys.argv[1:])
    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    model = Scripted(answers)
    found = simple_evaluate(model, tasks=manager.all_groups, task_manager=manager)
    kept = {name: found[name] for name in ("results", "samples", "higher_is_better", "n-samples")}
    kept |= {"groups": manager.all_groups, "tasks": manager.all_subtasks, "asked": model.asked}
    kept["metadata"] = {name: one["metadata"] for name, one in found["configs"].items()}
    out.write_text(json.dumps(kept, default=str), "utf-8")
