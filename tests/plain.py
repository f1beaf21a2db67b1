"""What answers, likelihoods and fine-tuning should come to: transformers and PEFT alone, one row.

Nothing here is the product's, so that it can be compared with it: prompts by the processor's own
`apply_chat_template`, answers by `generate`, likelihoods by one forward pass, adapters by PEFT.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

_ANSWER = "~answer~"


class Turn(NamedTuple):
    """What stands between a generation prompt and its answer, and the token that ends it.

    rendered: read from an answered turn of the chat template; else (the prompt is not how such a
    turn begins) an answer follows its prompt at once.
    """

    separator: str
    stop: str
    rendered: bool


class Row(NamedTuple):
    question: str
    answer: str
    image: Any  # PIL, RGB


def load(folder: Path, adapter: Path | None = None) -> tuple[Any, Any]:
    """Model in float32 and processor, with an adapter on it or not."""
    from transformers import AutoModelForImageTextToText
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    model = AutoModelForImageTextToText.from_pretrained(folder)
    if adapter:
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, adapter)
    return model.eval(), load_processor(folder)


def load_processor(folder: Path) -> Any:
    """The family's processor from its parts: images by PIL, no videos (they want torchvision)."""
    import transformers

    about, _ = transformers.ProcessorMixin.get_processor_dict(folder)
    kind: Any = getattr(transformers, about["processor_class"])
    parts = [name for name in kind.get_attributes() if name != "video_processor"]
    still = type(kind.__name__, (kind,), {"get_attributes": classmethod(lambda _: parts)})
    images = transformers.AutoImageProcessor.from_pretrained(folder, backend="pil")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    return still.from_args_and_dict([images, tokenizer], about)


def plain_text(processor: Any, question: str, answer: str = "", **how: Any) -> str:
    """The chat template's text of a question about a picture, with an answered turn or without."""
    told = [{"type": "image"}, {"type": "text", "text": question}]
    messages: list[dict[str, Any]] = [{"role": "user", "content": told}]
    if answer:
        messages.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    text: str = processor.apply_chat_template(
        messages, add_generation_prompt=not answer, tokenize=False, **how
    )
    return text


def plain_turn(processor: Any, **how: Any) -> Turn:
    """Separator and stop token of a family; its template is told `how`."""
    tokenizer = processor.tokenizer
    prompt = plain_text(processor, "Why?", **how)
    whole = plain_text(processor, "Why?", _ANSWER, **how)
    after = whole.split(_ANSWER)[1].lstrip()
    special = [str(token) for token in tokenizer.added_tokens_decoder.values()]
    stop = next((token for token in special if after.startswith(token)), tokenizer.eos_token)
    if not whole.startswith(prompt):
        return Turn("", stop, False)
    return Turn(whole[len(prompt) :].split(_ANSWER)[0], stop, True)


def plain_inputs(model: Any, processor: Any, question: str, image: Any, **how: Any) -> Any:
    """What the model reads of one question, by the chat template: a batch of one row."""
    told = [{"type": "image", "image": image}, {"type": "text", "text": question}]
    read = processor.apply_chat_template(
        [{"role": "user", "content": told}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
        **how,
    )
    return read.to(model.device)


def plain_answer(
    model: Any, processor: Any, question: str, image: Any, tokens: int = 32, **how: Any
) -> str:
    """The greedy answer, whatever the checkpoint's generation settings say of sampling."""
    import torch

    read = plain_inputs(model, processor, question, image, **how)
    read.pop("labels", None)
    with torch.inference_mode():
        out = model.generate(
            **read,
            max_new_tokens=tokens,
            do_sample=False,
            num_beams=1,
            repetition_penalty=1.0,
            temperature=1.0,
            top_k=50,
            top_p=1.0,
        )
    new = out[0, read["input_ids"].shape[1] :]
    text: str = processor.tokenizer.decode(new, skip_special_tokens=True)
    return text.strip()


def plain_logprobs(
    model: Any, processor: Any, row: Row, turn: Turn | None = None, **how: Any
) -> list[float]:
    """Log-probabilities of all tokens behind the prompt, the stop token the last of them.

    A separator that is a token of its own counts as one of them.

    Raises:
        ValueError: the prompt's tokens are not how those of prompt and answer begin.
    """
    import torch

    read, first = _answered(model, processor, row, turn or plain_turn(processor, **how), **how)
    with torch.inference_mode():
        logits = model(**read).logits[0].float().log_softmax(-1)
    ids = read["input_ids"][0, first:]
    found: list[float] = logits[first - 1 : -1].gather(1, ids[:, None])[:, 0].tolist()
    return found


def _answered(model: Any, processor: Any, row: Row, turn: Turn, **how: Any) -> tuple[Any, int]:
    """Inputs of a prompt with its answer, and the place of the first token behind the prompt."""
    prompt = plain_text(processor, row.question, **how)
    asked = _read(model, processor, prompt, row.image)["input_ids"][0].tolist()
    text = f"{prompt}{turn.separator}{row.answer}{turn.stop}"
    read = _read(model, processor, text, row.image)
    if read["input_ids"][0, : len(asked)].tolist() != asked:
        raise ValueError(f"the tokens of {prompt!r} depend on what follows")
    return read, len(asked)


def _read(model: Any, processor: Any, text: str, image: Any) -> Any:
    begin = processor.tokenizer.bos_token
    adds = not (begin and text.startswith(begin))
    read = processor(text=[text], images=[[image]], return_tensors="pt", add_special_tokens=adds)
    return read.to(model.device)
