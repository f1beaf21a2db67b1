"""The commands of eval: answer, score, leak, likelihood, report, attack; see their --help.

Those without a model or a table of their own, ues, submit and verify: `eval.other_commands`.

Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

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
    NoShare,
    Splits,
    told,
)
from eval.other_commands import submit, ues, verify
from mllmu_med.command_line import make_app, one_line_errors
from mllmu_med.files import packaged_yaml
from mllmu_med.locks import held
from mllmu_med_dataset import UsageError

_EXAMPLES: Final[dict[str, str]] = packaged_yaml("eval", "examples.yaml")

app = make_app("Measure unlearning on MLLMU-Med: answers, scores, UES, leakage, reports.")


@app.command(examples=_EXAMPLES["answer"])
@one_line_errors
def answer(
    out: Annotated[Path, told("answer.out")],
    who: Answerer,
    data: Data = None,
    config: Config = "privacy",
    split: Splits = None,
    way: Annotated[list[str] | None, told("answer.way")] = None,
) -> None:
    """Generate a model's answers to the dataset's questions; rerun to resume after a kill."""
    from eval.attacks import asks
    from eval.dataset_rows import check_splits, read_rows
    from eval.run_folder import ANSWERS

    out = out if out.suffix else out / ANSWERS
    splits = check_splits(split or [])
    asked = asks(read_rows(data, config, splits), way or ["own"])
    predictions = who.answer(asked, data, config, out)
    cut = sum(prediction.end == "length" for prediction in predictions)
    limited = f"; {cut:,} cut off at the limit" if cut else ""
    thinking = sum(
        prediction.end == "length" and not prediction.answer for prediction in predictions
    )
    if thinking:
        limited += (
            f", {thinking:,} of them before an answer began: raise --max-new-tokens, or "
            "--chat-template-kwargs '{\"enable_thinking\": false}'"
        )
    print(f"{len(predictions):,} answers in {out}{limited}")


@app.command(examples=_EXAMPLES["score"])
@one_line_errors
def score(
    files: Annotated[list[Path], told("score.files", argument=True)],
    data: Data = None,
    config: Config = "privacy",
    split: Splits = None,
    out: Annotated[Path | None, told("score.out")] = None,
    name: Annotated[str, told("score.name")] = "",
    as_json: Json = False,
) -> None:
    """Score answers: ROUGE-1, BLEU and accuracy as in the paper, and more (scores.json)."""
    from eval.score import score as scored
    from eval.score import write_scores
    from eval.terminal_tables import print_scores

    folder = out or files[0].parent
    called = name or folder.resolve().name
    with held(folder):
        write_scores(folder, *scored(files, data, config, split or [], called))
    print_scores(folder, as_json)


@app.command(examples=_EXAMPLES["leak"])
@one_line_errors
def leak(
    who: Answerer,
    files: Annotated[list[Path] | None, told("leak.files", argument=True)] = None,
    data: Data = None,
    config: Config = "privacy",
    way: Annotated[list[str] | None, told("leak.way")] = None,
    out: Annotated[Path | None, told("leak.out")] = None,
    name: Annotated[str, told("leak.name")] = "",
    as_json: Json = False,
) -> None:
    """Leakage: private values revealed under five prompts (exact, normalised, fuzzy match)."""
    from eval import leak as leaks
    from eval.attacks import WAYS, asks
    from eval.dataset_rows import read_rows
    from eval.terminal_tables import print_leak

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
        if not way:
            leaks.refuse_fewer_ways(folder, rows)
        leaks.write_leak(folder, summary, rows)
    print_leak(folder, as_json)


@app.command(examples=_EXAMPLES["likelihood"])
@one_line_errors
def likelihood(
    out: Annotated[Path, told("likelihood.out")],
    model: ModelName = None,
    adapter: Adapters = None,
    data: Data = None,
    config: Config = "privacy",
    batch_size: Batch = 32,
    device: Device = "",
    dtype: Dtype = "",
    no_share: NoShare = False,
    as_json: Json = False,
) -> None:
    """Probability, truth ratio and membership attacks, from one pass.

    Without --model, print those of the likelihoods that the run folder already holds. Forget
    quality and PrivLeak, against the retrained model: `eval report`.
    """
    from eval import likelihood as likelihoods
    from eval.terminal_tables import print_likelihood

    with held(out):
        if model:
            from eval.dataset_rows import DatasetImages, read_rows
            from eval.load_model import load_given

            rows = read_rows(data, config)
            loaded = load_given(model, adapter, device, dtype, no_share)
            identity = likelihoods.identity_of(loaded)
            if not likelihoods.kept(out, identity, rows):
                images = DatasetImages(data, config, [])
                measured = likelihoods.measure(loaded, rows, images, batch_size)
                likelihoods.write_rows(out, measured, identity)
        likelihoods.read_weighed(out)
    print_likelihood(out, as_json)


@app.command(examples=_EXAMPLES["report"], epilog=_EXAMPLES["report_more"])
@one_line_errors
def report(
    runs: Annotated[list[Path] | None, told("report.runs", argument=True)] = None,
    base: Annotated[Path | None, told("report.base")] = None,
    finetuned: Annotated[Path | None, told("report.finetuned")] = None,
    retrain: Annotated[Path | None, told("report.retrain")] = None,
    form: Annotated[str, told("report.format", "--format")] = "terminal",
    intervals: Annotated[bool, told("report.intervals", "--intervals/--no-intervals")] = True,
    paper: Annotated[bool, told("report.paper")] = False,
    seeds: Annotated[Path | None, told("report.seeds")] = None,
    references: Annotated[bool, told("report.references")] = False,
    plots: Annotated[Path | None, told("report.plots")] = None,
    out: Annotated[Path | None, told("report.out")] = None,
    verbose: Annotated[bool, told("report.verbose", "-v", "--verbose")] = False,
) -> None:
    """Tables and plots of runs: the paper's layout, what UES hides, leakage."""
    from eval import report as reports
    from eval.collect_results import collect_all
    from eval.submissions import shipped

    if form not in reports.FORMATS:
        raise UsageError(f"--format {form}: use {', '.join(reports.FORMATS)}")
    if form == "html" and not out:
        raise UsageError("--format html: give --out FILE, e.g. --out report.html")
    with TemporaryDirectory() as place:
        more = shipped(runs or [], Path(place)) if references else []
        given = [*(runs or []), *more]
        collected = collect_all(given, base, finetuned, retrain, paper=paper, seeds=seeds)
    if len(collected) > 1 and (form == "html" or plots):
        configs = ", ".join(each.config for each in collected)
        raise UsageError(f"runs of {configs}: a page and plots are of one: name its folder")
    if plots:
        from eval.plots import write_plots

        with held(plots, "the plots"):
            write_plots(collected[0], plots)
    if out:
        reports.write(collected, form, out, intervals)
        print(f"written to {out}")
    elif form == "terminal":
        from mllmu_med.console import make_console

        for each in collected:
            reports.print_terminal(each, make_console(), intervals, verbose)
    else:
        print(reports.text_of(collected, form, intervals), end="")


@app.command(examples=_EXAMPLES["attack"])
@one_line_errors
def attack(
    runs: Annotated[list[Path], told("attack.runs", argument=True)],
    kind: Annotated[str, told("attack.kind")] = "all",
    data: Data = None,
    out: Annotated[Path | None, told("attack.out")] = None,
    jobs: Annotated[int, told("attack.jobs")] = 0,
    device: Device = "",
    no_share: NoShare = False,
) -> None:
    """Attack unlearned models: what comes back, beside base, fine-tuned and retrained models.

    Rerun to resume after a kill; attacks that are done are kept. What each attack is, and what its
    result shows: docs/attacks.md.
    """
    from baselines.attack import attack_all
    from eval.attack_kinds import parse
    from eval.attack_tables import tables, write_attacks
    from eval.collect_results import collect_attacks
    from eval.read_run import find_runs
    from eval.report import print_table
    from mllmu_med.console import make_console

    attacks = parse(kind)
    folders = find_runs(runs)
    attack_all(folders, attacks, data, jobs, device, not no_share)
    report = collect_attacks(folders)
    console = make_console()
    for table in tables(report):
        print_table(table, console)
    for note in report.notes:
        console.print(note, markup=False)
    print(f"written to {write_attacks(report, out or folders[0].parent)}")


for command in (ues, submit, verify):
    app.command(examples=_EXAMPLES[command.__name__])(one_line_errors(command))

if __name__ == "__main__":
    app(prog_name="python -m eval")
