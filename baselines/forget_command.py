"""The command that answers deletion requests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

from baselines.command_options import FineTuned, Options, told
from mllmu_med_dataset import UsageError

#: Its loss is bounded, so that few rows do not wreck the model as ascent may; by the README's table
#: none that leaks as little keeps more. Ours.
METHOD: Final = "npo"
#: What takes seconds, is of weights and of prompts, and needs no second patient. Ours.
ATTACKS: Final = "quantise,relearn-retain,prefix,paraphrase"


def forget(
    out: Annotated[Path, told("forget.out")],
    options: Options,
    request: Annotated[Path | None, told("forget.request")] = None,
    adapter: Annotated[list[Path] | None, told("forget.adapter")] = None,
    method: Annotated[str, told("forget.method")] = METHOD,
    attacks: Annotated[str, told("forget.attacks")] = ATTACKS,
    retrained: Annotated[Path | None, told("forget.retrained")] = None,
    head: Annotated[str, told("forget.head")] = "",
) -> None:
    """Unlearn the patients or rows of a deletion request, check, and write the evidence.

    Every request is added to the log in OUT. Rerun to resume after a kill. Without --request the
    log is checked alone.
    """
    from baselines.forget import Job, beside, fulfil
    from baselines.measure import Data as Dataset
    from baselines.methods import UNLEARNING
    from baselines.request_log import LOG, Log, receive
    from baselines.run import processes
    from baselines.train import check_goes_on
    from baselines.training_state import ended
    from eval.attack_kinds import parse
    from eval.dataset_rows import is_own
    from mllmu_med.locks import held
    from mllmu_med.progress import say

    if not request:
        log = Log(out / LOG, head)
        if not log.entries:
            raise UsageError(f"--request is missing, and {out / LOG} has no entry")
        print(f"{log.path}: {len(log.entries)} entries, whole and in order; head hash {log.head}")
        return
    if method not in UNLEARNING:
        raise UsageError(f"--method {method}: use {', '.join(UNLEARNING)}")
    if processes() > 1:
        raise UsageError("accelerate: requests are answered by one process: start it without")
    if not options.model:
        raise UsageError("--model is missing: the fine-tuned model, or the one below --adapter")
    kinds = parse(attacks, "--attacks") if attacks != "none" else []
    tuned = FineTuned(adapter, as_finetuned=not adapter)
    tuned.check([method])
    below = tuple(adapter or ()) if tuned.elsewhere(options.model) else ()
    recipe, _ = options.read_recipe([method])
    check_goes_on({method: recipe.known[method]})
    if retrained:
        ended(retrained)
    data = Dataset.read(options.data, recipe.config)
    with held(out, "requests"):
        out.chmod(0o700)  # answers and true values lie in it
        log = Log(out / LOG, head)
        before = receive(log, request, data.all, not is_own(recipe.config))
        say(f"{request}: in the log already: {before}") if before else None
        job = Job(out, log, recipe, method, data, options.stack(recipe, data, out), below, kinds)
        job.retrained = retrained or beside(job)
        checked = fulfil(job)
    if told := checked["all"].get("after"):
        print(f"still comes out: {told.out} of {told.n} {checked['what']}")
    print(f"written to {out}: evidence.html, {LOG}\nhead hash, to be kept elsewhere: {log.head}")
