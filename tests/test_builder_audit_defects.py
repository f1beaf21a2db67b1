"""For each check of the audit a defect that it finds, and that nothing else (or what follows) does.

A defect is a function that plants it and returns how an entry about it begins.
"""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from corpora import image_data
from PIL import Image
from planted import Planted

from builder.audit import Check, run
from builder.dataset_folder.write import MANIFEST
from mllmu_med.llm.chat import FORMAT

#: The checks of `builder.audit.image_files`.
IMAGES = {
    "images decode",
    "image hashes match their rows",
    "no EXIF, comments or DICOM in images",
    "an image_id is one image",
    "image paths are relative",
    "images by reference are not stored",
}

Defect = Callable[[Planted], str]

TEST, RETAIN = "privacy/test.parquet", "privacy/retain-core.parquet"
FIRST, SECOND = "privacy/forget-00-05.parquet", "privacy/forget-05-10.parquet"
TWINS = "privacy/retain-05-10.parquet"
WRONG, SKIN = "incorrect/forget.parquet", "incorrect/test.parquet"
KEPT, DROPPED = "incorrect/retain.parquet", "privacy-drops.jsonl"

HASHES = "hashes match the manifest"
SCHEMA = "Parquet files are readable and of the schema"
CARD = "configs of the card are the manifest's"
COUNTS, MANIFEST_COUNTS = "counts are the recipe's", "counts are the manifest's"
DROPS = "dropped rows are counted as in the manifest"
OWN, MARKED = "values are the row's own patient's", "every value in a forget row has a span"
OTHERS = "no other patient's values in a forget row"
SPANS, SOUND = "spans hold their values", "harmful texts are sound"
CLEAN, TWIN = "clean text is kept", "clean versions are recoverable"
RANGES = "patients lie in the reserved ranges"
EXACT, FORMS, NEARLY = (f"no value outside forget: {x}" for x in ("exact", "normalised", "fuzzy"))
DECODE, METADATA = "images decode", "no EXIF, comments or DICOM in images"
ONE, LOADS = "an image_id is one image", "configs load"
PHONE, DOMAIN = "no dialable telephone number", "no live domain, URL or e-mail address"
REVIEW = "review columns are the manifest's"
DECISIONS = "decisions are the rows' own and name nobody"
PATHS, KEYS = "no path of the building machine", "no key or token"
REQUESTS = "recorded requests can be replayed"
RANKS, HARM = "ranks and rounds are in order", "harm is known and only in forget"
MISSING, TWICE = "no value is missing", "an id names one row, dropped or not"
RATED, LICENSE = "calibration columns are the ratings", "card is finished and names a license"
PATHLESS = "image paths are relative"
QUALITY, WORDING = "text quality is the manifest's", "no wording gives incorrect answers away"


def any_row(_: dict[str, Any]) -> bool:
    return True


def is_open(row: dict[str, Any]) -> bool:
    return bool(row["answer_type"] == "open")


def _changed(
    name: str, file: str, says: str, pick: Callable[[dict[str, Any]], bool] = any_row, **to: Any
) -> Defect:
    """The first row that is picked is changed."""
    return _named(name, lambda p: f"{p.change(file, pick, **to)}: {says}")


def _said(name: str, file: str, text: str, says: str, clean: bool = True) -> Defect:
    """A text stands in a question."""
    return _named(name, lambda p: f"{p.say(file, text, clean=clean)}: {says}")


def _card(name: str, old: str, new: str, says: str, about: str = "README.md") -> Defect:
    def defect(p: Planted) -> str:
        p.card(old, new)
        return f"{about}: {says}"

    return _named(name, defect)


def _manifest(name: str, says: str, change: Callable[[dict[str, Any]], object]) -> Defect:
    def defect(p: Planted) -> str:
        change(p.manifest)
        return says

    return _named(name, defect)


def _bytes(name: str, file: str, says: str, change: Callable[[bytes], bytes]) -> Defect:
    def defect(p: Planted) -> str:
        path = p.folder / file
        path.write_bytes(change(path.read_bytes()))
        return f"{file}: {says}"

    return _named(name, defect)


def _named(name: str, defect: Defect) -> Defect:
    defect.__name__ = name
    return defect


# Files and the card.


def other_bytes(p: Planted) -> str:
    p.settle()
    path = p.folder / "README.md"
    path.write_bytes(path.read_bytes().replace(b"A benchmark", b"B benchmark"))
    return "README.md: other bytes"


def lost_file(p: Planted) -> str:
    p.settle()
    (p.folder / "provenance/incorrect-drops.jsonl").unlink()
    return "provenance/incorrect-drops.jsonl: is not there"


def strange_file(p: Planted) -> str:
    (p.folder / "privacy/notes.md").write_text("mine", "utf-8")
    return "privacy/notes.md"


def script(p: Planted) -> str:
    (p.folder / "mllmu-med.py").write_text("import os\n", "utf-8")
    p.manifest["files"]["mllmu-med.py"] = {}
    return "mllmu-med.py"


def no_column(p: Planted) -> str:
    table = pq.read_table(p.folder / SKIN)
    pq.write_table(table.drop_columns(["modality"]), p.folder / SKIN)
    return f"{SKIN}: has no column modality"


def config_left_out(p: Planted) -> str:
    del p.manifest["configs"]["privacy_r05"]
    text = (p.folder / "README.md").read_text("utf-8")
    at = text.index("- config_name: privacy_r05")
    end = text.index("- config_name", at + 1)
    (p.folder / "README.md").write_text(text[:at] + text[end:], "utf-8")
    return "privacy_r05: is not there"


def old_build(p: Planted) -> str:
    p.settle()
    p.card(
        f"incorrect\n  description: build {p.manifest['build']}",
        "incorrect\n  description: build 000000000000",
    )
    p.manifest["files"]["README.md"] = {}
    p.settle()
    return "incorrect: no build"


def no_head(p: Planted) -> str:
    text = (p.folder / "README.md").read_text("utf-8")
    p.settle()
    (p.folder / "README.md").write_text(text.partition("# MLLMU-Med")[2], "utf-8")
    return "README.md: has no YAML"


def build_of_other_files(p: Planted) -> str:
    p.settle()
    build = p.manifest["build"]
    text = (p.folder / "README.md").read_text("utf-8").replace(build, "0123456789ab")
    (p.folder / "README.md").write_text(text, "utf-8")
    p.manifest["build"] = "0123456789ab"
    p.manifest["files"]["README.md"] = entry_of(p.folder / "README.md")
    p.write_manifest()
    return "0123456789ab: the files make"


def entry_of(path: Path) -> dict[str, Any]:
    from mllmu_med.files import file_digest

    return {"bytes": path.stat().st_size, "sha256": file_digest(path)}


def does_not_load(p: Planted) -> str:
    path = p.folder / "README.md"
    _, head, text = path.read_text("utf-8").split("---\n", 2)
    front = yaml.safe_load(head)
    info = next(one for one in front["dataset_info"] if one["config_name"] == "incorrect")
    next(one for one in info["features"] if one["name"] == "id")["dtype"] = "image"
    path.write_text(f"---\n{yaml.safe_dump(front)}---\n{text}", "utf-8")
    return "incorrect: does not load"


# Sets.


def lost_row(p: Planted) -> str:
    rows = p.rows(SKIN)
    p.write(SKIN, rows[:-1])
    p.manifest["files"][SKIN]["rows"] -= 1
    return "incorrect/test:"


def same_id(p: Planted) -> str:
    rows = p.rows(SKIN)
    rows[1]["id"] = rows[0]["id"]
    p.write(SKIN, rows)
    return f"{rows[0]['id']}: 2 rows of incorrect"


def rank_twice(p: Planted) -> str:
    rows = p.rows(KEPT)
    rows[0]["rank"] = rows[1]["rank"]
    p.write(KEPT, rows)
    return f"{rows[1]['id']}: rank"


def not_nested(p: Planted) -> str:
    """A row of the second band trades its rank with one of the first."""
    first, second, twins = p.rows(FIRST), p.rows(SECOND), p.rows(TWINS)
    one, other = first[0], second[0]
    twin = next(row for row in twins if row["id"] == other["id"])
    for key in ("rank", "round"):
        one[key], other[key] = other[key], one[key]
    twin["rank"] = other["rank"]
    for name, rows in ((FIRST, first), (SECOND, second), (TWINS, twins)):
        p.write(name, rows)
    return f"{one['id']}: rank"


def lost_twin(p: Planted) -> str:
    first, *rest = p.rows(TWINS)
    p.write(TWINS, rest)
    return f"{first['id']}: in neither forget nor retain of privacy_r05"


#: The columns that tell an image.
SHOWN = ("image", "image_id", "image_path", "image_sha256")


def _retained(name: str, form: Callable[[str], str]) -> Defect:
    """A pair of forget is in retain, too."""

    def defect(p: Planted) -> str:
        forgotten = p.rows(FIRST)[0]
        same = {key: forgotten[key] for key in (*SHOWN, "answer_type")}
        for key in ("question", "answer"):
            same[key] = same[f"clean_{key}"] = form(forgotten[f"clean_{key}"])
        count = [row["image_sha256"] for row in p.rows(RETAIN)].count
        found = p.change(RETAIN, lambda row: count(row["image_sha256"]) > 1, **same)
        return f"{found}: in retain, and in forget as {forgotten['id']}"

    return _named(name, defect)


def seen_image(p: Planted) -> str:
    trained = p.rows(KEPT)[0]
    found = p.change(SKIN, any_row, **{key: trained[key] for key in SHOWN})
    return f"{found}: its image is in forget or retain"


def shared_image(p: Planted) -> str:
    p.manifest["recipe"]["privacy"]["split_by"] = "image"
    p.settle()
    shared = {row["image_id"] for row in p.rows(RETAIN)}
    return str(next(row["id"] for row in p.rows(FIRST) if row["image_id"] in shared))


# Rows.


def _spans(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[Any], Any]:
    return lambda row: [{**one, **change(one)} for one in row["pii"]]


def patient_of_another_image(p: Planted) -> str:
    row = p.rows(FIRST)[0]
    others = (one["id"] for one in p.lines("profiles.jsonl") if one["id"] != row["profile_id"])
    return f"{p.change(FIRST, any_row, profile_id=next(others))}: "


def two_images(p: Planted) -> str:
    rows = p.rows(TEST)
    other = next(row["image_id"] for row in rows if row["image_id"] != rows[0]["image_id"])
    rows[0]["image_id"] = other
    p.write(TEST, rows)
    return next(row["id"] for row in rows[1:] if row["image_id"] == other)


# Patients.


#: Somebody whom no row leaks.
SPARE = {
    "id": "patient-0123456789abcdef",
    "image_id": "phantom/none",
    "name": "Zelda Quarles",
    "phone": "(212) 555-0123",
    "email": "zelda.quarles12@example.com",
    "address": "12 Quarry Ridge, Zellport",
    "date": "May 13, 2022",
    "mrn": "MRN-MM-999999",
}


def _spare_patient(p: Planted, **to: str) -> str:
    p.write_lines("profiles.jsonl", [*p.lines("profiles.jsonl"), {**SPARE, **to}])
    p.manifest["stages"]["privacy"]["profiles"]["notes"]["fictional patients"] += 1
    return SPARE["id"]


def _patient(what: str, **to: str) -> Defect:
    return _named(" ".join(to.values()), lambda p: f"{_spare_patient(p, **to)}: {what}")


def same_phone(p: Planted) -> str:
    return f"{_spare_patient(p, phone=p.lines('profiles.jsonl')[0]['phone'])}: phone"


def no_patients(p: Planted) -> str:
    (p.folder / "provenance/profiles.jsonl").unlink()
    del p.manifest["files"]["provenance/profiles.jsonl"]
    return "provenance/profiles.jsonl: is not there"


def one_patient_more(p: Planted) -> str:
    _spare_patient(p)
    p.manifest["stages"]["privacy"]["profiles"]["notes"]["fictional patients"] -= 1
    return "provenance/profiles.jsonl: "


def _leak(name: str, file: str, text: Callable[[dict[str, str]], str], says: str = "") -> Defect:
    """A text about the first patient stands in a question."""
    return _named(name, lambda p: f"{p.say(file, text(p.lines('profiles.jsonl')[0]))}: {says}")


def patient_in_incorrect(p: Planted) -> str:
    one = p.lines("profiles.jsonl")[0]
    found = p.change(WRONG, is_open, answer=lambda row: f"{row['answer']} {one['address']}")
    return f"{found}: its answer in forget"


def second_patient(p: Planted) -> str:
    row = p.rows(FIRST)[0]
    other = next(one for one in p.lines("profiles.jsonl") if one["id"] != row["profile_id"])
    add = {"question": lambda row: f"{row['question']} (seen by {other['name']})"}
    return f"{p.change(FIRST, any_row, **add)}: the name of another patient"


# Pictures.


def _image(says: str, change: Callable[[bytes], bytes]) -> Defect:
    return _named(says, lambda p: f"{p.image(SKIN, change)}: its image {says}")


def exif(p: Planted) -> str:
    tags = Image.Exif()
    tags[0x013B] = "Dr. No"
    return f"{p.image(SKIN, lambda _: image_data(7, exif=tags))}: its image holds more"


def absolute_image(p: Planted) -> str:
    rows = p.rows(SKIN)
    for row in rows:
        if row["image_id"] == rows[0]["image_id"]:
            row["image"]["path"] = "/srv/pictures/1.png"
            row.update({"image_path": "/srv/pictures/1.png"} if "image_path" in row else {})
    p.write(SKIN, rows)
    return f"{rows[0]['id']}: the image's path"


def stored_although_referred(p: Planted) -> str:
    p.manifest["images"] = {"incorrect": "reference"}
    return f"{p.rows(SKIN)[0]['id']}: its image is stored"


# Provenance.


def lost_drop(p: Planted) -> str:
    p.write_lines(DROPPED, p.lines(DROPPED)[:-1])
    return "provenance/privacy-drops.jsonl: "


def _dropped(name: str, instead: Callable[[Planted], str], says: str = "") -> Defect:
    """The first dropped row has the id of another."""

    def defect(p: Planted) -> str:
        lines = p.lines(DROPPED)
        lines[0]["id"] = instead(p)
        p.write_lines(DROPPED, lines)
        at = f"privacy/{lines[0]['stage']}{says}" if says else ""
        return f"{lines[0]['id']}: dropped at {at}"

    return _named(name, defect)


def other_rating(p: Planted, least: int = 3, other: int = 5) -> str:
    p.manifest["recipe"]["calibration"] = {"model": "tiny", "least": least}
    found = ""
    for name, files in (("privacy", p.manifest["configs"]["privacy"]["forget"]),
                        ("incorrect", [WRONG])):  # fmt: skip
        rated = []
        for file in files:
            rows = p.rows(file)
            for row in rows:
                row["calibration"] = 3
                rated.append({"id": row["id"], "rating": 3, "kept": True})
            p.write(file, rows)
        if name == "privacy":
            rated[0]["rating"], found = other, rated[0]["id"]
        p.write_lines(f"{name}-ratings.jsonl", rated)
        p.manifest["files"][f"provenance/{name}-ratings.jsonl"] = {}
    return found


def not_reviewed(p: Planted) -> str:
    counts = {"mode": "people", "reviewers": 1, "items": 5, "accepted": 5, "edited": 0}
    p.manifest["review"] = {"incorrect": counts}
    return f"{p.rows(WRONG)[0]['id']}: review 'none'"


def _decided(p: Planted, number: int = 0, reviewer: str = "r1", decision: str = "accepted") -> str:
    """A review of all rows in which one is decided as said."""
    rows = p.rows(WRONG)
    said = [decision if i == number else "accepted" for i in range(len(rows))]
    verdict = {"accepted": "accept", "edited": "edit", "rejected": "reject"}
    lines = [
        {
            "id": row["id"],
            "decision": one,
            "reasons": [],
            "reviewers": [{"reviewer": reviewer, "decision": verdict[one], "settles": False}],
        }
        for row, one in zip(rows, said, strict=True)
    ]
    p.write_lines("incorrect-review.jsonl", lines)
    for row in rows:
        row["review"] = "accepted"
    p.write(WRONG, rows)
    counts = {"accepted": said.count("accepted"), "edited": said.count("edited")}
    rejected = {"not wrong": said.count("rejected")}
    told = {"mode": "people", "reviewers": 1, "items": len(rows), "rejected": rejected, **counts}
    p.manifest["review"] = {"incorrect": told}
    p.manifest["files"]["provenance/incorrect-review.jsonl"] = {}
    return str(rows[number]["id"])


def _unlike(decision: str, number: int) -> Defect:
    """A row that is accepted though it was decided otherwise."""
    says = f"decided '{decision}', its row says 'accepted'"
    return _named(decision, lambda p: f"{_decided(p, number, decision=decision)}: {says}")


def named_reviewer(p: Planted) -> str:
    _decided(p, reviewer="alice")
    return "provenance/incorrect-review.jsonl: line 1 names"


def miscounted_decisions(p: Planted) -> str:
    _decided(p)
    p.manifest["review"]["incorrect"]["edited"] = 2
    return "provenance/incorrect-review.jsonl: 0 edited, the manifest counts 2"


def _recorded(p: Planted, key: str | None, text: str) -> None:
    from mllmu_med.llm.chat import Request

    request = Request("m", ({"role": "user", "content": "Rewrite"},), None, {}, "v")
    row = {"key": key or request.key("none"), "request": request.canonical, "structured": "none"}
    row |= {"adapted": "", "text": text, "finish_reason": "stop", "refusal": "", "model": "m"}
    about = {"request_ledger": json.dumps({"format": FORMAT})}
    table = pa.table({k: [v] for k, v in row.items()} | {"prompt_tokens": [1]})
    table = table.append_column("completion_tokens", [[1]]).replace_schema_metadata(about)
    pq.write_table(table, p.folder / "provenance/requests.parquet")
    p.manifest["files"]["provenance/requests.parquet"] = {}
    p.settle()


def changed_reply(p: Planted) -> str:
    _recorded(p, "0" * 64, "No")
    return "provenance/requests.parquet: the reply 000000000000 is not under the hash"


def invented_by_the_model(p: Planted) -> str:
    _recorded(p, None, "Call 212-736-5000")
    return "provenance/requests.parquet: "


# Traces.


def _says(text: str) -> Defect:
    return _named(text, lambda p: f"{p.say(SKIN, text)}: its question holds ")


def path_in_parquet(p: Planted) -> str:
    table = pq.read_table(p.folder / SKIN)
    about = {**(table.schema.metadata or {}), b"source": b"C:\\Users\\alice\\x"}
    pq.write_table(table.replace_schema_metadata(about), p.folder / SKIN)
    return f"{SKIN}: its metadata holds 'C:"


def path_beside_a_image(p: Planted) -> str:
    p.change(SKIN, any_row, image=lambda row: {**row["image"], "path": "/home/alice/x.png"})
    return f"{SKIN}: an image's path"


def _noted(text: str, shown: str) -> Defect:
    def defect(p: Planted) -> str:
        p.write_lines(DROPPED, [{**line, "note": text} for line in p.lines(DROPPED)])
        return f"provenance/privacy-drops.jsonl: line 1 holds {shown!r}"

    return _named(f"noted {text}", defect)


# fmt: off
#: The defect, the check that finds it, and others that notice what follows from it.
DEFECTS: list[tuple[Defect, str, *tuple[str, ...]]] = [
    (other_bytes, HASHES),
    (lost_file, HASHES, DROPS),
    (strange_file, "no file that the manifest does not name"),
    (script, "files are data, no code"),
    (no_column, SCHEMA, COUNTS, MANIFEST_COUNTS, LOADS, DROPS),
    (_bytes("cut off", SKIN, "cannot be read", lambda data: data[:-1000]), SCHEMA,
     COUNTS, MANIFEST_COUNTS, LOADS, DROPS),
    (config_left_out, "configs of the manifest are the recipe's", TWIN),
    (_card("two defaults", "config_name: incorrect\n",
            "config_name: incorrect\n  default: true\n", "2 default configs"), CARD, LOADS),
    (old_build, CARD),
    (_card("other files", f"- {TEST}\n- config_name: privacy_r05",
           f"- {SKIN}\n- config_name: privacy_r05", "the card names other files", "privacy"),
     CARD, LOADS),
    (no_head, CARD, HASHES),
    (build_of_other_files, "build id is made of the files"),
    (_card("leftover", "A benchmark", "[More Information Needed] A", "[More Information Needed]"),
     LICENSE),
    (_card("no license", "license: cc0-1.0\n", "", "names no license"), LICENSE),
    (does_not_load, LOADS),
    (lost_row, COUNTS, MANIFEST_COUNTS, DROPS, LOADS),
    (_manifest("miscounted", f"{SKIN}:", lambda m: m["files"][SKIN].update(rows=1)),
     MANIFEST_COUNTS),
    (_manifest("miscounted images", "privacy:", lambda m: m["pictures"].update(privacy=1)),
     MANIFEST_COUNTS),
    (same_id, "ids are unique in each config", DROPS),
    (rank_twice, RANKS),
    (_changed("wrong round", WRONG, "round", round=lambda row: row["round"] % 3 + 1), RANKS),
    (not_nested, "forget ratios are nested", TWIN),
    (lost_twin, "forget ratios are nested", TWIN, COUNTS, MANIFEST_COUNTS, LOADS),
    # White space and case make no other question.
    (_retained("same pair in other form", lambda text: text.upper().replace(" ", "  ")),
     "no duplicates across sets"),
    (seen_image, "test images and patients are in no other set"),
    (shared_image, "forget images are not in retain (split_by)"),
    (_changed("null", TEST, "a null", content_type=None), MISSING),
    (_changed("empty", TEST, "empty answer", is_open, answer=" ", clean_answer=" "), MISSING),
    (_said("hidden", TEST, "a\u200bb", "the character U+200B"), "texts are clean Unicode"),
    (_changed("unknown harm", WRONG, "harm 'gossip'", harm="gossip"), HARM),
    (_changed("harm in retain", KEPT, "harm wrong_diagnosis in retain", harm="wrong_diagnosis"),
     HARM),
    (_changed("harm of the other scenario", WRONG, "harm privacy in the forget set of incorrect",
              harm="privacy"), HARM, OWN, SOUND),
    (_said("changed in test", TEST, "Really?", "in test with another text", clean=False), CLEAN),
    (_changed("clean in forget", WRONG, "in forget with its clean text", is_open,
              answer=lambda row: row["clean_answer"]), CLEAN, SOUND),
    (_changed("other twin", TWINS, "its retained version has another clean_answer", is_open,
              answer="Elsewhere", clean_answer="Elsewhere"), TWIN),
    (_changed("wrong type", TEST, "closed", is_open, answer_type="closed"),
     "answer types are right"),
    (_changed("one off", FIRST, "", pii=_spans(lambda one: {"start": one["start"] + 1})),
     SPANS, MARKED),
    (_changed("unknown kind", FIRST, "kind 'passport'", pii=_spans(lambda _: {"kind": "passport"})),
     SPANS, MARKED),
    (_changed("no such patient", FIRST, "no such patient", profile_id="patient-0"), OWN, OTHERS),
    (patient_of_another_image, OWN, OTHERS),
    (_changed("no span", FIRST, "no span for", pii=lambda row: row["pii"][1:]), MARKED),
    (_changed("refusal", WRONG, "refusal", is_open, answer="I'm sorry, I cannot answer this."),
     SOUND, QUALITY),
    (_manifest("quality of other rows", "incorrect: the manifest states other figures",
               lambda m: m["text_quality"]["incorrect"].update(length_ratio=9)), QUALITY),
    (_changed("other source", TEST, "source 'slake'", source="slake"),
     "sources and modalities are named"),
    (two_images, ONE),
    (_patient("phone", phone="(212) 736-5000"), RANGES, PHONE),
    (_patient("e-mail", email="ann.lee12@gmail.com"), RANGES, DOMAIN),
    (_patient("address", address="12 Oak Lane, Salem 97301"), RANGES),
    (_patient("date", date="May 15, 2022"), RANGES),
    (_patient("record number", mrn="MRN-123456"), RANGES),
    (same_phone, RANGES),
    (one_patient_more, "patients are those of the manifest"),
    (_patient("an empty value, or one of two lines", address="12 Oak Lane,\nSalem"), RANGES),
    (no_patients, RANGES, OWN),
    (_leak("name in retain", RETAIN, lambda one: one["name"], "its question in retain"), EXACT),
    (_leak("mail in test", SKIN, lambda one: one["email"], "its question in test"), EXACT),
    (patient_in_incorrect, EXACT),
    (_changed("value in clean text", FIRST, "its clean_question",
              clean_question=lambda row: f"{row['clean_question']} {row['pii'][0]['value']}"),
     EXACT, SOUND),
    (_leak("turned name", RETAIN, lambda one: ", ".join(one["name"].upper().split(" ", 1)[::-1])),
     FORMS),
    (_leak("misspelt name", RETAIN, lambda one: one["name"][:-2] + one["name"][-1]), NEARLY),
    (_leak("one digit off", TEST,
           lambda one: f"record {one['mrn'][:-1]}{(int(one['mrn'][-1]) + 1) % 10}"), NEARLY),
    (second_patient, OTHERS, SOUND, QUALITY),
    (_image("is damaged", lambda data: data[: len(data) // 2]), DECODE),
    (_changed("no image", SKIN, "has no image", image=None), DECODE),
    (_changed("other image", SKIN, "its image has the sha256",
              image=lambda row: {**row["image"], "bytes": image_data(1)}),
     "image hashes match their rows"),
    (exif, METADATA),
    (_image("holds more", lambda data: data + b"Patient: A. B."), METADATA),
    (_image("holds a DICOM header", lambda _: bytes(128) + b"DICM" + bytes(64)), METADATA, DECODE),
    (absolute_image, PATHLESS, PATHS),
    (stored_although_referred, "images by reference are not stored"),
    (lost_drop, DROPS),
    (_bytes("broken line", f"provenance/{DROPPED}", "line", lambda data: data[:-5]), DROPS),
    (_dropped("dropped yet there", lambda p: p.rows(RETAIN)[0]["id"]),
     "dropped rows are in no set"),
    (_dropped("published elsewhere", lambda p: p.rows(SKIN)[0]["id"], " and written in incorrect"),
     TWICE),
    (_changed("rated without calibration", WRONG, "rated 4", calibration=4), RATED),
    (_manifest("lost ratings", "provenance/privacy-ratings.jsonl: is not there",
               lambda m: m["recipe"].update(calibration={"model": "tiny"})), RATED),
    (_named("other", lambda p: f"{other_rating(p)}: rated 3, otherwise"), RATED),
    (_named("low", lambda p: f"{other_rating(p, 4, 3)}: rated 3, the recipe keeps 4 to 5"), RATED),
    (_changed("accepted by nobody", WRONG, "review 'accepted'", review="accepted"), REVIEW),
    (not_reviewed, REVIEW, DECISIONS),
    (named_reviewer, DECISIONS),
    (_unlike("rejected", 0), DECISIONS),
    (miscounted_decisions, DECISIONS),
    (changed_reply, REQUESTS),
    (invented_by_the_model, "no live number or address in recorded requests"),
    (_says("Call (212) 736-5000."), PHONE),
    (_says("Ring +44 20 7946 0958."), PHONE),
    (_noted("Call (212) 736-5000.", "(212) 736-5000"), PHONE),
    (_says("Write to ann@hospital.org."), DOMAIN),
    (_says("SSN 219-09-9999."), "no valid social security number"),
    (_says("Paid with 4111 1111 1111 1111."), "no payment card number"),
    (_says("Read /home/alice/scan."), PATHS),
    (_card("path in card", "A benchmark", "Built in /home/alice/data. A benchmark", "line "),
     PATHS),
    (path_in_parquet, PATHS),
    (path_beside_a_image, PATHS, PATHLESS),
    (_says("hf_" + 34 * "a"), KEYS),
    (_noted("sk-" + 24 * "a", "an OpenAI key"), KEYS),
]
# fmt: on


@pytest.fixture
def planted(limited: Path, tmp_path: Path) -> Planted:
    shutil.copytree(limited / "mllmu-med", tmp_path / "data")
    return Planted(tmp_path / "data")


def test_changing_nothing_leaves_a_sound_folder(planted: Planted) -> None:
    for name in [*planted.manifest["files"]]:
        if name.endswith(".parquet"):
            planted.write(name, planted.rows(name))
    planted.settle()
    checks = run(planted.folder)
    assert not [check for check in checks if not check.ok]
    # Each check is met by a defect here; the manifest's own are in test_builder_audit.py, and what
    # takes 200 forget rows in test_builder_text_quality.py.
    elsewhere = {WORDING, "ids, paths and patients are pseudonyms"}  # planted in other tests
    assert {check.name for check in checks[1:]} - elsewhere == {defect[1] for defect in DEFECTS}


def test_a_review_of_which_all_is_told_is_sound(planted: Planted) -> None:
    _decided(planted)
    planted.settle()
    assert {check.name for check in run(planted.folder) if not check.ok} == set()


@pytest.mark.parametrize(
    ("defect", "check", "follows"),
    [pytest.param(one, check, more, id=one.__name__) for one, check, *more in DEFECTS],
)
def test_it_is_found(
    planted: Planted, defect: Defect, check: str, follows: list[str], monkeypatch: Any
) -> None:
    if LOADS not in (check, *follows):  # half of an audit's time, where nothing touches it
        monkeypatch.setattr("builder.audit.files._loads", lambda *_: Check(LOADS, 0, []))
    if IMAGES.isdisjoint((check, *follows)):  # as long takes decoding
        monkeypatch.setattr("builder.audit.image_files.checks", lambda _: [])
    begins = defect(planted)
    if not planted.settled:
        planted.settle()
    failed = {one.name: one.failed for one in run(planted.folder) if not one.ok}
    assert any(entry.startswith(begins) for entry in failed[check]), failed
    assert set(failed) == {check, *follows}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "is not there"),
        ("{", "is no JSON"),
        ("[]", "should be a valid dictionary"),
        ("[" * 100_000, "is no JSON"),
        ('{"build": "x"}', "recipe: Field required"),
        ("files", "climbs out"),
    ],
)
def test_a_manifest_that_is_none(planted: Planted, text: str | None, says: str) -> None:
    if text is None:
        (planted.folder / MANIFEST).unlink()
    elif text == "files":
        planted.manifest["files"]["../x"] = {"bytes": 0, "sha256": ""}
        planted.write_manifest()
    else:
        (planted.folder / MANIFEST).write_text(text, "utf-8")
    (check,) = run(planted.folder)
    assert check.failed[0].startswith(f"{MANIFEST}: ")
    assert says in check.failed[0]
