"""Which figure can be trusted here? Every figure of the forget set, measured itself.

After Dorna et al. 2025 (arXiv:2506.12618), who ask it of text models; formulas and bars are ours:

- faithfulness: AUROC with which the figure tells models that were trained on the forget set
  (fine-tuned, several seeds) from models that were not (retrained); .5 is chance, 1 all.
- stability under relearning and under quantisation: 1 - mean over methods and attacks (those whose
  ceiling tells something) of how much more or less knowledge the figure sees after the attack.
  Knowledge is 0 at the retrained model's figure and 1 at the fine-tuned one's, each under the same
  attack. What a figure calls forgotten and a few steps bring back was not gone: it said too much.
  Of the first seed of each method; membership attacks have none, and are never trusted.
- agreement: Spearman's rank correlation, over the methods, with the most that any attack brings
  out (taking the last adapter off is none: that gives the fine-tuned model back). Leakage figures
  have a part in what they are held to here.
- the controls: where a perfect correction and gibberish land between the retrained (0) and the
  fine-tuned model (1). A figure that holds gibberish for the better forgetting rewards destruction.

A figure is trusted where it is over all bars (`BARS`); the order is that of the harmonic mean.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from statistics import fmean, harmonic_mean
from typing import Final, NamedTuple

from eval.attack_results import CEILING, CUT, outcomes
from eval.metric_names import METRICS, WORDS
from eval.read_run import Run, read_run
from eval.references import GIBBERISH, ORACLE
from eval.report_tables import Column, Section, Table, table_of
from eval.results import Figure, Key, Report
from eval.run_figures import SeedRuns
from eval.ues import ues

_AUCS: Final = ("auc_loss", "auc_min_k", "auc_min_k_plus", "auc_zlib")
#: Figures that tell of the forget set, and whether more of them is more knowledge (1) or less (-1).
CANDIDATES: Final[dict[Key, int]] = {
    Key("ues"): -1,
    Key("rouge1", "forget"): 1,
    Key("bleu", "forget"): 1,
    Key("clean_rouge1", "forget"): -1,
    Key("leaked_values", "forget", "", "own"): 1,
    Key("probability", "forget"): 1,
    Key("truth_ratio", "forget"): -1,
    Key("memorised", "forget"): 1,
    Key("extraction", "forget"): 1,
    Key("cloze", "forget"): 1,
    Key("choice", "forget"): 1,
    **{Key(auc): 1 for auc in _AUCS},
}
#: What a figure needs to be trusted: our choice.
BARS: Final = {"faithfulness": 0.9, "stable_relearn": 0.8, "stable_quantise": 0.8, "agreement": 0.7}
#: So many models of each kind, or faithfulness says nothing: our choice.
LEAST_SEEDS: Final = 5
#: Where fine-tuned and retrained model differ by less, a figure says nothing here.
_LEAST_RANGE: Final = 0.02
_KEPT: Final = ("retain", "test")
#: The role of a figure about a figure.
ROLE: Final = "figure"
_AGREES: Final = Key("agreement")
_SIGNATURE: Final = (
    "meta|faithfulness: AUROC over models|stability: knowledge between retrained 0 and fine-tuned "
    "1, same attack, same rows|agreement: Spearman, Fisher's z|mllmu-med 1"
)


class Correlation(NamedTuple):
    """Spearman's rho with its 95 % interval by Fisher's z (Bonett and Wright 2000)."""

    rho: float
    low: float
    high: float


def faithfulness(knowing: Iterable[float], ignorant: Iterable[float]) -> float:
    """AUROC: how often one of the first has the higher value than one of the second, ties half."""
    others = [*ignorant]
    return fmean((k > i) + 0.5 * (k == i) for k in knowing for i in others)


def knowledge(value: float, retrain: float, finetune: float) -> float | None:
    """0 at the retrained model's value, 1 at the fine-tuned one's, cut to that; None: no range."""
    if abs(finetune - retrain) < _LEAST_RANGE:
        return None
    return min(1.0, max(0.0, (value - retrain) / (finetune - retrain)))


def agreement(values: Sequence[float], told: Sequence[float]) -> Correlation | None:
    """Of a figure with what comes out; None of under four methods, or where one never moves."""
    from scipy.stats import spearmanr

    if len(values) < 4 or len({*values}) == 1 or len({*told}) == 1:
        return None
    rho = float(spearmanr(values, told).statistic)
    z = math.atanh(max(-0.999999, min(0.999999, rho)))
    half = 1.96 * math.sqrt((1 + rho**2 / 2) / (len(values) - 3))
    return Correlation(rho, math.tanh(z - half), math.tanh(z + half))


def meta_figures(report: Report, lines: Sequence[SeedRuns], seeds: Report | None) -> list[Figure]:
    """What each figure is worth on these runs: `run` is its name, `role` is `figure`.

    Args:
        report: the collected figures, attacks among them.
        lines: the runs that they are of.
        seeds: figures of fine-tuned and retrained models of several seeds; default: this report's.

    Returns:
        None of a figure that the runs do not have; nothing without a retrained and a fine-tuned run
        and attacks on methods.
    """
    known = {line.role: line.runs[0] for line in lines if line.role != "method"}
    methods = {line.name: line.runs[0] for line in lines if line.role == "method"}
    told = _most(report, methods)
    if "finetune" not in known or "retrain" not in known or len(told) < 2:
        return []
    _outcome.cache_clear()  # what was read before may have been made anew
    made: list[Figure] = []
    for key, sign in CANDIDATES.items():
        found = _all_of(key, sign, report, known, methods, told, seeds or report)
        bars = [found[name].value for name in BARS if name in found]
        if "agreement" not in found and len(bars) < 2:
            continue
        if len(bars) == len(BARS):
            score = harmonic_mean([max(0.0, value) for value in bars])
            trusted = all(found[name].value >= bar for name, bar in BARS.items())
            found["trust"] = _figure(report, key, "trust", score)
            found["trusted"] = _figure(report, key, "trusted", float(trusted))
        made += found.values()
    return made


def _all_of(
    key: Key,
    sign: int,
    report: Report,
    known: Mapping[str, Run],
    methods: Mapping[str, Run],
    told: Mapping[str, float],
    seeds: Report,
) -> dict[str, Figure]:
    found: dict[str, Figure] = {}
    models = _by_seed(seeds, key)
    if min(map(len, models.values())) >= LEAST_SEEDS:
        auc = faithfulness(*([sign * value for value in of] for of in models.values()))
        n = sum(map(len, models.values()))
        found["faithfulness"] = _figure(report, key, "faithfulness", auc, n=n)
    for group in ("relearn", "quantise"):
        telling = [cut for cut in _telling(report) if cut.startswith(f"{CUT}{group}")]
        # Membership is told from test rows, and an attack's outcome is of forget rows alone.
        changes = [] if key.metric in _AUCS else _changes(key, telling, known, methods)
        if changes:
            value = 1 - fmean(changes)
            found[f"stable_{group}"] = _figure(
                report, key, f"stable_{group}", value, n=len(changes)
            )
    alone = [f for f in report.figures if f.key == key and not f.versus and f.role != "seed"]
    values = {f.run: sign * f.value for f in alone if f.run in told}
    if agreed := agreement([values[name] for name in values], [told[name] for name in values]):
        limits = {"low": agreed.low, "high": agreed.high, "n": len(values)}
        found["agreement"] = _figure(report, key, "agreement", agreed.rho, **limits)
    ends = {f.run: f.value for f in alone}
    for name, reference in (("at_oracle", ORACLE), ("at_gibberish", GIBBERISH)):
        if reference in ends:
            retrain, finetune = (ends[known[role].name] for role in ("retrain", "finetune"))
            place = knowledge(ends[reference], retrain, finetune)
            if place is not None:
                found[name] = _figure(report, key, name, place)
    return found


def _figure(report: Report, key: Key, metric: str, value: float, **more: float) -> Figure:
    of = " ".join(filter(None, (METRICS[key.metric].head, key.way)))
    about = {"config": report.config, "run": of, "role": ROLE, "signature": _SIGNATURE}
    return Figure.model_validate({**about, "metric": metric, "value": value, **more})


def _most(report: Report, methods: Mapping[str, Run]) -> dict[str, float]:
    """Of each method the most that any attack brings out of it, but for its last adapter's end."""
    most: dict[str, float] = {}
    for figure in report.figures:
        if figure.metric == "attacked" and figure.run in methods and "adapter" not in figure.cut:
            most[figure.run] = max(most.get(figure.run, 0.0), figure.value)
    return most


def _by_seed(seeds: Report, key: Key) -> dict[str, list[float]]:
    """A figure of each fine-tuned and each retrained model."""
    own = [f for f in seeds.figures if f.key == key and f.role == "seed"]
    names = {about["role"]: name for name, about in seeds.models.items()}
    roles = ("finetune", "retrain")
    return {role: [f.value for f in own if f.run == names.get(role)] for role in roles}


def _telling(report: Report) -> list[str]:
    """The attacks under which the fine-tuned model still tells enough, by their cuts."""
    return [
        figure.cut
        for figure in report.figures
        if figure.metric == "attacked" and figure.role == "finetune" and figure.value >= CEILING
    ]


def _changes(
    key: Key, cuts: Sequence[str], known: Mapping[str, Run], methods: Mapping[str, Run]
) -> list[float]:
    """How much more or less knowledge a figure sees after each of some attacks, by method."""
    finetuned = known["finetune"]
    roles = ("retrain", "finetune")
    ends = {role: dict(outcomes(known[role].folder)) for role in roles}
    changes: list[float] = []
    for run in methods.values():
        for attack, folder in outcomes(run.folder):
            if f"{CUT}{attack.name}" in cuts and all(attack in of for of in ends.values()):
                after = _outcome(folder)
                limits = [(known[role], _outcome(ends[role][attack])) for role in roles]
                seen = [
                    [_value(key, own, source, after, finetuned) for source in (own, under)]
                    for own, under in [(run, after), *limits]
                ]
                before, now = (
                    None if None in of else knowledge(*of) for of in zip(*seen, strict=True)
                )
                if before is not None and now is not None:
                    changes.append(abs(now - before))
    return changes


@cache
def _outcome(folder: Path) -> Run:
    return read_run(folder, scored=False)


def _value(key: Key, own: Run, source: Run, asked: Run, finetuned: Run) -> float | None:
    """A figure whose forget rows are a source's, those that were asked under an attack alone."""
    if key.metric == "ues":
        means: list[dict[str, float]] = []
        for model, asked_of in ((own, source), (finetuned, finetuned)):
            forget = _mean(Key("rouge1", "forget"), asked_of, asked)
            if forget is None:
                return None
            kept = {s: float(model.items[Key("rouge1", s)].values.mean()) for s in _KEPT}
            means.append({**kept, "forget": forget})
        return ues(*means).ues
    return _mean(key, source, asked)


def _mean(key: Key, source: Run, asked: Run) -> float | None:
    values = _some(key, source, asked)
    return fmean(values) if values else None


def _some(key: Key, source: Run, asked: Run) -> list[float] | None:
    if key not in source.items or key not in asked.items:
        return None
    kept: list[float] = source.items[key].only({*asked.items[key].ids}.__contains__).values.tolist()
    return kept


def table(report: Report) -> list[Table]:
    """The figures in order, the most trustworthy first; none without attacks."""
    lines = sorted(
        report.lines("ours", ROLE),
        key=lambda line: (-(line.value(Key("trusted")) or 0), -(line.value(Key("trust")) or -1)),
    )
    heads = ("trusted", "trust", *BARS, "at_oracle", "at_gibberish")
    sections = [Section(lines)]
    columns = [Column(Key(head)) for head in heads]
    if not lines:
        return []
    title = "Which figure to trust"
    return [table_of("trust", title, WORDS["trust"], columns, sections, of="figure")]


def notes(report: Report) -> list[str]:
    """What a reader of the table has to know, where there is one."""
    lines = report.lines("ours", ROLE)
    if not lines:
        return []
    words, told = WORDS["trust_notes"], []
    if all(line.value(Key("faithfulness")) is None for line in lines):
        told.append(words["unfaithful"].format(least=LEAST_SEEDS))
    if trusted := [line.run for line in lines if line.value(Key("trusted"))]:
        told.append(words["trusted"].format(names=", ".join(trusted)))
    elif not told:
        told.append(words["none"].format(bars=", ".join(map(str, BARS.values()))))
    agreed = [line.figures[_AGREES] for line in lines if _AGREES in line.figures]
    widest = [f for f in agreed if f.low is not None and f.high is not None]
    if widest and min(f.high or 0 for f in widest) > max(f.low or 0 for f in widest):
        told.append(words["unsettled"].format(n=widest[0].n))
    return told
