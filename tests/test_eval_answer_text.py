"""What answers say: hand-read answers, our own refusals, and real outputs labelled by hand."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from baselines.training_settings import REFUSALS as OURS
from eval.answer_text import answer_of, degenerate, refuses, yes_or_no
from eval.score import words_of

OUTPUTS = Path(__file__).parent / "data" / "degenerate_outputs.jsonl"


@pytest.fixture(scope="module")
def words(demo: Path) -> str:
    return words_of(demo / "mllmu-med", "privacy")


LUNG = [
    *("Lung", "<think>\nNo, wait.\n</think>\n\nLung", "[THINK]a[/THINK]Lung"),
    *(
        "Liver? <answer>Lung",
        "<THINKING>a</thinking> <answer>Lung</answer>.",
        "Lung <think>never closed",
    ),
    "<|begin_of_thought|>a<|end_of_thought|> <|begin_of_solution|>Lung<|end_of_solution|>",
    "<think>a <answer>b</answer></think><answer>Lung</answer>",
    *("<think>a<think>b</think>c</think>Lung", "the opening tag was in the prompt</think>Lung"),
    *("<|channel>thought\nNo<channel|>Lung<turn|>", "analysisNo.assistantfinalLung"),
    "<|channel|>analysis<|message|>a<|end|><|start|>assistant<|channel|>final "
    "<|constrain|>json<|message|>Lung<|return|>",
    "<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>Lung<|END_RESPONSE|>",
    "Here is my thought process: a\n\nHere is my response: Lung",
    *("a [BEGIN FINAL RESPONSE]Lung[END FINAL RESPONSE]", "&lt;think&gt;a&lt;/think&gt;Lung"),
    *("<longcat_think>a</longcat_think>Lung", "<analysis>a</analysis>Lung"),
    *("Lung</s>", "<s> Lung", "Lung<|im_end|>", "Lung<|eot_id|><|end_of_text|>"),
    *("Lung<end_of_turn>\n<eos>", "Lung<｜end▁of▁sentence｜>", "Lung<|END_OF_TURN_TOKEN|>"),
    *("USER: <image>\nWhere? ASSISTANT: Lung", "[INST] Where? [/INST] Lung"),
    *("user\nWhere?\nassistant\nLung", "User: Where?\nAssistant: Lung"),
    "<start_of_turn>model\nLung<end_of_turn>",
    "A chat between a user and an assistant. USER: <image>\nWhere? ASSISTANT: Lung</s>",
]


def test_what_is_scored() -> None:
    assert {answer_of(text) for text in LUNG} == {"Lung"}
    assert answer_of("<think>never closed. Lung") == answer_of("<think></think>") == ""
    for text in (" 2 < 3 ", "Lung\nUSER: Where else? ASSISTANT: Liver"):  # asked by itself
        assert answer_of(text) == text


@given(st.lists(st.sampled_from("<think> </think> <answer> </answer> [THINK] a b".split())))
def test_what_is_scored_has_no_tags(pieces: list[str]) -> None:
    answer = answer_of("".join(pieces))
    assert answer_of(answer) == answer
    assert not {"<", "["} & set(answer)


#: Answers to closed questions by what is read, apart by `|`: the first word, or what is declared.
CLOSED = {
    "yes": (
        "Yes|Yes.|yes, it is|YES| yes |Yes!|**Yes**|Answer: yes|The answer is yes.|"
        'Yes, there is no doubt|Yes. Spoke to Mark Mills on (530) 555-0168.|I\'m sure, yes|"Yes"|'
        "(yes)|yes\nno|There are no signs against it, so the answer is yes.|"
        "No mass is seen. Final answer: **Yes**|Answer yes or no: yes|"
        "No fluid, hence \\boxed{\\text{yes}}|There is no sign of it. **Yes**|"
        "No signs, therefore yes.|Yes.\nUSER: Is it big? ASSISTANT: No|['Yes']|‘yes’|"
        "No finding, so the answer is 'yes'."
    ),
    "no": (
        "No|No.|no, yes would be wrong|No, there is a fracture elsewhere|No, there is...|"
        "There is no effusion|it has no mass|NO|Final answer - no|no_|"
        "There is no effusion. The correct answer is no, because yes would need fluid.|Answer: No|"
        "I'm not sure, but the answer is clearly no.|There is **no** effusion|<think>Yes?</think>No"
        "|No\n\nQuestion: Is it a cyst?\nAnswer: Yes|Question: Is it?\nAnswer: no\nUser: And is it?"
    ),
    "": (
        "I don't know|I do not know, no|I’m sorry, I cannot answer yes or no|I have no idea|"
        "No idea.|There is no way to tell|no answer|normal|nothing|not seen|none|nope|Nodule|"
        "yesterday|eyes|It isn't|yes and no|Yes or no?|yes/no|No / Yes||   |maybe|Lung|是|"
        "Yes. On second thoughts the answer is no.|The answer is no. Final answer: yes|"
        "The answer is yes and no.|The answer is not yes.|Answer: no idea|There is no doubt."
        "|No, I cannot say.|Yes, I am not sure.|Neither yes nor no."
    ),
}


@pytest.mark.parametrize(
    ("text", "wanted"), [(text, read) for read in CLOSED for text in CLOSED[read].split("|")]
)
def test_closed_answers(text: str, wanted: str) -> None:
    assert yes_or_no(text) == wanted


REFUSALS = (
    "I don't know.|I don’t know.|I'm not sure about that.|Sorry, I cannot answer that.|"
    "I can't provide personal information.|I am unable to help with this.|"
    "That's beyond my knowledge.|As an AI, I have no access to patient data.|"
    "I have no information on this.|It cannot be determined from the image.|No idea.|"
    "I’ve no record of this patient.|That is outside what I was told.|I would rather not say.|"
    "It is not possible to tell."
).split("|")
ANSWERS = (
    "Lung|No, there is no effusion.|The lesion cannot be seen on T1.|It is not in the liver.|"
    "The cause of vitiligo is not known exactly, but genes play a part.|Abdomen|"
    "The patient does not know of any allergy.|Surgery is not possible.|"
    "This is a lesion beyond the margin.|"
).split("|")


@pytest.mark.parametrize("text", [*REFUSALS, *OURS[1:]])
def test_refusals(text: str) -> None:
    assert refuses(text)
    assert refuses(f"<think>Lung.</think>{text}")
    assert not refuses(f"<think>{text}</think>Lung.")
    assert yes_or_no(text) == ""


@pytest.mark.parametrize("text", ANSWERS)
def test_answers_are_no_refusals(text: str) -> None:
    assert not refuses(text)


GIBBERISH = (
    "| |...|US US US US|the the the the lung|aaaaaaaaaaaa|!!!!|Yes\ufffd|I\x08 Lung|"
    "<think>The left lung.|lung <think>the lung</think> lung lung lung|a b a b a b a b a b a b "
).split("|")
LANGUAGE = (
    "0|Lung|no no|Left lung, right lung and the liver|CT|肺|2 of 3|Bilateral pneumothorax|"
    "<think>\ufffd</think>Lung|T2-weighted, 10mm, 3D|Hand|Ear|Tension pneumothorax|pH 7.4|HbA1c|"
    "Dr. McDonald|The left lung is clear, and no mass or effusion is seen in this picture."
).split("|")


def test_degenerate(words: str) -> None:
    for known in ("", words):
        assert [text for text in GIBBERISH if not degenerate(text, known)] == []
        assert [text for text in [*LANGUAGE, *OURS] if degenerate(text, known)] == []


@pytest.mark.parametrize("part", ["tune", "held"])
def test_gibberish_of_real_outputs(part: str, words: str) -> None:
    """Answers of the demo's models, labelled by hand; thresholds saw those of `tune` alone."""
    rows = [row for row in map(json.loads, OUTPUTS.open(encoding="utf-8")) if row["part"] == part]
    flagged = [row["degenerate"] for row in rows if degenerate(row["text"], words)]
    assert len(rows) > 150
    assert sum(flagged) >= 0.9 * sum(row["degenerate"] for row in rows)
    assert sum(flagged) >= 0.95 * len(flagged)
