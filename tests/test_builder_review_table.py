"""The table for spreadsheets, and what they make of it."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reviews import as_csv, filled

from builder.review.records import Item, SubmittedRow
from builder.review.spreadsheet import COLUMNS, read_table, write_table
from mllmu_med.csv_tables import defused, restored
from mllmu_med_dataset import UserError

HOSTILE = [
    "=HYPERLINK(1)",
    "+1",
    "-2",
    "@SUM(A1)",
    "\tx",
    "\rx",
    "'quoted'",
    "''",
    "'=1",
    "None",
    "NA",
    "007",
    "1e5",
    "TRUE",
    'say "no", or\nnot; never\ttabs',
    "<script>alert(1)</script>",
    "\u202eright to left\u202c \U0001f9ec ä",
    "two\r\nlines",
    " spaces ",
]


def item(number: int, question: str = "What is it?", answer: str = "Acne.") -> Item:
    texts = ("What is it?", "Eczema.", question, answer)
    ids = (f"skin/{number}", f"c-{number:016x}", "incorrect", "wrong_diagnosis", "open", "skin")
    return Item(*ids, f"p{number}", "0" * 64, *texts, (), 0)


def read(text: str) -> list[SubmittedRow]:
    return read_table(text.encode(), "review.csv")


@given(st.text())
def test_any_cell_comes_back_and_begins_no_formula(cell: str) -> None:
    assert restored(defused(cell)) == cell
    assert defused(cell)[:1] not in {*"=+-@\t\r\n"}


def test_hostile_texts_come_back_unchanged() -> None:
    items = [item(number, text, text[::-1]) for number, text in enumerate(HOSTILE)]
    text = write_table(items, "=cmd()")
    assert text.startswith("\ufeffid,content,")
    assert text.count("\r\n") >= len(items)
    cells = [cell for row in csv.reader(io.StringIO(text[1:], newline="")) for cell in row]
    assert not [cell for cell in cells if cell[:1] in {*"=+-@\t\r"}]
    for row, one in zip(read(text), items, strict=True):
        assert (row.id, row.content, row.reviewer) == (one.id, one.content, "=cmd()")
        assert row.shown == {"question": one.question, "answer": one.answer}
        assert (row.verdict, row.question, row.broken) == ("", None, "")


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("end", ["\r\n", "\n"])
@pytest.mark.parametrize("hint", ["", "sep=MARKEND", '"SEP=MARK"END'])
def test_what_spreadsheets_save_is_read(delimiter: str, encoding: str, end: str, hint: str) -> None:
    items = [item(number, text) for number, text in enumerate(HOSTILE)]
    cells = {0: {"decision": "edit", "edited_answer": "007", "note": "a;b,c\td\ne"}}
    text = as_csv(filled(items, cells), delimiter, end)
    if hint:
        text = hint.replace("MARK", delimiter).replace("END", end) + text.removeprefix("\ufeff")
    data = text.encode(encoding)
    rows = read_table(b"\xfe\xff" + data if encoding == "utf-16-be" else data, "x.csv")
    assert [row.shown["question"] for row in rows] == HOSTILE
    assert rows[0][4:9] == ("edit", (), "a;b,c\td\ne", None, "007")


def test_columns_in_any_order_more_columns_and_empty_rows() -> None:
    rows = filled([item(1), item(2)], {0: {"decision": "accept"}})
    stream = io.StringIO()
    writer = csv.DictWriter(stream, ["mine", *reversed(COLUMNS)], restval="")
    writer.writeheader()
    writer.writerows(rows)
    text = stream.getvalue().replace("mine", " Mine ").replace("decision", "Decision ", 1)
    found = read(text + ",,,,\r\n\r\n")
    assert [(row.row, row.verdict) for row in found] == [("row 2", "accept"), ("row 3", "")]


def test_reasons_in_words_or_keys() -> None:
    (row,) = read(as_csv(filled([item(1)], {0: {"reasons": "not plausible; formatting,\nx"}})))
    assert row.reasons == ("not plausible", "formatting", "x")


def test_a_text_that_a_spreadsheet_took_for_a_formula() -> None:
    (row,) = read(as_csv(filled([item(1)], {0: {"decision": "edit", "edited_answer": "#NAME?"}})))
    assert "begin it with '" in row.broken
    (row,) = read(as_csv(filled([item(1)], {0: {"decision": "edit", "edited_answer": "'-2 D"}})))
    assert (row.broken, row.answer) == ("", "-2 D")


def test_a_row_with_too_many_cells() -> None:
    first, second, _ = as_csv(filled([item(1)], {})).split("\r\n")
    (row,) = read(f"{first}\r\n{second},more\r\n")
    assert "more cells" in row.broken


def test_a_last_row_that_is_cut_off_is_not_taken() -> None:
    cells = {"decision": "edit", "edited_answer": "A nevus with a border"}
    text = as_csv(filled([item(1), item(2)], {0: {"decision": "accept"}, 1: cells}))
    first, last = read(text[: text.index("with a border")])
    assert (first.broken, first.verdict) == ("", "accept")
    assert "the file is cut off" in last.broken
    assert not read(text.rstrip("\r\n"))[-1].broken  # some write no last line end


WHOLE = as_csv(filled([item(1, "a “b” ä"), item(2, "x\ny")], {}))


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf\r\n", "is empty"),
        (WHOLE.encode("cp1252"), "is not in UTF-8"),
        (WHOLE[: WHOLE.index("x\ny") + 2].encode(), "is cut off or damaged"),
        (WHOLE.encode("utf-16")[:-1], "is cut off or damaged"),
        (b"a,b\r\n1,2\r\n", "has no column id, content, question"),
        (WHOLE.replace("edited_answer", "edited").encode(), "has no column edited_answer"),
        (WHOLE.replace("note", "decision").encode(), "has the column decision twice"),
        (b"\x00\x01\x02", "holds zero bytes"),
        (WHOLE.encode("ascii", "ignore").decode().encode("utf-16-le"), "holds zero bytes"),
        (b"id,content,annotation_id\r\n" + 200_000 * b"x", "is Label Studio's CSV: export"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_table_is_one_line(data: bytes, line: str) -> None:
    with pytest.raises(UserError, match=line) as error:
        read_table(data, "review.csv")
    assert str(error.value).startswith("review.csv: ")
    assert "\n" not in str(error.value)
