"""`python -m builder corpus`, and the mappings that it guesses or is given."""

from __future__ import annotations

import pytest

from builder.core.corpus import mapping_of
from mllmu_med_dataset import UsageError

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
    [
        ([*PAIRS, "Name=Frage"], "--map Name=Frage: no field 'Name' (nearest: name): use image, "),
        ([*PAIRS, "files=a"], "--map files=a: no field 'files'"),
        ([*PAIRS, "image=Bild"], "--map image=Bild: image is given twice"),
        (PAIRS[:1], "--map: no column is given for question, answer: add --map question=COLUMN"),
        (
            [*PAIRS[:2], "answer=antwort"],
            "--map answer=antwort: the table has no such column (nearest: Antwort): it has Bild, ",
        ),
        ([*PAIRS[:2], "answer=Frage"], "--map answer=Frage: the column is the question already"),
        ([*PAIRS, "several_images=all"], "several_images: input should be 'refuse' or 'first'"),
        ([*PAIRS, "values.ssn=Bild"], "values.ssn.[key]: input should be 'name', 'phone', "),
        ([*PAIRS, "split_names.a=b"], "split_names.a: input should be 'train', 'validate' or"),
        (["image"], "--map image: write FIELD=COLUMN"),
        (["image="], "--map image=: write FIELD=COLUMN"),
    ],
)
def test_a_wrong_mapping_is_told_in_a_line(pairs: list[str], said: str) -> None:
    with pytest.raises(UsageError) as caught:
        mapping_of(None, pairs, COLUMNS)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
