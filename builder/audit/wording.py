"""Wording: harmful answers are not told from clean ones by their words alone."""

from collections.abc import Iterator

from builder.audit.run_checks import Check
from builder.dataset_folder.read import Folder
from builder.dataset_folder.text_quality import ENOUGH, Auc, TextQuality, measure

#: Other versions of numpy and scipy, or another processor, may round otherwise.
_SAME = 0.01


def checks(folder: Folder) -> Iterator[Check]:
    counted, differing, faults, notes = 0, [], [], []
    for name, scenario in folder.scenarios.items():
        if name == "own":
            continue
        quality = measure(name, scenario, folder.every_record(name))
        counted += quality.rows
        stated = folder.manifest.text_quality.get(name)
        if stated is not None and not _same(stated, quality):
            differing.append(f"{name}: the manifest states other figures of its text than its rows")
        if name == "incorrect" and quality.rows >= ENOUGH:
            faults += [f"{name}: {fault}" for fault in quality.faults()]
        elif name == "incorrect":
            notes += [f"not judged below {ENOUGH} forget rows", *quality.faults()]
    yield Check("text quality is the manifest's", counted, differing)
    judged = 0 if notes or "incorrect" not in folder.scenarios else counted
    note = "; ".join(notes) or ("" if judged else "no incorrect answers")
    yield Check("no wording gives incorrect answers away", judged, faults, note)


def _same(stated: TextQuality, measured: TextQuality) -> bool:
    names = TextQuality.model_fields
    figures = [[getattr(of, name) for name in names] for of in (stated, measured)]
    values = [[it.value if isinstance(it, Auc) else it for it in each] for each in figures]
    return all(
        a == b or (a is not None and b is not None and abs(a - b) <= _SAME)
        for a, b in zip(*values, strict=True)
    )
