"""What looks like real personal data in the texts of a corpus of one's own: it is not published."""

from collections import Counter
from pathlib import Path

from builder.core.corpus import TABLE
from builder.dataset_folder.manifest import Manifest
from builder.dataset_folder.read import read_folder
from builder.patients.find_real_data import LIKELY, REAL
from mllmu_med_dataset import UserError


def check(folder: Path, manifest: Manifest, shown: str) -> None:
    """Raise UserError, with the counts and no text, where rows of such a corpus hold any.

    Only the texts as the corpus has them: what the builder wove into them is fictional.
    """
    names = [name for name, scenario in manifest.scenarios.items() if scenario.source == TABLE]
    if not names:
        return
    written = read_folder(folder, manifest)
    counts: Counter[str] = Counter()
    rows: dict[str, None] = {}
    for name in names:
        for row in written.every_record(name):
            text = f"{row.clean_question}\n{row.clean_answer}"
            kinds = [kind for kind, find in REAL.items() if find(text)]
            kinds += [kind for kind, pattern in LIKELY.items() if pattern.search(text)]
            counts.update(kinds)
            rows |= dict.fromkeys([row.id] if kinds else [])
    if rows:
        what = ", ".join(f"{kind} {count:,}" for kind, count in counts.most_common())
        raise UserError(
            f"{shown}: {len(rows):,} rows of the corpus hold what looks like real personal data "
            f"({what}; first {', '.join([*rows][:3])}): take it out and build again: nothing is "
            "published"
        )
