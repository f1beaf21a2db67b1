"""Tables of any kind become the same records; what is broken is named as what it is."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import datasets
import pandas as pd
import pytest
from corpora import image_data
from fakehub import folder_hub, serve
from hubsite import as_set

from builder.core.corpus import Corpus, Mapping, Marks
from builder.core.stage_cache import Outcome
from builder.ingest import hub_source, table
from builder.ingest.read_table import open_table
from mllmu_med_dataset import UserError, load

MAPPING: dict[str, Any] = {"image": "file", "question": "question", "answer": "answer"}
TEXTS = ["NA", "007", 'said "no"; twice', "Über, 1e5", "Yes", "None"]
ROWS = [
    {"file": f"scans/{n // 2}.png", "question": f"Où est {n} ?", "answer": text}
    for n, text in enumerate(TEXTS)
]


def with_images(folder: Path) -> Path:
    (folder / "scans").mkdir(parents=True)
    for number in range(3):
        (folder / f"scans/{number}.png").write_bytes(image_data(number, 8, "PNG"))
    return folder


def read(
    path: Path,
    marks: Marks | None = None,
    on_bad: Any = "fail",
    key: bytes = b"key",
    **mapping: Any,
) -> Outcome:
    """Records of a table; its stage's folder is `work` beside it."""
    whole = Mapping.model_validate({**MAPPING, "names": "kept", **mapping})
    corpus = Corpus("table", path, whole, marks or Marks())
    return table.read(corpus, path.with_name("work"), on_bad, key)


def write_csv(rows: list[dict[str, Any]], path: Path, sep: str = ",", head: str = "") -> None:
    text = pd.DataFrame(rows).to_csv(index=False, sep=sep, lineterminator="\r\n")
    path.write_text(head + text, "utf-8")


def write_lines(rows: list[dict[str, Any]], path: Path) -> None:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def save(rows: list[dict[str, Any]], path: Path) -> None:
    with_images(path)
    split = datasets.Dataset.from_list(rows)
    datasets.DatasetDict({"train": split}).save_to_disk(path)


def split_files(rows: list[dict[str, Any]], path: Path) -> None:
    with_images(path)
    for name, some in {"train-0": rows[:2], "train-1": rows[2:4], "validation": rows[4:]}.items():
        pd.DataFrame(some).to_parquet(path / f"{name}.parquet")


Write = Callable[[list[dict[str, Any]], Path], None]
FORMATS: dict[str, tuple[str, Write]] = {
    "CSV": ("t.csv", write_csv),
    "TSV with a byte order mark": (
        "t.tsv",
        lambda *to: write_csv(*to, "\t", "\ufeff"),
    ),
    "semicolons": ("t.csv", lambda rows, path: write_csv(rows, path, ";")),
    "Excel's first line": ("t.csv", lambda rows, path: write_csv(rows, path, ";", "sep=;\r\n")),
    "Excel's Unicode text": (
        "t.csv",
        lambda rows, path: path.write_text(
            pd.DataFrame(rows).to_csv(index=False, sep="\t"), "utf-16"
        ),
    ),
    "blank lines first": ("t.csv", lambda rows, path: write_csv(rows, path, ";", "\n ;;\n")),
    "a first column pk": (
        "t.csv",
        lambda rows, path: write_csv([{"pk": 1, **row} for row in rows], path),
    ),
    "JSON in UTF-16": ("t.json", lambda rows, path: path.write_text(json.dumps(rows), "utf-16")),
    "a JSON array": ("t.json", lambda rows, path: path.write_text(json.dumps(rows, indent=1))),
    "JSON lines": ("t.jsonl", write_lines),
    "JSON lines as .json": ("t.json", write_lines),
    "Parquet": ("t.parquet", lambda rows, path: pd.DataFrame(rows).to_parquet(path)),
    "save_to_disk": ("saved", save),
    "a folder of splits": ("split", split_files),
    "Excel": ("t.xlsx", lambda rows, path: pd.DataFrame(rows).to_excel(path, index=False)),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_gives_the_same_records(kind: str, tmp_path: Path) -> None:
    name, write = FORMATS[kind]
    if kind == "Excel":
        pytest.importorskip("openpyxl")
    with_images(tmp_path / "a[1]")  # a path with brackets
    write(ROWS, tmp_path / "a[1]" / name)
    outcome = read(tmp_path / "a[1]" / name)
    assert [(row.question, row.answer) for row in outcome.kept] == [
        (row["question"], row["answer"]) for row in ROWS
    ]
    assert outcome.kept[3].image_id == "table/scans/1.png"
    splits = {"save_to_disk": ["train"] * 6, "a folder of splits": 4 * ["train"] + 2 * ["validate"]}
    assert [row.split for row in outcome.kept] == splits.get(kind, [""] * 6)


HEAD = b"file,question,answer\n"
PARQUET = b"PAR1" + bytes(40)
BROKEN: dict[str, tuple[str, bytes, str]] = {
    "an LFS pointer": ("a.csv", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
    "a web page": ("a.json", b"\n<!DOCTYPE html><html>", "is a web page, not data"),
    "nothing": ("a.csv", b" \n", "is empty: restore it"),
    "a zip file": ("a.csv", b"PK\3\4\0\0", "is a zip file: unpack it"),
    "gzip": ("a.csv", b"\x1f\x8b\x08", "is compressed: unpack it"),
    "an old Excel file": ("a.xlsx", b"\xd0\xcf\x11\xe0", "an old or an encrypted Excel file"),
    "another kind": ("a.docx", b"PK", "a table is one of .csv, .json"),
    "a git-annex pointer": ("a.json", b"/annex/objects/MD5E-s1--a.json\n", "git annex get"),
    "a Xet pointer": ("a.parquet", b"# xet version 0\nfilesize = 1\n", "is a pointer of Xet"),
    "a web page for a zip file": ("a.zip", b"<!DOCTYPE html>", "is a web page, not data"),
    "a packed table": ("a.csv.gz", b"\x1f\x8b\x08", "is compressed: unpack it"),
    "half of UTF-16": ("a.csv", "file".encode("utf-16")[:-1], "it is cut off in UTF-16"),
    "another text": ("a.csv", HEAD + b"a,\x81\x81,b", "not UTF-8 (byte 23): save it"),
    "an object of rows": ("a.json", b'{"1": {"a": 1}}', "not a list of rows but one object"),
    "an object of columns": ("a.json", b'{"a": ["1", "2"]}', "not a list of rows but one object"),
    "cp1252": ("a.csv", HEAD + "a,Où,é".encode("cp1252"), "byte 24; it may be cp1252"),
    "half a CSV": ("a.csv", HEAD + b"a,b,c\na,b", "row 3: not 3 values"),
    "half a quote": ("a.csv", HEAD + b'a,"b', "row 2: broken CSV"),
    "half an array": (
        "a.json",
        b'[{"a": 1}, {"a',
        "(char 12); the file is cut off): restore",
    ),
    "half a line": ("a.jsonl", b'{"a": 1}\n{"a', "; the file is cut off): restore"),
    "half a Parquet file": ("a.parquet", PARQUET, "no whole Parquet file"),
    "another form": ("a.json", b'{"rows": []}', "not a list of rows"),
    "no object": ("a.json", b"[3]", "row 1: is not a JSON object"),
    "too long a row": ("a.csv", HEAD + b"a,b,c,d\n", "row 2: not 3 values as in the header"),
    "half a character": ("a.json", b'[{"a": "\\ud800"}]', "row 1: holds half a character"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_named_as_what_it_is(kind: str, tmp_path: Path) -> None:
    name, data, message = BROKEN[kind]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError) as caught:
        list(open_table(tmp_path / name).rows)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path / name))


WRONG: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a URL": ({"file": "https://x.org/Ana.png"}, {}, "is a URL: download the images"),
    "a climbing path": ({"file": "../Ana.png"}, {}, "climbs out"),
    "two images": ({"file": ["Ana.png", "b.png"]}, {}, "a list of 2 images"),
    "a formula that went wrong": ({"answer": "#N/A"}, {}, "answer is #N/A, what a spreadsheet"),
    "true for an answer": ({"answer": True}, {}, "answer is true or false"),
    "an unknown split": ({"s": "Ana"}, {"split": "s"}, "s is another word: expected train"),
    "no split": ({"s": ""}, {"split": "s"}, "s is empty: expected train"),
    "no patient": ({"p": " "}, {"patient": "p"}, "p is empty (of merged cells"),
    "no id": ({"n": None}, {"id": "n"}, "n is empty"),
    "an unknown code": (
        {"m": "Ana"},
        {"modality": "m", "codes": {"modality": {"ct": "CT"}}},
        "modality is another word: expected one that begins with ct",
    ),
    "no image": ({"file": ""}, {}, "image is not named: restore it, or leave its rows out"),
    "a missing image": ({"file": "Ana.png"}, {}, "image is not there: restore it"),
    "no answer": ({"answer": ...}, {}, "row 1: has no 'answer'"),
    "no such column": ({}, {"patient": "Filee"}, "has no column Filee (it has file, question"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_cell_is_one_line_without_its_text(kind: str, tmp_path: Path) -> None:
    """The corpus is somebody's own: the message names the file and the row alone."""
    cell, mapping, message = WRONG[kind]
    path = with_images(tmp_path / "Own") / "t.json"
    row = {name: value for name, value in {**ROWS[4], **cell}.items() if value is not ...}
    path.write_text(json.dumps([row, *ROWS[:4]]))
    with pytest.raises(UserError) as caught:
        read(path, names="keyed", **mapping)
    assert message in str(caught.value)
    assert "t.json" in str(caught.value)
    assert "Ana" not in str(caught.value)


#: As a clerk writes it: blanks, a path of another machine, a patient in two spellings, no answer,
#: a picture that is gone, and a pair that is said of two rows.
CLERK = """\
Bild;Frage;Antwort;Patient;Name;MRN;weg;neu
C:\\Users\\x\\scans\\0.png;Wer ist das?;Das ist  Ana Müller.;P-1;Ana Müller;007;ja;Eine Frau.
scans/0.png;Alt?;Ja;p-1 ;Ana Müller;007;nein;
scans/1.png;Alt?;;P-2;Bo Ek;12;;
gone.png;Alt?;Ja;P-2;Bo Ek;12;;
scans/1.png;Alt?;Yes;P-2;Bo Ek;12;;
scans/1.png;Alt?;yes;P-2;Bo Ek;12;ja;
;;;;;;;
"""
COLUMNS: dict[str, Any] = {
    "image": "Bild",
    "question": "Frage",
    "answer": "Antwort",
    "patient": "Patient",
    "clean_answer": "neu",
    "values": {"name": "Name", "mrn": "MRN"},
    "names": "keyed",
}


def test_ones_own_patients_leave_no_name(tmp_path: Path) -> None:
    path = with_images(tmp_path / "Own") / "Müller.csv"
    path.write_text(CLERK, "utf-8")
    outcome = read(path, Marks("weg"), "drop", **COLUMNS)
    forget, repeat, other = outcome.kept
    assert [row.split for row in outcome.kept] == ["forget", "forget", ""]
    assert (forget.answer, forget.clean_answer) == ("Das ist Ana Müller.", "Eine Frau.")
    assert (repeat.answer, repeat.clean_question, repeat.clean_answer) == ("yes", "", "")
    assert forget.private == (("name", "Ana Müller"), ("mrn", "007"))
    assert forget.patient_id == other.patient_id != repeat.patient_id
    assert outcome.notes == {
        "white space tidied": 1,
        "absolute image paths, looked for by their last parts": 1,
        "repeats of a row in another split": 1,
    }
    assert sorted(drop.reason for drop in outcome.drops) == [
        "empty answer",
        "its picture is not there",
        "the same picture, question and answer as another row",
    ]
    copies = {f"{row.image_id.removeprefix('table/')}.png" for row in outcome.kept}
    assert {row.image_path for row in outcome.kept} == copies
    assert {file.name for file in (tmp_path / "Own/work/pictures").iterdir()} == copies
    names = tmp_path / "Own/work/names.jsonl"
    assert names.stat().st_mode & 0o777 == 0o600
    known = {row["pseudonym"]: row["name"] for row in map(json.loads, names.open(encoding="utf-8"))}
    assert known[forget.patient_id] == "P-1"
    assert known[forget.image_path.removesuffix(".png")] == "scans/0.png"
    ids = [row.id for row in (*outcome.kept, *outcome.drops)]
    assert all(name not in " ".join(ids) for name in ("P-", "scans", "gone", "ller"))
    again = read(path, Marks("weg"), "drop", key=b"another", **COLUMNS)
    assert not {row.id for row in again.kept} & {*ids}


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        (Marks(patients=frozenset({"P-1", "P-9"})), "1 of the 2 ids or patients to be forgotten"),
        (Marks(ids=frozenset({"1"})), "give --map id=COLUMN"),
        (Marks("neuu"), "has no column neuu"),
        (Marks("weg"), "no row is marked in the column weg"),
    ],
)
def test_marks_that_mark_nothing_are_refused(marks: Marks, message: str, tmp_path: Path) -> None:
    path = with_images(tmp_path / "Own") / "t.csv"
    path.write_text(CLERK.replace(";ja;", ";0;"), "utf-8")
    with pytest.raises(UserError, match=message):
        read(path, marks, "drop", **COLUMNS)


def test_rows_hold_images_answers_and_options_in_many_ways(tmp_path: Path) -> None:
    images = [image_data(number, 8, "PNG") for number in range(2)]
    rows = [
        {"i": [{"bytes": images[0], "path": None}], "a": ["", "b"], "o": ["A: x", "B: y"], "s": 1},
        {"i": [{"bytes": images[0], "path": None}], "a": ["x"], "o": ["A. x", "y"], "s": 0},
        {"i": [{"bytes": images[1], "path": "b.png"}], "a": ["No"], "o": [], "s": 0},
    ]
    split = datasets.Dataset.from_list([{**row, "q": {"text": "Which?"}} for row in rows])
    split = split.cast_column("s", datasets.ClassLabel(names=["dev", "training"]))
    split.to_parquet(tmp_path / "t.parquet")
    columns = {"image": "i", "question": "q.text", "answer": "a", "options": ["o"], "split": "s"}
    outcome = read(tmp_path / "t.parquet", **columns)
    assert [(row.question, row.answer, row.split) for row in outcome.kept] == [
        ("Which? (A) x (B) y", "y", "train"),
        ("Which? (A) A. x (B) y", "x", "validate"),
        ("Which?", "No", "validate"),
    ]
    assert len({row.image_id for row in outcome.kept}) == 2
    copies = tmp_path / "work/pictures"
    assert [(copies / row.image_path).read_bytes() for row in outcome.kept] == [
        images[0],
        images[0],
        images[1],
    ]
    assert not (tmp_path / "work/raw").exists()


def test_a_dataset_on_the_hub_is_read_at_one_commit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = with_images(tmp_path / "files")
    write_csv(ROWS, files / "train.csv")
    commit = "c" * 40
    with serve(folder_hub(files, "org/skin", commit)) as hub:
        home = str(tmp_path / "home")
        with as_set({"HF_ENDPOINT": hub.url, "HF_HOME": home, "HF_TOKEN": ""}):
            outcome = read(Path("org/skin"))
            folder = hub_source.local_copy(Path("org/skin"), commit)
            with pytest.raises(UserError, match="org/none: cannot be fetched"):
                read(Path("org/none"))
    assert {row.split for row in outcome.kept} == {"train"}
    assert folder.name == commit
    said = capsys.readouterr().err
    assert "org/skin: fetching its newest commit from the Hub" in said
    assert f"org/skin: is at commit {commit}: --revision takes it again" in said


def built(folder: Path, answer: str) -> Path:
    (folder / "own").mkdir(parents=True)
    pd.DataFrame({"answer": [answer]}).to_parquet(folder / "own/test.parquet")
    files = [{"split": "test", "path": ["own/test.parquet"]}]
    head = json.dumps({"configs": [{"config_name": "own", "data_files": files}]})
    (folder / "README.md").write_text(f"---\n{head}\n---\n")
    return folder


def test_load_reads_the_folder_that_it_is_given(tmp_path: Path) -> None:
    """`datasets` takes brackets in a path for a pattern, which another folder fits."""
    built(tmp_path / "run1", "of another")
    folder = built(tmp_path / "run[1]", "its own")
    assert load("own", folder, split="test", cache_dir=tmp_path / "cache")["answer"] == ["its own"]
    (folder / "own/test.parquet").write_text("version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(UserError, match="a pointer of git-lfs, not the data: run `git lfs pull`"):
        load("own", folder)


def test_a_first_row_of_data_is_not_quoted(tmp_path: Path) -> None:
    """A table without a header: its "columns" are a patient's name and number."""
    cases = tmp_path / "cases.csv"
    cases.write_text("scans/1.png,Who is it?,It is Jo Gruber,Jo Gruber,7310000\n" * 2, "utf-8")
    mapping = Mapping(image="Bild", question="Frage", answer="Antwort")
    with pytest.raises(UserError, match="its first row looks like data") as error:
        table.read(Corpus("table", cases, mapping), tmp_path / "work", "fail", b"key")
    assert "Gruber" not in str(error.value)


def test_a_single_row_of_json_lines_may_hold_a_list(tmp_path: Path) -> None:
    row = {**ROWS[0], "options": ["Liver", "Lung"], "image": {"path": "a.png"}}
    write_lines([row], tmp_path / "t.jsonl")
    assert [each.cells for each in open_table(tmp_path / "t.jsonl").rows] == [row]


def test_of_a_workbook_what_is_shown_and_computed_is_read(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.append(["an older state"])
    book.active.sheet_state = "hidden"
    sheet = book.create_sheet("now")
    book.active = sheet
    for row in (
        ["file", "question", "answer", "sum"],
        ["a.png", "Q?", "A", "=1+1"],
        ["b.png", "Q?"],
    ):
        sheet.append(row)
    book.save(tmp_path / "t.xlsx")
    rows = [row.cells for row in open_table(tmp_path / "t.xlsx").rows]
    assert [row["file"] for row in rows] == ["a.png", "b.png"]
    assert [row["sum"] for row in rows] == ["#NOT COMPUTED", None]
    mapping = Mapping(image="file", question="question", answer="sum")
    with pytest.raises(UserError, match="row 2: sum is #NOT COMPUTED"):
        table.read(Corpus("t", tmp_path / "t.xlsx", mapping), tmp_path / "w", "fail", b"key")


def test_a_folder_as_zip_files_and_downloads_leave_it(tmp_path: Path) -> None:
    folder = with_images(tmp_path / "given/inner")
    write_csv(ROWS, folder / "t.csv")
    for beside in ("._t.csv", "~$t.csv", "../__MACOSX/inner/._t.csv"):
        (folder / beside).parent.mkdir(parents=True, exist_ok=True)
        (folder / beside).write_bytes(b"\0\5\x16\7")
    assert len(read(folder).kept) == len(ROWS)
    with pytest.raises(UserError, match=r"given: holds no table, .*given/inner does: give that"):
        open_table(tmp_path / "given")
    (folder / "t.csv").unlink()
    pd.DataFrame(ROWS).to_parquet(folder / "train-00001-of-00003.parquet")
    with pytest.raises(UserError, match=r"holds 1 of the 3 files train-...-of-00003: download"):
        open_table(folder)
    (folder / "a.csv").symlink_to(".git/annex/objects/x")
    with pytest.raises(UserError, match=r"a.csv: is a link to what is not here"):
        open_table(folder / "a.csv")


def test_images_are_found_in_any_case_and_read_from_base64(tmp_path: Path) -> None:
    """macOS and Windows find `Größe.PNG` under either name, and in either form of the accents."""
    folder = with_images(tmp_path / "Own")
    (folder / "scans/1.png").rename(folder / "scans/Gro\u0308\xdfe.PNG")
    packed = base64.b64encode(image_data(7, 32, "PNG")).decode()
    files = ["Scans/0.PNG", "scans/gr\xf6sse.png", packed, f"data:image/png;base64,{packed}"]
    write_csv([{**ROWS[0], "file": name} for name in files], folder / "t.csv")
    kept = read(folder / "t.csv").kept
    assert [row.image_path for row in kept[:2]] == ["scans/0.png", "scans/Gro\u0308\xdfe.PNG"]
    assert len({row.image_sha256 for row in kept}) == len(kept) == 3  # the last two are one
    (folder / "scans/0.PNG").write_bytes(image_data(8, 8, "PNG"))
    (folder / "scans/0.png").rename(folder / "scans/0.Png")
    write_csv(ROWS[:2], folder / "t.csv")
    with pytest.raises(UserError, match=r"scans/0.png is not there"):
        read(folder / "t.csv")
