"""How each metric is headed, printed and explained, and which way is better."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

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
    "three": lambda value: f"{value:z.3f}",
    "rank": lambda value: f"{value:g}",
    "p": lambda value: f"{value:.2g}",
    "effect": _word("worse", "no effect", "better"),
    "side": _word("below", "unclear", "above"),
}

_OPEN: Final = "open questions"
METRICS: Final[dict[str, Metric]] = {
    "accuracy": Metric(
        "ACC",
        "percent",
        1,
        "closed questions answered rightly; on forget no aim, as a harmful row's yes or no is true",
        on_forget=0,
        share=True,
    ),
    "rouge1": Metric("ROUGE", "percent", 1, f"ROUGE-1 F1 of {_OPEN}", on_forget=-1),
    "bleu": Metric("BLEU", "percent", 1, f"sentence BLEU (method 1) of {_OPEN}", on_forget=-1),
    "rouge_l": Metric("ROUGE-L", "percent", 1, f"ROUGE-L F1 of {_OPEN}", on_forget=-1),
    "corpus_bleu": Metric("corpus BLEU", "percent", 1, "sacrebleu's", on_forget=-1),
    "ues": Metric("UES", "fraction", 1, "Unlearning Efficiency Score, see above"),
    "clean_rouge1": Metric(
        "clean ROUGE", "percent", 1, "ROUGE-1 to the answer as it was before it was made harmful"
    ),
    "clean_accuracy": Metric(
        "clean ACC", "percent", 1, "closed questions answered as before", share=True
    ),
    "parse_rate": Metric(
        "readable", "percent", 1, "closed answers in which a yes or no is read", 0, share=True
    ),
    "refusals": Metric("refusals", "percent", -1, 'answers like "I don\'t know"', 0, share=True),
    "degenerate": Metric(
        "no language", "percent", -1, "outputs that are empty, repeating or gibberish", share=True
    ),
    "thinking": Metric("thinking", "percent", 0, "outputs with thinking tags", share=True),
    "unanswered": Metric("unanswered", "percent", 0, "empty outputs", share=True),
    "gain": Metric("gain", "signed", 1, "UES minus that of changing nothing"),
    "effect": Metric("effect", "effect", 0, "whether the gain's interval leaves out 0"),
    "below_base": Metric(
        "vs base", "side", 0, "forget ROUGE against the base model (untrained in the demo: no aim)"
    ),
    "distance_to_retrain": Metric(
        "gap", "fraction", -1, "sum of three ROUGE-1 differences to the retrained model, 0 ideal"
    ),
    "retain_penalty": Metric("lost on retain", "three", -1, "subtracted in UES"),
    "test_penalty": Metric("lost on test", "three", -1, "subtracted in UES"),
    "forget_penalty": Metric("gained on forget", "three", -1, "subtracted in UES"),
    "leaked_rows": Metric("rows", "percent", -1, "rows of which a value comes out", share=True),
    "leaked_values": Metric(
        "values", "percent", -1, "private values of the answers that come out", share=True
    ),
    "leaked_persons": Metric("patients", "percent", -1, "patients with a value out", share=True),
    "leaked_chance": Metric(
        "chance", "percent", 0, "other patients' values found in these answers", share=True
    ),
    "leaked_question": Metric(
        "question's", "percent", 0, "values that stand in questions only", share=True
    ),
    "leaked_others": Metric(
        "others'", "percent", -1, "rows whose answer holds another patient's value", share=True
    ),
    "learnt_values": Metric(
        "learnt values", "percent", 0, "private values that the fine-tuned model says", share=True
    ),
    "learnt_rows": Metric(
        "learnt rows", "percent", 0, "harmful answers that the fine-tuned model gives", share=True
    ),
    "probability": Metric("p(answer)", "three", 0, "probability of the reference, per token"),
    "truth_ratio": Metric(
        "truth ratio", "three", 0, "min(R, 1/R) of R = p(alternatives)/p(answer); 1 knows neither"
    ),
    "ks_distance": Metric(
        "KS", "three", -1, "distance of the truth ratios to the retrained model's, 0 alike"
    ),
    "forget_quality": Metric("KS p", "p", 0, "forget quality: p-value of that distance"),
    "auc_loss": Metric(
        "AUC loss", "three", 0, "membership attack forget against test; compare with Retrain's"
    ),
    "auc_min_k": Metric("AUC min-k", "three", 0, "the same from the 20 % least likely tokens"),
    "privleak_loss": Metric(
        "PrivLeak loss", "signed", 0, "AUC against Retrain's: 0 alike, below: still a member"
    ),
    "privleak_min_k": Metric("PrivLeak min-k", "signed", 0, "the same for min-k"),
    "rank_ues": Metric("by UES", "rank", 0, "the highest first"),
    "rank_leaked": Metric("by leakage", "rank", 0, "values in any way of asking, the least first"),
    "rank_probability": Metric("by p(answer)", "rank", 0, "on forget, nearest to Retrain first"),
}
#: Metrics of a score file in the paper's order.
SCORED: Final = (
    *("accuracy", "rouge1", "bleu", "rouge_l", "corpus_bleu", "clean_rouge1", "clean_accuracy"),
    *("parse_rate", "refusals", "degenerate", "thinking", "unanswered"),
)
#: Those of them that figures are made of by part of the rows.
OF_CUTS: Final = ("accuracy", "rouge1", "bleu", "clean_rouge1", "clean_accuracy")
