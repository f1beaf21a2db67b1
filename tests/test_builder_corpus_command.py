"""`python -m builder corpus`, and the mappings that it guesses or is given."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from cases import cases
from corpora import builder, make_clinic, make_vqa_rad, tree

from builder.core.corpus import mapping_of
from builder.ingest.guess_mapping import guess_mapping
from mllmu_med_dataset import UsageError, UserError

CASES = cases(__file__)

COLUMNS = ("Bild", "Frage", "Antwort", "Name, Vorname")
PAIRS = ("image=Bild", "question=Frage", "answer=Antwort")


def test_a_mapping_is_typed_on_the_command_line() -> None:
    pairs = [*PAIRS[:2], 'answer=Antwort,"Name, Vorname"', "name=Name, Vorname", "delimiter=;"]
    mapping = mapping_of(None, [*pairs, "split_names.Übung=train"], COLUMNS)
    assert mapping.answer == ("Antwort", "Name, Vorname")
    assert mapping.values == {"name": "Name, Vorname"}
    assert (mapping.delimiter, mapping.split_names) == (";", {"Übung": "train"})


@pytest.mark.parametrize(
    ("pairs", "said"),
    CASES["a_wrong_mapping_is_told_in_a_line"],
)
def test_a_wrong_mapping_is_told_in_a_line(pairs: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        mapping_of(None, pairs, COLUMNS)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("row", "fields"),
    [
        (
            {
                **{"Bilddatei": "b\\a.jpg", "Frage": "Was?", "Antwort": "ja", "Patienten-ID": "P"},
                **{"Geburtsdatum": "1.2.1950", "Aufteilung": "train", "löschen": "x", "Ort": ""},
            },
            "image question answer patient values.date split forget -",
        ),
        (
            {
                **{"img_name": "x/a.jpg", "question_type": "Organ", "question": "Is it?"},
                **{"answer": "No", "answer_type": "CLOSED", "q_lang": "en", "image_id": "4"},
            },
            "image content_type question answer - language -",
        ),
        (
            {"Figure": "a.png", "Q": "What?", "Choice A": "a", "Choice B": "b", "Answer": "A"},
            "image question options options answer",
        ),
        (
            {
                "fichier": "a.png",
                "pregunta": "¿qué?",
                "nombre del paciente": "Ana",
                "correo": "a@b.c",
            },
            "image question values.name values.email",
        ),
        (
            {"图像": "a.png", "问题": "这是什么？", "答案": "是", "患者": "p"},
            "image question answer patient",
        ),
        ({"x": "a.dcm", "y": "What?", "z": "lung"}, "image question answer"),
        (
            {"image": {"bytes": b"x"}, "q": "", "answer_1": "a", "answer_2": ""},
            "image - answer answer",
        ),
    ],
)
def test_columns_are_guessed(row: dict[str, Any], fields: str) -> None:
    guess = guess_mapping([*row], [row, row])
    known = dict.fromkeys(row, "-") | {guess.forget: "forget"}
    values = {f"values.{kind}": name for kind, name in guess.fields.pop("values", {}).items()}
    for field, named in (guess.fields | values).items():
        known |= dict.fromkeys([named] if isinstance(named, str) else named, field)
    assert [known[column] for column in row] == fields.split()


def test_a_clinics_table_is_looked_at(tmp_path: Path) -> None:
    """Nothing is written, and the command that it prints is as it can be typed."""
    make_clinic(tmp_path, "patients' rows.csv")
    (tmp_path / "scans/007.png").unlink()
    before = tree(tmp_path)
    shown = builder("corpus", "patients' rows.csv", cwd=tmp_path).stdout
    for line in (
        "image     file       its name, 100 % of its cells look so; 39 of 40 files are there",
        "mrn       mrn        its name (a private value, for --scenario own)",
        "   3  its picture is not there",
        "121 rows, 116 kept: 39 images, 3.0 rows each; 20 patients, 5.8 rows each",
        "own           12      80    24",
    ):
        assert line in shown
    found = json.loads(builder("corpus", "patients' rows.csv", "--json", cwd=tmp_path).stdout)
    assert tree(tmp_path) == before
    words = shlex.split(found["command"])
    assert words == shlex.split(shown.partition("to build it:")[2].replace("\\\n", ""))
    assert words[4:6] == ["--corpus", "patients' rows.csv"]
    assert words[-4:] == ["--forget", "column=withdrawn", "--set", "own.bad_pictures=drop"]
    builder("corpus", "patients' rows.csv", "--save", "mine.yaml", cwd=tmp_path)
    assert yaml.safe_load((tmp_path / "mine.yaml").read_text("utf-8")) == found["mapping"]
    assert "Ute" not in json.dumps(found)


def test_a_pointer_in_place_of_a_mapping_is_named(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(UserError, match=r"m.yaml: is a pointer of git-lfs"):
        mapping_of(str(tmp_path / "m.yaml"), [], COLUMNS)


def test_a_table_without_names_of_columns_loses_no_row(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("0.png,Which organ?,Liver\n1.png,Which organ?,Lung\n")
    said = builder("corpus", "t.csv", cwd=tmp_path, code=2).stderr
    assert "no column is given for image: add --map image=COLUMN (the table has 3 columns" in said
    assert "and its first row looks like data, not like their names" in said


def test_a_known_layout_is_recognised_and_its_leak_told(tmp_path: Path) -> None:
    """As VQA-RAD is: its test images are in train; rows repeat, one of them across the splits."""
    make_vqa_rad(tmp_path)
    found = json.loads(builder("corpus", ".", "--json", cwd=tmp_path).stdout)
    assert found["named"] == "vqa_rad"
    assert list(found["dropped"].values()) == [2]
    assert found["notes"] == {"repeats of a row in another split": 1}
    assert "12 of the 12 images of the source's own test split" in found["refused"]
    assert "--set privacy.splits=new" in found["command"]
