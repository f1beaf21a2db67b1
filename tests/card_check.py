"""What stands in a dataset's folder and in its card, and what no card may hold."""

import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import yaml

LEFTOVERS = re.compile(r"\bNone\b|\bnan\b|\[More|TODO|\{\w*\}|<[a-z]+ object|\b([a-z]+) \1\b")


def front_matter(card: str) -> dict[str, Any]:
    return yaml.safe_load(card.split("---\n", 2)[1])


def body(card: str) -> str:
    return card.split("---\n", 2)[2]


class Folder:
    """What the files themselves hold."""

    def __init__(self, folder: Path) -> None:
        self.path = folder
        self.manifest = json.loads((folder / "provenance/manifest.json").read_text("utf-8"))
        self.configs: dict[str, dict[str, pd.DataFrame]] = {
            name: {
                split: pd.concat([self.frame(path) for path in paths], ignore_index=True)
                for split, paths in sets.items()
            }
            for name, sets in sorted(
                self.manifest["configs"].items(), key=lambda one: (one[0][0] != "p", one[0])
            )
        }

    def frame(self, path: str) -> pd.DataFrame:
        columns = [name for name in pq.read_schema(self.path / path).names if name != "image"]
        rows = pq.read_table(self.path / path, columns=columns).to_pylist()
        return pd.DataFrame(rows, columns=columns)

    def size(self, config: str) -> int:
        paths = {p for some in self.manifest["configs"][config].values() for p in some}
        return sum((self.path / path).stat().st_size for path in paths)


def tables(text: str) -> list[tuple[tuple[str, ...], list[list[str]]]]:
    found: list[tuple[tuple[str, ...], list[list[str]]]] = []
    lines = text.splitlines()
    for before, line in zip(["", *lines], lines, strict=False):
        if not line.startswith("|"):
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not before.startswith("|"):
            found.append((tuple(cells), []))
        elif not set("".join(cells)) <= set("-:"):
            found[-1][1].append(cells)
    return found


def reads_well(card: str) -> None:
    """No leftovers, no empty section, every plot with words for who cannot see it."""
    text = re.sub(r"```.*?```", "code", body(card), flags=re.DOTALL)
    assert not LEFTOVERS.search(text), LEFTOVERS.search(text)
    assert not re.search(r"^(#+) .*\n+(?=\1 |\Z)", text, re.MULTILINE), "an empty section"
    assert not re.search(r"\n\n\n", card), "two empty lines"
    assert not re.search(r"(?<!and )\b1 (?:rows|patients|candidates|values|replies)\b", text)
    assert not re.search(r"(?<![\d,.a-f/-])\d{4,}(?![\d,.a-f-])", prose(text)), "1000 for 1,000"
    for alt, _ in re.findall(r"!\[(.*?)\]\((.*?)\)", text):
        assert len(alt) > 40


def prose(text: str) -> str:
    """Without links, code, dates and years, which have no thousands separator."""
    text = re.sub(r"\(https?://\S+\)|`[^`]*`|\(\d{4}\)|\w+ \d+, \d{4}", "", text)
    return re.sub(r"RFC \d+|\b[0-9a-f]{12,}\b|555-\d{4}", "", text)
