"""The commands of baselines: run, tune, finetune, retrain, unlearn, recipe, convert-llava-med.

Exit codes: 0 done, 1 failed, 2 wrong usage.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eval.command_options import Data, Device, Dtype
from mllmu_med.command_line import make_app, one_line_errors, option
from mllmu_med.schema import DEFAULT_FOLDER
from mllmu_med_dataset import UsageError, UserError

if TYPE_CHECKING:
    from baselines.measure import Data as Dataset
    from baselines.recipe import Recipe
    from baselines.run import Stack

app = make_app("Fine-tune and unlearn on MLLMU-Med: LoRA on any LLaVA, or on a tiny one on a CPU.")

RecipeName = Annotated[
    str | None,
    option(
        "NAME|FILE",
        "demo, demo-incorrect, laptop, paper-privacy, paper-incorrect or a file. [default: a demo "
        "for the tiny model, else the paper's; by the config]",
        "--recipe",
    ),
]
ModelName = Annotated[
    str | None, option("DIR|ID", "A LLaVA's folder or Hub id, or tiny. [default: tiny]", "--model")
]
Config = Annotated[str | None, option("NAME", "privacy, incorrect, own, or privacy_r05.")]
Set = Annotated[
    list[str] | None, option("KEY=VALUE", "A value of the recipe, e.g. finetune.epochs=1.", "--set")
]
Out = Annotated[Path, option("DIR", "The run's folder.")]
Jobs = Annotated[int, option("N", "Parts at once. [default: 1; tiny on a CPU: its cores]")]


@dataclass(frozen=True)
class Options:
    """What all commands that train are told."""

    recipe: RecipeName = None
    model: ModelName = None
    data: Data = None
    config: Config = None
    choices: Set = None
    device: Device = ""
    dtype: Dtype = ""

    def read_recipe(self, parts: Sequence[str], methods: str | None = None) -> Recipe:
        """The recipe of a command that trains some parts; every `--set` has to decide one of them.

        methods: a list of methods that are trained too, comma-separated (empty: the recipe's own).
        """
        from baselines.recipe import check_read, load_recipe
        from baselines.run import is_tiny
        from mllmu_med.recipe_files import Choice
        from mllmu_med.recipe_files import choices as parse_choices

        scenario = "incorrect" if (self.config or "").startswith("incorrect") else "privacy"
        demo = "demo" if scenario == "privacy" else "demo-incorrect"
        name = self.recipe or (demo if is_tiny(self.model) else f"paper-{scenario}")
        typed = parse_choices(self.choices or [])
        named = {"model": self.model, "config": self.config}
        recipe = load_recipe(name, [*typed, *(Choice(k, v) for k, v in named.items() if v)])
        if not recipe.model:
            raise UsageError(
                f"recipe {name}: --model is missing: a LLaVA's folder or Hub id (for LLaVA-Med: "
                "`python -m baselines convert-llava-med`), or tiny"
            )
        chosen = [] if methods is None else recipe.methods_in(methods)
        check_read(recipe, typed, [*parts, *chosen])
        return recipe

    def stack(self, recipe: Recipe, dataset: Dataset, folder: Path) -> Stack:
        """The recipe's model; the tiny one is made in a folder unless it is there."""
        from baselines.run import Stack, tiny_model
        from baselines.tiny import TINY

        name = str(recipe.model)
        if name == TINY:
            name = str(tiny_model(recipe, dataset, folder))
        return Stack(name, self.device, self.dtype)


@app.command(
    examples="""
python -m baselines run
python -m baselines run --config incorrect --methods ga,idk --out runs/some
python -m baselines run --seeds 0,1,2
python -m baselines run --model llava-med --config privacy --out runs/llava-med
python -m baselines run --model llava-med --plan
accelerate launch -m baselines run --model llava-med --out runs/llava-med
"""
)
@one_line_errors
def run(
    options: Options,
    methods: Annotated[str, option("LIST", "e.g. ga,idk. [default: the recipe's]")] = "",
    out: Annotated[Path | None, option("DIR", "[default: runs/RECIPE-CONFIG]")] = None,
    seeds: Annotated[
        str | None, option("LIST", "Repeat with each, e.g. 0,1,2. [default: the recipe's seed]")
    ] = None,
    seeds_of: Annotated[
        str, option("PARTS", "What is repeated: unlearning, or all (fine-tuning, retraining too).")
    ] = "unlearning",
    plan: Annotated[
        bool, typer.Option("--plan", help="Print steps, samples and memory; train nothing.")
    ] = False,
    jobs: Jobs = 0,
) -> None:
    """Base, fine-tuned, unlearned and retrained models: answers, scores, UES, leakage, report.

    Rerun to resume after a kill or to add methods; finished parts are kept.
    """
    from baselines.measure import Data as Dataset
    from baselines.run import is_main
    from baselines.run_parts import jobs_for, notes, parse_seeds, run_seeds
    from mllmu_med.locks import held

    if seeds_of not in ("unlearning", "all"):
        raise UsageError(f"--seeds-of {seeds_of}: use unlearning or all")
    numbers = parse_seeds(seeds) if seeds else []

    loaded = options.read_recipe(["finetune", "retrain"], methods)
    at_once = jobs_for(jobs, loaded, options.device)
    chosen = loaded.methods_in(methods)
    folder = out or Path("runs") / f"{loaded.name}-{loaded.config}"
    dataset = Dataset.read(options.data, loaded.config)
    if plan:
        from baselines.steps_and_memory import print_plan

        print_plan(loaded, dataset, str(loaded.model), chosen, folder)
        if len(numbers) > 1:
            whole = "all but the base model" if seeds_of == "all" else "the methods alone"
            print(f"{len(numbers)} seeds: so many times as much, {whole}")
        return
    with held(folder) if is_main() else nullcontext():
        stack = options.stack(loaded, dataset, folder)
        what = (loaded, dataset, stack, folder, chosen, numbers, seeds_of == "all")
        folders = run_seeds(*what, at_once)
        if not is_main():
            return
        from eval import report
        from mllmu_med.console import make_console

        results = report.collect(folders)
        results.notes[:0] = notes(folders)
        report.write([results], "html", folder / "report.html")
    report.print_terminal(results, make_console(), intervals=False)
    print(f"\nwritten to {folder}: report.html, and a folder for each model")


@app.command(
    examples="""
python -m builder rebuild --set seed=1 --out tuning
python -m baselines tune --data tuning --out runs/tune
python -m baselines tune --data tuning --methods ga,npo --set tune.trials=16 --out runs/tune
"""
)
@one_line_errors
def tune(
    options: Options,
    out: Out,
    methods: Annotated[str, option("LIST", "e.g. ga,idk. [default: the recipe's]")] = "",
    reported: Annotated[
        str, option("DIR|ID", "The dataset whose results are reported: nothing of it is seen.")
    ] = DEFAULT_FOLDER,
    jobs: Jobs = 0,
) -> None:
    """Choose each method's learning rate, epochs and weight by one protocol, on another build.

    Rerun to resume after a kill; all trials are recorded and plotted.
    """
    from baselines.measure import Data as Dataset
    from baselines.run import is_main
    from baselines.run_parts import jobs_for
    from baselines.tune import FRAGMENT, unseen
    from baselines.tune import tune as run_trials
    from mllmu_med.locks import held

    loaded = options.read_recipe(["finetune", "tune"], methods)
    at_once = jobs_for(jobs, loaded, options.device)
    chosen = loaded.methods_in(methods)
    if not options.data:
        raise UsageError("--data is missing: a build of another seed than the reported one")
    whole = Dataset.read(options.data, loaded.config)
    shown = Dataset.read(reported, loaded.config)
    dataset, left_out = unseen(whole, shown)
    about = {"data": whole.about(), "reported": shown.about(), "rows_left_out": left_out}
    with held(out) if is_main() else nullcontext():
        stack = options.stack(loaded, dataset, out)
        best = run_trials(loaded, dataset, stack, out, chosen, about, at_once)
    if is_main():
        for _, lacks in best:
            if lacks:
                print(lacks)
        print((out / FRAGMENT).read_text("utf-8"))
        print(f"written to {out}: {FRAGMENT}, trials.jsonl, tune.json, tune.svg")


def _add_learning(method: str, purpose: str, examples: str) -> None:
    """The command of a method that starts from the recipe's model itself."""

    def learn(out: Out, options: Options) -> None:
        _train(method, out, options)

    app.command(method, help=purpose, examples=examples)(one_line_errors(learn))


_add_learning(
    "finetune",
    "Fine-tune a model with LoRA on forget + retain, then answer and score all splits.",
    """
python -m baselines finetune --model llava-med --config privacy --out runs/finetune
python -m baselines finetune --model llava-med --set finetune.projector=true --out runs/projector
""",
)
_add_learning(
    "retrain",
    "Fine-tune on the retain set only: the reference that unlearning should match.",
    "python -m baselines retrain --model llava-med --config privacy --out runs/retrain",
)


def _who_takes() -> str:
    from baselines.losses import UNLEARNING, who_reads

    lines = []
    for key, names in who_reads().items():
        takers = [name for name in names if name in UNLEARNING]
        lines.append(f"  {key:16} {'all' if takers == [*UNLEARNING] else ', '.join(takers)}")
    return "\n".join(lines)


@app.command(
    epilog=f"""Examples:

\b
  python -m baselines unlearn ga --from runs/finetune --out runs/ga
  python -m baselines unlearn idk --from runs/finetune --set methods.idk.epochs=5 --out runs/idk-5

Settings that only some methods take; one that a method does not take is refused:

\b
{_who_takes()}
"""
)
@one_line_errors
def unlearn(
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help="ga, gd, kl-min, idk, llmu, npo, simnpo or dpo.")
    ],
    parent: Annotated[Path, option("DIR", "A run of finetune (or of unlearn).", "--from")],
    out: Out,
    recipe: RecipeName = None,
    data: Data = None,
    choices: Set = None,
    device: Device = "",
    dtype: Dtype = "",
) -> None:
    """Unlearn with one method on top of a fine-tuned model, then answer and score."""
    from baselines.losses import UNLEARNING
    from baselines.training_state import ended

    if method not in UNLEARNING:
        raise UsageError(f"method {method}: use {', '.join(UNLEARNING)}")
    record, adapters = ended(parent)
    about = record["data"]
    if "hash" not in about:
        raise UserError(f"{parent}: does not say on which dataset it was trained: fine-tune anew")
    source, config = data or about["source"], about["config"]
    options = Options(recipe, record["model"]["model"], source, config, choices, device, dtype)
    _train(method, out, options, tuple(adapters), about["hash"])


def _train(
    method: str, out: Path, options: Options, parents: tuple[Path, ...] = (), learnt: str = ""
) -> None:
    """Train and measure one part; `learnt`: hash of the dataset that its parents learnt."""
    from baselines.measure import Data as Dataset
    from baselines.run import Part, do, is_main
    from eval.terminal_tables import print_scores

    recipe = options.read_recipe([method])
    dataset = Dataset.read(options.data, recipe.config)
    if learnt and dataset.hash != learnt:
        raise UserError(
            f"{parents[-1].parent}: was trained on another dataset (hash {learnt}, that of "
            f"{dataset.source or DEFAULT_FOLDER} is {dataset.hash}): give --data the one it was "
            "trained on, or fine-tune anew"
        )
    stack = options.stack(recipe, dataset, out.parent)
    do(Part(method, out, parents), recipe, dataset, stack)
    if is_main():
        print_scores(out)


@app.command(
    examples="""
python -m baselines recipe paper-privacy
python -m baselines recipe demo > mine.yaml && python -m baselines run --recipe mine.yaml
"""
)
@one_line_errors
def recipe(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="demo, demo-incorrect, laptop, paper-privacy or paper-incorrect."
        ),
    ] = "demo",
) -> None:
    """Print a recipe with its comments, as a template for your own."""
    from mllmu_med.recipe_files import recipe_text

    print(recipe_text("baselines", name), end="")


@app.command(
    examples="python -m baselines convert-llava-med llava-med-v1.5-mistral-7b llava-med\n"
    "python -m baselines convert-llava-med SRC DST --vision clip-vit-large-patch14-336"
)
@one_line_errors
def convert_llava_med(
    source: Annotated[Path, typer.Argument(metavar="SRC", help="The original checkpoint.")],
    target: Annotated[Path, typer.Argument(metavar="DST", help="A new folder.")],
    vision: Annotated[
        Path | None, option("DIR", "Use the vision tower of a stock CLIP instead.")
    ] = None,
) -> None:
    """Convert LLaVA-Med v1.5's original checkpoint to transformers' LLaVA format."""
    from baselines.llava_med import convert

    print(convert(source, target, vision or "checkpoint"))


if __name__ == "__main__":
    app(prog_name="python -m baselines")
