"""The readers that `fuzz.py` tries: corpora, images, dataset folders and models' files."""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from corpora import TRIAL, builder, image_data
from fuzz import Reader, as_csv, as_json, as_lines, from_file, mutated, odd_tree, of, same
from hypothesis import strategies as st

from baselines import llava_layout, llava_med, own_methods
from builder.core.corpus import Corpus, Mapping
from builder.dataset_folder import manifest, read, read_rows
from builder.ingest import read_table, table
from builder.ingest.guess_mapping import guess_mapping
from eval import adapter_files
from mllmu_med.card_head import CardHeadError, read_card_head
from mllmu_med.image_bytes import ImageError, clean, clean_image
from mllmu_med_dataset import _check_folder

ROWS = [{"file": f"{n}.png", "question": f"Where is it, {n}?", "answer": "Left"} for n in range(2)]


def small_dataset(place: Path) -> Path:
    builder(*TRIAL, cwd=place)
    return place / "mllmu-med"


def corpora(place: Path) -> list[Reader]:
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
    unzip = from_file(
        place / "zipped/imgs.zip", lambda _: table.read(source, place / "zw", "drop", b"key")
    )
    return [
        *(
            Reader(f"corpus: {n}", of(t, w), from_file(root / f"t.{n}", whole), weight=k)
            for n, t, w, k in kinds
        ),
        Reader("corpus: zip of images", mutated(packed.getvalue()), unzip),
    ]


def images() -> list[Reader]:
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


def folders(place: Path, data: Path) -> list[Reader]:
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
            from_file(folder / "provenance/manifest.json", of_manifest),
            weight=0.5,
        ),
        Reader(
            "dataset: card's head",
            heads,
            from_file(place / "card/README.md", of_card),
            (CardHeadError,),
            0.7,
        ),
        Reader(
            "dataset: Parquet",
            mutated((data / name).read_bytes()),
            from_file(place / "t.parquet", rows),
            weight=0.5,
        ),
        Reader(
            "dataset: patients",
            of(people, as_lines),
            from_file(folder / "provenance/profiles.jsonl", profiles),
        ),
    ]


def models(place: Path) -> list[Reader]:
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
            from_file(
                folder / "adapter_config.json", lambda p: adapter_files._config(str(folder), folder)
            ),
            weight=0.3,
        ),
        Reader(
            "adapter's weights",
            mutated(weights),
            from_file(
                folder / "adapter_model.safetensors",
                lambda p: adapter_files._weights(str(folder), folder),
            ),
        ),
        Reader(
            "LLaVA-Med's config",
            of(mistral),
            from_file(place / "llava/config.json", lambda p: llava_layout.read_config(p.parent)),
        ),
        Reader(
            "index of weights",
            of(index),
            from_file(
                place / "llava/model.safetensors.index.json", lambda p: llava_med._files(p.parent)
            ),
            weight=0.5,
        ),
        Reader(
            "tokenizer.model",
            mutated(
                b"\n\x07\n\x05<unk>\x15\0\0\0\0\x18\x02\n\x08\n\x03\xe2\x96\x81\x15\0\0\x80\xbf"
            ),
            from_file(place / "tokenizer.model", llava_med.read_pieces),
            weight=0.5,
        ),
        Reader(
            "own method's file", mutated(template), from_file(place / "my_loss.py", own), weight=0.5
        ),
    ]
