"""The readers that `fuzz.py` tries, each with valid inputs to begin with."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import labelstudio_export
import reviews
from corpora import TRIAL, builder, image_data, record
from fuzz import TEXT, Reader, as_csv, as_json, as_lines, mutated, odd_tree, of
from hypothesis import strategies as st
from review_page import an_item
from test_eval_report import leak, run, weigh

from baselines import llava_layout, llava_med, own_methods, recipe, request_log, run_parts
from builder.core import job, load_recipe, stage_cache
from builder.core.corpus import Corpus, Mapping, mapping_of
from builder.dataset_folder import manifest, read, read_rows
from builder.harm import read_reply
from builder.ingest import read_table, table
from builder.ingest.guess_mapping import guess_mapping
from builder.patients import find_real_data, find_values, locate
from builder.review import decisions_file, export, import_files, spreadsheet
from eval import (
    adapter_files,
    answer_text,
    attack_kinds,
    attack_results,
    dataset_rows,
    metrics,
    predictions,
    private_values,
    results,
    submission_file,
)
from eval.read_run import read_run
from mllmu_med import console, csv_tables, markdown, recipe_files, terminal
from mllmu_med.card_head import CardHeadError, read_card_head
from mllmu_med.files import read_jsonl
from mllmu_med.image_bytes import ImageError, clean, clean_image
from mllmu_med.llm import chat, errors, reply_cache
from mllmu_med.llm import settings as llm_settings
from mllmu_med_dataset import UserError, _check_folder

#: Of each kind a value as the builder writes it, and a text that holds it.
VALUES = {
    **{"name": "Lydia Simmons", "phone": "(530) 555-0168", "email": "lydia.s@example.org"},
    **{"address": "12 Oak Ave, Davis", "date": "November 16, 2022", "mrn": "MRN-MM-719746"},
}
SAID = (
    "Yes, the answer is no. <think>I cannot say</think> Call +1 530-555-0168 on 16 Nov 2022 or "
    "2022-11-16, at 12 Oak Avenue; lydia dot s at example dot org, MRN 719746, 4111 1111 1111 1111."
)
ROWS = [{"file": f"{n}.png", "question": f"Where is it, {n}?", "answer": "Left"} for n in range(2)]
WORDS = st.one_of(TEXT, mutated(SAID.encode()).map(lambda b: b.decode("utf-8", "replace")))


def small_dataset(place: Path) -> Path:
    builder(*TRIAL, cwd=place)
    return place / "mllmu-med"


def same(given: Any, back: Any) -> None:
    if given != back:
        raise RuntimeError(f"{given!r:.60} came back as {back!r:.60}")


def readers(place: Path, data: Path) -> list[Reader]:
    """In `place` files are written; `data` is a built dataset, to look at only."""
    return [
        *_predictions(place), *_runs(place), *_yaml(place), *_requests(place), *_submissions(place),
        *_reviews(place), *_corpora(place), *_replies(place), *_images(), *_folders(place, data),
        *_models(place), *_work(place), *_texts(),
    ]  # fmt: skip


def _file(path: Path, do: Callable[[Path], Any]) -> Callable[[bytes], Any]:
    path.parent.mkdir(parents=True, exist_ok=True)

    def read(content: bytes) -> Any:
        path.write_bytes(content)
        return do(path)

    return read


def _predictions(place: Path) -> list[Reader]:
    rows = [{"id": f"r/{n}", "answer": "a lung", "way": "own", "tokens": 3} for n in range(3)]

    def both(path: Path) -> None:
        told = predictions.read_predictions(path)
        predictions.write_predictions(path, told)
        same(told, predictions.read_predictions(path))

    return [Reader("predictions", of(rows, as_lines), _file(place / "p.jsonl", both), weight=3)]


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
        Reader("results", of(cells, as_csv), _file(place / "r.csv", results.read_results)),
    ]


def _yaml(place: Path) -> list[Reader]:
    import yaml

    found = []
    for name, load in (("builder", load_recipe.load_recipe), ("baselines", recipe.load_recipe)):
        for shipped in recipe_files.shipped(name):
            text = recipe_files.recipe_text(name, shipped)
            inputs = st.one_of(odd_tree(yaml.safe_load(text)).map(as_json), mutated(text.encode()))
            read_it = _file(place / f"{name}.yaml", lambda path, load=load: load(str(path)))
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
        Reader("mapping", of(fields), _file(place / "m.yaml", lambda path: mapping_of(str(path)))),
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
            _file(place / "q.csv", request_log.read_requests),
            weight=2,
        ),
        Reader("request log", of(tree, as_lines), _file(place / "log2.jsonl", request_log.Log)),
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
            "submission", inputs, _file(place / "s.zip", submission_file.read_submission), weight=3
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
    decisions = _file(
        place / "review/privacy.jsonl", lambda path: decisions_file.read(place, "privacy")
    )
    read_it = _file(place / "back", import_files.read_file)
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
            _file(place / "review/team.json", lambda _: export.read_team(place)),
        ),
    ]


def _corpora(place: Path) -> list[Reader]:
    root = place / "corpus"
    root.mkdir()
    for n in range(2):
        (root / f"{n}.png").write_bytes(image_data(n, 8, "PNG"))
    mapping = Mapping.model_validate({"image": "file", "question": "question", "answer": "answer"})

    def whole(path: Path) -> None:
        rows = [*read_table.open_table(path).rows]
        columns = tuple(dict.fromkeys(name for row in rows for name in row.cells))
        guess_mapping(columns, [row.cells for row in rows])
        table.read(Corpus("table", path, mapping), root / "work", "drop", b"key")

    def excel(tree: Any) -> bytes:
        from openpyxl import Workbook
        from openpyxl.utils.exceptions import IllegalCharacterError

        book = Workbook()
        for row in tree if isinstance(tree, list) else [tree]:
            with contextlib.suppress(ValueError, TypeError, AttributeError, IllegalCharacterError):
                book.active.append(row if isinstance(row, list) else [row])
        stream = io.BytesIO()
        book.save(stream)
        return stream.getvalue()

    def parquet(tree: Any) -> bytes:
        import pyarrow as pa
        import pyarrow.parquet as pq

        stream = io.BytesIO()
        try:
            pq.write_table(pa.Table.from_pylist(tree), stream)
        except (pa.ArrowException, TypeError, AttributeError, ValueError, OverflowError):
            pq.write_table(pa.table({"file": ["0.png"]}), stream)
        return stream.getvalue()

    cells = [[*ROWS[0]], *([*row.values()] for row in ROWS)]
    kinds: list[tuple[str, Any, Callable[[Any], bytes], float]] = [
        ("csv", cells, as_csv, 2), ("tsv", cells, lambda t: as_csv(t).replace(b",", b"\t"), 0.5),
        ("json", ROWS, as_json, 1), ("jsonl", ROWS, as_lines, 1), ("xlsx", cells, excel, 0.3),
        ("parquet", ROWS, parquet, 0.5),
    ]  # fmt: skip
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for n in range(2):
            archive.writestr(f"imgs/{n}.png", image_data(n, 8, "PNG"))
    (place / "zipped").mkdir()
    (place / "zipped/t.json").write_bytes(as_json(ROWS))
    inside = mapping.model_copy(update={"archive": "imgs.zip", "images": ("imgs",)})
    source = Corpus("table", place / "zipped/t.json", inside)
    unzip = _file(
        place / "zipped/imgs.zip", lambda _: table.read(source, place / "zw", "drop", b"key")
    )
    return [
        *(
            Reader(f"corpus: {n}", of(t, w), _file(root / f"t.{n}", whole), weight=k)
            for n, t, w, k in kinds
        ),
        Reader("corpus: zip of images", mutated(packed.getvalue()), unzip),
    ]


def _replies(place: Path) -> list[Reader]:
    forms = [
        f
        for f in vars(read_reply).values()
        if isinstance(f, type)
        and f.__name__.endswith("Reply")
        and f.__module__ == read_reply.__name__
    ]

    def reply(text: str) -> None:
        told = chat.Reply(text, "stop", "", "m", 1, 1, False)
        for form in (*forms[1:], read_reply.PrivacyReply):
            read_reply.read(told, form)
        read_reply.read_rating(told)

    trees = [
        {"answer": "a", "what_is_wrong": "b", "kind": None, "fits": True},
        {"score": 4, "reason": "x"},
    ]
    fenced = [b"Sure:\n```json\n%b\n```\nThat is 4/5." % as_json(tree) for tree in trees]
    bodies = [odd_tree(tree).map(as_json) for tree in trees]
    texts = st.one_of(
        WORDS,
        *(s.map(lambda b: b.decode("utf-8", "replace")) for s in (*bodies, *map(mutated, fenced))),
    )
    body = {
        "choices": [{"message": {"content": "x"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2},
        "model": "m",
    }
    error = {
        "error": {"message": "rate limit of 5", "code": 429, "type": "x", "param": None},
        "detail": [{"loc": ["a"], "msg": "b"}],
    }

    def server(raw: bytes) -> None:
        said = errors.meaning_of_200(raw, frozenset({"seed"}), "http://x/v1", "m")
        same(True, isinstance(said, Exception) and "\n" not in str(said))
        chat.read_completion(raw.decode("utf-8", "replace"))

    cache = reply_cache.ReplyCache(place / "good.sqlite")
    with cache:
        asked = chat.Request("m", ({"role": "user", "content": "q"},), None, {}, "v1")
        cache.put(asked, "none", json.dumps(body)).result()
        cache.export(place / "replies.parquet")
    good, exported = ((place / n).read_bytes() for n in ("good.sqlite", "replies.parquet"))

    def ledger(path: Path) -> None:
        with reply_cache.ReplyCache(path) as opened:
            opened.totals("m")
            opened.get(asked.key("none"))
        for more in ("-wal", "-shm"):
            path.with_name(path.name + more).unlink(missing_ok=True)

    def loaded(path: Path) -> None:
        with reply_cache.ReplyCache(place / "into.sqlite") as opened:
            opened.load(path)

    return [
        Reader("model's reply", texts, reply, weight=4),
        Reader(
            "server's body",
            st.one_of(of(body), of(error), mutated(b"<html><b>502</b></html>")),
            server,
            (ValueError,),
            8,
        ),
        Reader("reply cache", mutated(good), _file(place / "c.sqlite", ledger), weight=0.3),
        Reader(
            "replies from elsewhere",
            mutated(exported),
            _file(place / "e.parquet", loaded),
            weight=0.5,
        ),
    ]


def _images() -> list[Reader]:
    kinds = [
        ("PNG", {}),
        ("JPEG", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\0"}),
        ("BMP", {}),
        ("GIF", {}),
        ("TIFF", {}),
        ("WEBP", {}),
    ]

    def read_it(content: bytes) -> None:
        shipped = clean(content).data
        same(shipped, clean_image(shipped))

    found = [
        Reader(f"image: {kind}", mutated(image_data(1, 12, kind, **how)), read_it, (ImageError,))
        for kind, how in kinds
    ]
    with contextlib.suppress(ImportError):
        import numpy as np
        import pydicom
        from test_pixels import dicom

        scan = dicom(np.arange(64, dtype="uint8").reshape(8, 8))
        found.append(
            Reader(
                f"image: DICOM (pydicom {pydicom.__version__})",
                mutated(scan),
                read_it,
                (ImageError,),
            )
        )
    return found


def _folders(place: Path, data: Path) -> list[Reader]:
    import yaml

    folder = place / "folder"
    folder.mkdir()
    for name in [path.name for path in data.iterdir()]:
        (folder / name).symlink_to(data.resolve() / name)
    for name in ("provenance", "README.md"):
        (folder / name).unlink()
    (folder / "provenance").mkdir()
    for path in (data / "provenance").iterdir():
        (folder / "provenance" / path.name).write_bytes(path.read_bytes())
    card, told = (
        (data / "README.md").read_bytes(),
        json.loads((data / "provenance/manifest.json").read_text()),
    )
    (folder / "README.md").write_bytes(card)
    whole = manifest.read_manifest(folder)
    name, entry = next((name, entry) for name, entry in whole.data.items())
    front = yaml.safe_load(card.split(b"---\n")[1])
    small = {key: front[key] for key in ("license", "configs")}

    def of_card(path: Path) -> None:
        read_card_head(path.parent)
        _check_folder(path.parent, "privacy")

    def rows(path: Path) -> None:
        table = read_rows.Table(name, path, "privacy", "forget", entry)
        read_rows.fill(table)
        same(True, bool(table.rows or table.problem))

    def profiles(path: Path) -> None:
        held = read.read_folder(folder, whole.model_copy(update={"configs": {}}))
        _ = held.patients

    (place / "card").mkdir()
    heads = st.one_of(
        odd_tree(small).map(lambda t: b"---\n%b\n---\n" % as_json(t)),
        mutated(b"---\n%b---\n" % yaml.safe_dump(small).encode()),
    )
    people = [
        json.loads(line)
        for line in (data / "provenance/profiles.jsonl").read_bytes().splitlines()[:3]
    ]
    keep = (folder / "provenance/manifest.json").read_bytes()

    def of_manifest(path: Path) -> None:
        try:
            manifest.read_manifest(folder)
        finally:
            path.write_bytes(keep)

    return [
        Reader(
            "dataset: manifest",
            of(told),
            _file(folder / "provenance/manifest.json", of_manifest),
            weight=0.5,
        ),
        Reader(
            "dataset: card's head",
            heads,
            _file(place / "card/README.md", of_card),
            (CardHeadError,),
            0.7,
        ),
        Reader(
            "dataset: Parquet",
            mutated((data / name).read_bytes()),
            _file(place / "t.parquet", rows),
            weight=0.5,
        ),
        Reader(
            "dataset: patients",
            of(people, as_lines),
            _file(folder / "provenance/profiles.jsonl", profiles),
        ),
    ]


def _models(place: Path) -> list[Reader]:
    import torch
    from safetensors.torch import save

    config = {
        "peft_type": "LORA",
        "r": 4,
        "lora_alpha": 8,
        "target_modules": ["q_proj"],
        "base_model_name_or_path": "x",
        "task_type": None,
    }
    mistral = dict.fromkeys(llava_layout._NEEDED, 4) | {
        "model_type": "llava_mistral",
        "mm_projector_type": "mlp2x_gelu",
        "mm_vision_select_feature": "patch",
    }
    index = {"weight_map": {"a": "one.safetensors", "b": "two.safetensors"}}
    weights = save({"base_model.model.q_proj.lora_A.weight": torch.ones(2, 2)})
    template = own_methods.TEMPLATE.encode()

    def own(path: Path) -> None:
        own_methods.read_own.cache_clear()
        own_methods.read_own(f"{path}:loss")

    folder = place / "adapter"
    return [
        Reader(
            "adapter_config.json",
            of(config),
            _file(
                folder / "adapter_config.json", lambda p: adapter_files._config(str(folder), folder)
            ),
            weight=0.3,
        ),
        Reader(
            "adapter's weights",
            mutated(weights),
            _file(
                folder / "adapter_model.safetensors",
                lambda p: adapter_files._weights(str(folder), folder),
            ),
        ),
        Reader(
            "LLaVA-Med's config",
            of(mistral),
            _file(place / "llava/config.json", lambda p: llava_layout.read_config(p.parent)),
        ),
        Reader(
            "index of weights",
            of(index),
            _file(
                place / "llava/model.safetensors.index.json", lambda p: llava_med._files(p.parent)
            ),
            weight=0.5,
        ),
        Reader(
            "tokenizer.model",
            mutated(
                b"\n\x07\n\x05<unk>\x15\0\0\0\0\x18\x02\n\x08\n\x03\xe2\x96\x81\x15\0\0\x80\xbf"
            ),
            _file(place / "tokenizer.model", llava_med.read_pieces),
            weight=0.5,
        ),
        Reader(
            "own method's file", mutated(template), _file(place / "my_loss.py", own), weight=0.5
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
            _file(folder / "job.json", lambda p: job.read_job(folder)),
        ),
        Reader(
            "work folder: stage",
            of(state),
            _file(folder / "stage.json", lambda p: stage_cache.read_state(folder)),
        ),
    ]


def _texts() -> list[Reader]:
    pairs = st.tuples(WORDS, WORDS)

    def leaks(drawn: tuple[tuple[str, str], str]) -> None:
        (kind, value), text = drawn
        view = private_values.View(text)
        private_values.level(kind, value, view)
        find_values.Haystack([text, value]).search(kind, value)
        for written in (f"{text}\n. {value} .\n{text}", value):
            same("exact", private_values.level(kind, value, private_values.View(written)))
        same(
            True,
            private_values.level(kind, value.upper(), private_values.View(f"It is {value}."))
            in private_values.LEVELS[:2],
        )

    def any_value(drawn: tuple[str, str, str]) -> None:
        kind, value, text = drawn
        private_values.level(kind, value, private_values.View(text))
        find_values.Haystack([text]).search(kind, value)

    def real(text: str) -> None:
        for find in find_real_data.REAL.values():
            same(True, find(text) in text)

    def placed(drawn: tuple[tuple[str, str], str, str]) -> None:
        (kind, value), before, after = drawn
        row = record("q", f"{before} {value} {after}")
        for span in locate.spans(row, [(kind, value)]):
            same(span.value, getattr(row, span.field)[span.start : span.end])

    def scores(drawn: tuple[str, str]) -> None:
        said, due = drawn
        for value in (
            *metrics.rouge(said, due),
            metrics.bleu(said, due),
            metrics.corpus_bleu([said], [due]),
        ):
            same(True, 0 <= value <= 1.0000001)
        one, other = metrics.rouge1(said, due), metrics.rouge1(due, said)
        same(round(one, 9), round(other, 9))
        same(True, metrics.rouge1(due, due) in (0.0, 1.0))

    def answers(text: str) -> None:
        same(True, answer_text.yes_or_no(text) in ("yes", "no", ""))
        answer_text.refuses(text)
        answer_text.degenerate(text, "\nlung\nthe\n")
        for word in ("Yes", "No"):
            same(word.lower(), answer_text.yes_or_no(f"{word}."))

    stream = io.StringIO()
    out = console.SafeConsole(file=stream, width=60)

    def shown(text: str) -> None:
        stream.seek(0)
        stream.truncate()
        console.print_table(out, ("a", "#b"), [(text, 1)])
        same(stream.getvalue(), terminal.visible(stream.getvalue()))
        same(terminal.visible(text), terminal.visible(terminal.visible(text)))

    def written(text: str) -> None:
        from html import unescape

        from test_markdown import MD

        line = " ".join(text.replace("\0", "").split())
        page = MD.render(f"x {markdown.plain(line)} x").replace("<span></span>", "")
        same(f"<p>x {line} x</p>".replace("  ", " "), unescape(page).strip().replace("  ", " "))

    def cells(text: str) -> None:
        same(text, csv_tables.restored(csv_tables.defused(text)))

    def arguments(text: str) -> None:
        for read_it in (
            attack_kinds.parse,
            run_parts.parse_seeds,
            llm_settings.read_price,
            dataset_rows.split_config,
            own_methods.name_own,
        ):
            with contextlib.suppress(UserError):
                read_it(text)

    kinds, value = st.sampled_from([*VALUES.items()]), st.sampled_from([*VALUES])
    return [
        Reader("text: leaks of a value", st.tuples(kinds, WORDS), leaks, weight=2),
        Reader("text: leaks of any value", st.tuples(value, WORDS, WORDS), any_value, weight=1),
        Reader("text: real personal data", WORDS, real, weight=0.3),
        Reader("text: places of a value", st.tuples(kinds, TEXT, TEXT), placed, weight=1),
        Reader("text: ROUGE and BLEU", pairs, scores, weight=1),
        Reader("text: yes, no, refusal, gibberish", WORDS, answers, weight=5),
        Reader("text: on a terminal", TEXT, shown, weight=2),
        Reader("text: in Markdown", TEXT, written, weight=2),
        Reader("text: in a cell", TEXT, cells, weight=8),
        Reader("text: arguments", TEXT, arguments, weight=8),
    ]
