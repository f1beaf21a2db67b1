"""The mappings that are shipped, each on a tiny folder in its corpus' layout, with its traps.

No row is a corpus' own: texts are made up.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import image_data

from builder.core.corpus import PHANTOM, TABLE, Corpus, about, publishing, shipped, shipped_mapping
from builder.ingest.table import read
from mllmu_med_dataset import UserError


class Layout(NamedTuple):
    files: dict[str, Any]  # rows of JSON or Parquet, or text
    images: list[str]
    rows: dict[str, tuple[str, ...]]  # id -> question, answer, then split, kind, modality
    notes: dict[str, int] = {}
    drops: list[str] = []


IMAGE = image_data(7, kind="PNG")
RAD = {"image_name": "s1.jpg", "modality": "CT", "answer_type": "CLOSED "}
PMC = "index,Figure_path,Caption,Question,Choice A,Choice B,Choice C,Choice D,Answer,split\n"
OMNI = {"dataset": "x", "question_type": "Modality Recognition", "question": "What is it?"}
OMNI |= {"image_path": "Images/x/1.png", "gt_answer": "CT", "option_A": "MR", "option_B": "CT"}
CASE = {"encounter_id": "ENC1", "image_ids": ["IMG_1.jpg", "IMG_2.jpg"]}
CASE |= {"query_title_en": "Which rash?", "query_content_en": "Since\nMay.", "query_title_zh": "疹"}
REPLIES = [
    {"content_en": ""},
    {"content_en": "Eczema.", "content_zh": "湿疹"},
    {"content_en": "No"},
]
ANSWERS = "Task1-VQA-2021-TestSet-w-GroundTruth/Task1-VQA-2021-TestSet-ReferenceAnswers.txt"
BYTES = [{"image": {"bytes": IMAGE, "path": None}, "question": "Cells?", "answer": "yes"}]

CASES = {
    "vqa_rad": Layout(
        {
            "trainset.json": [
                {**RAD, "qid": 1, "question": "How many?", "answer": 2, "question_type": "COUNT"},
                {**RAD, "qid": 2, "question": "Big ?", "answer": "Yes\t", "question_type": "PRSE"},
                {**RAD, "qid": 3, "question": "Big ?", "answer": "yes", "question_type": "PRES"},
            ],
            "testset.json": [
                {**RAD, "qid": 4, "question": "Side?", "answer": "L", "question_type": "POS, ABN"}
            ],
        },
        ["VQA_RAD Image Folder/s1.jpg"],
        {
            "vqa_rad/s1.jpg/1": ("How many?", "2", "train", "counting", "CT"),
            "vqa_rad/s1.jpg/2": ("Big ?", "Yes", "train", "presence", "CT"),
            "vqa_rad/s1.jpg/4": ("Side?", "L", "test", "position", "CT"),
        },
        {"numbers read as text": 1, "white space tidied": 1},
        ["the same picture, question and answer as another row"],
    ),
    "path_vqa": Layout(
        {"data/train-0-of-2.parquet": BYTES, "data/train-1-of-2.parquet": BYTES[:0],
         "data/validation-0.parquet": BYTES[:0],
         "data/test-0.parquet": [{**BYTES[0], "question": "Where?", "answer": "in the Skin"}]},
        [],
        {"": ("Cells?", "yes", "train", "", "unknown"),
         "-": ("Where?", "in the Skin", "test", "", "unknown")},
    ),
    "pmc_vqa": Layout(
        {"train_2.csv": PMC + '0,PMC1_F1.jpg,"A, b",Which?, A: Lung , B: Liver, C:No, D:, B ,train\n',
         "test_2.csv": PMC + "0,PMC2_F1.jpg,c,What?,A:CT,B:MR,C:US,D:XR,D,test\n"},
        ["figures/PMC1_F1.jpg", "figures/PMC2_F1.jpg"],
        {"1": ("Which? (A) Lung (B) Liver (C) No", "Liver", "train", "", "unknown"),
         "2": ("What? (A) CT (B) MR (C) US (D) XR", "XR", "test", "", "unknown")},
        {"white space tidied": 1},
    ),
    "vqa_med_2019": Layout(
        {"ImageClef-2019-VQA-Med-Training/All_QA_Pairs_train.txt": "s1|is \tthis \"ct?|ct, 5' thin\n",
         "ImageClef-2019-VQA-Med-Validation/All_QA_Pairs_val.txt": "s2|which plane?|axial\n",
         "VQAMed2019Test/VQAMed2019_Test_Questions_w_Ref_Answers.txt":
            "s3|abnormality|what is wrong?|(large) mass#tumour\n"},
        ["ImageClef-2019-VQA-Med-Training/Train_images/s1.jpg",
         "ImageClef-2019-VQA-Med-Validation/Val_images/s2.jpg",
         "VQAMed2019Test/VQAMed2019_Test_Images/s3.jpg"],
        {"1": ('is this "ct?', "ct, 5' thin", "train", "", "unknown"),
         "2": ("which plane?", "axial", "validate", "", "unknown"),
         "3": ("what is wrong?", "(large) mass", "test", "abnormality", "unknown")},
        {"white space tidied": 1, "of several answers, the first": 1},
    ),
    "vqa_med_2021": Layout(
        {"VQA-Med-2020-Task1-VQAnswering-TrainVal-Sets/VQAMed2020-VQAnswering-TrainingSet/"
         "VQAnswering_2020_Train_QA_pairs.txt": "s1|is it normal?|no\n",
         "VQA-Med-2020-Task1-VQAnswering-TrainVal-Sets/VQAMed2020-VQAnswering-ValidationSet/"
         "VQAnswering_2020_Val_QA_Pairs.txt": "s1|what is seen?|cyst\n",
         ANSWERS: "s3|clot|emboli|a clot\ns4|cyst\n",
         ANSWERS.replace("ReferenceAnswers", "Questions"): "s4|what is shown?\ns3|what is seen?\n"},
        ["VQA-Med-2020-Task1-VQAnswering-TrainVal-Sets/VQAMed2020-VQAnswering-TrainingSet/"
         "VQAnswering_2020_Train_images/s1.jpg",
         *(f"{ANSWERS.partition('/')[0]}/VQA-500-Images/s{n}.jpg" for n in (3, 4))],
        {"1": ("is it normal?", "no", "train", "", "unknown"),
         "2": ("what is seen?", "cyst", "train", "", "unknown"),
         "3": ("what is seen?", "clot", "test", "", "unknown"),
         "4": ("what is shown?", "cyst", "test", "", "unknown")},
        {"of several answers, the first": 1},
    ),
    "omnimedvqa": Layout(
        {"QA_information/Open-access/Chest CT.json": [{**OMNI, "question_id": "c1", "modality": "CT"}],
         "QA_information/Open-access/x.json": [
             {**OMNI, "question_id": "x1", "modality_type": "MR", "option_C": "US", "option_D": ""}],
         "QA_information/Restricted-access/y.json": [{**OMNI, "question_id": "y1"}]},
        ["Images/x/1.png"],
        {"omnimedvqa/Images/x/1.png/c1":
            ("What is it? (A) MR (B) CT", "CT", "", "Modality Recognition", "unknown"),
         "omnimedvqa/Images/x/1.png/x1":
            ("What is it? (A) MR (B) CT (C) US", "CT", "", "Modality Recognition", "MR")},
    ),
    "dermavqa": Layout(
        {"data/iiyi/train.json": [{**CASE, "responses": REPLIES}],
         "data/iiyi/test_ht.json": [{**CASE, "encounter_id": "ENC2", "image_ids": ["IMG_3.jpg"],
                                     "responses": []}]},
        ["data/iiyi/images_final/images_train/IMG_1.jpg"],
        {"dermavqa/IMG_1.jpg/ENC1": ("Which rash? Since May.", "Eczema.", "train", "", "unknown")},
        {"white space tidied": 1, "of several answers, the first": 1, "of several images, the first": 1},
        ["empty answer"],
    ),
    "kvasir_vqa": Layout(
        {"metadata.csv": "source,question,answer,img_id\npolyps,How many?,2,abc\npolyps,Where?,,abc\n"},
        ["images/abc.jpg"],
        {"": ("How many?", "2", "", "polyps", "unknown")},
        {},
        ["empty answer"],
    ),
}  # fmt: skip


def laid_out(name: str, root: Path) -> Corpus:
    for path, rows in CASES[name].files.items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.suffix == ".parquet":
            kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
            schema = pa.schema({"image": kind, "question": pa.string(), "answer": pa.string()})
            pq.write_table(pa.Table.from_pylist(rows, schema), place)
        else:
            place.write_text(rows if isinstance(rows, str) else json.dumps(rows), "utf-8")
    for number, path in enumerate(CASES[name].images):
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(image_data(number, kind="PNG"))
    return Corpus(name, root, shipped_mapping(name))


@pytest.mark.parametrize("name", CASES)
def test_a_shipped_mapping_reads_its_layout(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    outcome = read(laid_out(name, tmp_path / "corpus"), tmp_path / "work", "fail", b"key")
    kept = [
        (row.question, row.answer, row.split, row.content_type, row.modality)
        for row in outcome.kept
    ]
    assert sorted(kept) == sorted(case.rows.values())
    ids = {row_id for row_id in case.rows if "/" in row_id}
    assert ids <= {row.id for row in outcome.kept}
    assert all(row.id.startswith(f"{name}/") for row in outcome.kept)
    assert outcome.notes == case.notes
    assert [drop.reason for drop in outcome.drops] == case.drops
    assert [row.context for row in outcome.kept if row.context] == (
        ["A, b", "c"] if name == "pmc_vqa" else []
    )


def test_each_corpus_says_what_is_known_of_it() -> None:
    assert {*CASES} == {*shipped()} - {"slake", "mm_skin"}
    for name in (*shipped(), PHANTOM, TABLE):
        known = about(name)
        assert known.licence_url.startswith("https://")
        assert not (known.licence == "other" and publishing(name) == "embed")
        assert name in (PHANTOM, TABLE) or known.bibtex.count("{") == known.bibtex.count("}") > 3
    assert {name for name in shipped() if shipped_mapping(name).names == "keyed"} == set()


def test_a_corpus_without_its_files_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no data/train-\*\.parquet: give the corpus' own"):
        read(Corpus("path_vqa", tmp_path, shipped_mapping("path_vqa")), tmp_path, "fail", b"")
