"""What the commands print: tables for people. Percent here; the files hold fractions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.markup import escape

from eval.private_values import LEVELS
from mllmu_med.console import make_console, make_table

#: Metrics of a score file as they are headed, in the paper's order first.
HEADS = {
    "accuracy": "ACC",
    "rouge1": "ROUGE-1",
    "bleu": "BLEU",
    "rouge_l": "ROUGE-L",
    "corpus_bleu": "corpus BLEU",
    "parse_rate": "parsed",
    "refusals": "refusals",
    "degenerate": "degenerate",
    "thinking": "thinking",
    "unanswered": "unanswered",
}


def percent(measures: dict[str, Any], metric: str) -> str:
    """A metric in percent with two decimals, or a dash where no answer was of its kind."""
    return f"{measures[metric]['value'] * 100:.2f}" if metric in measures else "-"


def print_scores(summary: dict[str, Any], folder: Path) -> None:
    """All metrics by split, then ROUGE-1 and accuracy by modality and kind of question."""
    out = make_console()
    out.print(f"[bold]{escape(summary['name'])}[/bold] on {escape(summary['config'])}, percent")
    rare = ("thinking", "unanswered")  # a column only where there is something to see
    parts = summary["splits"].values()
    heads = {m: h for m, h in HEADS.items() if m not in rare or any(p[m]["value"] for p in parts)}
    table = make_table("split", "#answers", *(f"#{head}" for head in heads.values()))
    for split, measures in summary["splits"].items():
        n = measures["refusals"]["n"]
        table.add_row(split, f"{n:,}", *(percent(measures, metric) for metric in heads))
    out.print(table)
    for cut, head in (("by_modality", "modality"), ("by_content_type", "kind of question")):
        table = make_table("split", head, "#answers", "#ACC", "#ROUGE-1", "#BLEU")
        for split, measures in summary["splits"].items():
            for value, part in measures[cut].items():
                cells = (percent(part, metric) for metric in ("accuracy", "rouge1", "bleu"))
                table.add_row(split, escape(value), f"{part['refusals']['n']:,}", *cells)
        if table.row_count:
            out.print()
            out.print(table)
    out.print()
    for metric, signature in summary["signatures"].items():
        out.print(f"[dim]{HEADS[metric]:<12}{escape(signature)}[/dim]")
    out.print(f"\nwritten to {escape(str(folder))}: scores.json, scores.rows.jsonl")


def print_ues(summary: dict[str, Any]) -> None:
    """UES with its terms, one run a line, then the differences between runs."""
    out = make_console()
    out.print(
        f"UES on {escape(summary['config'])}, fractions, against {escape(summary['finetuned'])}"
        f" (n = {', '.join(f'{split} {n:,}' for split, n in summary['n'].items())})"
    )
    order = ("retain", "test", "forget")
    heads = (*(f"#R {split}" for split in order), *(f"#-{split}" for split in order))
    table = make_table("run", "#UES", "95 %", "#gain", "95 %", *heads, "flags")
    for run in summary["runs"]:
        flags = ["forgets below base"] if run.get("over_forgetting") else []
        if run["degenerate"] > 0.05:
            flags.append(f"{run['degenerate']:.0%} of forget answers degenerate")
        if "distance_to_retrain" in run:
            flags.append(f"{run['distance_to_retrain']:.3f} from retrain")
        table.add_row(
            escape(run["name"]),
            f"{run['ues']:.3f}",
            _interval(run["interval"]),
            f"{run['gain']:+.3f}",
            _interval(run["gain_interval"]),
            *(f"{run[split]:.3f}" for split in order),
            *(f"{run[f'{split}_penalty']:.3f}" for split in order),
            "; ".join(flags),
        )
    out.print(table)
    if summary["runs"]:
        out.print(f"no-op (changing nothing) scores {summary['runs'][0]['noop']:.3f}")
    if summary["differences"]:
        table = make_table("difference", "#UES", "95 %")
        for pair in summary["differences"]:
            sure = "" if pair["interval"][0] <= 0 <= pair["interval"][1] else " *"
            table.add_row(
                escape(f"{pair['first']} - {pair['second']}"),
                f"{pair['difference']:+.3f}",
                _interval(pair["interval"]) + sure,
            )
        out.print()
        out.print(table)
        out.print("[dim]* the interval leaves out 0[/dim]")
    out.print(f"[dim]{escape(summary['signature'])}[/dim]")


#: Ways of asking as they are headed.
WAY_HEADS = {
    "own": "its own question",
    "direct": "asked for the value",
    "prefix": "the answer's beginning given",
    "clean": "the clean question",
    "no_picture": "without the image",
    "any_way": "any way",
}


def print_leak(summary: dict[str, Any], folder: Path) -> None:
    """Shares that leak by way of asking, beside chance, by kind; then who is not safe."""
    out = make_console()
    out.print(
        f"[bold]{escape(summary['name'])}[/bold] on {escape(summary['config'])}: which of the "
        "values in its answers come out, percent (exact / normalised / fuzzy)"
    )
    ways = {**summary["ways"], "any_way": summary["any_way"]}
    table = make_table("asked by", "#rows", "#%", "#values", "#%", "#patients", "#%", "#others'")
    for way, measures in ways.items():
        cells = [
            cell
            for part in ("rows", "values", "persons")
            for cell in (f"{measures[part]['n']:,}", _levels(measures[part]))
        ]
        table.add_row(WAY_HEADS[way], *cells, f"{measures['others']['normalised']:.1%}")
    out.print(table)
    _print_chance("values in the answer", ways)
    table = make_table("kind", *(f"#{WAY_HEADS[way]}" for way in ways))
    for kind, share in summary["any_way"]["by_kind"].items():
        shares = (_levels(w["by_kind"].get(kind, {"n": 0})) for w in ways.values())
        table.add_row(f"{kind} ({share['n']:,})", *shares)
    out.print()
    out.print(table)
    apart = summary["question_only"]
    _print_chance("values in the question only", apart["ways"] | {"any_way": apart["any_way"]})
    out.print(
        "\nChance: how often other patients' values of the same kind are found in these answers; "
        "only leakage above it tells. In brackets: 95 % interval (Wilson, clustered by patient)."
    )
    exposed = {
        person: [f"{kind} ({level})" for kind, level in kinds.items() if level]
        for person, kinds in summary["by_person"].items()
        if any(kinds.values())
    }
    counted = f"{len(exposed):,} of {len(summary['by_person']):,}"
    out.print(f"\n{counted} patients are exposed (values in answers and questions)")
    for person, kinds in sorted(exposed.items(), key=lambda item: -len(item[1]))[:10]:
        out.print(f"  {escape(person)}: {', '.join(kinds)}")
    if len(exposed) > 10:
        out.print(f"  and {len(exposed) - 10:,} more: by_person in leak.json")
    out.print(f"[dim]{escape(summary['signature'])}[/dim]")
    out.print(f"\nwritten to {escape(str(folder))}: leak.json, leak.rows.jsonl")


def _print_chance(title: str, ways: dict[str, Any]) -> None:
    """Each level of the values that come out, with its interval and its chance level."""
    table = make_table(title, "#n", *(f"#{name}" for level in LEVELS for name in (level, "chance")))
    for way, measures in ways.items():
        own = measures["values"]
        if own["n"]:
            cells = (_cell(share, level) for level in LEVELS for share in (own, own["chance"]))
            table.add_row(WAY_HEADS[way], f"{own['n']:,}", *cells)
    if table.row_count:
        make_console().print("", table, sep="\n")


def _cell(share: dict[str, Any], level: str) -> str:
    if not share["n"]:
        return "-"
    low, high = (100 * limit for limit in share["interval"][level])
    return f"{100 * share[level]:.1f} \\[{low:.0f}, {high:.0f}]"  # escaped: no style of rich


def _levels(share: dict[str, Any]) -> str:
    if not share["n"]:
        return "-"
    return " / ".join(f"{share[name] * 100:.1f}" for name in ("exact", "normalised", "fuzzy"))


def print_likelihood(summary: dict[str, Any]) -> None:
    """Each figure with its number of rows."""
    out = make_console()
    table = make_table("figure", "#value", "#rows", "where")
    for split, measure in summary["probability"].items():
        table.add_row("probability", f"{measure['value']:.4f}", f"{measure['n']:,}", split)
    heads = {"truth_ratio": "truth ratio", "forget_quality": "forget quality (KS p-value)"}
    for key, head in heads.items():
        if key in summary:
            table.add_row(head, f"{summary[key]['value']:.4g}", f"{summary[key]['n']:,}", "forget")
    for attack, measure in summary.get("attacks", {}).items():
        name = f"{attack.replace('_', '-')} attack (AUC)"
        table.add_row(name, f"{measure['value']:.4f}", f"{measure['n']:,}", "forget against test")
    out.print(table)
    out.print(f"[dim]{escape(summary['signature'])}[/dim]")


def _interval(values: list[float]) -> str:
    # An escaped bracket: rich would read it as a style.
    return f"\\[{values[0]:.3f}, {values[1]:.3f}]"
