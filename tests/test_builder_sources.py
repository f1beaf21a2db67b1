"""Reading SLAKE and MM-Skin: what is kept, what is dropped, and one line for every bad input."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from corpora import (
    SMALL,
    builder,
    make_mm_skin,
    make_slake,
    mm_skin_repeats,
    mm_skin_rows,
    slake_row,
    slake_rows,
    zip_images,
)
from reviews import run

from builder.core.corpus import Corpus, shipped_mapping
from builder.core.stage_cache import Chain, Drop, Outcome, Stage
from builder.ingest import table
from builder.ingest.clean_rows import Rows, name_apart
from mllmu_med.csv_tables import read_csv
from mllmu_med_dataset import UserError


def read_slake(root: Path, work: Path, on_bad: Any = "fail") -> Outcome:
    return table.read(Corpus("slake", root, shipped_mapping("slake")), work, on_bad, b"")


def read_skin(root: Path, on_bad: Any = "fail", drop_talk: bool = False) -> Outcome:
    corpus = Corpus("mm_skin", root, shipped_mapping("mm_skin"))
    return table.read(corpus, root / "work", on_bad, b"", drop_talk)


def test_slake_official_layout(tmp_path: Path) -> None:
    root = make_slake(tmp_path / "Slake1.0", validate=slake_rows(70, 2))
    outcome = read_slake(root, tmp_path / "work")
    assert len(outcome.kept) == 12 * 6 + 4 * 6 + 2 * 6
    record = next(row for row in outcome.kept if row.id == "slake/xmlab3/301")
    assert record.image_path == "imgs/xmlab3/source.jpg"
    assert record.image_id == "slake/xmlab3"
    assert (record.modality, record.content_type, record.split) == ("CT", "Organ", "train")
    assert record.clean_question == record.question == "Where is the spleen in view 1?"
    assert {row.split for row in outcome.kept} == {"train", "test", "validate"}


def test_slake_hub_mirror_gives_the_same_records(tmp_path: Path) -> None:
    root = make_slake(tmp_path / "a", validate=slake_rows(70, 2))
    official = read_slake(root, tmp_path / "work-a")
    mirror = read_slake(zip_images(root), tmp_path / "work-b")
    assert (root / "validation.json").exists()
    assert mirror.kept == official.kept
    assert set(mirror.inputs) >= {"imgs.zip", "train.json", "validation.json"}


def test_images_may_lie_flat(tmp_path: Path) -> None:
    root = make_slake(tmp_path / "a")
    for folder in list((root / "imgs").iterdir()):
        folder.rename(root / folder.name)
    assert read_slake(root, tmp_path / "work").kept[0].image_path == "xmlab0/source.jpg"
    root = make_mm_skin(tmp_path / "m", mm_skin_rows(3))
    for path in list((root / "dataset").iterdir()):
        path.rename(root / path.name)
    assert read_skin(root).kept[0].image_path == "bk0_0.png"


def test_slake_drops_with_reasons(tmp_path: Path) -> None:
    train = [
        *slake_rows(0, 3),
        slake_row(0, 9001, "Was ist das?", "eins", q_lang="zh"),
        slake_row(0, 9006, "Qu'est-ce ?", "un", q_lang="fr"),
        slake_row(0, 9002, "Is it?", "  "),
        slake_row(0, 9003, " ", "Yes"),
        slake_row(1, 9004, "Which plane?", "Transverse  Plane"),
        slake_row(1, 9005, "Which plane?", "Transverse Plane"),
    ]
    outcome = read_slake(make_slake(tmp_path / "a", train), tmp_path / "work")
    assert [(drop.id.rpartition("/")[2], drop.reason) for drop in outcome.drops] == [
        ("9001", "not English"),
        ("9006", "not English"),
        ("9002", "empty answer"),
        ("9003", "empty question"),
        ("9005", "the same picture, question and answer as another row"),
        ("5000-2", "the same picture, question and answer as another row"),
    ]
    kept = next(row for row in outcome.kept if row.id.endswith("/9004"))
    assert kept.answer == "Transverse Plane"
    assert outcome.notes == {"white space tidied": 1}


def test_the_same_pair_in_another_form_or_file_is_a_duplicate(tmp_path: Path) -> None:
    """By the picture's bytes and the words, whatever their case: sets would share the row."""
    train = [
        slake_row(0, 9001, "Is the lung healthy?", "Yes"),
        slake_row(0, 9002, "is the  Lung healthy?", "yes"),
        slake_row(1, 9003, "Is the lung healthy?", "Yes"),
        slake_row(1, 9004, "Is the liver healthy?", "Yes"),
    ]
    root = make_slake(tmp_path / "s", train, test=[])
    one, two = (root / "imgs" / row["img_name"] for row in (train[0], train[2]))
    two.write_bytes(one.read_bytes())
    outcome = read_slake(root, tmp_path / "work")
    assert [row.id.rpartition("/")[2] for row in outcome.kept] == ["9001", "9004"]
    assert {drop.reason for drop in outcome.drops} == {
        "the same picture, question and answer as another row"
    }


def ids_apart(outcome: Outcome) -> list[str]:
    """The ids of an outcome, kept ones first; no two are the same."""
    ids = [row.id for row in outcome.kept] + [drop.id for drop in outcome.drops]
    assert len(set(ids)) == len(ids)
    return ids


def test_no_two_rows_of_slake_share_an_id(tmp_path: Path) -> None:
    """The kept ones are those of a corpus without repeats."""
    clean = read_slake(make_slake(tmp_path / "a", slake_rows(0, 12), slake_rows(50, 4)), tmp_path)
    assert [*clean.drops] == []
    repeated = read_slake(make_slake(tmp_path / "b"), tmp_path)
    assert repeated.kept == clean.kept
    ids = ids_apart(repeated)
    assert {"slake/xmlab0/0-2", "slake/xmlab0/0-3", "slake/xmlab50/5000-2"} < {*ids}
    assert {"slake/xmlab0/90010", *(f"slake/xmlab0/90010-{n}" for n in (2, 3, 4))} < {*ids}


def test_ids_of_rows_that_share_their_digits_do_not_depend_on_the_order(tmp_path: Path) -> None:
    rows = [*mm_skin_rows(3), *mm_skin_repeats()]
    here = read_skin(make_mm_skin(tmp_path / "a", rows))
    there = read_skin(make_mm_skin(tmp_path / "b", [*rows[:5], *rows[:4:-1]]))
    assert {row.id: row.answer for row in here.kept} == {row.id: row.answer for row in there.kept}
    assert sorted(ids_apart(here)) == sorted(ids_apart(there))


def test_repeats_of_rows_that_are_left_out_have_ids_of_their_own(tmp_path: Path) -> None:
    """Rows with a picture that cannot be used, and rows about the conversation."""
    talk = {"image": "dataset/bk1_1.png", "question": "Any other questions?", "answer": "No."}
    root = make_mm_skin(tmp_path / "m", [*mm_skin_rows(9), *mm_skin_repeats(), talk, talk])
    for name in ("dataset/bk0_0.png", "dataset/zz_copy.png"):
        (root / name).write_bytes(b"x")
    outcome = read_skin(root, "drop", True)
    assert {drop.reason for drop in outcome.drops} == {
        "empty question",
        "empty answer",
        "the same picture, question and answer as another row",
        "a refusal or about the conversation",
        "its picture is no picture",
    }
    ids_apart(outcome)


def test_a_made_id_is_nobody_elses(tmp_path: Path) -> None:
    """A row's own id may look like one that a repeat would be given."""
    record = read_slake(make_slake(tmp_path / "s", slake_rows(1, 1, 1), []), tmp_path).kept[0]
    twin = replace(record, id=f"{record.id}-2", question="Is it there?")
    found = Rows([record, twin], [Drop.of(record, "again"), Drop.of(record, "and again")])
    name_apart(found)
    assert found.records == [record, twin]
    assert [drop.id for drop in found.drops] == [f"{record.id}-3", f"{record.id}-4"]


def test_a_stage_that_gives_two_rows_one_id_is_stopped(tmp_path: Path) -> None:
    record = read_slake(make_slake(tmp_path / "s", slake_rows(1, 1, 1), []), tmp_path).kept[0]
    outcomes = (
        Outcome([record, record], []),
        Outcome([record], [Drop.of(record, "a repeat")]),
        Outcome([], [Drop.of(record, "one"), Drop.of(record, "two")]),
    )
    for outcome in outcomes:
        stage = Stage("ingest", 1, {}, lambda _, made=outcome: made)
        with pytest.raises(RuntimeError, match="ingest: 1 ids name two rows, the first is slake/"):
            Chain(tmp_path / "work").run(stage, "")
    assert Chain(tmp_path / "work").state("ingest") is None


def test_closed_means_yes_or_no(tmp_path: Path) -> None:
    """SLAKE's CLOSED covers 'Lung' and 'T2' too; the paper's accuracies do not."""
    answers = {"Yes": "closed", "no": "closed", "No.": "closed", "Lung": "open", "None": "open"}
    train = [slake_row(0, 9000 + n, f"Q{n}?", answer) for n, answer in enumerate(answers)]
    outcome = read_slake(make_slake(tmp_path / "a", train, test=[]), tmp_path / "work")
    assert {row.answer: row.answer_type for row in outcome.kept} == answers


@pytest.mark.parametrize("name", ["VQA.csv", "vqa.csv", "MM-Skin_test.csv"])
def test_mm_skin_names(name: str, tmp_path: Path) -> None:
    outcome = read_skin(make_mm_skin(tmp_path / "m", name=name))
    assert len(outcome.kept) == 82
    record = outcome.kept[0]
    assert record.image_id == "mm_skin/bk0_0.png"
    assert record.id.startswith("mm_skin/bk0_0.png/")
    assert (record.modality, record.split, record.context) == ("unknown", "", "")


def test_cells_stay_texts_and_rows_keep_their_numbers(tmp_path: Path) -> None:
    cells = ["NA", "None", "1e5", "007", "", "nan", "TRUE", "2020-01-01", "\x00 ", "a,b", "<NA>"]
    lines = "\r\n\r\n".join(f'"{cell}",x' for cell in cells)
    (tmp_path / "t.csv").write_bytes(f"\ufeffA ,mine\r\n{lines}".encode())
    rows = read_csv(tmp_path / "t.csv", ["a"], "")
    assert rows == {2 * at + 2: {"a": cell} for at, cell in enumerate(cells)}


def test_mm_skin_captions_give_modality_and_context(tmp_path: Path) -> None:
    root = make_mm_skin(tmp_path / "m", mm_skin_rows(5))
    (root / "caption.csv").write_text(
        "image,caption,modality,sex,age,cleaned_caption\n"
        "dataset/bk0_0.png,A plaque.,skin,,,\n"
        "bk1_1.png,Nests,Pathology,,,\n"
        "dataset/bk2_2.png,Network,Dermoscopy,,,\n"
        "dataset/bk3_3.png,Spongiosis,histology,,,\n",
        "utf-8",
    )
    outcome = read_skin(root)
    seen = {row.image_id.rpartition("/")[2]: (row.modality, row.context) for row in outcome.kept}
    assert seen == {
        "bk0_0.png": ("clinical", "A plaque."),
        "bk1_1.png": ("histopathology", "Nests"),
        "bk2_2.png": ("dermoscopy", "Network"),
        "bk3_3.png": ("histopathology", "Spongiosis"),
        "bk4_4.png": ("unknown", ""),
    }


def test_mm_skin_conversation_is_counted_and_dropped_on_request(tmp_path: Path) -> None:
    talk = "Is there anything else you would like to know about this image?"
    rows = [
        *mm_skin_rows(4),
        {"image": "dataset/bk0_0.png", "question": talk, "answer": "No."},
        {"image": "dataset/bk0_0.png", "question": "How old?", "answer": "I'm sorry, I cannot."},
        {"image": "dataset/bk0_0.png", "question": "Is there anything else?", "answer": "Scale."},
    ]
    root = make_mm_skin(tmp_path / "m", rows)
    kept = read_skin(root)
    assert kept.notes == {"refusals or about the conversation": 2}
    assert len(kept.kept) == len(rows)
    filtered = read_skin(root, "fail", True)
    assert len(filtered.kept) == len(rows) - 2


# Bad input. Each case changes good corpora and names what the one line must say.

Change = Callable[[Path], Any]


def gone(name: str) -> Change:
    return lambda root: (root / name).unlink()


def put(name: str, data: bytes) -> Change:
    return lambda root: (root / name).write_bytes(data)


def csv_text(text: str) -> Change:
    return put("skin/VQA.csv", text.encode())


def captions(text: str) -> Change:
    return put("skin/caption.csv", f"image,caption,modality\n{text}".encode())


def edit_row(file: str, number: int, **changes: Any) -> Change:
    def change(root: Path) -> None:
        rows = json.loads((root / file).read_text("utf-8"))
        rows[number].update(changes)
        for key in [key for key, value in changes.items() if value is ...]:
            del rows[number][key]
        (root / file).write_text(json.dumps(rows, default=str), "utf-8")

    return change


def broken_zip(root: Path) -> None:
    (zip_images(root / "slake") / "imgs.zip").write_bytes(b"PK\3\4 no")


def damaged_entry(root: Path) -> None:
    path = zip_images(root / "slake") / "imgs.zip"
    data = bytearray(path.read_bytes())
    data[200:240] = b"\xff" * 40
    path.write_bytes(bytes(data))


def two_bad(root: Path) -> None:
    for number in (2, 3):
        (root / f"slake/imgs/xmlab{number}/source.jpg").write_bytes(b"x")


def bomb(root: Path) -> None:
    from test_builder_image_files import png_of

    (root / "skin/dataset/bk0_0.png").write_bytes(png_of(12_000, 12_000))


HEAD = "image,question,answer\n"
TRAIN, TEST = "slake/train.json", "slake/test.json"
PIC = "slake/imgs/xmlab2/source.jpg"
BAD: dict[str, tuple[Change, list[str]]] = {
    "no train.json": (gone(TRAIN), ["holds none of train.json", "give SLAKE's own folder"]),
    "an object for an answer": (
        edit_row(TRAIN, 4, answer={"a": 1}),
        ["train.json, row 5 (qid 4): answer is an object", "correct the row"],
    ),
    "an unknown modality": (
        edit_row(TRAIN, 2, modality="PET"),
        ["row 3 (qid 2): modality is 'PET'", "CT, MRI, X-Ray"],
    ),
    "a doubled qid": (
        edit_row(TEST, 0, qid=3),
        ["test.json, row 1 (qid 3): its qid stands in", "train.json, row 4", "another image"],
    ),
    "an absolute picture path": (
        edit_row(TRAIN, 10, img_name="/etc/passwd"),
        ["row 11 (qid 104): image", "slake/imgs/passwd is not there"],
    ),
    "a missing picture": (
        gone(PIC),
        ["row 13 (qid 200): image", "xmlab2/source.jpg is not there", "bad_pictures=drop"],
    ),
    "no picture at all": (put(PIC, b"not a picture"), ["xmlab2/source.jpg is no picture"]),
    "two bad pictures": (two_bad, ["is no picture (and 1 more images)"]),
    "a broken zip": (broken_zip, ["imgs.zip: a broken zip file"]),
    "no annotations": (gone("skin/VQA.csv"), ["holds none of VQA.csv, vqa.csv, MM-Skin_test.csv"]),
    "a column twice": (
        csv_text("image,question,answer,answer\na.png,Q,A,B\n"),
        ["VQA.csv: row 1 has the column answer twice: name one of them otherwise"],
    ),
    "a damaged zip entry": (damaged_entry, ["imgs.zip: a broken zip file"]),
    "a name that no file can have": (
        csv_text(HEAD + "x" * 300 + ".png,Q,A\n"),
        ["xxx.png cannot be read (File name too long)"],
    ),
    "a bomb": (bomb, ["bk0_0.png has 12,000 x 12,000 pixels, over the limit"]),
    "an unknown skin modality": (
        captions("a.png,c,XR\n"),
        ["caption.csv, row 2: modality is 'XR'"],
    ),
    "two captions": (
        captions("a.png,c,skin\na.png,d,skin\n"),
        ["caption.csv, row 3: differs from", "row 2", "image 'a.png': remove one"],
    ),
    "fewer rows than asked for": (
        lambda root: make_slake(root / "slake", train=slake_rows(0, 2)),
        ["asks for 48 training rows", "the source has 12"],
    ),
    "fewer test rows than asked for": (
        lambda root: make_slake(root / "slake", test=slake_rows(50, 1)),
        ["asks for 10 test rows, the source has 6", "--set privacy.test=6"],
    ),
}


def rebuild(tmp_path: Path, *more: str, code: int = 0) -> Any:
    sources = ["--slake", tmp_path / "slake", "--mm-skin", tmp_path / "skin"]
    return run("rebuild", *sources, *SMALL, "--out", tmp_path / "out", *more, code=code)


@pytest.mark.parametrize("case", BAD)
def test_bad_input_gets_one_line(case: str, tmp_path: Path) -> None:
    change, parts = BAD[case]
    make_slake(tmp_path / "slake")
    make_mm_skin(tmp_path / "skin")
    change(tmp_path)
    result = rebuild(tmp_path, code=1)
    errors = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1
    assert result.stderr.splitlines()[-1] == errors[0]
    for part in parts:
        assert part in errors[0]
    assert not (tmp_path / "out").exists()


def test_bad_images_can_be_dropped(tmp_path: Path) -> None:
    root = make_slake(tmp_path / "slake")
    (tmp_path / PIC).unlink()
    (root / "imgs/xmlab3/source.jpg").write_bytes(b"x")
    outcome = read_slake(root, tmp_path / "work", "drop")
    bad = [drop for drop in outcome.drops if drop.reason.startswith("its picture")]
    assert sorted({(drop.id.split("/")[1], drop.reason) for drop in bad}) == [
        ("xmlab2", "its picture is not there"),
        ("xmlab3", "its picture is no picture"),
    ]
    assert len(bad) == 12


def test_a_restored_image_is_noticed(tmp_path: Path) -> None:
    make_slake(tmp_path / "slake")
    make_mm_skin(tmp_path / "skin")
    image_file = tmp_path / PIC
    data = image_file.read_bytes()
    more = ("--set", "privacy.bad_pictures=drop", "--until", "ingest", "--json")
    for broken in (None, b"x"):
        image_file.unlink()
        if broken:
            image_file.write_bytes(broken)
        assert json.loads(rebuild(tmp_path, *more).stdout)["ran"][0] == "privacy/ingest"
        image_file.write_bytes(data)
        assert json.loads(rebuild(tmp_path, *more).stdout)["ran"][0] == "privacy/ingest"
        assert json.loads(rebuild(tmp_path, *more).stdout)["ran"] == []


def test_two_annotation_files_are_no_reason_to_read_again(tmp_path: Path) -> None:
    make_slake(tmp_path / "slake")
    make_mm_skin(tmp_path / "skin")
    make_mm_skin(tmp_path / "skin", mm_skin_rows(3), name="MM-Skin_test.csv")
    more = ("--until", "ingest", "--json")
    ran = [json.loads(rebuild(tmp_path, *more).stdout)["ran"] for _ in range(2)]
    assert ran == [["privacy/ingest", "incorrect/ingest"], []]


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file(tmp_path: Path) -> None:
    root = make_slake(tmp_path / "slake")
    (root / "train.json").chmod(0)
    with pytest.raises(UserError, match="cannot be read"):
        read_slake(root, tmp_path / "work")


def test_real_corpora_need_their_flags(tmp_path: Path) -> None:
    result = run("rebuild", "--recipe", "paper", "--out", tmp_path / "o", code=1)
    assert "give it with --slake DIR (or --slake hub)" in result.stderr


def test_a_corpus_that_is_not_there_changes_nothing(tmp_path: Path) -> None:
    """The work folder would belong to a build that never was."""
    words = ("--recipe", "paper", "--slake", "Slake1.0", "--mm-skin", "MM-Skin")
    said = builder("rebuild", *words, cwd=tmp_path, code=1).stderr
    assert "Slake1.0: no such file or folder: give its folder, or --slake hub" in said
    assert not [*tmp_path.iterdir()]
