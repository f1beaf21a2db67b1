"""The mappings that are shipped, each on a tiny folder in its corpus' layout, with its traps.

No row is a corpus' own: texts are made up.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from corpora import image_data

from builder.core.corpus import PHANTOM, TABLE, Corpus, about, publishing, shipped, shipped_mapping
from builder.ingest.table import read


class Layout(NamedTuple):
    files: dict[str, Any]  # rows of JSON or Parquet, or text
    images: list[str]
    rows: list[str]  # question | answer | split | kind | modality | caption, or unknown and none
    notes: dict[str, int] | None = None
    drops: tuple[str, ...] = ()


RAD = {"image_name": "s1.jpg", "modality": "CT", "answer_type": "CLOSED "}
PMC = "index,Figure_path,Caption,Question,Choice A,Choice B,Choice C,Choice D,Answer,split\n"
OMNI = {"question_type": "Modality", "question": "What is it?", "image_path": "Images/x/1.png"}
OMNI |= {"gt_answer": "CT", "option_A": "MR", "option_B": "CT"}
CASE = {"image_ids": ["IMG_1.jpg", "IMG_2.jpg"], "query_title_en": "Which rash?"}
CASE |= {"query_content_en": "Since\nMay.", "query_title_zh": "疹"}
REPLIES = [{"content_en": text, "content_zh": "湿疹"} for text in ("", "Eczema.", "No")]
CELLS = {"image": {"bytes": image_data(7), "path": None}, "question": "Cells?", "answer": "yes"}
MED_20 = "VQA-Med-2020-Task1-VQAnswering-TrainVal-Sets/VQAMed2020-VQAnswering-{}/VQAnswering_2020"
TRAINING, VALIDATION = MED_20.format("TrainingSet"), MED_20.format("ValidationSet")
MED_21 = "Task1-VQA-2021-TestSet-w-GroundTruth"
TIDIED, SEVERAL = {"white space tidied": 1}, {"of several answers, the first": 1}

CASES = {
    "vqa_rad": Layout(
        {"trainset.json": [
            {**RAD, "qid": 1, "question": "How many?", "answer": 2, "question_type": "COUNT"},
            {**RAD, "qid": 2, "question": "Big ?", "answer": "Yes\t", "question_type": "PRSE"},
            {**RAD, "qid": 3, "question": "Big ?", "answer": "yes", "question_type": "PRES"}],
         "testset.json": [
            {**RAD, "qid": 4, "question": "Side?", "answer": "L", "question_type": "POS, ABN"}]},
        ["VQA_RAD Image Folder/s1.jpg"],
        ["How many?|2|train|counting|CT", "Big ?|Yes|train|presence|CT",
         "Side?|L|test|position|CT"],
        {"numbers read as text": 1, **TIDIED},
        ("the same picture, question and answer as another row",),
    ),
    "path_vqa": Layout(
        {"data/train-0-of-2.parquet": [CELLS], "data/train-1-of-2.parquet": [],
         "data/test-0.parquet": [{**CELLS, "question": "Where?", "answer": "in the Skin"}]},
        [],
        ["Cells?|yes|train", "Where?|in the Skin|test"],
    ),
    "pmc_vqa": Layout(
        {"train_2.csv": f'{PMC}0,P1.jpg,"A, b",Which?, A: Lung , B: Liver, C:No, D:, B ,train\n',
         "test_2.csv": f"{PMC}0,P2.jpg,c,What?,A:CT,B:MR,C:US,D:XR,D,test\n"},
        ["figures/P1.jpg", "figures/P2.jpg"],
        ["Which? (A) Lung (B) Liver (C) No|Liver|train||unknown|A, b",
         "What? (A) CT (B) MR (C) US (D) XR|XR|test||unknown|c"],
        TIDIED,
    ),
    "vqa_med_2019": Layout(
        {"ImageClef-2019-VQA-Med-Training/All_QA_Pairs_train.txt": "s1|is \t\"ct?|ct, 5'\n",
         "ImageClef-2019-VQA-Med-Validation/All_QA_Pairs_val.txt": "s2|which plane?|axial\n",
         "VQAMed2019Test/VQAMed2019_Test_Questions_w_Ref_Answers.txt": "s3|organ|what?|a#b\n"},
        ["ImageClef-2019-VQA-Med-Training/Train_images/s1.jpg",
         "ImageClef-2019-VQA-Med-Validation/Val_images/s2.jpg",
         "VQAMed2019Test/VQAMed2019_Test_Images/s3.jpg"],
        ["is \"ct?|ct, 5'|train", "which plane?|axial|validate", "what?|a|test|organ"],
        TIDIED | SEVERAL,
    ),
    "vqa_med_2021": Layout(
        {f"{TRAINING}_Train_QA_pairs.txt": "s1|is it normal?|no\n",
         f"{VALIDATION}_Val_QA_Pairs.txt": "s1|what is seen?|cyst\n",
         f"{MED_21}/Task1-VQA-2021-TestSet-ReferenceAnswers.txt": "s3|clot|embolus|b\ns4|cyst\n",
         f"{MED_21}/Task1-VQA-2021-TestSet-Questions.txt": "s4|what is shown?\ns3|what is seen?\n"},
        [f"{TRAINING}_Train_images/s1.jpg", *(f"{MED_21}/VQA-500-Images/s{n}.jpg" for n in "34")],
        ["is it normal?|no|train", "what is seen?|cyst|train", "what is seen?|clot|test",
         "what is shown?|cyst|test"],
        SEVERAL,
    ),
    "omnimedvqa": Layout(
        {"QA_information/Open-access/CT.json": [{**OMNI, "question_id": "1", "modality": "CT"}],
         "QA_information/Open-access/x.json": [
             {**OMNI, "question_id": "2", "modality_type": "MR", "option_C": "US", "option_D": ""}],
         "QA_information/Restricted-access/y.json": [{**OMNI, "question_id": "y1"}]},
        ["Images/x/1.png"],
        ["What is it? (A) MR (B) CT|CT||Modality",
         "What is it? (A) MR (B) CT (C) US|CT||Modality|MR"],
    ),
    "dermavqa": Layout(
        {"data/iiyi/train.json": [{**CASE, "encounter_id": "ENC1", "responses": REPLIES}],
         "data/iiyi/test_ht.json": [{**CASE, "encounter_id": "ENC2", "responses": []}]},
        ["data/iiyi/images_final/images_train/IMG_1.jpg"],
        ["Which rash? Since May.|Eczema.|train"],
        {**TIDIED, **SEVERAL, "of several images, the first": 2},
        ("empty answer",),
    ),
    "kvasir_vqa": Layout(
        {"metadata.csv": "source,question,answer,img_id\npolyps,Number?,2,a\npolyps,Size?,,a\n"},
        ["images/a.jpg"],
        ["Number?|2||polyps"],
        None,
        ("empty answer",),
    ),
}  # fmt: skip


def laid_out(case: Layout, root: Path) -> None:
    for number, path in enumerate([*case.files, *case.images]):
        place, rows = root / path, case.files.get(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.suffix == ".parquet":
            kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
            schema = pa.schema({"image": kind, "question": pa.string(), "answer": pa.string()})
            pq.write_table(pa.Table.from_pylist(rows, schema), place)
        elif rows is None:
            place.write_bytes(image_data(number))
        else:
            place.write_text(rows if isinstance(rows, str) else json.dumps(rows), "utf-8")


@pytest.mark.parametrize("name", CASES)
def test_a_shipped_mapping_reads_its_layout(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    laid_out(case, tmp_path / "corpus")
    corpus = Corpus(name, tmp_path / "corpus", shipped_mapping(name))
    outcome = read(corpus, tmp_path / "work", "fail", b"key")
    kept = [
        (row.question, row.answer, row.split, row.content_type, row.modality, row.context)
        for row in outcome.kept
    ]
    told = [[*row.split("|"), *["", "", "", "unknown", ""][row.count("|") :]] for row in case.rows]
    assert sorted(kept) == sorted(map(tuple, told))
    assert all(row.id.startswith(f"{row.image_id}/") for row in outcome.kept)
    assert all(row.image_id.startswith(f"{name}/") for row in outcome.kept)
    assert outcome.notes == (case.notes or {})
    assert tuple(drop.reason for drop in outcome.drops) == case.drops


def test_each_corpus_says_what_is_known_of_it() -> None:
    assert {*CASES} == {*shipped()} - {"slake", "mm_skin"}
    for name in (*shipped(), PHANTOM, TABLE):
        known = about(name)
        assert known.licence_url.startswith("https://")
        assert not (known.licence == "other" and publishing(name) == "embed")
        if name not in (PHANTOM, TABLE):
            assert known.bibtex.count("{") == known.bibtex.count("}") > 3
            assert shipped_mapping(name).names == "kept"
