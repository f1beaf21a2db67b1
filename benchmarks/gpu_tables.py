"""`gpu.py`'s JSON and Markdown, with the hours that the paper's Table 1 takes; its profile."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

#: The paper's privacy set, its images and, about, what is asked of forget rows besides.
FORGET, RETAIN, TEST, IMAGES, ATTACKS, ALTERNATIVES = 351, 3960, 1000, 642, 5, 3
#: Base, fine-tuned, retrained and five methods.
MODELS = 8
#: Of the recipe `paper-privacy`: epochs of fine-tuning, and of each method over its rows.
EPOCHS = 3
METHODS = {"ga": 3 * FORGET, **dict.fromkeys(("gd", "kl-min", "idk", "llmu"), FORGET + RETAIN)}


def table_one(done: Mapping[str, dict[str, Any]], model: str, packing: str) -> dict[str, float]:
    """Hours of each part of the paper's Table 1 for privacy; {} where something is not measured."""

    def rate(key: str) -> float:
        return float(done.get(f"{model}/{key}", {}).get("samples_a_second", 0))

    train = {name: rate(f"train/{name}/{packing}/all") for name in ("finetune", *METHODS)}
    read, answer = rate("reading images"), rate("answers/shared/40")
    weigh = rate("likelihoods/shared/0")
    if not all((*train.values(), read, answer, weigh)):
        return {}
    rows = FORGET + RETAIN + TEST
    seconds = {
        "finetune": EPOCHS * (FORGET + RETAIN) / train["finetune"],
        "retrain": EPOCHS * RETAIN / train["finetune"],
        **{name: count / train[name] for name, count in METHODS.items()},
        "reading images": MODELS * IMAGES / read,
        "answers": MODELS * (rows + ATTACKS * FORGET) / answer,
        "likelihoods": MODELS * (rows + ALTERNATIVES * FORGET) / weigh,
    }
    hours = {name: value / 3600 for name, value in seconds.items()}
    return {**hours, "all": sum(hours.values())}


def written(out: str, done: Mapping[str, dict[str, Any]], titles: Mapping[str, str]) -> None:
    """OUT.json and OUT.md."""
    tables = {
        model: {packing: table_one(done, model, packing) for packing in ("none", "image")}
        for model in titles
    }
    value = {"measured": list(done.values()), "table_1_hours": tables}
    Path(f"{out}.json").write_text(json.dumps(value, indent=1) + "\n", "utf-8")
    about = done.get("peak", {})
    head = (
        f"{about.get('gpu')}, torch {about.get('torch')}, transformers {about.get('transformers')}"
    )
    lines = [f"{head}; peak {about.get('flops', 0) / 1e12:.3g} TFLOP/s."]
    for model, title in titles.items():
        mine = {k.split("/", 1)[1]: v for k, v in done.items() if k.startswith(f"{model}/")}
        if mine:
            lines += ["", f"### {title}", *_training(mine), *_asking(mine)]
        lines += _hours(tables[model])
    Path(f"{out}.md").write_text("\n".join(lines) + "\n", "utf-8")


PACKED = {"image": "packed", "none": "a row each", "plain loop": "plain loop"}


def _training(mine: Mapping[str, dict[str, Any]]) -> list[str]:
    lines = [
        "",
        "| | rows | memory | in a pass | again | samples / s | tokens / s | peak, GiB | used |",
        "| --- | --- | ---: | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for key, line in mine.items():
        kind, *rest = key.split("/")
        if kind != "train":
            continue
        method, packing, memory, *nf4 = rest
        name = f"{method}, nf4" if nf4 else method
        memory = "all" if memory == "all" else f"{memory} GB"
        start = f"| {name} | {PACKED[packing]} | {memory} |"
        if "seconds" not in line:
            lines.append(f"{start} {line.get('why', 'does not fit')} | | | | | |")
            continue
        again = "yes" if line["checkpointing"] else "no"
        lines.append(
            f"{start} {line['micro_batch']} | {again} | {line['samples_a_second']:.1f} | "
            f"{line['tokens_a_second']:,.0f} | {line['peak_gib']:.1f} | "
            f"{100 * line['utilisation']:.0f} % |"
        )
    return lines


def _asking(mine: Mapping[str, dict[str, Any]]) -> list[str]:
    lines = [
        "",
        "| | how | at once | a second | tokens / s | peak, GiB |",
        "| --- | --- | ---: | ---: | ---: | ---: |",
    ]
    for key, line in mine.items():
        kind, *rest = key.split("/")
        if kind == "train" or "samples_a_second" not in line:
            continue
        name = f"{kind} of {rest[1]} tokens" if kind == "answers" else kind
        lines.append(
            f"| {name} | {rest[0] if rest else 'once'} | {line.get('at_once', 1)} | "
            f"{line['samples_a_second']:.2f} | "
            f"{line.get('tokens_a_second', 0):,.0f} | {line.get('peak_gib', 0):.1f} |"
        )
    return lines


def _hours(tables: Mapping[str, Mapping[str, float]]) -> list[str]:
    shown = {packing: hours for packing, hours in tables.items() if hours}
    if not shown:
        return []
    lines = ["", f"| hours of Table 1, privacy | {' | '.join(PACKED[p] for p in shown)} |"]
    lines.append(f"| --- |{' ---: |' * len(shown)}")
    for name in next(iter(shown.values())):
        lines.append(f"| {name} | {' | '.join(f'{h[name]:.2f}' for h in shown.values())} |")
    return lines


def profiled(works: Mapping[str, Callable[[], Any]], cuda: bool, path: Path) -> None:
    """Which operations took how long, of each piece of work, printed and written."""
    from torch.profiler import ProfilerActivity, profile

    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] * cuda)]
    order = f"self_{'cuda' if cuda else 'cpu'}_time_total"
    texts = []
    for title, work in works.items():
        with profile(activities=kinds) as found:
            work()
        table = found.key_averages().table(sort_by=order, row_limit=25, max_name_column_width=70)
        texts.append(f"## {title}\n\n{table}\n")
        print(texts[-1], flush=True)
        path.write_text("\n".join(texts), "utf-8")
