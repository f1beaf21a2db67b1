"""Figures that are no mean of items: UES and its gain, AUC, PrivLeak, forget quality, corpus BLEU.

Each is an array as in `eval.bootstrap`: its value, then that of each resample; of one entry where
it has no interval. PrivLeak (MUSE, Shi et al. 2024) is (AUC - AUC of retrain) / AUC of retrain for
the AUC with which forget rows are taken for strangers, 1 minus ours: 0 is ideal, below 0 they are
still seen to be members, above 0 they are avoided.
"""

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from eval.bootstrap import Draws
from eval.likelihood import SIGNATURE as WEIGHED
from eval.likelihood import forget_quality
from eval.metrics import bleu_of_counts
from eval.read_run import Run, corpus_items
from eval.references import PERFECT
from eval.results import Key
from eval.ues import SIGNATURE, ues_of_arrays
from mllmu_med_dataset import SPLITS, UserError

Arrays = dict[Key, Any]
#: Scores of membership attacks: what is higher is taken for a forget row.
ATTACKS: Final = ("loss", "min_k", "min_k_plus", "zlib")
_LIKELY: Final = tuple(f"{name}_{score}" for name in ("auc", "privleak") for score in ATTACKS)
SIGNATURES: Final = {
    **dict.fromkeys(("ues", "gain", "retain_penalty", "test_penalty", "forget_penalty"), SIGNATURE),
    **dict.fromkeys((*_LIKELY, "ks_distance", "forget_quality"), WEIGHED),
}


def derive(
    name: str,
    role: str,
    run: Run,
    arrays: Arrays,
    others: Mapping[str, tuple[Run, Arrays]],
    draws: Draws,
) -> Arrays:
    """What follows for a run from its means and those of base, fine-tuned and retrained runs.

    others: by role the run of the same seed and its means; never the run itself.
    """
    made = by_itself(run, draws)
    rouge: dict[str, Any] = {split: arrays[Key("rouge1", split)] for split in SPLITS}
    noop = others["finetune"][1] if "finetune" in others else arrays
    if (role == "finetune" or "finetune" in others) and role != "base" and name != PERFECT:
        finetuned: dict[str, Any] = {split: noop[Key("rouge1", split)] for split in SPLITS}
        terms = ues_of_arrays(rouge, finetuned)
        made[Key("ues")] = terms.ues
        if role != "finetune":
            made[Key("gain")] = terms.ues - ues_of_arrays(finetuned, finetuned).ues
            made |= {Key(f"{s}_penalty"): getattr(terms, f"{s}_penalty") for s in SPLITS}
    if "retrain" in others and role != "reference":
        made |= _against_retrain(run, rouge, made, *others["retrain"], draws)
    return made


def by_itself(run: Run, draws: Draws) -> Arrays:
    """What a run's own items give: corpus BLEU, AUC."""
    made: Arrays = {}
    for split in SPLITS:
        items, counts = corpus_items(run, split)
        if counts:
            run.counts[Key("corpus_bleu", split)] = len(counts)
            made[Key("corpus_bleu", split)] = draws.total(items, counts, bleu_of_counts)
    for score in ATTACKS:
        sets = [run.items.get(Key(score, split)) for split in ("forget", "test")]
        if sets[0] and sets[1]:
            made[Key(f"auc_{score}")] = draws.auc(sets[0], sets[1])
            n = len(sets[0].ids) + len(sets[1].ids)
            run.counts |= {Key(f"{name}_{score}"): n for name in ("auc", "privleak")}
    return made


def _against_retrain(
    run: Run, rouge: dict[str, Any], made: Arrays, retrained: Run, theirs: Arrays, draws: Draws
) -> Arrays:
    gaps = [np.abs(rouge[split] - theirs[Key("rouge1", split)]) for split in SPLITS]
    compared: Arrays = {Key("distance_to_retrain"): np.sum(gaps, axis=0)}
    for score in ATTACKS:
        auc = made.get(Key(f"auc_{score}"))
        sets = [retrained.items.get(Key(score, split)) for split in ("forget", "test")]
        if auc is not None and sets[0] and sets[1]:
            gold = draws.auc(sets[0], sets[1])
            with np.errstate(divide="ignore", invalid="ignore"):
                compared[Key(f"privleak_{score}")] = (gold - auc) / (1 - gold)
    own, gold_ratios = (one.items.get(Key("ratio", "forget")) for one in (run, retrained))
    if own and gold_ratios:
        if run.weighed != retrained.weighed:
            raise UserError(
                f"{run.name}: its rows are not those of the retrained model: weigh both on the "
                "same dataset"
            )
        for metric in ("ks_distance", "forget_quality"):
            run.counts[Key(metric, "forget")] = len(own.ids)
        compared[Key("ks_distance", "forget")] = draws.ks(own, gold_ratios)
        p = forget_quality(own.values.tolist(), gold_ratios.values.tolist())
        compared[Key("forget_quality", "forget")] = np.array([p])
    return {key: array for key, array in compared.items() if np.isfinite(array[0])}
