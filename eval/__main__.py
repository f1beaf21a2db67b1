"""The commands of eval: answer, score, ues, leak, likelihood, report. Each says more with --help.

Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from eval.command_options import (
    Adapters,
    Answerer,
    Batch,
    Config,
    Data,
    Device,
    Dtype,
    Json,
    ModelName,
    Splits,
)
from mllmu_med.command_line import make_app, one_line_errors, option
from mllmu_med.locks import held
from mllmu_med_dataset import UsageError

app = make_app("Measure unlearning on MLLMU-Med: answers, scores, UES, leakage, reports.")


def _show(as_json: bool, show: Callable[..., None], summary: dict[str, Any], *more: Path) -> None:
    """A result as JSON, or as the table that `show` prints."""
    if as_json:
        print(json.dumps(summary))
    else:
        show(summary, *more)


@app.command(
    examples="""
python -m eval answer --model DIR --out runs/base/answers.jsonl
python -m eval answer --model DIR --adapter ft --adapter ga --out runs/ga/answers.jsonl
python -m eval answer --model ORG/NAME --config incorrect --split forget --out forget.jsonl
python -m eval answer --model NAME --server http://localhost:8000/v1 --out runs/x/answers.jsonl
"""
)
@one_line_errors
def answer(
    out: Annotated[Path, option("FILE", "The predictions file (JSON lines).")],
    who: Answerer,
    data: Data = None,
    config: Config = "privacy",
    split: Splits = None,
    way: Annotated[
        list[str] | None,
        option("NAME", "own, direct, prefix, clean or no_picture; may be repeated. [default: own]"),
    ] = None,
) -> None:
    """Generate a model's answers to the dataset's questions; rerun to resume after a kill."""
    from eval.attacks import asks
    from eval.dataset_rows import check_splits, read_rows

    splits = check_splits(split or [])
    asked = asks(read_rows(data, config, splits), way or ["own"])
    predictions = who.answer(asked, data, config, out)
    cut = sum(prediction.end == "length" for prediction in predictions)
    limited = f"; {cut:,} cut off at the limit" if cut else ""
    print(f"{len(predictions):,} answers in {out}{limited}")


@app.command(
    examples="""
python -m eval score runs/ga/answers.jsonl
python -m eval score forget.jsonl retain.jsonl test.jsonl --config incorrect --out runs/mine
"""
)
@one_line_errors
def score(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="One model's answers.")],
    data: Data = None,
    config: Config = "privacy",
    split: Splits = None,
    out: Annotated[
        Path | None, option("DIR", "The run's folder. [default: the first file's]")
    ] = None,
    name: Annotated[str, option("NAME", "Name in tables. [default: the folder's name]")] = "",
    as_json: Json = False,
) -> None:
    """Score answers: ROUGE-1, BLEU and accuracy as in the paper, and more (scores.json)."""
    from eval import terminal_tables
    from eval.score import score as scored
    from eval.score import write_scores

    folder = out or files[0].parent
    with held(folder):
        summary, rows = scored(files, data, config, split or [], name or folder.resolve().name)
        write_scores(folder, summary, rows)
    _show(as_json, terminal_tables.print_scores, summary, folder)


@app.command(
    examples="python -m eval ues runs/ga runs/idk --finetuned runs/finetune --base runs/base"
)
@one_line_errors
def ues(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders with scores.")],
    finetuned: Annotated[Path, option("RUN", "The fine-tuned model that was unlearned.")],
    base: Annotated[Path | None, option("RUN", "The base model: flags over-forgetting.")] = None,
    retrain: Annotated[
        Path | None, option("RUN", "Fine-tuned on retain only: the reference.")
    ] = None,
    seed: Annotated[int, option("N", "Seed of the bootstrap.")] = 20250804,
    as_json: Json = False,
) -> None:
    """The paper's UES with its terms, gain over no-op, flags and 95 % intervals."""
    from eval import terminal_tables
    from eval.ues import compare, read_run

    first, gold = (read_run(run) if run else None for run in (base, retrain))
    summary = compare([*map(read_run, runs)], read_run(finetuned), first, gold, seed=seed)
    _show(as_json, terminal_tables.print_ues, summary)


@app.command(
    examples="""
python -m eval leak --model DIR --adapter ft --out runs/finetune
python -m eval leak runs/ga/leak.jsonl --out runs/ga
"""
)
@one_line_errors
def leak(
    who: Answerer,
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE...]", help="Existing predictions.")
    ] = None,
    data: Data = None,
    config: Config = "privacy",
    way: Annotated[
        list[str] | None, option("NAME", "As in `eval answer`; may be repeated. [default: all]")
    ] = None,
    out: Annotated[Path | None, option("DIR", "The run's folder. [default: FILE's]")] = None,
    name: Annotated[str, option("NAME", "Name in tables.")] = "",
    as_json: Json = False,
) -> None:
    """Leakage: private values revealed under five prompts (exact, normalised, fuzzy match)."""
    from eval import leak as leaks
    from eval import terminal_tables
    from eval.attacks import WAYS, asks
    from eval.dataset_rows import read_rows

    if bool(files) == bool(who.model):
        raise UsageError("give either FILE... with answers, or --model to ask it")
    folder = out or (files[0].parent if files else None)
    if folder is None:
        raise UsageError("--out is missing: the run's folder, e.g. runs/ga")
    paths = files or [folder / "leak.jsonl"]
    with held(folder):
        if who.model:
            asked = asks(read_rows(data, config, ["forget"]), way or list(WAYS))
            who.answer(asked, data, config, paths[0])
        summary, rows = leaks.leak(paths, data, config, way, name or folder.resolve().name)
        leaks.write_leak(folder, summary, rows)
    _show(as_json, terminal_tables.print_leak, summary, folder)


@app.command(
    examples="""
python -m eval likelihood --model DIR --adapter ft --out runs/finetune
python -m eval likelihood --out runs/ga --retrain runs/retrain
"""
)
@one_line_errors
def likelihood(
    out: Annotated[Path, option("DIR", "The run's folder.")],
    model: ModelName = None,
    adapter: Adapters = None,
    data: Data = None,
    config: Config = "privacy",
    retrain: Annotated[
        Path | None, option("RUN", "The retrained model's run: gives forget quality.")
    ] = None,
    batch_size: Batch = 32,
    device: Device = "",
    dtype: Dtype = "",
    as_json: Json = False,
) -> None:
    """Probability, truth ratio, forget quality and membership attacks, from one pass.

    Without --model, summarise the likelihoods that the run folder already holds.
    """
    from eval import likelihood as likelihoods
    from eval import terminal_tables

    with held(out):
        if model:
            from eval.dataset_rows import DatasetImages, read_rows
            from eval.load_model import load_model

            rows = read_rows(data, config)
            loaded = load_model(model, adapter or [], device, dtype)
            identity = likelihoods.identity_of(loaded)
            if not likelihoods.kept(out, identity, rows):
                images = DatasetImages(data, config, [])
                measured = likelihoods.measure(loaded, rows, images, batch_size)
                likelihoods.write_rows(out, measured, identity)
        summary = likelihoods.sum_up(out, retrain)
    _show(as_json, terminal_tables.print_likelihood, summary)


@app.command(
    epilog="""Examples:

\b
  python -m eval report runs/*
  python -m eval report runs/* --intervals --paper --format html --out report.html
  python -m eval report runs/ga runs/idk --finetuned runs/ft --format latex --out table.tex

CSV has one figure a line: source (ours or paper), config, run, role, metric, split, part (of the
rows or ways of asking, e.g. modality=CT or way=any,kind=phone), value (a fraction, in full
precision), low and high (its 95 % interval), n (items behind it), signature (how it was made).
"""
)
@one_line_errors
def report(
    runs: Annotated[
        list[Path] | None, typer.Argument(metavar="RUN...", help="Run folders with scores.")
    ] = None,
    base: Annotated[Path | None, option("RUN", "The base model. [default: the run `base`]")] = None,
    finetuned: Annotated[
        Path | None, option("RUN", "The fine-tuned model. [default: the run `finetune`]")
    ] = None,
    retrain: Annotated[
        Path | None, option("RUN", "Fine-tuned on retain only. [default: the run `retrain`]")
    ] = None,
    form: Annotated[
        str, option("NAME", "terminal, markdown, latex, csv, html.", "--format")
    ] = "terminal",
    intervals: Annotated[
        bool, typer.Option("--intervals", help="95 % intervals: paired bootstrap over questions.")
    ] = False,
    paper: Annotated[
        bool, typer.Option("--paper", help="Add the paper's own table below.")
    ] = False,
    plots: Annotated[Path | None, option("DIR", "Write the plots here, as PNG.")] = None,
    out: Annotated[Path | None, option("FILE", "Output file. [default: stdout]")] = None,
) -> None:
    """Tables and plots of runs: the paper's layout, what UES hides, leakage."""
    from eval import report as reports

    if form not in reports.FORMATS:
        raise UsageError(f"--format {form}: use {', '.join(reports.FORMATS)}")
    if form == "html" and not out:
        raise UsageError("--format html: give --out FILE, e.g. --out report.html")
    figures = reports.collect(
        runs or [], base, finetuned, retrain, intervals=intervals, paper=paper
    )
    if plots:
        from eval.plots import write_plots

        with held(plots, "the plots"):
            write_plots(figures, plots)
    if out:
        reports.write(figures, form, out)
    elif form == "terminal":
        from mllmu_med.console import make_console

        reports.print_terminal(figures, make_console())
    else:
        print(reports.FORMATS[form](figures), end="")


if __name__ == "__main__":
    app(prog_name="python -m eval")
