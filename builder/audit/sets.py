"""Sets: their sizes, the forget order, nested ratios, and what no two sets may share."""

from collections import Counter
from collections.abc import Iterable, Iterator

from builder.audit.run_checks import Check
from builder.core.corpus import PHANTOM
from builder.dataset_folder.manifest import scenario_of
from builder.dataset_folder.read import Folder
from builder.dataset_folder.write import config_files
from builder.ingest.clean_rows import alike
from builder.split import ROUNDS
from mllmu_med_dataset import SPLITS, Record


def checks(folder: Folder) -> Iterator[Check]:
    configs = [name for name in folder.manifest.configs if scenario_of(name) in folder.scenarios]
    yield _counts(folder, configs)
    yield _manifest_counts(folder)
    yield _ids(folder, configs)
    yield _places(folder)
    yield _nested(folder)
    yield _duplicates(folder, configs)
    yield _unseen(folder)
    yield _split_by(folder, configs)


def _counts(folder: Folder, configs: Iterable[str]) -> Check:
    failed = []
    known = [config for config in config_files(folder.scenarios) if config.name in configs]
    for config in known:
        scenario = folder.scenarios[config.scenario]
        forget = scenario.forget_at(config.ratio)
        retain = scenario.forget + scenario.retain - forget
        for split, size in zip(SPLITS, (forget, retain, scenario.test), strict=True):
            there = len(folder.config(config.name, split))
            if there != size:
                failed.append(f"{config.name}/{split}: {there:,} rows, the recipe makes {size:,}")
    return Check("counts are the recipe's", len(SPLITS) * len(known), failed)


def _manifest_counts(folder: Folder) -> Check:
    counted = folder.manifest.pictures
    failed = [
        f"{name}: {len(table.rows):,} rows, the manifest counts {table.entry.rows}"
        for name, table in folder.tables.items()
        if not table.problem and table.entry.rows != len(table.rows)
    ]
    for name in folder.scenarios:
        there = len({row.image_sha256 for row in folder.rows(name)})
        if there != counted.get(name):
            failed.append(f"{name}: {there:,} images, the manifest counts {counted.get(name)}")
    return Check("counts are the manifest's", len(folder.tables) + len(counted), failed)


def _ids(folder: Folder, configs: Iterable[str]) -> Check:
    twice: dict[str, str] = {}
    seen = 0
    for name in configs:
        ids = Counter(row.id for split in SPLITS for row in folder.config(name, split))
        seen += ids.total()
        for row_id, times in ids.items():
            if times > 1 or not row_id:
                twice.setdefault(row_id, f"{row_id}: {times} rows of {name}")
    return Check("ids are unique in each config", seen, list(twice.values()))


def _places(folder: Folder) -> Check:
    """Ranks and rounds: forget 0..n-1, then retain; test has none."""
    failed: list[str] = []
    checked = 0
    for name, scenario in folder.scenarios.items():
        forget = list(folder.rows(name, "forget"))
        harmful = {row.id: row.rank for row in forget}
        core = [row for row in folder.rows(name, "retain") if row.id not in harmful]
        test = list(folder.rows(name, "test"))
        checked += len(forget) + len(core) + len(test)
        failed += _order(forget, 0, scenario.harmful)
        failed += _order(core, scenario.harmful, scenario.harmful + scenario.retain_core)
        failed += [f"{row.id}: rank {row.rank} in test, not -1" for row in test if row.rank != -1]
        for row in folder.rows(name):
            if row.split == "retain" and row.rank != harmful.get(row.id, row.rank):
                failed.append(f"{row.id}: rank {row.rank} in retain, {harmful[row.id]} in forget")
            inside = row.split == "forget" and 0 <= row.rank < scenario.forget
            expected = row.rank * ROUNDS // scenario.forget + 1 if inside else 0
            if row.round != expected:
                failed.append(f"{row.id}: round {row.round} in {row.split}, not {expected}")
    return Check("ranks and rounds are in order", checked, failed)


def _order(rows: Iterable[Record], start: int, end: int) -> Iterator[str]:
    taken: dict[int, str] = {}
    for row in rows:
        if not start <= row.rank < end:
            yield f"{row.id}: rank {row.rank} in {row.split}, not {start} to {end - 1}"
        elif row.rank in taken:
            yield f"{row.id}: rank {row.rank} is {taken[row.rank]}'s, too"
        taken.setdefault(row.rank, row.id)


def _nested(folder: Folder) -> Check:
    """Forget sets grow by rank, forget + retain stays the same, and what is not forgotten is
    retained as it was."""
    failed: dict[str, str] = {}
    checked = 0
    for name, scenario, ratio, _ in config_files(folder.scenarios):
        if name not in folder.manifest.configs:
            continue
        every = {row.id for row in folder.rows(scenario) if row.split != "test"}
        forget = {row.id: row for row in folder.config(name, "forget")}
        retain = {row.id for row in folder.config(name, "retain")}
        checked += len(forget) + len(retain)
        for row in forget.values():
            if row.rank >= folder.scenarios[scenario].forget_at(ratio):
                failed.setdefault(row.id, f"{row.id}: rank {row.rank} in {name}'s forget set")
        for row_id in sorted((every - forget.keys() - retain) | (retain - every)):
            failed.setdefault(row_id, f"{row_id}: in neither forget nor retain of {name}")
    return Check("forget ratios are nested", checked, list(failed.values()))


def _duplicates(folder: Folder, configs: Iterable[str]) -> Check:
    """The same row, or the same clean pair about the same image, in two sets of a config.

    White space and case make no other pair, as in `builder.ingest.clean_rows.drop_duplicates`.
    """
    failed: dict[str, str] = {}
    checked = 0
    for name in configs:
        seen: dict[tuple[str, ...], tuple[str, str]] = {}
        for split in SPLITS:
            for row in folder.config(name, split):
                checked += 1
                pair = (row.image_sha256, alike(row.clean_question), alike(row.clean_answer))
                for key in (("id", row.id), ("pair", *pair)):
                    other, first = seen.setdefault(key, (split, row.id))
                    if other != split:
                        what = f"{row.id}: in {split}, and in {other} as {first}"
                        failed.setdefault(row.id, what)
    return Check("no duplicates across sets", checked, list(failed.values()))


def _unseen(folder: Folder) -> Check:
    failed = []
    images = 0
    for name in folder.scenarios:
        rows, test = list(folder.rows(name)), list(folder.rows(name, "test"))
        images += len({row.image_sha256 for row in test})
        for what, column in (("image", "image_sha256"), ("patient", "patient_id")):
            trained = {getattr(row, column) for row in rows if row.split != "test"} - {""}
            seen = sorted(row.id for row in test if getattr(row, column) in trained)
            failed += [f"{row_id}: its {what} is in forget or retain, too" for row_id in seen]
    by_source: dict[str, dict[str, str]] = {}
    for name, scenario in folder.scenarios.items():  # of one corpus, each on images of its own
        owners = by_source.setdefault(scenario.source, {})
        for row in folder.rows(name) if scenario.source != PHANTOM else ():
            if owners.setdefault(row.image_sha256, name) != name:
                failed.append(f"{row.id}: its image is in {owners[row.image_sha256]}, too")
    return Check("test images and patients are in no other set", images, failed)


def _split_by(folder: Folder, configs: Iterable[str]) -> Check:
    failed: dict[str, str] = {}
    checked = 0
    for name in configs:
        by = folder.scenarios[scenario_of(name)].split_by
        if by == "pair":
            continue
        columns = ("image_sha256", "patient_id") if by == "patient" else ("image_sha256",)
        retain = {getattr(row, c) for row in folder.config(name, "retain") for c in columns} - {""}
        for row in folder.config(name, "forget"):
            checked += 1
            if retain.intersection(getattr(row, column) for column in columns):
                failed.setdefault(row.id, f"{row.id}: its {by} is in {name}'s retain set, too")
    note = "" if checked else "the recipe splits by pair: the card counts the overlap"
    return Check("forget images are not in retain (split_by)", checked, list(failed.values()), note)
