"""How a model is spoken to: its prompt, what stands between prompt and answer, what ends an answer.

All of it is read from the checkpoint's own chat template, once: the prompt is a user's turn with
the image before the question; separator and end are what an assistant's turn puts around its text.
Thinking is switched off where a template has a switch (`enable_thinking`): what is measured are
answers. Where the assistant's turn does not begin as the prompt ends, or holds no special token at
its end, that half is ours, and `source` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

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


@dataclass(frozen=True, slots=True)
class ChatFormat:
    """A model's turns.

    separator: between prompt and answer, e.g. a space (LLaVA) or nothing (ChatML).
    closing: what follows an answer, up to and with the token that ends it, e.g. `<|im_end|>`, or
        LLaVA-Med's ` </s>`.
    end: that token's text.
    source: where separator and end were found.
    """

    processor: Any
    template: str | None
    separator: str
    closing: str
    end: str
    source: str

    def prompt(self, question: str, image: bool) -> str:
        """A user's turn, up to where the answer begins."""
        return _rendered(self.processor, self.template, [_user(question, image)], True)

    def to_json(self) -> dict[str, str]:
        return {"separator": self.separator, "closing": self.closing, "source": self.source}


def chat_format(processor: Any, name: str) -> ChatFormat:
    """Read a checkpoint's chat template; a UserError where it fails."""
    from jinja2 import TemplateError

    # Without one it is of LLaVA-Med's converted layout (see `eval.checkpoint_faults`).
    template = None if processor.chat_template else LLAVA_MED
    try:
        prompt = _rendered(processor, template, [_user(_TEXT, True)], True)
        turns = [_user(_TEXT, True), _turn("assistant", [_part(_TEXT)])]
        whole = _rendered(processor, template, turns, False)
    except (TemplateError, TypeError, ValueError, LookupError, AttributeError) as error:
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
    source = f"chat template ({' and '.join(ours)}: ours)" if ours else "chat template"
    return ChatFormat(processor, template, separator, closing, end, source)


def _rendered(processor: Any, template: str | None, turns: list[Any], ask: bool) -> str:
    given = {"chat_template": template} if template else {}
    text: str = processor.apply_chat_template(
        turns, add_generation_prompt=ask, tokenize=False, enable_thinking=False, **given
    )
    return text


def _user(question: str, image: bool) -> dict[str, Any]:
    return _turn("user", [*([{"type": "image"}] if image else []), _part(question)])


def _turn(role: str, content: list[Any]) -> dict[str, Any]:
    return {"role": role, "content": content}


def _part(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}
