"""Meta-evaluation: figures of figures, by hand on runs that are written by hand."""

import json
import math
from pathlib import Path

import pytest
from test_eval_report import leak, run, weigh

from eval.collect_results import collect_all
from eval.meta_evaluation import agreement, faithfulness, knowledge
from eval.report import to_terminal
from eval.results import Figure, Report

#: What comes out of each model when asked, and after relearning.
MODELS = {"finetune": (1.0, 0.8), "retrain": (0.0, 0.0), "ga": (0.5, 0.8), "gd": (0.2, 0.0)}
MODELS |= {"idk": (0.0, 0.4), "npo": (0.1, 0.2)}
ATTACK = "attack=relearn-retain-5"


def attacked(folder: Path, kind: str, strength: int, share: float) -> None:
    outcome = folder / "attacks" / f"{kind}-{strength}"
    outcome.mkdir(parents=True)
    leak(outcome, share, ["own"])
    about = {"kind": kind, "strength": strength, "steps": strength, "seconds": 1.0}
    (outcome / "attack.json").write_text(json.dumps(about))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for i, (name, (before, after)) in enumerate(MODELS.items()):
        folder = run(tmp_path / "runs" / name, 0.1 * i, 0.6, 0.6)
        leak(folder, before)
        weigh(folder, 0.5)
        attacked(folder, "relearn-retain", 5, after)
        attacked(folder, "quantise", 8, before)
        attacked(folder, "quantise", 4, 0.0)  # its ceiling is 0: it tells nothing
        if name not in ("finetune", "retrain"):
            attacked(folder, "adapter", 0, 1.0)
    return tmp_path / "runs"


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    """Five fine-tuned models that tell 0.4 or more, and five others: one of them 0.6."""
    for seed in range(5):
        for name, share in (("finetune", (4 + seed) / 10), ("retrain", 0.6 * (seed == 0))):
            folder = tmp_path / "seeds" / f"seed-{seed}" / name
            leak(run(folder, 0.5, 0.6, 0.6, seed=seed), share)
    return tmp_path / "seeds"


def of_figure(report: Report, name: str) -> dict[str, Figure]:
    return {f.metric: f for f in report.figures if f.role == "figure" and f.run == name}


def test_figures_of_a_figure(runs: Path, seeds: Path) -> None:
    (report,) = collect_all([runs], seeds=seeds)
    found = of_figure(report, "values own")
    # 25 pairs of a fine-tuned and a retrained model; .4 and .5 lie below .6, and .6 is equal.
    assert found["faithfulness"].value == pytest.approx((20 + 2 + 0.5) / 25)
    assert found["faithfulness"].n == 10
    # Knowledge before: what is told, over 1.0; after: over 0.8.
    changes = [0.8 / 0.8 - 0.5, 0.0 - 0.2, 0.4 / 0.8 - 0.0, 0.2 / 0.8 - 0.1]
    assert found["stable_relearn"].value == pytest.approx(1 - sum(map(abs, changes)) / 4)
    assert (found["stable_quantise"].value, found["stable_quantise"].n) == (1.0, 4)
    # Told: .5 .2 0 .1, ranks 4 3 1 2; at most, by attacks: .8 .2 .4 .2, ranks 4 1.5 3 1.5.
    ranks = [(4, 4), (3, 1.5), (1, 3), (2, 1.5)]
    covariance = sum((a - 2.5) * (b - 2.5) for a, b in ranks)
    assert found["agreement"].value == pytest.approx(covariance / math.sqrt(5 * 4.5))
    assert found["agreement"].n == 4
    assert found["trusted"].value == 0
    text = to_terminal(report)
    assert "Which figure to trust" in text
    assert "all its intervals overlap" in text


def test_several_seeds_count_by_their_mean(runs: Path) -> None:
    """The last seed of each method ranks them the other way round."""
    for name, share in (("ga", 0.0), ("gd", 0.1), ("idk", 0.4), ("npo", 0.2)):
        leak(run(runs / "seed-1" / name, 0.1, 0.6, 0.6, seed=1), share)
        attacked(runs / "seed-1" / name, "relearn-retain", 5, MODELS[name][1])
    (report,) = collect_all([runs])
    told = {f.run: f.value for f in report.figures if f.cut == ATTACK and f.metric == "attacked"}
    means = {"ga": 0.25, "gd": 0.15, "idk": 0.2, "npo": 0.15}
    expected = agreement([*means.values()], [told[name] for name in means])
    assert expected
    found = of_figure(report, "values own")["agreement"]
    assert found.value == pytest.approx(expected.rho)


def test_without_seeds_or_attacks_it_says_what_is_missing(runs: Path, tmp_path: Path) -> None:
    (report,) = collect_all([runs])
    assert "faithfulness" not in of_figure(report, "values own")
    assert any("--seeds-of all" in note for note in report.notes)
    alone = [run(tmp_path / "alone" / name, 0.5, 0.5, 0.5) for name in ("finetune", "ga")]
    (report,) = collect_all(alone)
    assert not of_figure(report, "ROUGE")


def test_worked_cases() -> None:
    assert faithfulness([1, 2], [1, 0]) == (0.5 + 1 + 1 + 1) / 4
    assert knowledge(0.5, 0.2, 0.8) == pytest.approx(0.5)
    assert knowledge(0.9, 0.2, 0.8) == 1
    assert knowledge(0.1, 0.8, 0.2) == 1  # a figure that falls with knowledge
    assert knowledge(0.5, 0.5, 0.51) is None
    assert agreement([1, 2, 3], [1, 2, 3]) is None
    assert agreement([1, 1, 1, 1], [1, 2, 3, 4]) is None
    found = agreement([1, 2, 3, 4, 5, 6, 7], [2, 1, 3, 4, 5, 6, 7])
    assert found
    rho = 1 - 6 * 2 / (7 * 48)
    half = 1.96 * math.sqrt((1 + rho**2 / 2) / 4)
    assert found == pytest.approx(
        (rho, math.tanh(math.atanh(rho) - half), math.tanh(math.atanh(rho) + half))
    )
