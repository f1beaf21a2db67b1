"""The commands of eval that ask no model: ues, submit, verify."""

from __future__ import annotations

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

from eval.command_options import Data, Json, told
from mllmu_med_dataset import UserError


def ues(
    runs: Annotated[list[Path], told("ues.runs", argument=True)],
    finetuned: Annotated[Path, told("ues.finetuned")],
    base: Annotated[Path | None, told("ues.base")] = None,
    retrain: Annotated[Path | None, told("ues.retrain")] = None,
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
    runs: Annotated[list[Path], told("submit.runs", argument=True)],
    out: Annotated[Path, told("submit.out")] = Path("submission.zip"),
    data: Data = None,
    hub: Annotated[str, told("submit.hub")] = "",
) -> None:
    """Pack runs into one file: answers, likelihoods, attacks, figures, hashes; no image, no path.

    Give the fine-tuned run too, and base and retrain where there are: UES compares with them. With
    --hub a folder FILE.eval_results has a YAML for each method's model repository.
    """
    from eval.hub_results import eval_results
    from eval.submissions import submit as packed
    from mllmu_med.files import write_together
    from mllmu_med.folders import check_out

    check_out(out, "the submission")
    content, report = packed(runs, data)
    results = eval_results(report, hub) if hub else {}
    beside = {out.with_suffix(".eval_results") / name: text for name, text in results.items()}
    write_together({**beside, out: content})
    names = ", ".join(sorted({figure.run for figure in report.figures}))
    print(f"{out}: {names}: {len(report.figures):,} figures, {len(content):,} bytes")
    for path in beside:
        print(path)


def verify(
    files: Annotated[list[Path], told("verify.files", argument=True)],
    data: Data = None,
    page: Annotated[Path | None, told("verify.page")] = None,
) -> None:
    """Recompute every figure of submissions from their rows; say what does not agree (exit 1)."""
    from eval.leaderboard import to_page
    from eval.remade import Truth
    from eval.submissions import Checked, NotCompared, verify
    from mllmu_med.files import write_atomic
    from mllmu_med.folders import check_out

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
