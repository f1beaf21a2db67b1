"""The readers that `fuzz.py` tries, each with valid inputs to begin with; here those of results,
recipes, requests, submissions, reviews and work folders."""

from __future__ import annotations

import io
import json
import zipfile
from hashlib import sha256
from pathlib import Path

import fuzz_readers_data
import fuzz_readers_texts
import labelstudio_export
import reviews
from fuzz import TEXT, Reader, as_csv, as_json, as_lines, from_file, mutated, odd_tree, of, same
from hypothesis import strategies as st
from review_page import an_item
from test_eval_report import leak, run, weigh

from baselines import recipe, request_log
from builder.core import job, load_recipe, stage_cache
from builder.core.corpus import mapping_of
from builder.review import decisions_file, export, import_files, spreadsheet
from eval import attack_results, predictions, results, submission_file
from eval.read_run import read_run
from mllmu_med import csv_tables, recipe_files
from mllmu_med.files import read_jsonl


def readers(place: Path, data: Path) -> list[Reader]:
    """In `place` files are written; `data` is a built dataset, to look at only."""
    return [
        *_predictions(place),
        *_runs(place),
        *_yaml(place),
        *_requests(place),
        *_submissions(place),
        *_reviews(place),
        *fuzz_readers_data.corpora(place),
        *fuzz_readers_texts.replies(place),
        *fuzz_readers_data.images(),
        *fuzz_readers_data.folders(place, data),
        *fuzz_readers_data.models(place),
        *_work(place),
        *fuzz_readers_texts.texts(),
    ]


def _predictions(place: Path) -> list[Reader]:
    rows = [{"id": f"r/{n}", "answer": "a lung", "way": "own", "tokens": 3} for n in range(3)]

    def both(path: Path) -> None:
        told = predictions.read_predictions(path)
        predictions.write_predictions(path, told)
        same(told, predictions.read_predictions(path))

    return [Reader("predictions", of(rows, as_lines), from_file(place / "p.jsonl", both), weight=3)]


def _runs(place: Path) -> list[Reader]:
    folder = run(place / "run", 0.4, 0.6, 0.5)
    kept = [
        row
        for row in read_jsonl(folder / "scores.rows.jsonl")
        if int(row["id"][-2:].strip("/")) < 3
    ]
    (folder / "scores.rows.jsonl").write_bytes(as_lines(kept))
    leak(folder, 0.5, ["own"])
    weigh(folder, 0.5, n=3)
    (folder / "record.json").write_bytes(
        as_json({"method": "ga", "settings": {"seed": 1}, "identity": {"model": "x"}})
    )
    about = {"kind": "relearn-forget", "strength": 5, "steps": 5, "seconds": 1.5, "rows": 0}
    (folder / "attacks/relearn-forget-5").mkdir(parents=True)
    (folder / "attacks/relearn-forget-5/attack.json").write_bytes(as_json(about))
    found = []
    for path in sorted(folder.rglob("*.json*")):
        whole = path.read_bytes()
        lines = path.suffix == ".jsonl"
        tree = [json.loads(line) for line in whole.splitlines()] if lines else json.loads(whole)

        def read_whole(content: bytes, path: Path = path, whole: bytes = whole) -> None:
            path.write_bytes(content)
            try:
                read_run(folder)
                attack_results.outcomes(folder)
            finally:
                path.write_bytes(whole)

        inputs = of(tree, as_lines if lines else as_json)
        found.append(Reader(f"run: {path.name}", inputs, read_whole, weight=0.25))
    figure = {
        "source": "ours",
        "config": "privacy",
        "run": "ga",
        "role": "method",
        "metric": "rouge1",
    }
    figures = [
        results.Figure(**figure, split=s, value=0.5, n=3) for s in ("forget", "retain", "test")
    ]
    text = results.to_csv(results.Report("privacy", figures))
    cells = [row.cells for row in csv_tables.read_rows(text)]
    return [
        *found,
        Reader("results", of(cells, as_csv), from_file(place / "r.csv", results.read_results)),
    ]


def _yaml(place: Path) -> list[Reader]:
    import yaml

    found = []
    for name, load in (("builder", load_recipe.load_recipe), ("baselines", recipe.load_recipe)):
        for shipped in recipe_files.shipped(name):
            text = recipe_files.recipe_text(name, shipped)
            inputs = st.one_of(odd_tree(yaml.safe_load(text)).map(as_json), mutated(text.encode()))
            read_it = from_file(place / f"{name}.yaml", lambda path, load=load: load(str(path)))
            found.append(Reader(f"recipe: {name} {shipped}", inputs, read_it, weight=0.1))
    set_ = mutated(b"privacy.forget={a: 1}").map(lambda b: b.decode("utf-8", "replace"))
    fields = {
        "image": "a",
        "question": "b",
        "answer": ["c", "d"],
        "values": {"name": "e"},
        "files": {"train": ["t.csv"]},
    }
    pairs = st.lists(
        st.one_of(TEXT, mutated(b'answer=a,"b"').map(lambda b: b.decode("utf-8", "replace"))),
        max_size=3,
    )
    return [
        *found,
        Reader(
            "--set",
            set_,
            lambda text: load_recipe.load_recipe("demo", recipe_files.choices([text])),
        ),
        Reader(
            "mapping", of(fields), from_file(place / "m.yaml", lambda path: mapping_of(str(path)))
        ),
        Reader(
            "--map",
            pairs,
            lambda them: mapping_of(None, ["image=a", "question=b", "answer=c", *them]),
        ),
    ]


def _requests(place: Path) -> list[Reader]:
    cells = [
        ["patient_id", "request", "received"],
        ["p-1", "2026/1", "2026-11-20"],
        ["p-2", "", ""],
    ]
    log = request_log.Log(place / "log.jsonl")
    log.add("received", 1, requests=[])
    log.add("unlearned", 1, method="ga")
    whole = (place / "log.jsonl").read_bytes()
    tree = [json.loads(line) for line in whole.splitlines()]
    return [
        Reader(
            "request file",
            of(cells, as_csv),
            from_file(place / "q.csv", request_log.read_requests),
            weight=2,
        ),
        Reader("request log", of(tree, as_lines), from_file(place / "log2.jsonl", request_log.Log)),
    ]


def _submissions(place: Path) -> list[Reader]:
    figure = results.Figure(config="privacy", run="ga", role="method", metric="ues", value=0.5)
    held = {"scores.json": {"name": "ga"}, "scores.rows.jsonl": [{"id": "a", "x": 1.5}]}
    packed = submission_file.pack("privacy", "0" * 12, {"runs/01": held}, [figure])
    with zipfile.ZipFile(io.BytesIO(packed)) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}

    def with_one(name: str) -> st.SearchStrategy[bytes]:
        lines = [json.loads(line) for line in files[name].splitlines()]

        def zipped(content: bytes) -> bytes:
            now = {**files, name: content}
            if name != "submission.json":
                about = json.loads(now["submission.json"])
                about["files"][name] = sha256(content).hexdigest()
                now["submission.json"] = as_json(about)
            return submission_file.to_zip(now)

        return of(lines if name.endswith("l") else lines[0], as_lines).map(zipped)

    inputs = st.one_of(mutated(packed), *map(with_one, files))
    return [
        Reader(
            "submission",
            inputs,
            from_file(place / "s.zip", submission_file.read_submission),
            weight=3,
        )
    ]


def _reviews(place: Path) -> list[Reader]:
    items = [an_item(n) for n in range(3)]
    page = json.loads(reviews.page("anna", [reviews.decide(items[0]), reviews.edit(items[1], "x")]))
    rows = [
        r.cells
        for r in csv_tables.read_rows(spreadsheet.write_table(items, "anna").lstrip("\ufeff"))
    ]
    exported = [
        json.loads(p.read_text("utf-8"))
        for p in sorted(labelstudio_export.DATA.glob("*label*studio*.json"))
    ]
    decision = {
        "id": "a",
        "content": "c",
        "reviewer": "r",
        "verdict": "accept",
        "reasons": [],
        "settles": False,
    }
    decisions = from_file(
        place / "review/privacy.jsonl", lambda path: decisions_file.read(place, "privacy")
    )
    read_it = from_file(place / "back", import_files.read_file)
    return [
        Reader("review: table", of(rows, as_csv), read_it, weight=4),
        Reader("review: page", of(page), read_it, weight=4),
        *(
            Reader(f"review: Label Studio {n}", of(tree[:3]), read_it)
            for n, tree in enumerate(exported)
        ),
        Reader("review: decisions kept", of([decision], as_lines), decisions),
        Reader(
            "review: team",
            of({"reviewers": ["a"], "overlap": 1}),
            from_file(place / "review/team.json", lambda _: export.read_team(place)),
        ),
    ]


def _work(place: Path) -> list[Reader]:
    folder = place / "work"
    state = {
        "fingerprint": "a",
        "output": "b",
        "kept": 1,
        "dropped": {},
        "notes": {},
        "inputs": {"x": [1, 2, "c"]},
    }
    return [
        Reader(
            "work folder: job",
            of({"recipe": {}, "out": "x"}),
            from_file(folder / "job.json", lambda p: job.read_job(folder)),
        ),
        Reader(
            "work folder: stage",
            of(state),
            from_file(folder / "stage.json", lambda p: stage_cache.read_state(folder)),
        ),
    ]
