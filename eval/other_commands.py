"""The commands of eval that ask no model: ues, submit, verify."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from eval.command_options import Data, Json
from mllmu_med.command_line import App, one_line_errors, option
from mllmu_med_dataset import UserError


def ues(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders with scores.")],
    finetuned: Annotated[Path, option("RUN", "The fine-tuned model that was unlearned.")],
    base: Annotated[Path | None, option("RUN", "The base model: flags over-forgetting.")] = None,
    retrain: Annotated[
        Path | None, option("RUN", "Fine-tuned on retain only: the reference.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Unlearning Efficiency Score: ROUGE-1 of retain + test - forget, minus three penalties.

    The penalties are what retain and test have lost, and forget has gained, against the fine-tuned
    model. At most 2; changing nothing scores the fine-tuned model's retain + test - forget, and
    what a perfect correction scores is printed. With gain, differences and 95 % intervals.
    """
    from eval.collect_results import collect
    from eval.detail_tables import differences
    from eval.report import print_table
    from eval.report_tables import ues_table
    from mllmu_med.console import make_console

    report = collect(runs, base, finetuned, retrain)
    tables = [ues_table(report), *differences(report)]
    if as_json:
        metrics = {column.key.metric for table in tables for column in table.columns}
        print(json.dumps([f.model_dump() for f in report.figures if f.metric in metrics]))
        return
    for table in tables:
        if table.columns:
            print_table(table, make_console())


def submit(
    runs: Annotated[
        list[Path], typer.Argument(metavar="RUN...", help="Runs with scores, or folders of runs.")
    ],
    out: Annotated[Path, option("FILE", "The submission.")] = Path("submission.zip"),
    data: Data = None,
    hub: Annotated[
        str, option("ORG/NAME", "The dataset on the Hub: also write FILE's .eval_results.")
    ] = "",
) -> None:
    """Pack runs into one file: answers, likelihoods, attacks, figures, hashes; no image, no path.

    Give the fine-tuned run too, and base and retrain where there are: UES compares with them. With
    --hub a folder FILE.eval_results has a YAML for each method's model repository.
    """
    from eval.hub_results import eval_results
    from eval.submissions import submit as packed
    from mllmu_med.files import check_out, write_together

    check_out(out, "the submission")
    content, report = packed(runs, data)
    results = eval_results(report, hub) if hub else {}
    beside = {out.with_suffix(".eval_results") / name: text for name, text in results.items()}
    write_together({**beside, out: content})
    print(f"{out}: {len(report.figures):,} figures, {len(content):,} bytes")
    for path in beside:
        print(path)


def verify(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Submissions, or folders of them.")
    ],
    data: Data = None,
    page: Annotated[Path | None, option("FILE", "Write a leaderboard, an HTML page.")] = None,
) -> None:
    """Recompute every figure of submissions from their rows; say what does not agree (exit 1)."""
    from eval.leaderboard import to_page
    from eval.remade import Truth
    from eval.submissions import Checked, NotCompared, verify
    from mllmu_med.files import check_out, write_atomic

    paths = [p for path in files for p in (sorted(path.glob("*.zip")) if path.is_dir() else [path])]
    if page:
        check_out(page, "the page")
    truths: dict[str, Truth] = {}
    agreed: dict[Path, Checked] = {}
    refused: dict[Path, list[str]] = {}
    others: dict[Path, list[str]] = {}
    with TemporaryDirectory() as place:
        for number, path in enumerate(dict.fromkeys(paths)):
            try:
                checked = verify(path, truths, data, Path(place) / str(number))
            except UserError as error:
                found = others if isinstance(error, NotCompared) else refused
                why = str(error).removeprefix(f"{path}: ")
                again = any(of == [f"{other}: {why}"] for other, of in others.items())
                found[path] = str(error).split("\n")
                print(f"{path}: not compared, as above" if again else error)
                continue
            agreed[path] = checked
            figures = f"{len(checked.report.figures):,} figures"
            print(f"{path}: agrees: {len(checked.submission.runs)} runs, {figures} recomputed")
        if page and (agreed or refused):
            write_atomic(page, to_page(agreed, {"Refused": refused, "Of another dataset": others}))
    if refused or others or not paths:
        of = f"{len(refused)} of {len(paths)} submissions do not agree, {len(others)} not compared"
        raise UserError(f"{of}: see above" if paths else "no submission there")


def add_others(app: App) -> None:
    """Put them on the command line."""
    app.command(
        examples="python -m eval ues runs/ga runs/idk --finetuned runs/finetune --base runs/base"
    )(one_line_errors(ues))
    app.command(
        examples="""
python -m eval submit runs/demo-privacy
python -m eval submit runs/finetune runs/mine --out mine.zip --hub ORG/mllmu-med
"""
    )(one_line_errors(submit))
    app.command(
        examples="""
python -m eval verify submission.zip
python -m eval verify submissions --page leaderboard.html
"""
    )(one_line_errors(verify))
