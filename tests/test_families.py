"""The tiny checkpoints have their families' formats, answer and learn."""

from collections.abc import Callable
from math import exp
from pathlib import Path
from typing import Any

import families
import plain
import pytest
import small_training as small

Make = Callable[[str], Path]
#: Tried on every run; the others in the slow tier.
QUICK = ("llava_next", "qwen2_5_vl")
NAMES = [
    pytest.param(name, marks=[] if name in QUICK else pytest.mark.slow) for name in families.WHOLE
]
#: "Why?" about a picture, answered "So.", as each family's model card has it: @ is the picture's
#: mark, ^ where the generation prompt ends (none where it is not how an answered turn begins).
TURNS = {
    "llava_med": "[INST] @\nWhy? [/INST]^ So.</s>",
    "llava_llama": "USER: @\nWhy? ASSISTANT:^ So. ",
    "llava_qwen2": "<|im_start|>user @\nWhy?<|im_end|><|im_start|>assistant \nSo.<|im_end|>",
    "llava_phi3": "<|user|>\n@\nWhy?<|end|>\n<|assistant|>\n^So.<|end|>\n",
    "llava_next": "[INST] @\nWhy? [/INST]^ So.</s>",
    "llava_onevision": "<|im_start|>user @\nWhy?<|im_end|><|im_start|>assistant \nSo.<|im_end|>",
    "gemma3": "<bos><start_of_turn>user\n@Why?<end_of_turn>\n<start_of_turn>model\n"
    "^So.<end_of_turn>\n",
    "qwen2_5_vl": "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
    "<|vision_start|>@<|vision_end|>Why?<|im_end|>\n<|im_start|>assistant\n^So.<|im_end|>\n",
    "qwen3_vl": "<|im_start|>user\n<|vision_start|>@<|vision_end|>Why?<|im_end|>\n"
    "<|im_start|>assistant\n^So.<|im_end|>\n",
    "qwen3_5": "<|im_start|>user\n<|vision_start|>@<|vision_end|>Why?<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n^\n</think>\n\nSo.<|im_end|>\n",
    "internvl": "<|im_start|>user\n@\nWhy?<|im_end|>\n<|im_start|>assistant\n^So.<|im_end|>\n",
    "mllama": "<|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\n@Why?<|eot_id|>"
    "<|start_header_id|>assistant<|end_header_id|>\n\n^So.<|eot_id|>",
    "idefics3": "<|begin_of_text|>User:@Why?<end_of_utterance>\nAssistant:"
    "^ So.<end_of_utterance>\n",
    "glm4v": "[gMASK]<sop><|user|>\n<|begin_of_image|>@<|end_of_image|>Why?<|assistant|>\n^So.",
}


def ask(model: Any, processor: Any, name: str, row: plain.Row) -> str:
    return plain.plain_answer(model, processor, row.question, row.image, **plain.how(name))


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_answers_by_question_and_picture(name: str, checkpoint: Make) -> None:
    model, processor = plain.load(checkpoint(name))
    assert 2e5 < model.num_parameters() < 1e6
    answers = {
        ask(model, processor, name, plain.Row(question, "", families.Pictures()[image]))
        for question in small.QUESTIONS
        for image in ("retain-0", "retain-1")
    }
    assert len(answers) > 6  # of 8: a random model may end some at once


@pytest.mark.parametrize("name", NAMES)
def test_turns_are_the_family_s(name: str, checkpoint: Make) -> None:
    processor = plain.load_processor(checkpoint(name))
    prompt, bar, answered = TURNS[name].replace("@", processor.image_token).partition("^")
    assert plain.plain_text(processor, "Why?", "So.") == prompt + answered
    if bar:
        assert plain.plain_text(processor, "Why?") == prompt
    else:
        assert plain.plain_text(processor, "Why?") == prompt.partition(" \nSo.")[0] + "\n"
    turn = plain.plain_turn(processor)
    assert turn.rendered == bool(bar)
    if bar:
        assert answered.startswith(f"{turn.separator}So.")


@pytest.mark.parametrize("name", NAMES)
def test_a_checkpoint_learns_in_its_own_format(name: str, checkpoint: Make, taught: Make) -> None:
    model, processor = plain.load(checkpoint(name), taught(name))
    rows, how = plain.taught_rows(), plain.how(name)
    for row in rows:
        found = plain.plain_logprobs(model, processor, row, **how)
        assert exp(sum(found) / len(found)) > 0.85
    assert [ask(model, processor, name, row) for row in rows] == [row.answer for row in rows]


def test_a_shipped_penalty_changes_answers(checkpoint: Make) -> None:
    """A repetition penalty, as Qwen2.5-VL ships one: `do_sample=False` alone is not greedy."""
    model, processor = plain.load(checkpoint("qwen2_5_vl"))
    differ = 0
    for row in plain.taught_rows():
        read = plain.plain_inputs(model, processor, row.question, row.image)
        out = model.generate(**read, max_new_tokens=32, do_sample=False)
        text = processor.decode(out[0, read["input_ids"].shape[1] :], skip_special_tokens=True)
        differ += text.strip() != ask(model, processor, "qwen2_5_vl", row)
    assert differ > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", families.LACKING)
def test_some_lack_something_here(name: str, checkpoint: Make) -> None:
    """Why the others cannot be asked: what is no longer so is not for `LACKING` to say."""
    folder = checkpoint(name)
    with pytest.raises((ImportError, ValueError), match=families.LACKING[name]):
        plain.plain_text(plain.load_processor(folder), "Why?")
