"""A run as something to attack: its model, how it was asked, and which rows are asked about."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from baselines.training_settings import TrainSettings
from eval.answer import MAX_NEW_TOKENS
from eval.leak import LEAK
from eval.run_folder import ANSWERS, DONE, RECORD, describe, read_json
from eval.score import SCORES
from mllmu_med_dataset import UserError


class Target(NamedTuple):
    """A run whose model is attacked: what it is made of, and how it was asked."""

    folder: Path
    who: dict[str, Any]  # of its answers.run.json
    done: dict[str, Any]  # of its done.json: what it was made with; empty of a run made otherwise
    record: dict[str, Any]
    config: str

    @property
    def adapters(self) -> list[Path]:
        return [Path(adapter["path"]) for adapter in self.who.get("adapters", [])]

    @property
    def unlearned(self) -> bool:
        """Whether taking its last adapter off is an attack: of no run that learns."""
        method = self.done.get("method") or self.folder.resolve().name
        return bool(self.adapters) and method not in ("base", "finetune", "finetuned", "retrain")

    @property
    def batch(self) -> int:
        return int(self.done.get("answers", {}).get("batch_size", 32))

    @property
    def longest(self) -> int:
        return int(self.who.get("max_new_tokens", MAX_NEW_TOKENS))

    def settings(self) -> TrainSettings:
        """Of fine-tuning, as the recipe of this run, or the fine-tuned run below, has them."""
        recipe, below = self.folder.parent / "recipe.json", self.record.get("model", {})
        if recipe.is_file():
            return TrainSettings.model_validate(read_json(recipe)["finetune"])
        first = [Path(adapter["path"]).parent for adapter in below.get("adapters", [])][:1]
        for folder in (*first, self.folder, self.folder.parent / "finetune"):
            record = read_json(folder / RECORD) if (folder / RECORD).is_file() else {}
            if record.get("method") in ("finetune", "retrain"):
                return TrainSettings.model_validate(record["settings"])
        raise UserError(
            f"{self.folder}: relearning takes the settings of fine-tuning, which neither "
            "recipe.json beside it nor a record.json tells: leave these kinds out"
        )


def target_of(run: Path) -> Target:
    """A run folder as something to attack; a UserError where its model is not known."""
    who = describe(run / ANSWERS)
    if not who.get("weights"):
        why = "a server's model" if "server" in who else "no answers.run.json of eval or baselines"
        raise UserError(
            f"{run}: {why}: an attack needs the model itself: answer with --model first"
        )
    done = read_json(run / DONE).get("identity", {}) if (run / DONE).is_file() else {}
    record = read_json(run / RECORD) if (run / RECORD).is_file() else {}
    summary = next((run / n for n in (SCORES, LEAK) if (run / n).is_file()), run / SCORES)
    config = read_json(summary, f"score {run / ANSWERS}")["config"]
    return Target(run, who, done, record, config)
