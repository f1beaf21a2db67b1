"""Write docs/licences.md: the licence of every package in requirements.lock, as it states it.

    python docs/licences.py

Run it in the project's venv when the lock changes; a test compares the two.
"""

import re
from collections.abc import Iterable
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "licences.md"
HEAD = """# Licences of what is installed

Every package that `requirements.lock` names, with the licence that its own metadata states. Made by
`python docs/licences.py`; a test says when it is older than the lock. *Test* marks what only
`pip install -e '.[test]'` brings: nothing of it is needed to build, train or measure. The project
ships none of their code.

| package | version | licence | |
| --- | --- | --- | --- |
"""
#: Whose metadata say nothing: by the licence file in the package, or else in its repository.
STATED = {
    **{"axe-playwright-python": "MIT", "label-studio-sdk": "Apache-2.0"},
    "mlcroissant": "Apache-2.0 (by its repository)",
}


def locked(text: str) -> dict[str, str]:
    """The versions that a lock holds, by canonical name."""
    lines = (line.partition("==") for line in text.splitlines() if "==" in line)
    return {canonicalize_name(name): version for name, _, version in lines}


def licence(name: str, found: Distribution) -> str:
    """An SPDX expression where there is one, else the first line, else the classifiers."""
    told = found.metadata
    short = next((line for line in (told["License"] or "").splitlines() if line.strip()), "")
    kinds = [c.rpartition(" :: ")[2] for c in told.get_all("Classifier", []) if "License ::" in c]
    short = short if len(short) < 30 and short[:1].isalpha() else ""
    return STATED.get(name) or told["License-Expression"] or short or ", ".join(kinds)


def needed(lines: Iterable[str], seen: set[str]) -> set[str]:
    """The packages that some requirements bring, themselves too; without extras."""
    for one in map(Requirement, lines):
        name = canonicalize_name(one.name)
        if name in seen or (one.marker and not one.marker.evaluate({"extra": ""})):
            continue
        seen.add(name)
        try:
            needed(distribution(name).requires or [], seen)
        except PackageNotFoundError:
            continue
    return seen


def page() -> str:
    """The whole page; a SystemExit names the packages without a licence."""
    rows, missing = [], []
    running = needed(distribution("mllmu-med").requires or [], set())
    for name, version in sorted(locked((ROOT / "requirements.lock").read_text("utf-8")).items()):
        try:
            stated = licence(name, distribution(name))
        except PackageNotFoundError:
            stated = ""
        if not stated:
            missing.append(name)
        shown = re.sub(r"\s+", " ", stated).replace("|", "\\|")
        rows.append(f"| {name} | {version} | {shown} | {'' if name in running else 'test'} |")
    if missing:
        raise SystemExit(f"no licence is stated, or not installed: {', '.join(missing)}")
    return HEAD + "\n".join(rows) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
