"""A run folder as items: what every figure of a run is a mean of."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval import leak, likelihood, probes, score
from eval.answer_text import answer_of
from eval.bootstrap import Items
from eval.metric_names import OF_CUTS
from eval.metrics import ngram_counts
from eval.results import LABELS, Key
from eval.run_folder import RECORD, as_written, read_json, read_rows_file
from mllmu_med.files import digest
from mllmu_med.progress import say
from mllmu_med_dataset import SPLITS, UserError


@dataclass(slots=True)
class Run:
    """A run: the items of each figure, its scored rows, and who made it."""

    name: str
    folder: Path
    config: str
    model: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None
    #: Method, base model and settings of a trained run, all that is alike in runs of other seeds.
    trained: dict[str, Any] = field(default_factory=dict)
    items: dict[Key, Items] = field(default_factory=dict)
    signatures: dict[str, str] = field(default_factory=dict)
    rows: list[dict[str, Any]] = field(default_factory=list)
    #: How many items the figures have that are no mean of items.
    counts: dict[Key, int] = field(default_factory=dict)
    #: A hash of all rows by split with their questions and reference answers.
    texts: str = ""
    #: What was weighed of each row, where likelihoods are there.
    weighed: list[list[str]] = field(default_factory=list)
    #: Of each forget row and value, whether the fine-tuned run says it (`eval.learnt`).
    learnt: dict[Any, bool] = field(default_factory=dict)
    #: Ids of the forget rows that count, e.g. of one round; none: all do.
    forget: Collection[str] = ()

    def counted(self, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Rows without the forget rows that do not count; a row without a split is of forget."""
        of = self.forget
        return [r for r in rows if not of or r.get("split", "forget") != "forget" or r["id"] in of]


def is_run(folder: Path) -> bool:
    return any((folder / name).is_file() for name in (score.SCORES, leak.LEAK, likelihood.ROWS))


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Run folders among paths and, up to two levels deep (seeds: three), in them; paper's order."""
    runs: list[Path] = []
    for path in paths:
        inside = [p for depth in ("*", "*/*", "*/seed-*/*") for p in path.glob(depth) if is_run(p)]
        found = [path] if is_run(path) else sorted(inside, key=_order)
        if not found and not path.exists():
            raise UserError(f"{path}: no such folder")
        if not found:
            say(f"{path}: holds no run: left out")
        runs += found
    return runs


def _order(folder: Path) -> tuple[int, str]:
    name = folder.name.lower().replace("_", "-")
    return [*LABELS, name].index(name), str(folder)


def read_run(folder: Path, scored: bool = True, forget: Collection[str] = ()) -> Run:
    """A run folder that `eval score` has been through, with leakage and likelihoods if there.

    scored: False where leakage or likelihoods alone will do. forget: see `Run`.

    Raises:
        UserError: a file is missing or damaged, or of another config than the scores beside it.
    """
    if folder.is_file():
        raise UserError(f"{folder}: a file, but a run is a folder: leave it out")
    run = Run(folder.resolve().name, folder, "", forget=forget)
    if scored or not is_run(folder) or (folder / score.SCORES).is_file():
        _read_scores(run)
    if (folder / leak.LEAK).is_file():
        _read_leak(run)
    if (folder / likelihood.ROWS).is_file():
        _read_likelihood(run)
    if (folder / RECORD).is_file():
        record = read_json(folder / RECORD)
        with as_written(folder / RECORD):
            settings, model = record.get("settings", {}), record.get("identity", {}).get("model")
            run.seed = settings.get("seed")
            run.trained = {"method": record.get("method"), "model": model, **settings}
        for name in ("seed", "save_every", "tracker"):
            run.trained.pop(name, None)
    return run


def _read_scores(run: Run) -> None:
    path = run.folder / score.SCORES
    summary = read_json(path, f"score {run.folder}/answers.jsonl")
    run.rows = run.counted(score.scored_rows(run.folder))
    with as_written(path):
        run.name, run.config = summary["name"], summary["config"]
        run.model = summary["model"]
        run.signatures |= summary["signatures"]
    with as_written(run.folder / score.ROWS):
        run.items |= scored_items(run.rows)
        told = ("split", "id", "question", "reference")
        run.texts = digest(sorted([row[name] for name in told] for row in run.rows))
    for key, items in run.items.items():
        if len(items.values) and not 0 <= items.values.min() <= items.values.max() <= 1:
            raise UserError(
                f"{run.folder / score.ROWS}: {key.metric} of {key.split} is "
                f"{items.values.max():g}: a fraction in 0..1 is due: make this file again"
            )


def scored_items(rows: list[dict[str, Any]]) -> dict[Key, Items]:
    """The items of each metric by split, and within it by each part of the rows (`CUTS`)."""
    listed: dict[Key, dict[str, tuple[str, float]]] = {}
    for row in rows:
        cuts = ["", *(f"{column}={row[column]}" for column in score.CUTS if row[column])]
        for metric, value in score.measured(row).items():
            for cut in cuts if metric in OF_CUTS else ("",):
                key = Key(metric, row["split"], cut)
                listed.setdefault(key, {})[row["id"]] = row["image"], value
    # In the order of splits, and of cuts by name: a table's.
    order = sorted(listed, key=lambda key: (SPLITS.index(key.split), key.cut))
    return {key: Items.of(listed[key]) for key in order}


def corpus_items(run: Run, split: str) -> tuple[Items, list[tuple[int, ...]]]:
    """Open questions of a split and the counts from which their corpus BLEU comes."""
    rows = [row for row in run.rows if row["split"] == split and "bleu" in row]
    counts = [ngram_counts(answer_of(row["answer"]), row["reference"]) for row in rows]
    return Items.of({r["id"]: (r["image"], 0.0) for r in rows}), counts


def _read_leak(run: Run) -> None:
    path = run.folder / leak.LEAK
    summary = read_json(path)
    rows = run.counted(read_rows_file(run.folder / leak.ROWS, f"leak {run.folder}/leak.jsonl"))
    with as_written(path):
        if run.config and summary["config"] != run.config:
            raise UserError(
                f"{path}: leakage of config {summary['config']}, but {score.SCORES} beside it is "
                f"of {run.config}: keep a run of each in a folder of its own"
            )
        if not run.config:
            run.name, run.config = summary["name"], summary["config"]
        signature = summary["signature"]
    with as_written(run.folder / leak.ROWS):
        for metric, way, cut, reached in leak.reached_items(rows):
            if reached:
                items = {item: (f"patient {item[0]}", float(it)) for item, it in reached.items()}
                run.items[Key(metric, "forget", cut, way)] = Items.of(items)
                run.signatures[metric] = signature


def _read_likelihood(run: Run) -> None:
    path = run.folder / likelihood.ROWS
    rows = run.counted(likelihood.read_weighed(run.folder))
    images = {row["id"]: row["image"] for row in run.rows}
    values: dict[Key, dict[str, tuple[str, float]]] = {}
    with as_written(path):
        for row in rows:
            found = {(m, ""): value for m, value in likelihood.measured(row).items()}
            for (metric, way), value in (found | probes.probed(row)).items():
                cluster = images.get(row["id"], row["id"])
                key = Key(metric, row["split"], "", way)
                values.setdefault(key, {})[row["id"]] = cluster, value
        run.weighed = [[row["id"], row.get("asked", "")] for row in rows]
    for key, items in values.items():
        run.items[key] = Items.of(items)
        probe = key.metric in probes.METRICS
        run.signatures[key.metric] = probes.SIGNATURE if probe else likelihood.SIGNATURE
    for split in SPLITS if run.rows else ():
        weighed = len(values.get(Key("probability", split), {}))
        scored = sum(row["split"] == split for row in run.rows)
        if weighed != scored:
            raise UserError(
                f"{path}: likelihoods of {weighed:,} {split} rows, but {score.SCORES} beside it is "
                f"of {scored:,}: keep a run of each config in a folder of its own"
            )
