"""Do the quick tests notice a changed operator? Seeded mutants of the code that figures rest on.

    python benchmarks/mutants.py DIR [GROUP ...]

DIR gets a copy of the repository, in which one place at a time is changed, and `mutants.jsonl`, a
line for each mutant: what was noticed is not tried again. One process imports the libraries, not
the product, and forks for each mutant, which runs its group's tests until one fails.
"""

import ast
import gc
import json
import os
import re
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[1]
SEED, EACH = 23, 50
WARM: Final = (
    "pytest hypothesis torch transformers peft datasets pandas scipy.stats sklearn.linear_model "
    "rouge_score.rouge_scorer nltk.translate sacrebleu faker matplotlib.pyplot typer.testing"
).split()
#: Of each group the code, the tests that have to notice (quick ones first), and a change by hand.
GROUPS: Final = {
    name: tuple(part.strip() for part in parts.split("|"))
    for name, parts in {
        "ues": "eval/ues eval/bootstrap eval/derived_figures"
        "| eval_ues.py eval_likelihood.py::test_auc_and_ks_on_known_samples eval_report.py"
        "| retain + test - forget | retain + test + forget",
        "metrics": "eval/metrics eval/answer_text eval/score eval/memorisation eval/intervals"
        "| eval_answer_text.py eval_likelihood.py eval_leak.py::test_intervals_of_shares"
        " eval_leak.py::test_the_interval_of_a_difference_is_newcombes eval_metrics.py"
        " eval_score.py | sum(values) / len(values) | sum(values) * len(values)",
        "losses": "baselines/*losses | baselines_losses.py baselines_batches.py"
        "| return -mean_nll(forget) | return mean_nll(forget)",
        "leak": "eval/leak eval/private_values eval/nearly eval/whole_numbers eval/dates"
        "| eval_dates.py eval_leak.py | patients != {row.whose} | patients == {row.whose}",
        "audit": "builder/audit/* | builder_text_quality.py builder_audit_defects.py"
        " builder_rebuild.py::test_what_is_remembered_of_an_audit builder_audit.py images.py"
        "| there != size | there == size",
        "split": "builder/split builder/draw | builder_split.py | rank * ROUNDS | rank + ROUNDS",
    }.items()
}
#: What is only said or labelled: no behaviour.
QUIET: Final = {*"say progress advance strict TypeVar TYPE_CHECKING VERSION SIGNATURE".split()}
_SWAPS: Final = "Lt LtE,Gt GtE,Eq NotEq,In NotIn,Is IsNot,Add Sub,Mult Div,BitOr BitAnd,And Or"
SWAPPED: Final = {a: b for s in _SWAPS.split(",") for a, b in (s.split(), s.split()[::-1])}
SWAPPED.update(FloorDiv="Mult", Pow="Mult", Mod="Mult", min="max", max="min", any="all", all="any")
SWAPPED.update(sum="mean", mean="sum", amax="amin", amin="amax", sorted="list")


def changes(node: Any) -> Iterator[tuple[Any, str]]:
    """Nodes whose text is replaced, each with its new text."""

    def made(**to: Any) -> str:
        text = ast.unparse(type(node)(**{**dict(ast.iter_fields(node)), **to}))
        return text if isinstance(node, ast.stmt) else f"({text})"

    match node:
        case ast.Compare():
            for i, op in enumerate(node.ops):
                other = getattr(ast, SWAPPED[type(op).__name__])()
                yield node, made(ops=[*node.ops[:i], other, *node.ops[i + 1 :]])
        case ast.BinOp() | ast.BoolOp():
            instead = SWAPPED.get(type(node.op).__name__)
            if instead and "None" not in ast.unparse(node):  # else a type
                yield node, made(op=getattr(ast, instead)())
        case ast.AugAssign(op=ast.Add()):
            yield from ((node, text) for text in ("pass", made(op=ast.Sub())))
        case ast.UnaryOp():
            yield node, f"({ast.unparse(node.operand)})"
        case ast.Constant(value=int() | float() as value):  # and truth
            more = 1 if isinstance(value, int) else value or 1.0
            yield node, str(not value if isinstance(value, bool) else value + more)
        case ast.Slice():
            edges = [e for e in (node.lower, node.upper) if e and not isinstance(e, ast.Constant)]
            yield from ((edge, f"({ast.unparse(edge)}) + 1") for edge in edges)
        case ast.Call():
            whose, dot, name = ast.unparse(node.func).rpartition(".")
            if name in SWAPPED:
                instead = "max" if name == "sum" and not dot else SWAPPED[name]
                without = [] if name == "sorted" else node.keywords
                yield node, made(func=ast.Name(f"{whose}{dot}{instead}"), keywords=without)
            alike = len(node.args) > 1 and type(node.args[0]) is type(node.args[1])
            if alike and name not in ("min", "max", "maximum"):  # of any order
                yield node, made(args=[*node.args[1::-1], *node.args[2:]])
        case ast.If() | ast.IfExp() | ast.While() | ast.comprehension():
            tests = node.ifs if isinstance(node, ast.comprehension) else [node.test]
            tests = [test for test in tests if not isinstance(test, ast.Compare | ast.UnaryOp)]
            yield from ((test, f"(not ({ast.unparse(test)}))") for test in tests)
        case ast.Return() if node.value:
            yield node, "return None"
        case ast.Expr(value=ast.Constant()):
            pass  # a docstring
        case ast.Continue() | ast.Break() | ast.Raise() | ast.Expr() | ast.AugAssign():
            yield node, "pass"


def sites(node: Any) -> Iterator[tuple[Any, str]]:
    """Every place that may be changed, with its new text."""
    called = getattr(node, "func", None) or getattr(getattr(node, "value", None), "func", None)
    named = [getattr(node, name, None) for name in ("target", "test")]
    named += [called, *getattr(node, "targets", ())]
    if QUIET & {getattr(node, "arg", ""), *(getattr(it, "id", "") for it in named)}:
        return
    for place, text in changes(node):
        if text.strip("()") != ast.unparse(place).strip("()"):
            yield place, text
    if isinstance(node, ast.JoinedStr | ast.Raise | ast.Import | ast.ImportFrom):
        return  # texts; and columns inside an f-string are wrong before Python 3.12
    types = {"annotation", "returns", "decorator_list", "bases"}
    for value in (value for name, value in ast.iter_fields(node) if name not in types):
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST):
                yield from sites(child)


def mutants(files: str, old: str, new: str) -> Iterator[dict[str, str]]:
    """All of a group. Keys are hashes of place and change, so that other code changes no choice."""
    for path in sorted(path for name in files.split() for path in ROOT.glob(f"{name}.py")):
        file, text, times = path.relative_to(ROOT).as_posix(), path.read_bytes(), Counter[str]()
        if old in (whole := text.decode()):  # the change made by hand
            yield {"key": "", "at": file, "from": old, "to": new, "new": whole.replace(old, new)}
        starts = [0, *accumulate(map(len, text.splitlines(keepends=True)))]
        for node, after in sites(ast.parse(text)):
            start = starts[node.lineno - 1] + node.col_offset
            end = starts[node.end_lineno - 1] + node.end_col_offset
            before = " ".join(text[start:end].decode().split())
            what = f"{SEED} {file} {before} {after}"
            times[what] += 1
            key = sha256(f"{what} {times[what]}".encode()).hexdigest()[:12]
            whole = (text[:start] + after.encode() + text[end:]).decode()
            about = {"key": key, "at": f"{file}:{node.lineno}", "from": before, "to": after}
            yield {**about, "new": whole}


def tried(home: Path, tests: str, most: float = 600) -> dict[str, Any]:
    """A group's tests in a fork, with at most so many seconds of CPU, until one fails."""
    import pytest

    words = "-xq -pno:cacheprovider -pno:unraisableexception --hypothesis-seed=0".split()
    words += ["--timeout=300", "-knot (plots or page or latex or markdown or csv)"]
    words += [f"--basetemp={home}/fixtures/one", *(f"tests/test_{name}" for name in tests.split())]
    if not (child := os.fork()):
        with (home / "log").open("w") as log:
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        resource.setrlimit(resource.RLIMIT_CPU, (int(most) + 1, int(most) + 1))
        os._exit([pytest.main(words), sys.stdout.flush()][0])
    _, code, used = os.wait4(child, 0)
    failed = re.findall(r"(?m)^(?:FAILED|ERROR) (\S+)", (home / "log").read_text("utf-8"))
    how = "timeout" if os.WIFSIGNALED(code) else "killed" if code else "survived"
    return {"how": how, "by": failed[:1], "cpu": round(used.ru_utime + used.ru_stime, 1)}


def main() -> None:
    home, chosen = Path(sys.argv[1]).resolve(), sys.argv[2:] or [*GROUPS]
    copied, results = home / "copy", home / "mutants.jsonl"
    copying = 'rm -rf "$0/copy"; mkdir -p "$0/copy" "$0/fixtures"; ln -sfn "$PWD/../shared" "$0"'
    copying += '; git ls-files -z | xargs -0 cp --parents -t "$0/copy"'
    subprocess.run(["sh", "-c", copying, home], cwd=ROOT, check=True)
    os.chdir(copied)
    sys.path[0] = str(copied)
    # Fixtures that take long are made once, by the code as it is, as for pytest-xdist's workers.
    os.environ.update(PYTHONPATH=str(copied), OMP_NUM_THREADS="1", PYTEST_XDIST_WORKER="gw0")
    [__import__(library) for library in WARM]
    gc.freeze()  # or each fork collects it
    known = {one["key"]: one for one in map(json.loads, results.open())} if results.exists() else {}
    for group in chosen:
        files, tests, old, new = GROUPS[group]
        made = {one["key"]: one for one in mutants(files, old, new)}
        sys.dont_write_bytecode = False
        base, sys.dont_write_bytecode = tried(home, tests), True
        print(f"{group}: {len(made):,} places, tests as they are: {base}", flush=True)
        if base["how"] != "survived":
            sys.exit(f"the tests must pass: see {home}/log")
        for key, one in [("", made.pop("")), *sorted(made.items())[:EACH]]:
            if key and known.get(key, one).get("how", "survived") != "survived":
                continue
            file = copied / one["at"].partition(":")[0]
            text = file.read_text("utf-8")
            file.write_text(one.pop("new"), "utf-8")
            one |= {"group": group, **tried(home, tests, 3 * base["cpu"] + 30)}
            file.write_text(text, "utf-8")
            known[key] = one
            with results.open("a", encoding="utf-8") as stream:
                print(json.dumps(one), file=stream)
        print("with that by hand:", Counter(known[k]["how"] for k in ["", *sorted(made)[:EACH]]))


if __name__ == "__main__":
    main()
