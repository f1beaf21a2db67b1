"""The commands of baselines: train (run, tune, finetune, retrain, unlearn), studies, and others.

Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from baselines.command_options import FineTuned, Jobs, Options, Out, OwnMethods, told
from baselines.forget_command import forget
from baselines.methods import METHODS, UNLEARNING, purpose, who_reads
from baselines.other_commands import convert_llava_med, merge, method, recipe
from baselines.schedule import check_rows
from baselines.study_commands import ratios, sequential
from baselines.training_state import ended
from mllmu_med.command_line import make_app, one_line_errors, option
from mllmu_med.files import packaged_yaml
from mllmu_med.schema import DEFAULT_FOLDER
from mllmu_med_dataset import UsageError, UserError

if TYPE_CHECKING:
    from baselines.run import Part

_NAMES: Final = ", ".join(UNLEARNING)
EXAMPLES: Final[dict[str, str]] = packaged_yaml("baselines", "examples.yaml")

app = make_app("Fine-tune and unlearn: LoRA on any image-text model, or on a tiny one on a CPU.")


@app.command(examples=EXAMPLES["run"])
@one_line_errors
def run(
    options: Options,
    tuned: FineTuned,
    retrain: Annotated[bool, told("run.retrain")] = False,
    methods: Annotated[str, option("LIST", f"Of {_NAMES}. [default: the recipe's]")] = "",
    method: OwnMethods = None,
    out: Annotated[Path | None, told("run.out")] = None,
    seeds: Annotated[str | None, told("run.seeds")] = None,
    seeds_of: Annotated[str, told("run.seeds_of")] = "unlearning",
    plan: Annotated[bool, told("run.plan")] = False,
    jobs: Jobs = 0,
) -> None:
    """Base, fine-tuned, unlearned and retrained models: answers, scores, UES, leakage, report.

    Rerun to resume after a kill or to add methods; finished parts are kept. With --adapter (or
    --as-finetuned) the fine-tuned model is one from elsewhere: measured, not trained, and nothing
    is retrained unless --retrain says so.
    """
    from baselines.measure import Data as Dataset
    from baselines.run import is_main
    from baselines.run_parts import jobs_for, notes, parse_seeds, run_seeds
    from mllmu_med.locks import held

    if seeds_of not in ("unlearning", "all"):
        raise UsageError(f"--seeds-of {seeds_of}: use unlearning or all")
    numbers = parse_seeds(seeds) if seeds else []
    elsewhere = tuned.elsewhere(options.model, retrain)
    if elsewhere and seeds_of == "all":
        raise UsageError("--seeds-of all: the fine-tuned model is one from elsewhere: leave it out")
    learnt = ["finetune", "retrain"] if not elsewhere else ["retrain"] * retrain
    loaded, chosen = options.read_recipe(learnt, methods, method or [])
    at_once = jobs_for(jobs, loaded.model, options.device)
    tuned.check(chosen)
    folder = out or Path("runs") / f"{loaded.name}-{loaded.config}"
    dataset = Dataset.read(options.data, loaded.config)
    check_rows({name: loaded.known[name] for name in chosen}, dataset.rows["forget"])
    if plan:
        from baselines.steps_and_memory import print_plan

        print_plan(loaded, dataset, str(loaded.model), chosen, folder, elsewhere)
        if len(numbers) > 1:
            whole = "all but the base model" if seeds_of == "all" else "the methods alone"
            print(f"{len(numbers)} seeds: so many times as much, {whole}")
        return
    with held(folder) if is_main() else nullcontext():
        stack = options.stack(loaded, dataset, folder)
        what = (loaded, dataset, stack, folder, chosen, numbers, seeds_of == "all")
        folders = run_seeds(*what, at_once, elsewhere)
        if not is_main():
            return
        from eval import report
        from mllmu_med.console import make_console

        results = report.collect(folders)
        results.notes[:0] = notes(folders)
        report.write([results], "html", folder / "report.html")
    report.print_terminal(results, make_console(), intervals=False)
    print(f"\nwritten to {folder}: report.html, and a folder for each model")


@app.command(examples=EXAMPLES["tune"])
@one_line_errors
def tune(
    options: Options,
    out: Out,
    methods: Annotated[str, option("LIST", f"Of {_NAMES}. [default: the recipe's]")] = "",
    method: OwnMethods = None,
    reported: Annotated[str, told("tune.reported")] = DEFAULT_FOLDER,
    jobs: Jobs = 0,
) -> None:
    """Choose each method's learning rate, epochs and weight by one protocol, on another build.

    Rerun to resume after a kill; all trials are recorded.
    """
    from baselines.measure import Data as Dataset
    from baselines.run import is_main
    from baselines.run_parts import jobs_for
    from baselines.tune import FRAGMENT, unseen
    from baselines.tune import tune as run_trials
    from mllmu_med.locks import held

    loaded, chosen = options.read_recipe(["finetune", "tune"], methods, method or [])
    at_once = jobs_for(jobs, loaded.model, options.device)
    if not options.data:
        raise UsageError("--data is missing: a build of another seed than the reported one")
    whole = Dataset.read(options.data, loaded.config)
    shown = Dataset.read(reported, loaded.config)
    dataset, left_out = unseen(whole, shown)
    check_rows({name: loaded.known[name] for name in chosen}, dataset.rows["forget"])
    about = {"data": whole.about(), "reported": shown.about(), "rows_left_out": left_out}
    with held(out) if is_main() else nullcontext():
        stack = options.stack(loaded, dataset, out)
        best = run_trials(loaded, dataset, stack, out, chosen, about, at_once)
    if is_main():
        for _, lacks in best:
            if lacks:
                print(lacks)
        print((out / FRAGMENT).read_text("utf-8"))
        print(f"written to {out}: {FRAGMENT}, trials.jsonl, tune.json")


def _add_learning(method: str, purpose: str) -> None:
    """The command of a method that starts from the recipe's model itself."""

    def learn(out: Out, options: Options) -> None:
        from baselines.run import Part

        _train(options, Part(method, out))

    app.command(method, help=purpose, examples=EXAMPLES[method])(one_line_errors(learn))


_add_learning(
    "finetune", "Fine-tune a model with LoRA on forget + retain, then answer and score all splits."
)
_add_learning(
    "retrain", "Fine-tune on the retain set only: the reference that unlearning should match."
)


_PURPOSES: Final = "\n".join(f"  {name:9} {purpose(METHODS[name])}" for name in UNLEARNING)


def _who_takes() -> str:
    lines = []
    for key, names in who_reads().items():
        takers = [name for name in names if name in UNLEARNING]
        lines.append(f"  {key:16} {'all' if takers == [*UNLEARNING] else ', '.join(takers)}")
    return "\n".join(lines)


@app.command(
    examples=EXAMPLES["unlearn"],
    epilog=f"""Methods:

\b
{_PURPOSES}

Settings that only some methods take; one that a method does not take is refused:

\b
{_who_takes()}
""",
)
@one_line_errors
def unlearn(
    method: Annotated[str, told("unlearn.method", argument=True)],
    out: Out,
    options: Options,
    tuned: FineTuned,
    parent: Annotated[Path | None, told("unlearn.from", "--from")] = None,
) -> None:
    """Unlearn with one method on top of a fine-tuned model, then answer and score.

    The fine-tuned model is a run of ours (--from), or one from elsewhere (--model with --adapter or
    --as-finetuned), which is measured in the folder `finetune` beside OUT first.
    """
    from baselines.own_methods import is_file, name_own
    from baselines.run import FINETUNED, Part

    own = [method] if is_file(method) else []
    if own:
        method, _ = name_own(method)
    elif method not in UNLEARNING:
        raise UsageError(f"method {method}: use {', '.join(UNLEARNING)}, or FILE.py:FUNCTION")
    tuned.check([method])
    elsewhere = tuned.elsewhere(options.model)
    if elsewhere and parent is None:
        first = Part(FINETUNED, out.parent / "finetune", elsewhere.adapters)
        if out.resolve() == first.folder.resolve():
            raise UsageError(f"--out {out}: is for the fine-tuned model: give another name")
        last = Part(method, out, elsewhere.adapters, first.folder)
        _train(options, first, last, own=own)
        return
    if parent is None or elsewhere or options.model or options.config:
        raise UsageError(
            "give the fine-tuned model one way: --from RUN (which knows model and config), or "
            "--model with --adapter or --as-finetuned"
        )
    record, adapters = ended(parent)
    about = record["data"]
    if "hash" not in about:
        raise UserError(f"{parent}: does not say on which dataset it was trained: fine-tune anew")
    known = {"model": record["model"]["model"], "config": about["config"]}
    options = replace(options, **known, data=options.data or about["source"])
    measured = Path(record["measured"]) if "measured" in record else None
    last = Part(method, out, tuple(adapters), measured)
    _train(options, last, own=own, run=parent, learnt=about["hash"])


def _train(
    options: Options,
    *parts: Part,
    own: Sequence[str] = (),
    run: Path | None = None,
    learnt: str = "",
) -> None:
    """Train and measure parts; `own`: the last one's method, if it is in a file.

    learnt: hash of the dataset of the run that they go on from.
    """
    from baselines.measure import Data as Dataset
    from baselines.run import do, is_main
    from eval.terminal_tables import print_scores

    recipe, _ = options.read_recipe([parts[-1].method], own=own)
    dataset = Dataset.read(options.data, recipe.config)
    if learnt and dataset.hash != learnt:
        raise UserError(
            f"{run}: was trained on another dataset (hash {learnt}, that of "
            f"{dataset.source or DEFAULT_FOLDER} is {dataset.hash}): give --data the one it was "
            "trained on, or fine-tune anew"
        )
    last = parts[-1].method
    check_rows({last: recipe.known[last]}, dataset.rows["forget"])
    stack = options.stack(recipe, dataset, parts[0].folder.parent)
    for part in parts:
        do(part, recipe, dataset, stack)
    if is_main():
        print_scores(parts[-1].folder)


for command in (sequential, ratios, forget, merge, recipe, method, convert_llava_med):
    named = command.__name__.replace("_", "-")
    app.command(named, examples=EXAMPLES[named])(one_line_errors(command))


if __name__ == "__main__":
    app(prog_name="python -m baselines")
