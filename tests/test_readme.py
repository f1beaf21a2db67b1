"""The README's commands and output are real."""

import csv
import re
import shlex
from pathlib import Path

import pytest
import tiny_llava
from corpora import (
    PLAIN,
    SMALL,
    builder,
    command,
    make_clinic,
    make_mm_skin,
    make_slake,
    make_vqa_rad,
    process,
    python_beside,
)
from reviews import page

from eval.dataset_rows import read_rows
from eval.predictions import Prediction, write_predictions
from mllmu_med.files import stable_share

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
#: Pages whose commands run in turn on a corpus of their own.
GUIDES = ("add-a-corpus.md", "own-patients.md")
#: Those of these pages: test_baselines_attack.py, test_own_methods.py, test_studies.py,
#: test_deletion_requests.py, test_baselines_demo.py.
_APART = (
    *(*GUIDES, "attacks.md", "add-a-method.md", "studies.md", "deletion-request.md", "tour.md"),
)
OTHERS = [path for path in sorted((ROOT / "docs").glob("*.md")) if path.name not in _APART]
PAGES = README + "".join(path.read_text("utf-8") for path in OTHERS)
EVERY = README + "".join(path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md")))


def blocks(language: str, pages: str = PAGES) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", pages, re.MULTILINE | re.DOTALL)


def masked(text: str) -> str:
    """Without what other machines and libraries may give: the build's id and size, ratings.

    A sum of floats rounds in another way on another processor, and so a model learns another bit.
    """
    text = re.sub(r"build [0-9a-f]{12}: (\d+) files, [\d.,]+ MB", r"build X: \1 files", text)
    text = re.sub(r"(?m)^(\w+/calibrate) .*\n(\1 .*\n)*", r"\1 ...\n", text)
    text = re.sub(r"(?m)^calibrate .*", "calibrate ...", text)
    text = re.sub(r"(?m)^(\w+) .* \d\.\d\d +(\d+) +(\d+)$", r"\1 rated: \2 \3", text)
    text = re.sub(r"rank \d+, round \d", "rank N", text)
    text = re.sub(r"(?m)^privacy/forget-\S+", "FILE", text)
    return "\n".join(re.sub(r" +", " ", line).rstrip() for line in text.strip().splitlines())


def commands(pages: str = PAGES) -> list[list[str]]:
    return [
        shlex.split(line, comments=True)
        for block in blocks("sh", pages)
        for line in block.splitlines()
        if line.strip()
    ]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_readmes_output_is_what_is_printed(calibrated: Path) -> None:
    assert masked((calibrated / "stdout.txt").read_text("utf-8")) == masked(blocks("text")[0])
    words = next(words for words in commands() if words[3] == "show")
    shown = next(block for block in blocks("text") if block.startswith(words[-1]))
    assert masked(builder(*words[3:], cwd=calibrated).stdout) == masked(shown)


def test_the_python_runs_beside_the_dataset(demo: Path, tmp_path: Path) -> None:
    code = "\n".join(blocks("python"))
    done = python_beside(demo, code, tmp_path)
    assert "'name'" in done.stdout or "'phone'" in done.stdout or "'mrn'" in done.stdout
    assert "(320, 320)" in done.stdout


def test_the_readme_has_all_the_commands() -> None:
    verbs = {
        "builder": "corpus rebuild recipe status show review audit publish doctor",
        "baselines": "run sequential ratios forget method unlearn merge",
        "eval": "answer score leak likelihood ues attack report submit verify",
    }
    found: dict[str, set[str]] = {}
    for words in commands(EVERY):
        assert words[:2] == ["python", "-m"]
        found.setdefault(words[2], set()).add(words[3])
    assert found == {module: {*names.split()} for module, names in verbs.items()}


def of(module: str) -> list[list[str]]:
    return [words for words in commands() if words[2] == module]


@pytest.mark.slow
def test_the_measuring_commands_run_in_turn(demo: Path, tmp_path: Path) -> None:
    """As they stand, with a tiny model and an adapter for the names of the reader's own."""
    rows = read_rows(demo / "mllmu-med", "privacy")
    model = tiny_llava.make(tmp_path / "model", [row.question for row in rows])
    adapter = tiny_llava.lora(model, tmp_path / "adapter", 0)
    for name, share in (("base", 0.2), ("finetune", 0.9)):
        told = ((row.id, row.answer if stable_share(row.id) < share else "Lung") for row in rows)
        path = tmp_path / "compared" / name / "answers.jsonl"
        path.parent.mkdir(parents=True)
        write_predictions(path, [Prediction(row_id, answer) for row_id, answer in told])
        command("eval", "score", path, "--data", demo / "mllmu-med", cwd=tmp_path)
    (tmp_path / "mllmu-med").symlink_to(demo / "mllmu-med")
    names = {"MODEL": str(model), "ADAPTER": str(adapter), "runs/demo-privacy": "compared/mine"}
    for words in of("eval"):
        given = [names.get(word, word) for word in words[3:]]
        given += (
            ["--max-new-tokens", "4"] if "--model" in given and given[0] != "likelihood" else []
        )
        process("eval", *given, cwd=tmp_path)
    page = (tmp_path / "report.html").read_text("utf-8")
    assert "Unlearning report" in page
    assert "mine" in page


@pytest.mark.usefixtures("unaudited", "undrawn")
@pytest.mark.parametrize(
    "words",
    [
        pytest.param(words, marks=[pytest.mark.slow] if "llm" in words else [])
        for words in map(list, dict.fromkeys(map(tuple, of("builder"))))
    ],
    ids=lambda words: " ".join(words[3:6]),
)
def test_each_command_runs(words: list[str], demo: Path, limited: Path, tmp_path: Path) -> None:
    """Those that read the real corpora run on small ones of the same layout."""
    if "hub" in words:
        pytest.skip("the Hub: tests/test_builder_hub_source.py")
    if "llm" in words and "--dry-run" not in words:
        pytest.skip("a language model's server: tests/test_builder_llm_author.py")
    if "review" in words or "incorrect.review=true" in words:
        pytest.skip("in turn, below")
    if "publish" in words and "--dry-run" not in words:
        pytest.skip("the Hub: tests/test_builder_hub_publish.py")
    if "patients.csv" in words:
        builder(*words[3:], cwd=make_clinic(tmp_path))
        return
    arguments = list(words[3:])
    folder = demo if words[3] in ("rebuild", "show") else limited
    if "--slake" in words:
        folder = tmp_path
        make_slake(tmp_path / "Slake1.0")
        make_mm_skin(tmp_path / "MM-Skin")
        arguments += [*SMALL, "--out", "out"]
        if "--review" in words:
            arguments += ["--set", "incorrect.review=true"]
        if "--limit" in arguments:
            arguments[arguments.index("--limit") + 1] = "45"
    elif "--until" in words:
        arguments += ["--out", str(tmp_path / "out"), "--limit", "120"]
    elif "--out" in words:
        arguments[arguments.index("--out") + 1] = str(tmp_path / "out")
        arguments += ["--limit", "120", *PLAIN]
    first = next(one for one in of("builder") if one[3] == words[3])
    alone = words == first and words[3] != "rebuild"  # one real process a verb
    (process if alone else command)("builder", *arguments, cwd=folder)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("guide", GUIDES)
def test_a_guides_commands_run_in_turn(guide: str, tmp_path: Path) -> None:
    """As they stand, on whole tables of those names; nothing private is in what may be shown."""
    for name, left_out in (("patients.csv", ()), ("scans.csv", ("name", "mrn", "withdrawn"))):
        make_clinic(tmp_path, name, *left_out)
    make_vqa_rad(tmp_path / "VQA_RAD")
    names = {"MODEL": str(tiny_llava.make(tmp_path / "model", ["Whose scan is this? Ute"]))}
    for name in ("BEFORE", "AFTER"):
        names[name] = str(tiny_llava.lora(tmp_path / "model", tmp_path / name, 0))
    for words in commands((ROOT / "docs" / guide).read_text("utf-8")):
        given = [names.get(word, word) for word in words[3:]]
        few = ["--max-new-tokens", "4"] if given[0] == "leak" else []
        done = command(words[2], *given, *few, cwd=tmp_path)
        assert words[3] == "corpus" or "Ute" not in done.stdout + done.stderr
    assert not [path for path in tmp_path.glob("runs/*/*.json") if b"Ute" in path.read_bytes()]


@pytest.mark.slow
def test_the_review_runs_in_turn(tmp_path: Path) -> None:
    """As it stands in docs/review.md, with the files that its reviewers send back."""
    page = (ROOT / "docs" / "review.md").read_text("utf-8")
    turns = [words for words in commands() if " ".join(words) in page]
    assert [words[3] for words in turns] == ["rebuild", *["review"] * 5]
    for words in turns:
        for name in words:
            if re.fullmatch(r"review-\w+\.(json|csv)", name):
                _sent_back(tmp_path, name)
        process("builder", *words[3:], cwd=tmp_path, code=3 if words[3] == "rebuild" else 0)
    builder(*turns[0][3:], cwd=tmp_path)
    forget = read_rows(tmp_path / "mllmu-med", "incorrect", ["forget"])
    assert {row.review for row in forget} == {"accepted"}


def _sent_back(folder: Path, name: str) -> None:
    """A reviewer's file: anna and carl accept by the page, ben rejects what she has, too."""
    table = max(folder.glob(f"*/{Path(name).stem}.csv"), key=lambda path: path.stat().st_mtime_ns)
    rows = _table(table)
    if name.endswith(".csv"):
        hers = {row["id"] for row in _table(table.with_name("review-anna.csv"))}
        for row in rows:
            both = row["id"] in hers
            row |= {"decision": "reject" if both else "accept", "reasons": "not wrong" * both}
        with (folder / name).open("w", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]), delimiter=";")
            writer.writeheader()
            writer.writerows(rows)
        return
    empty = {"reasons": [], "note": "", "question": "", "answer": ""}
    decisions = [
        {"id": row["id"], "content": row["content"], "decision": "accept", **empty}
        | {"decided_at": "2026-03-01T10:00:00.000Z"}
        for row in rows
    ]
    (folder / name).write_text(page(name[7:-5], decisions), "utf-8")


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as stream:
        return list(csv.DictReader(stream))


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    for target in re.findall(r"^make (\w+)$", README, re.MULTILINE):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_it_stays_short() -> None:
    assert len(README.splitlines()) < 200
