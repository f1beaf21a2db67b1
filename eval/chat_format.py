"""How a model is spoken to: its prompt, what stands between prompt and answer, what ends an answer.

All of it is read from the checkpoint's own chat template, once: the prompt is a user's turn with
the image before the question; separator and end are what an assistant's turn puts around its text.
Thinking is switched off where a template has a switch (`enable_thinking`), else an empty thought
stands in the prompt: what is measured are answers. Where the assistant's turn does not begin as the
prompt ends, or holds no special token at its end, that half is ours, and `source` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from jinja2 import TemplateError

from mllmu_med.errors import first_line
from mllmu_med_dataset import UserError

#: LLaVA-Med v1.5's turns (`mistral_instruct`), for its converted layout where it has no template.
LLAVA_MED: Final = (
    "{% for message in messages %}{% if message.role == 'user' %}[INST] "
    "{% for part in message.content %}{% if part.type == 'image' %}<image>\n"
    "{% else %}{{ part.text }}{% endif %}{% endfor %} [/INST]"
    "{% else %} {{ message.content[0].text }} </s>{% endif %}{% endfor %}"
)
#: Stands for a text where a template is read; no template changes it.
_TEXT: Final = "Qwerty"
#: Today, to a template that tells a model the date: a run goes on tomorrow with the same prompts.
_DATE: Final = date(2024, 7, 26)
#: What templates raise where they fail.
FAILS: Final = (TemplateError, TypeError, ValueError, LookupError, AttributeError)


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """A model's turns.

    thought: ends each prompt: what a template without a switch puts before an answer, as an empty
        thought, e.g. `<think>\n\n</think>\n\n`; else nothing.
    separator: between prompt and answer, e.g. a space (LLaVA) or nothing (ChatML).
    closing: what follows an answer, up to and with the token that ends it, e.g. `<|im_end|>`, or
        LLaVA-Med's ` </s>`.
    end: that token's text.
    source: where separator and end were found, and what of it is ours.
    """

    processor: Any
    template: str | None
    separator: str
    closing: str
    end: str
    source: str
    thought: str = ""

    def prompt(self, question: str, image: bool) -> str:
        """A user's turn, up to where the answer begins."""
        return rendered(self.processor, self.template, question, image) + self.thought

    def to_json(self) -> dict[str, str]:
        return {"separator": self.separator, "closing": self.closing, "source": self.source}


def chat_format(processor: Any, name: str) -> ChatFormat:
    """Read a checkpoint's chat template; a UserError where it fails."""
    # Without one it is of LLaVA-Med's converted layout (see `eval.checkpoint_faults`).
    template = None if processor.chat_template else LLAVA_MED
    dated = "strftime_now" in str(processor.chat_template)
    if dated:
        template = _fixed_date() + processor.chat_template
    try:
        prompt = rendered(processor, template, _TEXT, True)
        whole = rendered(processor, template, _TEXT, True, _TEXT)
        seen = str(getattr(processor, "image_token", "")) in prompt
        seen = seen or prompt != rendered(processor, template, _TEXT, False)
        if not seen or "'type': 'image'" in prompt:
            raise ValueError("no place for an image: take that of the model this was trained from")
    except FAILS as error:
        raise UserError(
            f"{name}: its chat template fails on a question with one image and its answer: "
            f"{first_line(error)}"
        ) from error
    before, _, after = whole.rpartition(_TEXT)
    tokenizer = processor.tokenizer
    specials = {t.content for t in tokenizer.added_tokens_decoder.values() if t.special}
    found = {after.index(token): token for token in specials if token and token in after}
    ours = []
    if found:
        end = max((t for t in found.values() if after.startswith(t, min(found))), key=len)
        closing = after[: min(found)] + end
    else:
        end = closing = tokenizer.eos_token
        ours.append("end")
    separator = before.removeprefix(prompt)
    if not before.startswith(prompt):
        separator = "" if prompt[-1:].isspace() else " "
        ours.append("separator")
    said = [f"{' and '.join(ours)}: ours"] if ours else []
    thought = ""
    if "</think>" in separator:
        thought, separator = separator, ""
        said.append("thinking: closed in the prompt")
    if dated:
        said.append(f"date: always {_DATE}")
    source = f"chat template ({'; '.join(said)})" if said else "chat template"
    return ChatFormat(processor, template, separator, closing, end, source, thought)


def _fixed_date() -> str:
    """Jinja's own `strftime_now`, whose day is always the same."""
    told = "".join(f"|replace('%{code}', '{_DATE:%{code}}')" for code in "dmbByYAaHMS")
    return f"{{% macro strftime_now(format) %}}{{{{ format{told} }}}}{{% endmacro +%}}"


def rendered(
    processor: Any, template: str | None, question: str, image: bool, answer: str = ""
) -> str:
    """A user's turn up to where the answer begins, or with the assistant's turn after it.

    Raises one of `FAILS`, as a template does that cannot be used.
    """
    asked = [*([{"type": "image"}] if image else []), {"type": "text", "text": question}]
    turns = [{"role": "user", "content": asked}]
    if answer:
        turns.append({"role": "assistant", "content": [{"type": "text", "text": answer}]})
    given: dict[str, Any] = {"chat_template": template} if template else {}
    if "enable_thinking" in str(template or processor.chat_template):
        given["enable_thinking"] = False
    text: str = processor.apply_chat_template(
        turns,
        add_generation_prompt=not answer,
        tokenize=False,
        **given,
    )
    return text
