"""Score 10,000 answers: `eval.score` beside a plain loop over the same libraries.

    python benchmarks/eval_scoring.py --data mllmu-med

The rows of both configs are repeated up to 10,000 with different answers each time (right, wrong,
wordy, refusing), so that no cache helps. Each side runs in a process of its own, and both must find
the same ROUGE-1, ROUGE-L and BLEU. The plain loop is what other benchmarks do: one call of
`rouge_score` and one of NLTK a row; it makes no accuracy.
"""

import argparse
import json
import multiprocessing
import random
import resource
import time
from dataclasses import replace
from typing import Any

from eval.attacks import Ask
from eval.dataset_rows import read_rows
from eval.predictions import Prediction
from eval.score import score_row
from mllmu_med_dataset import CONFIGS

ROWS = 10_000


def pairs(data: str) -> list[tuple[Ask, Prediction]]:
    rows = [row for config in CONFIGS for row in read_rows(data, config)]
    rng = random.Random(0)
    made = []
    for number in range(ROWS):
        row = replace(rows[number % len(rows)], id=f"row/{number}")
        other = rng.choice(rows).answer
        said = rng.choice([f"{row.answer} {other}", other, f"It shows {row.answer}.", "No idea."])
        made.append((Ask(row, row.question), Prediction(row.id, f"{said} {number}")))
    return made


def ours(data: str) -> tuple[int, float]:
    rows = [score_row(ask, one) for ask, one in pairs(data)]
    some = [row for row in rows if "rouge1" in row]
    return len(some), sum(row["rouge1"] + row["rouge_l"] + row["bleu"] for row in some)


def plain(data: str) -> tuple[int, float]:
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rougeL"], use_stemmer=True)
    smooth = SmoothingFunction().method1
    n, total = 0, 0.0
    for ask, one in pairs(data):
        if ask.row.answer_type == "open":
            n += 1
            found = scorer.score(ask.row.answer, one.answer)
            total += found["rouge1"].fmeasure + found["rougeL"].fmeasure
            words, wanted = one.answer.lower().split(), ask.row.answer.lower().split()
            total += sentence_bleu([wanted], words, smoothing_function=smooth)
    return n, total


def measured(name: str, data: str, queue: Any) -> None:
    start = time.perf_counter()
    n, total = {"ours": ours, "plain": plain}[name](data)
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime
    queue.put({"wall": time.perf_counter() - start, "cpu": cpu, "n": n, "total": total})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="mllmu-med")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    for _ in range(options.runs):
        for name in ("ours", "plain"):
            queue = context.Queue()
            process = context.Process(target=measured, args=(name, options.data, queue))
            process.start()
            print(json.dumps({"name": name, **queue.get()}))
            process.join()


if __name__ == "__main__":
    main()
