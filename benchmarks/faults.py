"""Faults in every command: does the same command, once more, end with the bytes of a quiet run?

    python -m benchmarks.faults --out faults          # 200, about 25 CPU minutes; resumes
    python -m benchmarks.faults --out faults --table  # what is there so far, as Markdown

Each fault: a folder as it stands before a command, the command with a disturbance at a moment drawn
from `--seed`, then the command alone. It holds when the disturbed call ended as it should (its exit
code; one line on stderr for a disk, no traceback), the second call exits 0, and the folder then has
the files of a run that nothing disturbed: byte for byte, but for seconds, memory and times of day.

Commands run in forks of this process, which has torch and datasets in memory; so it needs Linux and
one thread. Disks are tmpfs of a size; without the right to mount, a limit on a file's size.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import fcntl
import importlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

SMALL: Final = (
    "privacy.forget=6 privacy.candidates=7 privacy.retain=60 privacy.test=8 privacy.ratios=[10] "
    "privacy.review=true calibration=null"
).split()
REBUILD: Final = ["rebuild", "--scenario", "privacy", *(f"--set={each}" for each in SMALL)]
TRAIN: Final = ["--recipe", "small.yaml", "--jobs", "1"]
_ONE: Final = TRAIN[:2]
_RUNS: Final = ["runs/finetune", "runs/ga"]
#: Name, program, arguments, exit code of a quiet run. In their order each finds what it needs.
COMMANDS: Final[tuple[tuple[str, str, list[str], int], ...]] = (
    ("rebuild, to the review", "builder", REBUILD, 3),
    ("review export", "builder", ["review", "export", "--to", "review"], 0),
    ("review import", "builder", ["review", "import", "filled.csv"], 0),
    ("rebuild, the rest", "builder", REBUILD, 0),
    ("audit", "builder", ["audit", "mllmu-med"], 0),
    ("publish --dry-run", "builder", ["publish", "org/name", "--private", "--dry-run"], 0),
    ("retrain", "baselines", ["retrain", *_ONE, "--out", "runs/retrain"], 0),
    ("finetune", "baselines", ["finetune", *_ONE, "--out", "runs/finetune"], 0),
    ("unlearn", "baselines", ["unlearn", "ga", *_ONE, "--from=runs/finetune", "--out=runs/ga"], 0),
    ("answer", "eval", ["answer", "--model=MODEL", "--split=forget", "--out=a/answers.jsonl"], 0),
    ("score", "eval", ["score", "runs/ga/answers.jsonl"], 0),
    ("leak", "eval", ["leak", "runs/ga/answers.jsonl", "runs/ga/leak.jsonl", "--out=runs/ga"], 0),
    ("likelihood", "eval", ["likelihood", "--model", "MODEL", "--out", "a"], 0),
    ("attack", "eval", ["attack", "runs/ga", "--kind", "adapter,quantise", "--jobs", "1"], 0),
    ("report", "eval", ["report", *_RUNS, "--format=html", "--plots=plots", "--out=r.html"], 0),
    ("submit", "eval", ["submit", *_RUNS, "--out", "s.zip"], 0),
    ("verify", "eval", ["verify", "s.zip", "--page", "page.html"], 0),
    ("merge", "baselines", ["merge", "runs/ga", "--out", "merged"], 0),
    ("run", "baselines", ["run", *TRAIN, "--methods", "ga", "--out", "loop"], 0),
    ("run --jobs 2", "baselines", ["run", *_ONE, "--jobs=2", "--methods=ga", "--out=both"], 0),
    ("sequential", "baselines", ["sequential", *TRAIN, "--methods=ga", "--rounds=2", "--out=s"], 0),
    ("forget", "baselines", ["forget", *_ONE, "--request=q.csv", "--model=MODEL",
                             "--adapter=runs/finetune/adapter", "--out=log", "--attacks=none",
                             "--method=ga"], 0),
    ("tune", "baselines", ["tune", *TRAIN, "--methods=ga", "--data=tuning", "--out=tuned"], 0),
)  # fmt: skip
RECIPE: Final = """
{name: small, config: privacy, model: tiny, tiny: {vocabulary: 400, seed: 0},
answers: {max_new_tokens: 2, batch_size: 64},
finetune: {rank: 8, alpha: 8, epochs: 1, learning_rate: 1.0e-3, batch_size: 16, micro_batch: 16},
unlearn: {rank: 8, alpha: 8, epochs: 1, learning_rate: 1.0e-4, batch_size: 8, micro_batch: 16},
tune: {trials: 1, learning_rate: [1.0e-4, 1.0e-3], epochs: [1, 2], weight: [0.1, 2.0]}}
"""
_LOOPS: Final = 18  # from this command on, whole loops are trained
FAULTS: Final = (
    *("SIGKILL", "full disk", "SIGTERM", "small files", "SIGINT", "SIGKILL late"),
    *("read-only", "clock", "two at once", "worker killed"),
)
#: What differs between two quiet runs: seconds, memory, times of day, and what is hashed of these.
VOLATILE: Final = re.compile(
    r'"(seconds|took|peak_memory|at|received|sha256|before|head|compute|built|created|files|mtime)'
    r'": ?("[^"]*"|[\d.e+-]+|\{[^{}]*\}|\[[^\]]*\]|null)'
)
LEFT_OUT: Final = re.compile(r"compute\.jsonl$|evidence\.html$|(^|/)job\.json$|/write\.json$|~$")


class Ended(NamedTuple):
    code: int  # negative: of a signal
    stderr: str


def contents(folder: Path) -> dict[str, bytes]:
    """Each file's bytes, without what two quiet runs do not share."""
    found = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if not LEFT_OUT.search(name):
            data = path.read_bytes()
            if path.suffix in (".json", ".jsonl"):
                data = VOLATILE.sub("", data.decode()).encode()
            if path.suffix == ".csv":
                data = re.sub(rb".*attack_seconds.*", b"", data)
            found[name] = data
    return found


def fork(place: Path, program: str, words: list[str], before: Any = lambda: None) -> list[int]:
    """A command in a process of its own, in a folder: its number and its stderr."""
    reads, out = os.pipe()
    fcntl.fcntl(out, fcntl.F_SETPIPE_SZ, 2**20)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until the command can hear it
    child = os.fork()
    if child:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        os.close(out)
        return [child, reads]
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background ignores it
        os.chdir(place)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(out, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa
        before()
        app = importlib.import_module(f"{program}.__main__").app
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        app(words, prog_name=program)
        code = 0
    except SystemExit as error:
        code = int(error.code or 0)
    except BaseException:  # noqa: BLE001
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def wait(child: int, log: int) -> Ended:
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with open(log, encoding="utf-8", errors="replace") as stream:
        return Ended(code, stream.read())


def call(place: Path, program: str, words: list[str], before: Any = lambda: None) -> Ended:
    return wait(*fork(place, program, words, before))


def clock(rng: random.Random) -> Callable[[], None]:
    """`time.time` jumps by up to a day, back and forth."""
    real, jumps = time.time, (-86400, -3600, 0, 3600, 86400)
    return lambda: setattr(time, "time", lambda: real() + rng.choice(jumps))


class Bench:
    """The folder before and after each command, of quiet runs, and the trials."""

    def __init__(self, root: Path) -> None:
        self.root, self.place = root, root / "trial"
        programs = ("builder.__main__", "eval.__main__", "baselines.__main__")
        for module in ("transformers", "peft", "datasets", "matplotlib.pyplot", *programs):
            importlib.import_module(module)
        importlib.import_module("torch").set_num_threads(1)
        os.environ["HF_DATASETS_CACHE"] = str(root / "cache")

    def words(self, words: list[str]) -> list[str]:
        model = next((self.place / "runs").glob("tiny-*"), Path("none"))
        return [word.replace("MODEL", str(model)) for word in words]

    def prepare(self, until: int) -> None:
        """Run the commands up to one once, quietly; a copy of the folder before and after each."""
        done = self.root / "quiet.json"
        self.took = json.loads(done.read_text()) if done.exists() else {}
        if COMMANDS[until][0] in self.took:
            return
        shutil.rmtree(self.place, ignore_errors=True)
        self.place.mkdir(parents=True)
        for number, (name, program, words, expected) in enumerate(COMMANDS[: until + 1]):
            before = self.root / f"before-{number}"
            if name not in self.took:
                fill(self.place, name)
                shutil.rmtree(before, ignore_errors=True)
                shutil.copytree(self.place, before)
                began = time.monotonic()
                ended = call(self.place, program, self.words(words))
                self.took[name] = time.monotonic() - began
                if ended.code != expected:
                    raise SystemExit(f"{name}, undisturbed: {ended}")
                shutil.copytree(self.place, self.root / f"after-{number}", dirs_exist_ok=True)
                done.write_text(json.dumps(self.took))
                print(f"{name}: {self.took[name]:.1f} s", file=sys.stderr, flush=True)
            self.reset(self.root / f"after-{number}")

    def reset(self, state: Path) -> None:
        """The same folder for every trial, as paths may stand in files."""
        subprocess.run(["umount", "-q", self.place], check=False, stderr=subprocess.DEVNULL)
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(state, self.place)

    def trial(self, number: int, fault: str, rng: random.Random) -> dict[str, Any]:
        """One fault in one command: whether it was met, and what did not hold ("" if all did)."""
        name, program, words, expected = COMMANDS[number]
        self.prepare(number)
        self.reset(self.root / f"before-{number}")
        words = self.words(words)
        ended = self.disturbed(number, fault, rng, words)
        met = ended.code != expected
        wrong = judge(fault, ended) if met else ""
        again = call(self.place, program, words)
        made = name == "merge" and "exists already" in again.stderr  # its folder has to be new
        if again.code != expected and not made:
            wrong = wrong or f"again: exit {again.code}: {again.stderr[-300:]}"
        quiet, now = contents(self.root / f"after-{number}"), contents(self.place)
        differs = [f for f in {**quiet, **now} if quiet.get(f) != now.get(f)]
        wrong = wrong or (f"differs: {', '.join(differs[:4])}" if differs else "")
        return {"command": name, "fault": fault, "met": met, "code": ended.code, "wrong": wrong}

    def disturbed(self, number: int, fault: str, rng: random.Random, words: list[str]) -> Ended:
        name, program, *_ = COMMANDS[number]
        new = sum(map(len, contents(self.root / f"after-{number}").values()))
        new = max(4000, new - sum(map(len, contents(self.place).values())))
        if fault in ("full disk", "read-only"):
            how = "ro" if fault == "read-only" else str(int(new * rng.random()))
            with mounted(self.place, how) as real:
                if real:
                    return call(self.place, program, words)
        if fault in ("full disk", "read-only", "small files"):
            limit = int(10 ** rng.uniform(1, 5))
            hard = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))  # noqa: E731
            return call(self.place, program, words, hard)
        if fault == "clock":
            return call(self.place, program, words, clock(rng))
        child, log = fork(self.place, program, words)
        parts = {"SIGKILL late": (0.8, 1.05), "two at once": (0, 0.5)}
        time.sleep(self.took[name] * rng.uniform(*parts.get(fault, (0, 1))))
        if fault == "two at once":
            # The greater exit code: a refusal, where there is one.
            return max(call(self.place, program, words), wait(child, log))
        listed = subprocess.getoutput(f"ps -o pid= --ppid {child}") if "worker" in fault else ""
        target = [child, *map(int, listed.split())][-1]
        with contextlib.suppress(ProcessLookupError):
            os.kill(target, getattr(signal, fault, signal.SIGKILL))
        return wait(child, log)


@contextlib.contextmanager
def mounted(place: Path, how: str) -> Iterator[bool]:
    """The folder on a disk of its own while the block lasts; False where none may be mounted."""
    aside = place.with_name("aside")
    shutil.rmtree(aside, ignore_errors=True)
    place.rename(aside)
    place.mkdir()
    real = not subprocess.call(["mount", "-t", "tmpfs", "-o", "size=2g", "tmpfs", place])
    shutil.copytree(aside, place, dirs_exist_ok=True)
    if real:
        disk = os.statvfs(place)
        used = (disk.f_blocks - disk.f_bfree) * disk.f_frsize
        how = "ro" if how == "ro" else f"size={used + int(how)}"
        subprocess.run(["mount", "-o", f"remount,{how}", place], check=True)
    try:
        yield real
    finally:  # what the run has left goes on on a disk with room
        shutil.rmtree(aside)
        shutil.copytree(place, aside)
        if real:
            subprocess.run(["umount", place], check=True)
        shutil.rmtree(place)
        aside.rename(place)


def judge(fault: str, ended: Ended) -> str:
    """What is wrong with how a disturbed call ended; "" if nothing is."""
    last = (ended.stderr.strip().splitlines() or [""])[-1]
    right = {"SIGTERM": (-15, 143), "SIGINT": (130, -2), "worker killed": (1, -9)}
    right |= {"SIGKILL": (-9, -9), "SIGKILL late": (-9, -9)}
    if ended.code not in right.get(fault, (1, 1)):
        return f"exit {ended.code}: {last}"
    if "Traceback" in ended.stderr and fault != "SIGTERM":
        return f"traceback: {last}"
    return "" if ended.code < 0 or last.startswith(("error: ", "stopped: ")) else f"says {last!r}"


def fill(place: Path, name: str) -> None:
    """What a command needs besides what those before it have left."""
    if name == "review import":
        with (place / "review" / "review.csv").open(encoding="utf-8-sig", newline="") as stream:
            rows = [*csv.DictReader(stream)]
        with (place / "filled.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, list(rows[0]))
            writer.writeheader()
            writer.writerows({**row, "decision": "accept", "reviewer": "anna"} for row in rows)
    if name == "retrain":
        (place / "small.yaml").write_text(RECIPE)
    if name == "forget":
        read_rows = importlib.import_module("eval.dataset_rows").read_rows
        person = read_rows(place / "mllmu-med", "privacy", ["forget"])[0].profile_id
        (place / "q.csv").write_text(f"profile_id,request,received\n{person},r-1,2026-03-01\n")
    if name == "tune":
        another = [word for word in REBUILD if "review" not in word]
        call(place, "builder", [*another, "--set=seed=1", "--out=tuning"])


def table(rows: list[Mapping[str, Any]]) -> str:
    """Trials that held of all, and in how many of these the fault was met, by command and fault."""
    held = Counter((r["command"], r["fault"]) for r in rows if not r["wrong"])
    every = Counter((r["command"], r["fault"]) for r in rows)
    met = Counter((r["command"], r["fault"]) for r in rows if r["met"])
    lines = ["| command | " + " | ".join(FAULTS) + " |", "| --- " * (len(FAULTS) + 1) + "|"]
    for name, *_ in COMMANDS:
        cells = ((name, fault) for fault in FAULTS)
        shown = (f"{held[c]}/{every[c]} ({met[c]})" if every[c] else "" for c in cells)
        lines.append(f"| {' | '.join((name, *shown))} |")
    lines.append(f"\n{sum(held.values())} of {len(rows)} held; {sum(met.values())} met their fault")
    return "\n".join(lines)


def schedule(count: int) -> list[tuple[int, str]]:
    """Every command meets every fault, in an order in which few trials show much; loops last."""
    parts = (range(_LOOPS), range(_LOOPS, len(COMMANDS)))
    turns = [(c, c + n) for part in parts for n in range(len(FAULTS)) for c in part]
    pairs = [(c, FAULTS[turn % len(FAULTS)]) for c, turn in turns]
    fair = [p for p in pairs if p[1] != "worker killed" or COMMANDS[p[0]][0] == "run --jobs 2"]
    return fair[:count]


def main() -> None:
    words = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    words.add_argument("--out", type=Path, required=True)
    words.add_argument("--count", type=int, default=200)
    words.add_argument("--seed", type=int, default=1)
    words.add_argument("--table", action="store_true")
    given = words.parse_args()
    results = given.out.resolve() / "results.jsonl"
    rows = [json.loads(x) for x in results.read_text().splitlines()] if results.exists() else []
    if not given.table:
        bench = Bench(given.out.resolve())
        for at, (number, fault) in enumerate(schedule(given.count)):
            if any(row["at"] == at for row in rows):
                continue
            rng = random.Random(f"{given.seed} {at}")
            rows.append(bench.trial(number, fault, rng) | {"at": at})
            with results.open("a") as stream:
                stream.write(json.dumps(rows[-1]) + "\n")
            print(at, *rows[-1].values(), file=sys.stderr, flush=True)
    print(table(rows))
    sys.exit(any(row["wrong"] for row in rows))


if __name__ == "__main__":
    main()
