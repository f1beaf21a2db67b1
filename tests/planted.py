"""A published folder to plant defects in: rows, JSON and card changed, hashes kept up to date."""

import json
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from builder.dataset_folder.write import MANIFEST, build_id
from mllmu_med.files import file_digest
from mllmu_med_dataset import FEATURES

Rows = list[dict[str, Any]]


class Planted:
    """Change it, then `settle()`: only what is about hashes is then left to find."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.manifest = self._json(MANIFEST)
        self.settled = False

    def _json(self, name: str) -> Any:
        return json.loads((self.folder / name).read_text("utf-8"))

    def rows(self, name: str) -> Rows:
        return pq.read_table(self.folder / name).to_pylist()

    def write(self, name: str, rows: Rows) -> None:
        table = pa.Table.from_pylist(rows, schema=FEATURES.arrow_schema)
        pq.write_table(table, self.folder / name, use_dictionary=True, row_group_size=20)

    def change(self, name: str, pick: Callable[[dict[str, Any]], bool], **to: Any) -> str:
        """Change the first row that is picked; its id. A callable gets the row."""
        rows = self.rows(name)
        row = next(row for row in rows if pick(row))
        found = str(row["id"])
        row.update({key: value(row) if callable(value) else value for key, value in to.items()})
        self.write(name, rows)
        return found

    def say(self, name: str, text: str, *, clean: bool = True) -> str:
        """Add a text to the question of the first row (its clean one, too); its id."""
        both = ("question", "clean_question") if clean else ("question",)
        add = {key: (lambda row, key=key: f"{row[key]} {text}") for key in both}
        return self.change(name, lambda row: row["answer_type"] == "open", **add)

    def lines(self, name: str) -> list[Any]:
        text = (self.folder / "provenance" / name).read_text("utf-8")
        return [json.loads(line) for line in text.splitlines()]

    def write_lines(self, name: str, lines: Iterable[Any]) -> None:
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (self.folder / "provenance" / name).write_text(text, "utf-8")

    def card(self, old: str, new: str) -> None:
        path = self.folder / "README.md"
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new, 1), "utf-8")

    def image(self, name: str, make: Callable[[bytes], bytes]) -> str:
        """Give the first row's picture other bytes in all its rows of a file, with their hash."""
        rows = self.rows(name)
        old, data = rows[0]["image_sha256"], make(rows[0]["image"]["bytes"])
        for row in rows:
            if row["image_sha256"] == old:
                row["image_sha256"], row["image"]["bytes"] = sha256(data).hexdigest(), data
        self.write(name, rows)
        return str(rows[0]["id"])

    def settle(self) -> None:
        """Bytes, hashes and the build id of what is there now."""
        self.settled = True
        files, card = self.manifest["files"], self.folder / "README.md"
        for name in [*files]:
            path = self.folder / name
            if path.is_file():
                entry = {"bytes": path.stat().st_size, "sha256": file_digest(path)}
                files[name] = {**files[name], **entry}
        text = card.read_text("utf-8")
        front = yaml.load(text.split("---\n")[1], getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        names = [one["config_name"] for one in front["configs"]]
        configs = {name: self.manifest["configs"][name] for name in names}
        build = build_id({n: e["sha256"] for n, e in files.items() if "rows" in e}, configs)
        text = text.replace(self.manifest["build"], build)
        card.write_text(text, "utf-8")
        self.manifest["build"] = build
        files["README.md"] = {"bytes": len(text.encode()), "sha256": file_digest(card)}
        self.write_manifest()

    def write_manifest(self) -> None:
        (self.folder / MANIFEST).write_text(json.dumps(self.manifest), "utf-8")
