"""Figures that are no mean of items: UES, AUC, PrivLeak, forget quality, utility, damage, BLEU.

Each is an array as in `eval.bootstrap`: its value, then that of each resample; of one entry where
it has no interval. PrivLeak (MUSE, Shi et al. 2024) is (AUC - AUC of retrain) / AUC of retrain for
the AUC with which forget rows are taken for strangers, 1 minus ours: 0 is ideal, below 0 they are
still seen to be members, above 0 they are avoided: over-unlearning, itself a trace. The reference
attack (Carlini et al. 2021) takes the loss against the base run's. Utility is TOFU's, the harmonic
mean of probability, ROUGE-1 and truth ratio of what is to be kept, here of retain and test: 0 where
one of them is. The truth ratio is max(0, 1 - R), R = p(wrong choices) / p(answer) (`eval.probes`);
where no row has wrong choices it is left out.
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any, Final

import numpy as np

from eval.bootstrap import Draws, Items
from eval.likelihood import SIGNATURE as WEIGHED
from eval.likelihood import forget_quality
from eval.metrics import bleu_of_counts
from eval.neighbours import NEAR, near_forget
from eval.neighbours import SIGNATURE as NEARNESS
from eval.read_run import Run, corpus_items
from eval.references import PERFECT
from eval.results import Key
from eval.ues import SIGNATURE, ues_of_arrays
from mllmu_med_dataset import SPLITS, UserError

Arrays = dict[Key, Any]
_KEPT: Final = ("retain", "test")
#: Scores of membership attacks: what is higher is taken for a forget row.
ATTACKS: Final = ("loss", "min_k", "min_k_plus", "zlib", "reference")
_LIKELY: Final = tuple(f"{name}_{score}" for name in ("auc", "privleak") for score in ATTACKS)
SIGNATURES: Final = {
    **dict.fromkeys(("ues", "gain", "retain_penalty", "test_penalty", "forget_penalty"), SIGNATURE),
    **dict.fromkeys((*_LIKELY, "ks_distance", "forget_quality"), WEIGHED),
    **dict.fromkeys(("rouge1_drop", "probability_drop"), NEARNESS),
    "utility": "harmonic mean|retain and test: probability, rouge1, truth ratio of choices|"
    "mllmu-med 1",
    "gap_leaked": "leaked values, own question minus the same without the image|mllmu-med 1",
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
    made = by_itself(run, arrays, draws)
    rouge: dict[str, Any] = {split: arrays[Key("rouge1", split)] for split in SPLITS}
    noop = others["finetune"][1] if "finetune" in others else arrays
    if (role == "finetune" or "finetune" in others) and role != "base" and name != PERFECT:
        finetuned: dict[str, Any] = {split: noop[Key("rouge1", split)] for split in SPLITS}
        terms = ues_of_arrays(rouge, finetuned)
        made[Key("ues")] = terms.ues
        if role != "finetune":
            made[Key("gain")] = terms.ues - ues_of_arrays(finetuned, finetuned).ues
            made |= {Key(f"{s}_penalty"): getattr(terms, f"{s}_penalty") for s in SPLITS}
    base = others["base"][0] if "base" in others else None
    if base:
        made |= _aucs(run, base, draws, ("reference",))
    if "finetune" in others and role in ("method", "retrain"):
        made |= _damage(run, others["finetune"][0], draws)
    if "retrain" in others and role != "reference":
        made |= _against_retrain(run, rouge, made, *others["retrain"], base, draws)
    return made


def by_itself(run: Run, arrays: Arrays, draws: Draws) -> Arrays:
    """What a run's own items give: corpus BLEU, AUC, utility, leakage without the image."""
    made: Arrays = {}
    for split in SPLITS:
        items, counts = corpus_items(run, split)
        if counts:
            run.counts[Key("corpus_bleu", split)] = len(counts)
            made[Key("corpus_bleu", split)] = draws.total(items, counts, bleu_of_counts)
    made |= _aucs(run, None, draws)
    kept = [Key(m, split) for m in ("probability", "rouge1", "kept_truth") for split in _KEPT]
    terms = [arrays[key] for key in kept if key in arrays]
    if kept[0] in arrays and kept[2] in arrays:
        run.counts[Key("utility")] = sum(len(run.items[key].ids) for key in kept[:2])
        with np.errstate(divide="ignore"):
            made[Key("utility")] = len(terms) / sum(1 / term for term in terms)
    ways = [Key("leaked_values", "forget", "", way) for way in ("own", "no_picture")]
    if all(way in run.items for way in ways):
        run.counts[Key("gap_leaked", "forget")] = len(run.items[ways[0]].ids)
        made[Key("gap_leaked", "forget")] = arrays[ways[0]] - arrays[ways[1]]
    return made


def _aucs(run: Run, base: Run | None, draws: Draws, scores: Sequence[str] = ATTACKS[:-1]) -> Arrays:
    """AUC of some attacks; `reference` needs a base run."""
    made: Arrays = {}
    for score in scores:
        if sets := _attacked(run, score, base):
            made[Key(f"auc_{score}")] = draws.auc(*sets)
            n = sum(len(items.ids) for items in sets)
            run.counts |= {Key(f"{name}_{score}"): n for name in ("auc", "privleak")}
    return made


def _attacked(run: Run, score: str, base: Run | None) -> list[Items]:
    """An attack's scores of forget and test rows; none where they are not there."""
    keys = [Key("loss" if score == "reference" else score, split) for split in ("forget", "test")]
    runs = [run, base] if score == "reference" else [run]
    if not all(of and key in of.items for of in runs for key in keys):
        return []
    sets = [run.items[key] for key in keys]
    if base and score == "reference":
        _check_rows(run, base, "base")
        sets = [
            items._replace(values=items.values - base.items[key].values)
            for items, key in zip(sets, keys, strict=True)
        ]
    return sets


def _check_rows(run: Run, other: Run, what: str) -> None:
    if run.weighed != other.weighed:
        raise UserError(
            f"{run.name}: its rows are not those of the {what} model: weigh both on the same "
            "dataset"
        )


def _damage(run: Run, finetuned: Run, draws: Draws) -> Arrays:
    """What was lost on retain rows, by how near they are to forget rows."""
    made: Arrays = {}
    near = near_forget(finetuned.rows)
    for metric, group in product(("rouge1", "probability"), NEAR):
        whole = Key(metric, "retain")
        if whole in run.items and whole in finetuned.items:
            ids = {row for row, of in near.items() if of == group}
            own, theirs = (of.items[whole].only(ids.__contains__) for of in (run, finetuned))
            if own.ids:
                key = Key(f"{metric}_drop", "retain", f"near={group}")
                run.counts[key] = len(own.ids)
                made[key] = draws.mean(theirs) - draws.mean(own)
    return made


def _against_retrain(
    run: Run,
    rouge: dict[str, Any],
    made: Arrays,
    retrained: Run,
    theirs: Arrays,
    base: Run | None,
    draws: Draws,
) -> Arrays:
    gaps = [np.abs(rouge[split] - theirs[Key("rouge1", split)]) for split in SPLITS]
    compared: Arrays = {Key("distance_to_retrain"): np.sum(gaps, axis=0)}
    for score in ATTACKS:
        auc = made.get(Key(f"auc_{score}"))
        sets = _attacked(retrained, score, base)
        if auc is not None and sets:
            gold = draws.auc(*sets)
            with np.errstate(divide="ignore", invalid="ignore"):
                compared[Key(f"privleak_{score}")] = (gold - auc) / (1 - gold)
    own, gold_ratios = (one.items.get(Key("ratio", "forget")) for one in (run, retrained))
    if own and gold_ratios:
        _check_rows(run, retrained, "retrained")
        for metric in ("ks_distance", "forget_quality"):
            run.counts[Key(metric, "forget")] = len(own.ids)
        compared[Key("ks_distance", "forget")] = draws.ks(own, gold_ratios)
        p = forget_quality(own.values.tolist(), gold_ratios.values.tolist())
        compared[Key("forget_quality", "forget")] = np.array([p])
    return {key: array for key, array in compared.items() if np.isfinite(array[0])}
