"""The commands of the paper's two studies: sequential and ratios."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from baselines.command_options import Jobs, Options, OwnMethods
from mllmu_med.command_line import App, one_line_errors, option
from mllmu_med_dataset import FORGET_RATIOS, UsageError, config_name

if TYPE_CHECKING:
    from baselines.measure import Data as Dataset
    from baselines.recipe import Recipe
    from eval.studies import Point

_PAPER: Final = "ga,gd,kl-min,idk,llmu"
_Methods = Annotated[str, option("LIST", "Of those of `run`; by default the paper's.")]
_Seeds = Annotated[
    str | None, option("LIST", "Repeat unlearning with each. [default: the recipe's seed]")
]
_StudyOut = Annotated[Path | None, option("DIR", "[default: runs/RECIPE-CONFIG-STUDY]")]


def sequential(
    options: Options,
    methods: _Methods = _PAPER,
    method: OwnMethods = None,
    rounds: Annotated[int, option("N", "Into how many parts the forget set is cut.")] = 3,
    reference: Annotated[
        str, option("NAME", "What later rounds compare with: previous (round) or finetuned.")
    ] = "previous",
    out: _StudyOut = None,
    seeds: _Seeds = None,
    jobs: Jobs = 0,
) -> None:
    """Unlearn the forget set in rounds, each from the last one's model: the paper's Table 3.

    Rerun to resume after a kill; finished parts are kept.
    """
    from baselines.measure import Data as Dataset
    from baselines.run_parts import parse_seeds
    from baselines.studies import cut
    from baselines.studies import sequential as in_rounds
    from eval.studies import round_tables

    if reference not in ("previous", "finetuned"):
        raise UsageError(f"--reference {reference}: use previous or finetuned")
    numbers = parse_seeds(seeds) if seeds else []
    loaded, chosen = options.read_recipe(["finetune", "retrain"], methods, method or [])
    dataset = Dataset.read(options.data, loaded.config)
    parts = cut(dataset.rows["forget"], rounds)

    def work(stack: Any, folder: Path, at_once: int) -> list[Point]:
        what = (loaded, dataset, stack, folder, chosen, parts, reference, numbers, at_once)
        return in_rounds(*what)

    _study(options, loaded, dataset, chosen, out, jobs, "rounds", work, round_tables)


def ratios(
    options: Options,
    methods: _Methods = _PAPER,
    method: OwnMethods = None,
    percents: Annotated[
        str, option("LIST", "Forget ratios of the dataset, in percent.", "--ratios")
    ] = ",".join(map(str, FORGET_RATIOS)),
    out: _StudyOut = None,
    seeds: _Seeds = None,
    jobs: Jobs = 0,
) -> None:
    """Fine-tune, retrain and unlearn at several forget ratios: the paper's Figure 4.

    Rerun to resume after a kill, or with more ratios; finished parts are kept.
    """
    from baselines.measure import Data as Dataset
    from baselines.run_parts import parse_seeds
    from baselines.studies import joined
    from baselines.studies import ratios as at_ratios
    from eval.dataset_rows import split_config
    from eval.studies import ratio_tables

    numbers = parse_seeds(seeds) if seeds else []
    loaded, chosen = options.read_recipe(["finetune", "retrain"], methods, method or [])
    name, own = split_config(loaded.config)
    if own:
        raise UsageError(f"--config {loaded.config}: give {name}, and its ratios by --ratios")
    texts = [text.strip() for text in percents.split(",")]
    if not all(text.isdecimal() for text in texts) or len({*texts}) < len(texts):
        raise UsageError(f"--ratios {percents}: write different percents, e.g. 5,10,15")
    named = {int(text): config_name(name, int(text) / 100) for text in texts}
    datasets = {r: Dataset.read(options.data, config) for r, config in sorted(named.items())}
    every = joined([*datasets.values()])

    def work(stack: Any, folder: Path, at_once: int) -> list[Point]:
        return at_ratios(loaded, datasets, stack, folder, chosen, numbers, at_once)

    _study(options, loaded, every, chosen, out, jobs, "ratios", work, ratio_tables)


def _study(
    options: Options,
    recipe: Recipe,
    data: Dataset,
    methods: Sequence[str],
    out: Path | None,
    jobs: int,
    kind: str,
    work: Callable[[Any, Path, int], list[Point]],
    tables: Callable[[Any, Any], Any],
) -> None:
    """Do a study's runs, write and print what came out; data: of all rows that it is about."""
    from baselines.run import is_main
    from baselines.run_parts import jobs_for
    from baselines.schedule import check_rows
    from baselines.studies import collapsed
    from mllmu_med.locks import held

    check_rows({name: recipe.known[name] for name in methods}, data.rows["forget"])
    folder = out or Path("runs") / f"{recipe.name}-{recipe.config}-{kind}"
    at_once = jobs_for(jobs, recipe.model, options.device)
    with held(folder) if is_main() else nullcontext():
        stack = options.stack(recipe, data, folder)
        points = work(stack, folder, at_once)
        stack.ended()
        if not is_main():
            return
        from eval.report import print_terminal
        from eval.studies import study, study_plot, write_study
        from mllmu_med.console import make_console

        report = study(points)
        report.notes.extend(collapsed(points))
        shown = tables(report, points)
        written = write_study(report, shown, study_plot(report, points, kind), folder, kind)
    print_terminal(report, make_console(), intervals=False, shown=shown)
    print(f"\nwritten to {folder}: {written}")


def add_studies(app: App) -> None:
    """Put them on the command line."""
    app.command(
        examples="""
python -m baselines sequential
python -m baselines sequential --rounds 2 --methods idk,npo --reference finetuned
python -m baselines sequential --model llava-med --config privacy --out runs/rounds
"""
    )(one_line_errors(sequential))
    app.command(
        examples="""
python -m baselines ratios --ratios 5,10,15
python -m baselines ratios --model llava-med --config privacy --out runs/ratios
"""
    )(one_line_errors(ratios))
