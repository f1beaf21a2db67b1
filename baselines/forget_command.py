"""The command that answers deletion requests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from baselines.command_options import FineTuned, Options, Out
from mllmu_med.command_line import App, one_line_errors, option
from mllmu_med_dataset import UsageError


def forget(
    request: Annotated[Path, option("FILE", "CSV: patient_id, profile_id, id or row; request, received.")],
    out: Out,
    options: Options,
    adapter: Annotated[
        list[Path] | None,
        option("DIR", "--model with this PEFT adapter is fine-tuned; may be repeated."),
    ] = None,
    method: Annotated[str, option("NAME", "As in `unlearn`.")] = "npo",
    attacks: Annotated[
        str, option("LIST", "As `eval attack --kind` has them, or none.")
    ] = "quantise,relearn-retain,prefix,paraphrase",
    retrained: Annotated[
        Path | None,
        option("RUN", "A run of `retrain`, as reference. [default: the one beside --adapter]"),
    ] = None,
    head: Annotated[
        str, option("HASH", "A head hash that you have noted: the log has to hold it.")
    ] = "",
) -> None:
    """Unlearn the patients or rows of deletion requests, and write the evidence.

    OUT is the log's folder: give the same one whenever a request arrives. Rerun to resume.
    """
    from baselines.forget import Job, beside, fulfil
    from baselines.measure import Data as Dataset
    from baselines.request_log import LOG, Log, read_requests, receive
    from baselines.run import processes
    from eval.attack_kinds import parse
    from eval.dataset_rows import is_own
    from mllmu_med.locks import held
    from mllmu_med.progress import say

    if processes() > 1:
        raise UsageError("a deletion request is answered by one process: leave out accelerate")
    if not options.model:
        raise UsageError("--model is missing: the fine-tuned model, or the one below --adapter")
    tuned = FineTuned(adapter, as_finetuned=not adapter)
    below = tuned.elsewhere(options.model)
    tuned.check([method])
    kinds = parse(attacks) if attacks != "none" else []
    recipe, _ = options.read_recipe([method])
    data = Dataset.read(options.data, recipe.config)
    show = not is_own(recipe.config)
    wanted = read_requests(request, show)
    with held(out, "the requests"):
        log = Log(out / LOG, head)
        known = receive(log, wanted, data.all, request, show)
        if known:
            say(f"{request}: {known} of {len(wanted)} are in the log already")
        adapters = below.adapters if below else ()
        stack = options.stack(recipe, data, out)
        job = Job(out, log, recipe, method, data, stack, adapters, kinds)
        job.retrained = retrained or beside(job)
        checked = fulfil(job)
        stack.ended()
    told = checked.together["after"]
    if told:
        print(f"still comes out: {told.out} of {told.n} {checked.what}")
    print(f"written to {out}: evidence.html, {LOG}; keep its head hash elsewhere: {log.head}")


def add_forget(app: App) -> None:
    """Put it on the command line."""
    app.command(
        examples="""
python -m baselines forget --request request.csv --model MODEL --adapter BEFORE --out requests
python -m baselines forget --request 2.csv --model MODEL --out requests --config own --data own
python -m baselines forget --request 2.csv --model MODEL --out requests --head HASH
"""
    )(one_line_errors(forget))
