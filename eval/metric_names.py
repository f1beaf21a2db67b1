"""How each metric is headed, printed and explained (`metrics.yaml`), and which way is better."""

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from mllmu_med.files import packaged_yaml

#: What is said in and under a report's tables.
WORDS: Final[dict[str, Any]] = packaged_yaml("eval", "report_tables.yaml")
UES: Final = (
    "Unlearning Efficiency Score = ROUGE-1 of retain + test - forget, minus what retain and test "
    "have lost and forget has gained against the fine-tuned model (at most 2)"
)


class Metric(NamedTuple):
    """`better`: 1 high, -1 low, 0 neither; on forget it may be another (`on_forget`)."""

    head: str
    unit: str
    better: int
    says: str
    on_forget: int | None = None
    #: A share of items that either are or are not: its interval is Wilson's.
    share: bool = False

    def direction(self, split: str) -> int:
        """Of a split; of none named 0 where it depends on the split."""
        if self.on_forget is None or split in ("retain", "test"):
            return self.better
        return self.on_forget if split else 0


def _word(*words: str) -> Callable[[float], str]:
    return lambda value: words[int(value) + 1]


#: How a figure is printed. `z`: a value that rounds to 0 has no minus.
UNITS: Final[dict[str, Callable[[float], str]]] = {
    "percent": lambda value: f"{value * 100:z.2f}",
    "fraction": lambda value: f"{value:z.2f}",
    "signed": lambda value: f"{value:+z.2f}",
    "points": lambda value: f"{value * 100:+z.2f}",
    "three": lambda value: f"{value:z.3f}",
    "rank": lambda value: f"{value:g}",
    "p": lambda value: f"{value:.2g}",
    "effect": _word("worse", "no effect", "better"),
    "side": _word("below", "unclear", "above"),
    "answer": _word("", "no", "yes"),
}

METRICS: Final[dict[str, Metric]] = {
    name: Metric(**metric) for name, metric in packaged_yaml("eval", "metrics.yaml").items()
}
#: Metrics of a score file in the paper's order.
SCORED: Final = (
    *("accuracy", "rouge1", "bleu", "rouge_l", "corpus_bleu", "clean_rouge1", "clean_accuracy"),
    *("parse_rate", "refusals", "degenerate", "thinking", "unanswered"),
)
#: Those of them that figures are made of by part of the rows.
OF_CUTS: Final = ("accuracy", "rouge1", "bleu", "clean_rouge1", "clean_accuracy")
