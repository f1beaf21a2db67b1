"""Every reader of what others wrote, tried on wrong inputs: right shapes with one odd value, and
valid files with bytes flipped, cut, put in, doubled and moved.

    python benchmarks/fuzz.py                       # 100,000 inputs in one process
    python benchmarks/fuzz.py --inputs 5000 --reader predictions

Only a right result or the product's own one-line error may come. Anything else is a finding:
another exception, more than 2 seconds, a result that is not what was put in.
"""

# ruff: noqa: E402
from __future__ import annotations

import argparse
import contextlib
import copy
import csv
import io
import json
import os
import random
import re
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from mllmu_med_dataset import UserError

SLOW = 2.0  # seconds
#: Of each input of hypothesis also so many with bytes changed.
MORE = 9
NAMES = ("inputs", "refused", "read", "findings")
#: In a place where another value is due.
ODD = [
    *(None, True, -1, 0, 7, 1.5, float("inf"), float("nan"), 2**70, "", " ", "\0", "\ud83e"),
    *("a\x1b[31m\nb\u202ec\r", "é" * 300, "../../x", "=1+1", "1e9", "2022-13-45", [], {}, [[]]),
    *([1, "a", None], {"": None}, {"a": {"b": [1]}}, "[x](javascript:y) <b>", "yes", "A" * 5000),
]
#: What is put into bytes.
TOKENS = [
    *(
        b"\0",
        b"\xff\xfe",
        b"\xed\xa0\xbe",
        b"\xef\xbb\xbf",
        b"\r",
        b"\n",
        b"\n\n",
        b'"',
        b"'",
        b",",
    ),
    *(b"[" * 1_100, b"{" * 9, b"}", b"]", b":", b"- ", b"\t", b"1e999", b"NaN", b"9" * 5000, b"PK"),
    *(
        b"\\ud800",
        b"\x1b[2J",
        "\u202e\u2028".encode(),
        b"&a *a",
        b"<<: *a",
        b"!!python/name:os.system",
    ),
]
OPS = ("flip", "cut", "drop", "put", "double", "swap")
_steps = st.lists(
    st.tuples(st.sampled_from(OPS), st.floats(0, 1), st.floats(0, 1), st.sampled_from(TOKENS)),
    min_size=1,
    max_size=3,
)
_odd = st.one_of(st.sampled_from(ODD), st.text(max_size=20), st.integers())
LETTERS = (
    " \n\t.,:;-_/@'\"()[]{}<>*#|`\\$%&=+~^0123456789aeinorstyYESNO\u00e9\u00df\u0130"
    "\u202e\u200b\ufeff\x1b\0\ufffd\u0301½²٣一🫁"
)
TEXT = st.one_of(st.text(LETTERS, max_size=80), st.text(max_size=40))


def changed(now: bytes, steps: Any) -> bytes:
    for op, at, to, token in steps:
        i, j = sorted((int(at * len(now)), int(to * len(now))))
        j = min(j, i + 400)
        if op == "flip":
            now = now[:i] + bytes(byte ^ 1 << i % 8 for byte in now[i : i + 1]) + now[i + 1 :]
        elif op == "swap":
            now = now[:i] + now[j : 2 * j - i] + now[i:j] + now[2 * j - i :]
        else:
            put = {"cut": b"", "drop": now[j:], "put": token + now[i:], "double": now[i:]}[op]
            now = now[: j if op in ("cut", "double") else i] + put
    return now


def mutated(data: bytes) -> st.SearchStrategy[bytes]:
    return _steps.map(lambda steps: changed(data, steps))


def shaken(given: Any, rng: random.Random) -> Any:
    """An input with bytes changed: of several parts the last."""
    if isinstance(given, bytes):
        steps = [
            (rng.choice(OPS), rng.random(), rng.random(), rng.choice(TOKENS))
            for _ in range(rng.randint(1, 3))
        ]
        return changed(given, steps)
    if isinstance(given, str):
        return shaken(given.encode("utf-8", "replace"), rng).decode("utf-8", "replace")
    return type(given)([*given[:-1], shaken(given[-1], rng)]) if given else given


def places(tree: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    pairs = (
        tree.items()
        if isinstance(tree, dict)
        else enumerate(tree)
        if isinstance(tree, list)
        else ()
    )
    for key, inner in pairs:
        yield from places(inner, (*path, key))


def odd_tree(tree: Any) -> st.SearchStrategy[Any]:
    """A tree of plain values with one of them odd, gone, or under an odd key."""

    def change(drawn: tuple[tuple[Any, ...], str, Any]) -> Any:
        (path, how, value), now = drawn, copy.deepcopy(tree)
        if not path:
            return value
        *above, last = path
        node = now
        for key in above:
            node = node[key]
        if how == "drop":
            del node[last]
        elif how == "name" and isinstance(node, dict):
            node[value if isinstance(value, str) else "x"] = node.pop(last)
        else:
            node[last] = value
        return now

    how = st.sampled_from(["odd", "odd", "odd", "drop", "name"])
    return st.tuples(st.sampled_from([*places(tree)]), how, _odd).map(change)


def as_json(tree: Any) -> bytes:
    return json.dumps(tree).encode()


def as_lines(rows: Any) -> bytes:
    rows = rows if isinstance(rows, list) else [rows]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def as_csv(rows: Any) -> bytes:
    stream = io.StringIO()
    rows = rows if isinstance(rows, list) else [rows]
    csv.writer(stream).writerows(r if isinstance(r, list) else [r] for r in rows)
    return stream.getvalue().encode("utf-8", "surrogatepass")


def of(tree: Any, write: Callable[[Any], bytes] = as_json) -> st.SearchStrategy[bytes]:
    """Half of them right shapes, half changed bytes."""
    return st.one_of(odd_tree(tree).map(write), mutated(write(tree)))


class Reader(NamedTuple):
    name: str
    inputs: st.SearchStrategy[Any]
    read: Callable[[Any], Any]
    refuses: tuple[type[Exception], ...] = ()  # besides a UserError: its callers' to word
    weight: float = 1.0  # of the inputs


def same(given: Any, back: Any) -> None:
    if given != back:
        raise RuntimeError(f"{given!r:.60} came back as {back!r:.60}")


def from_file(path: Path, do: Callable[[Path], Any]) -> Callable[[bytes], Any]:
    """A reader of bytes: they are written to a path, which `do` reads."""
    path.parent.mkdir(parents=True, exist_ok=True)

    def read(content: bytes) -> Any:
        path.write_bytes(content)
        return do(path)

    return read


class Tally(NamedTuple):
    name: str
    counts: Counter[str]
    findings: dict[str, Any]  # what it was -> the first input
    seconds: float


def fuzz(reader: Reader, inputs: int, number: int = 0, guided: int = 0) -> Tally:
    """Try a reader; the inputs are the same for the same number. `guided`: seconds of atheris."""
    counts: Counter[str] = Counter()
    findings: dict[str, Any] = {}

    def found(what: str, given: Any) -> None:
        counts["findings"] += 1
        findings.setdefault(what, given)

    @seed(number)
    @settings(
        max_examples=-(-inputs // (MORE + 1)),
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(reader.inputs)
    def one(given: Any) -> None:
        rng = random.Random(counts["inputs"])
        for each in (given, *(shaken(given, rng) for _ in range(MORE))):
            timed(each)

    def timed(given: Any) -> None:
        counts["inputs"] += 1
        start = time.process_time()
        attempt(given)
        if time.process_time() - start > SLOW:  # what is imported when it is needed takes its time
            start = time.process_time()
            with contextlib.suppress(Exception):
                reader.read(given)
            if time.process_time() - start > SLOW:
                found(f"{reader.name}: over {SLOW:g} s", given)

    def attempt(given: Any) -> None:
        try:
            reader.read(given)
            counts["read"] += 1
        except (UserError, *reader.refuses) as error:
            counts["refused"] += 1
            if not str(error).strip():
                found(f"{reader.name}: an empty message", given)
        except Exception as error:  # noqa: BLE001
            ours = [
                f
                for f in traceback.extract_tb(error.__traceback__)
                if f.filename.startswith(str(ROOT))
            ]
            last = ours[-1]
            place = f"{Path(last.filename).relative_to(ROOT)}:{last.lineno}"
            found(f"{reader.name}: {type(error).__name__} at {place}: {str(error)[:90]!r}", given)

    begun = time.perf_counter()
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        if guided:
            covering(one, Tally(reader.name, counts, findings, 0.0), guided)
        one()
    return Tally(reader.name, counts, findings, time.perf_counter() - begun)


def covering(test: Any, tally: Tally, seconds: int) -> None:
    """Let atheris look for inputs that reach new lines; it ends the process."""
    import threading

    import atheris

    with tempfile.TemporaryDirectory() as corpus:
        for number in range(20):
            (Path(corpus) / f"{number}").write_bytes(random.Random(number).randbytes(4000))

        def end() -> None:
            show(tally._replace(seconds=seconds))
            os._exit(0)

        threading.Timer(seconds, end).start()
        atheris.Setup([sys.argv[0], "-verbosity=0", corpus], test.hypothesis.fuzz_one_input)
        atheris.Fuzz()


def show(tally: Tally) -> None:
    row = [f"{tally.counts[name]:,}" for name in NAMES]
    row.append(f"{tally.counts['inputs'] / tally.seconds:,.0f}")
    print(f"| {tally.name} | {' | '.join(row)} |", flush=True)
    for what, first in tally.findings.items():
        print(f"    {what}\n        {first!r:.300}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--inputs", type=int, default=100_000, help="of all readers together")
    parser.add_argument("--reader", default="", help="only those whose name this expression finds")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", type=Path, help="a built dataset; default: a small one is built")
    parser.add_argument("--atheris", type=int, default=0, help="seconds of it, for one reader")
    args = parser.parse_args()
    instrumented = contextlib.nullcontext()
    if args.atheris:
        import atheris

        instrumented = atheris.instrument_imports(include=["eval", "builder", "baselines"])
    with instrumented:
        from fuzz_readers import readers
        from fuzz_readers_data import small_dataset

    with tempfile.TemporaryDirectory() as place:
        data = args.data or small_dataset(Path(place))
        chosen = [r for r in readers(Path(place), data) if re.search(args.reader, r.name)]
        whole = sum(reader.weight for reader in chosen)
        total: Counter[str] = Counter()
        print("| reader | inputs | refused | read | findings | inputs / s |")
        print("| --- | ---: | ---: | ---: | ---: | ---: |")
        for reader in chosen:
            inputs = max(1, round(args.inputs * reader.weight / whole))
            tally = fuzz(reader, inputs, args.seed, args.atheris)
            total += tally.counts
            show(tally)
        print(f"| all | {' | '.join(f'{total[n]:,}' for n in NAMES)} | |")


if __name__ == "__main__":
    main()
