"""What a corpus' rows, images and patients are called outside the work folder."""

import hmac
from dataclasses import replace
from pathlib import Path
from typing import Final

from builder.core.corpus import Corpus
from builder.ingest.clean_rows import alike
from mllmu_med.files import canonical_json
from mllmu_med_dataset import Record

NAMES: Final = "names.jsonl"  # in the stage's folder: what each pseudonym stands for


class Names:
    """What rows, images and patients are called: as in the corpus, or by keyed pseudonyms."""

    def __init__(self, corpus: Corpus, key: bytes) -> None:
        self.corpus, self.key = corpus.name, key
        self.keyed = corpus.mapping.names == "keyed"
        self._known: dict[str, tuple[str, str, str]] = {}

    def of(self, kind: str, name: str, within: str = "", where: str = "") -> str:
        """A name as it leaves the work folder.

        Args:
            within: what it is a name in: two patients' rows 1 share no pseudonym.
            where: file and row, for the list of what pseudonyms stand for.
        """
        if not self.keyed:
            return alike(name) if kind == "patient" else name
        text = "\0".join((kind, within, alike(name) if kind == "patient" else name))
        pseudonym = hmac.new(self.key, text.encode(), "sha256").hexdigest()[:16]
        self._known.setdefault(pseudonym, (kind, name, where))
        return pseudonym

    def shown(self, text: str) -> str:
        """A cell's text for a message, with a space before it."""
        return "" if self.keyed else f" {text!r}"

    def with_image(self, record: Record) -> Record:
        """Name a record by the copy of its image."""
        if not self.keyed:
            return record
        image_id = f"{self.corpus}/{Path(record.image_path).stem}"
        row = record.id.rpartition("/")[2]
        return replace(record, image_id=image_id, id=f"{image_id}/{row}")

    def write(self, path: Path) -> None:
        """What the pseudonyms stand for, for this machine's user alone."""
        if self.keyed:
            path.touch(0o600)
            with path.open("w", encoding="utf-8") as stream:
                for pseudonym, (kind, name, where) in sorted(self._known.items()):
                    row = {"pseudonym": pseudonym, "kind": kind, "name": name, "where": where}
                    stream.write(canonical_json(row) + "\n")
