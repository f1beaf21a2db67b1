"""Wrong inputs of every kind, a small seeded part of `benchmarks/fuzz.py`; what it once found; and
regular expressions on texts made against them."""

import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from corpora import ROOT, image_data

sys.path.insert(0, str(ROOT / "benchmarks"))

from fuzz import fuzz
from fuzz_readers import readers
from regexes import regexes, slowest

from eval.answer_text import degenerate, yes_or_no
from eval.private_values import View, level
from eval.whole_numbers import whole_numbers
from mllmu_med_dataset import UserError

#: Reader -> inputs on which it once raised something else than a UserError.
FOUND: dict[str, list[bytes]] = {
    "run: attack.json": [
        b'{"kind": "relearn-borget", "strength": 5, "steps": 5, "seconds": 1.5, "rows": 0}',
        b'{"kind": "relearn-forget", "strength": Infinity, "steps": 5, "seconds": 1.5}',
    ],
    "run: record.json": [
        b'{"settings": null, "identity": {"model": "x"}}',
        b'{"settings": {}, "identity": ""}',
    ],
    "run: likelihood.jsonl": [
        b'{"id": "forget/0", "split": "forget", "logprobs": [1e999], "alternatives": []}\n'
    ],
    "dataset: card's head": [
        b'---\n{"configs": [{"data_files": []}]}\n---\n',
        b'---\n{"configs": ["privacy"]}\n---\n',
        b"---\n- configs\n---\n",
    ],
    "mapping": [b"[" * 2000],
    "image: JPEG": [image_data(1, 12)[:-2] + b"\xff\xc4\x7f\xff" + bytes(10)],
    "index of weights": [b'{"weight_map": {"a": "' + b"x" * 300 + b'"}}', b"[" * 30_000],
}


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory, limited: Path) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("fuzz")
    return {reader.name: reader for reader in readers(place, limited / "mllmu-med")}


@pytest.mark.parametrize("name", FOUND)
def test_what_was_found_is_refused_in_a_line(name: str, every: dict[str, Any]) -> None:
    for content in FOUND[name]:
        with pytest.raises((UserError, *every[name].refuses)) as error:
            every[name].read(content)
        assert "\n" not in str(error.value)


def test_a_zip_of_another_version_or_with_a_broken_name(every: dict[str, Any]) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("fé.json", "{}")
    whole = stream.getvalue()
    at = whole.index(b"PK\x01\x02")
    newer = whole[: at + 6] + b"\xff\0" + whole[at + 8 :]  # the version that reading needs
    for content in (whole.replace("é".encode(), b"\xc3x"), newer):
        for name in ("submission", "corpus: xlsx", "corpus: zip of images"):
            with pytest.raises(UserError):
                every[name].read(content)


def test_replies_from_elsewhere_that_are_cut(every: dict[str, Any], tmp_path: Path) -> None:
    reader = every["replies from elsewhere"]
    found = fuzz(reader, 20, 3)
    assert not found.findings
    assert found.counts["refused"]


def test_only_errors_of_a_line_or_right_results_come(every: dict[str, Any]) -> None:
    weight = sum(reader.weight for reader in every.values())
    findings: dict[str, Any] = {}
    inputs = 0
    for reader in every.values():
        found = fuzz(reader, max(1, round(1600 * reader.weight / weight)), 11)
        findings |= found.findings
        inputs += found.counts["inputs"]
    assert not findings
    assert inputs > 1500


def test_no_regular_expression_is_slow_on_any_text() -> None:
    """Of 4,000 characters 30 ms are linear, by far; a square would be 12 s of 80,000."""
    found = {regex: slowest(regex, 4000, 0.03) for regex in regexes()}
    assert len(found) > 300
    slow = {r.where: (r.form.pattern, *took) for r, took in found.items() if took[0] > 0.03}
    assert not slow


LONG: dict[str, Callable[[str], Any]] = {
    "words": lambda text: degenerate(text, "\nlung\nthe\n"),
    "yes or no": yes_or_no,
    "numbers": whole_numbers,
    "an e-mail": lambda text: level("email", "lydia@example.org", View(text)),
}


@pytest.mark.parametrize("what", LONG)
@pytest.mark.parametrize(
    "unit", ["1 ", "1.", "\n", "-a", "**", "answer ", "(at) ", "lydia@example.org-a-a-a-a-a-a-a"]
)
def test_a_long_answer_takes_no_longer_than_its_length(what: str, unit: str) -> None:
    import time

    def seconds(length: int) -> float:
        start = time.thread_time()
        LONG[what](unit * (length // len(unit)))
        return time.thread_time() - start

    assert seconds(8000) < 0.2 + 8 * seconds(2000)
