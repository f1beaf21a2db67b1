"""`load(images=...)`: pictures that rows only name, put back when they are the very ones."""

import shutil
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from corpora import command, image_data
from PIL import Image
from typer.testing import CliRunner

from builder.__main__ import app
from builder.audit.run_checks import run
from builder.dataset_folder.manifest import read_manifest
from builder.hub.folder import make_variant
from eval.dataset_rows import DatasetImages, read_rows
from eval.lmms_tasks.functions import doc_to_visual
from mllmu_med.image_bytes import ImageError
from mllmu_med.image_folder import VARIABLE, Images
from mllmu_med_dataset import UsageError, UserError, by_picture, load


@pytest.fixture(scope="module")
def references(small_build: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small build with all its pictures by reference."""
    folder = small_build / "mllmu-med"
    target = tmp_path_factory.mktemp("references")
    modes = {"privacy": "reference", "incorrect": "reference"}
    given: dict[str, Any] = {"repo": "a/b", "gated": None, "results": None}
    make_variant(folder, read_manifest(folder), target, modes, **given)
    return target


def sizes(data: Any) -> set[tuple[int, int]]:
    return {row["image"].size for row in data}


def unpacked(source: Path, target: Path) -> Path:
    with zipfile.ZipFile(source / "imgs.zip") as packed:
        packed.extractall(target)
    return target


def flat(source: Path, target: Path) -> Path:
    """All pictures of MM-Skin in one folder."""
    target.mkdir()
    for path in source.rglob("*.png"):
        shutil.copy(path, target / path.name)
    return target


@pytest.mark.parametrize(
    ("config", "arrange"),
    [
        ("privacy", lambda root, _: root / "slake"),
        ("privacy", lambda root, place: unpacked(root / "slake", place)),
        ("privacy", lambda root, place: unpacked(root / "slake", place) / "imgs"),
        ("incorrect", lambda root, _: root / "mm_skin"),
        ("incorrect", lambda root, _: root / "mm_skin/dataset"),
        ("incorrect", lambda root, place: flat(root / "mm_skin", place)),
    ],
    ids=["packed", "unpacked", "inside imgs", "as built", "inside dataset", "flat"],
)
def test_they_are_found_however_they_lie(
    config: str,
    arrange: Callable[[Path, Path], Path],
    references: Path,
    small_build: Path,
    tmp_path: Path,
) -> None:
    images = arrange(small_build, tmp_path / "images")
    mapped = load(config, references, images=images, split="forget")
    whole = load(config, small_build / "mllmu-med", split="forget")
    assert mapped.features == whole.features
    for ours, one in zip(whole, mapped, strict=True):
        assert {**one, "image": 0} == {**ours, "image": 0}
        assert one["image"].tobytes() == ours["image"].tobytes()
    assert len(list(by_picture(mapped))) == len(set(mapped["image_id"]))


@pytest.mark.parametrize(
    "arrange",
    [
        lambda root, _: {"privacy": root / "slake", "incorrect": root / "mm_skin"},
        lambda root, place: {
            "privacy": unpacked(root / "slake", place) / "imgs",
            "incorrect": flat(root / "mm_skin", place / "flat"),
        },
    ],
    ids=["packed and as built", "inside imgs and flat"],
)
def test_audited_alike(arrange: Any, references: Path, small_build: Path, tmp_path: Path) -> None:
    images = arrange(small_build, tmp_path / "images")
    looked = {check.name: check for check in run(references, images)}
    for name in ("images decode", "image hashes match their rows"):
        assert (looked[name].failed, looked[name].note) == ([], "")
        assert looked[name].checked > 50
    if "imgs" in str(images["privacy"]):  # unpacked: one is another image now
        one, other, *_ = sorted(images["privacy"].rglob("*.jpg"))
        shutil.copyfile(one, other)
        failed = {check.name: check.failed for check in run(references, images) if not check.ok}
        assert [*failed] == ["image hashes match their rows"]


def test_the_audit_takes_folders(references: Path, small_build: Path, monkeypatch: Any) -> None:
    def audit(*words: str, code: int) -> str:
        found = CliRunner().invoke(app, ["audit", str(references), *words])
        assert found.exit_code == code, found.output
        return str(found.output)

    each = [f"--images=privacy={small_build}/slake", f"--images=incorrect={small_build}/mm_skin"]
    assert "not looked at" not in audit(*each, code=0)
    assert "rows by reference: not looked at" in audit(each[0], code=0)
    assert "is not there" in audit("--images", f"{small_build}/slake", code=1)
    assert "one folder for all, or one NAME=DIR" in audit(each[0], "--images=.", code=2)
    monkeypatch.setenv(VARIABLE, f"{small_build}/slake")
    assert "is not there" in audit(code=1)


@pytest.mark.parametrize(
    ("built", "lies"),
    [
        ("bk/1.png", "dataset/bk/1.png"),
        ("xmlab1/source.jpg", "imgs/xmlab1/source.jpg"),
        ("dataset/bk/1.png", "1.png"),
        ("imgs/xmlab1/source.jpg", "xmlab1/source.jpg"),
    ],
)
def test_a_image_may_lie_higher_or_lower(built: str, lies: str, tmp_path: Path) -> None:
    data = image_data(1, kind="PNG")
    (tmp_path / lies).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / lies).write_bytes(data)
    found = Images(tmp_path).find(built, sha256(data).hexdigest())
    assert (found.place, found.data) == (str(tmp_path / lies), data)


def test_the_sources_metadata_is_fine(references: Path, small_build: Path, tmp_path: Path) -> None:
    images = unpacked(small_build / "slake", tmp_path / "images")
    for path in images.rglob("*.jpg"):
        data = path.read_bytes()
        path.write_bytes(data[:2] + b"\xff\xfe\x00\x0cJohn Smith" + data[2:])  # a JPEG comment
    assert sizes(load("privacy", references, images=images, split="test")) == {(48, 48)}


def test_missing_images_are_counted(references: Path, small_build: Path, tmp_path: Path) -> None:
    images = unpacked(small_build / "slake", tmp_path / "images")
    names = sorted({row.image_path for row in read_rows(references, "privacy")})
    (images / names[0]).unlink()
    (images / names[1]).write_bytes(image_data(9999))
    (images / names[2]).write_bytes(b"no picture")
    said = rf"config privacy: 3 of {len(names)} images cannot be put back from .*images, "
    said += rf"the first being {names[0]} \(is not there\): give the whole folder"
    with pytest.raises(UserError, match=said):
        load("privacy", references, images=images)
    with pytest.raises(UsageError, match="load them without streaming"):
        load("privacy", references, images=images, streaming=True, split="test")
    (images / names[0]).write_bytes(image_data(0, kind="PNG"))
    with pytest.raises(UserError, match="another image than the dataset was built from"):
        load("privacy", references, images=images)


def test_paths_that_climb_out_are_not_followed(references: Path, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "secret.png").write_bytes(image_data(1, kind="PNG"))
    for name in ("../secret.png", str(tmp_path / "secret.png")):
        with pytest.raises(ImageError, match=r"climbs out|not a path inside"):
            Images(tmp_path / "images").find(name, "")


def test_rows_that_hold_their_image_keep_it(small_build: Path, tmp_path: Path) -> None:
    whole = small_build / "mllmu-med"
    assert sizes(load("privacy", whole, images={"privacy": tmp_path}, split="test")) == {(48, 48)}
    with pytest.raises(UserError, match=r"images .*nowhere: no such folder"):
        load("privacy", whole, images="nowhere")
    with pytest.raises(UsageError, match="images of 'privat': use privacy or incorrect"):
        load("privacy", whole, images={"privat": tmp_path})


def test_columns_that_name_the_images_are_needed(references: Path, small_build: Path) -> None:
    images = small_build / "slake"
    assert load("privacy", references, images=images, columns=["id"])["test"].column_names == ["id"]
    with pytest.raises(UsageError, match="image_path and image_sha256"):
        load("privacy", references, images=images, columns=["id", "image"])


def test_a_broken_archive_is_one_line(references: Path, tmp_path: Path) -> None:
    (tmp_path / "imgs.zip").write_bytes(b"PK broken")
    with pytest.raises(UserError, match=r"imgs\.zip: a broken zip file"):
        load("privacy", references, images=tmp_path)


def test_looking_at_a_missing_image(references: Path, small_build: Path, monkeypatch: Any) -> None:
    """Texts can be read; whoever wants pictures is told how to get them."""
    assert len(read_rows(references, "privacy", ["forget"])) == 6
    rows = load("privacy", references, split="forget")
    assert rows[0]["image"] is None
    said = f"name their images by path only: set {VARIABLE} to the folder of their source"
    with pytest.raises(UserError, match=said):
        next(by_picture(rows))
    with pytest.raises(UserError, match=f"config privacy: its rows {said}"):
        DatasetImages(references, "privacy", ["forget"])
    with pytest.raises(UserError, match=said):
        doc_to_visual(rows[0])
    monkeypatch.setenv(VARIABLE, str(small_build / "slake"))
    found = DatasetImages(references, "privacy", ["forget"])[rows[0]["image_id"]]
    assert isinstance(found, Image.Image)
    assert doc_to_visual(rows[0])[0].tobytes() == found.tobytes()
    assert sizes(load("privacy", references, split="test")) == {(48, 48)}
    monkeypatch.setenv(VARIABLE, str(small_build / "mm_skin"))
    with pytest.raises(UserError, match="its image cannot be put back"):
        doc_to_visual(rows[0])


@pytest.mark.slow
def test_commands_say_it_on_one_line(references: Path, tmp_path: Path) -> None:
    from tiny_llava import make

    model = make(tmp_path / "model", ["Where is it? On the left."])
    given = ("--model", model, "--data", references, "--config", "privacy")
    commands = (
        ("eval", "answer", *given, "--out", "answers.jsonl"),
        ("baselines", "finetune", *given, "--out", "run"),
    )
    for module, *rest in commands:
        done = command(module, *rest, cwd=tmp_path, code=1)
        assert "Traceback" not in done.stderr
        assert f"set {VARIABLE}" in done.stderr.strip().splitlines()[-1]
