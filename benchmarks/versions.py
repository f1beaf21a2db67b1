"""The quick tests with the lowest and the newest versions that pyproject.toml allows.

    python benchmarks/versions.py                    # both, the tests that use them
    python benchmarks/versions.py --column lowest --tests tests/test_dataset.py

Of datasets, transformers, peft and huggingface-hub, which change most. Each column is a venv in a
scratch folder that sees this one's packages, so that torch is not fetched again; what pip has to
install over them, with what these versions ask for, is that column's own. Prints a Markdown table;
exit code 1 where a test fails or pip finds no such set of versions.
"""

import argparse
import re
import subprocess
import sys
import sysconfig
import tempfile
import time
import tomllib
import venv
from importlib.metadata import version
from pathlib import Path

from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
LIBRARIES = ("datasets", "transformers", "peft", "huggingface-hub")
KEPT = ("numpy", "pandas", "pyarrow", "torch")  # as they are here: large, and not in question
USES = re.compile(r"\b(?:from|import) (?:datasets|transformers|peft|huggingface_hub)\b")


def lowest() -> list[str]:
    """`name==version` of the lower bounds in pyproject.toml."""
    tree = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    asked = [Requirement(line) for line in tree["project"]["dependencies"]]
    bounds = {one.name: str(one.specifier).removeprefix(">=") for one in asked}
    return [f"{name}=={bounds[name]}" for name in LIBRARIES]


def make_venv(place: Path, wanted: list[str]) -> Path:
    """A venv over this one with some packages of its own; its Python."""
    venv.create(place, with_pip=True)
    python = place / "bin" / "python"
    inside = "import sysconfig; print(sysconfig.get_path('purelib'))"
    site = Path(subprocess.check_output([python, "-c", inside], text=True).strip())
    (site / "below.pth").write_text(sysconfig.get_path("purelib") + "\n")
    (place / "kept.txt").write_text("".join(f"{name}=={version(name)}\n" for name in KEPT))
    pip = [python, "-m", "pip", "install", "-q", "-U", "-c", place / "kept.txt"]
    subprocess.run([*pip, "--disable-pip-version-check", *wanted], check=True)
    return python


def column(name: str, tests: list[str], more: list[str]) -> tuple[str, bool]:
    """A row of the table, and whether all passed."""
    wanted = lowest() if name == "lowest" else list(LIBRARIES)
    with tempfile.TemporaryDirectory(prefix="versions-") as scratch:
        try:
            python = make_venv(Path(scratch) / "venv", wanted)
        except subprocess.CalledProcessError:
            return f"| {name} | {' '.join(wanted)} | pip finds no such set | |", False
        tell = (
            "import sys; from importlib.metadata import version; print(*map(version, sys.argv[1:]))"
        )
        told = subprocess.check_output([python, "-c", tell, *LIBRARIES], text=True).split()
        started = time.monotonic()
        words = [python, "-m", "pytest", "-q", "-p", "no:cacheprovider", *more, *tests]
        env = {
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "HOME": scratch,
            "PATH": "/usr/bin:/bin",
        }
        said = []
        with subprocess.Popen(words, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True) as run:
            for line in run.stdout or []:  # as it comes: a column takes minutes
                print(line, end="", file=sys.stderr)
                said.append(line)
    versions = ", ".join(f"{n} {v}" for n, v in zip(LIBRARIES, told, strict=True))
    last = said[-1].strip("= \n").partition(" in ")[0]
    return (
        f"| {name} | {versions} | {last} | {time.monotonic() - started:.0f} |",
        not run.returncode,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--column", choices=["lowest", "newest"], action="append")
    parser.add_argument("--tests", nargs="*", help="default: those that use one of the libraries")
    given, more = parser.parse_known_args()
    files = sorted((ROOT / "tests").glob("test_*.py"))
    using = [str(path) for path in files if USES.search(path.read_text("utf-8"))]
    rows = [column(one, given.tests or using, more) for one in given.column or ["lowest", "newest"]]
    print("| versions | of | quick tests | seconds |\n| --- | --- | --- | ---: |")
    print(*(row for row, _ in rows), sep="\n")
    sys.exit(not all(passed for _, passed in rows))


if __name__ == "__main__":
    main()
