"""The commands of the paper's two studies: sequential and ratios."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from baselines.command_options import Jobs, Options, OwnMethods, told
from mllmu_med_dataset import FORGET_RATIOS, UsageError, config_name

if TYPE_CHECKING:
    from baselines.measure import Data
    from baselines.recipe import Recipe
    from baselines.run import Stack
    from eval.studies import Point


@dataclass(frozen=True)
class Study(Options):
    """What both studies are told."""

    methods: Annotated[str, told("study.methods")] = "ga,gd,kl-min,idk,llmu"
    method: OwnMethods = None
    out: Annotated[Path | None, told("study.out")] = None
    seeds: Annotated[str, told("study.seeds")] = ""
    jobs: Jobs = 0

    def read(self) -> tuple[Recipe, list[str], list[int]]:
        """Recipe, methods and seeds."""
        from baselines.run_parts import parse_seeds

        numbers = parse_seeds(self.seeds) if self.seeds else []
        learnt = ["finetune", "retrain"]
        return *self.read_recipe(learnt, self.methods, self.method or []), numbers

    def do(
        self,
        recipe: Recipe,
        data: Data,
        methods: Sequence[str],
        name: str,
        work: Callable[[Stack, Path, int], list[Point]],
    ) -> None:
        """Do a study's runs, write and print what came out; data: the main set."""
        from baselines.run import is_main
        from baselines.run_parts import jobs_for
        from baselines.schedule import check_rows
        from mllmu_med.locks import held

        check_rows({name: recipe.known[name] for name in methods}, data.rows["forget"])
        folder = self.out or Path("runs") / f"{recipe.name}-{recipe.config}-{name}"
        at_once = jobs_for(self.jobs, recipe.model, self.device)
        with held(folder) if is_main() else nullcontext():
            stack = self.stack(recipe, data, folder)
            points = work(stack, folder, at_once)
            if not is_main():
                return
            from eval.report import print_table
            from eval.report_tables import notes
            from eval.studies import study, study_tables, write_study
            from mllmu_med.console import make_console

            report = study(points)
            written = write_study(report, points, folder)
        out, tables = make_console(), study_tables(report, points)
        for table in tables:
            print_table(table, out, intervals=False)
        for note in notes(report, tables, "* {}.", intervals=False):
            out.print(note, markup=False)
        print(f"\nwritten to {folder}: {written}")


def sequential(
    study: Study,
    rounds: Annotated[int, told("sequential.rounds")] = 3,
    reference: Annotated[str, told("sequential.reference")] = "previous",
) -> None:
    """Unlearn the forget set in rounds, each from the last one's model: the paper's Table 3.

    Rerun to resume after a kill; finished parts are kept.
    """
    from baselines.measure import Data
    from baselines.studies import cut
    from baselines.studies import sequential as in_rounds

    if reference not in ("previous", "finetuned"):
        raise UsageError(f"--reference {reference}: use previous or finetuned")
    recipe, methods, seeds = study.read()
    data = Data.read(study.data, recipe.config)
    parts = cut(data.rows["forget"], rounds)

    def work(stack: Stack, out: Path, jobs: int) -> list[Point]:
        return in_rounds(recipe, data, stack, out, methods, parts, reference, seeds, jobs)

    study.do(recipe, data, methods, "sequential", work)


def ratios(
    study: Study,
    percents: Annotated[str, told("ratios.ratios", "--ratios")] = ",".join(map(str, FORGET_RATIOS)),
) -> None:
    """Fine-tune, retrain and unlearn at several forget ratios: the paper's Figure 4.

    Rerun to resume after a kill, or with more ratios; finished parts are kept.
    """
    from baselines.measure import Data
    from baselines.studies import ratios as at_ratios
    from eval.dataset_rows import split_config

    recipe, methods, seeds = study.read()
    name, ratio = split_config(recipe.config)
    if ratio:
        raise UsageError(f"--config {recipe.config}: give {name}, and its ratios by --ratios")
    texts = percents.split(",")
    if not all(text.isdecimal() for text in texts) or len({*map(int, texts)}) < len(texts):
        raise UsageError(f"--ratios {percents}: write different percents, e.g. 5,10,15")
    configs = {int(text): config_name(name, int(text) / 100) for text in texts}
    datasets = {r: Data.read(study.data, config) for r, config in sorted(configs.items())}

    def work(stack: Stack, out: Path, jobs: int) -> list[Point]:
        return at_ratios(recipe, datasets, stack, out, methods, seeds, jobs)

    # The base model is made for the main ratio, so that ratios can be added later.
    study.do(recipe, Data.read(study.data, name), methods, "ratios", work)
