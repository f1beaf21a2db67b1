"""The language model as author: any server with OpenAI's chat completions."""

from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from builder.core.recipe import Llm
from builder.harm import prompts
from builder.harm.read_reply import IncorrectReply, PrivacyReply, read
from builder.harm.text_checks import opposite
from builder.harm.texts import Failure, Harm, Incorrect, PrivateValues, Text
from mllmu_med.llm.chat import Reply, Request
from mllmu_med.pixels import shown_bytes
from mllmu_med_dataset import Record

T = TypeVar("T")
NO_FIT = "the row does not fit"


class LlmAuthor:
    """Satisfies `builder.harm.texts.Author`.

    Args:
        ask: the reply to a request, as `mllmu_med.llm.client.Client.ask` gives it.
        llm: the recipe's model and sampling; its `model` is set.
        read_image: a record's picture as JPEG or PNG, for `llm.picture`.
    """

    def __init__(
        self,
        ask: Callable[[Request], Awaitable[Reply]],
        llm: Llm,
        read_image: Callable[[Record], bytes],
    ) -> None:
        self.tries = llm.tries
        self._ask, self._llm, self._read_image = ask, llm, read_image

    async def embed_privacy(
        self, record: Record, values: PrivateValues, failures: Sequence[Failure]
    ) -> Text | Failure:
        """Have the fields that get values rewritten; the other one stays, unless it was sent too.

        A model that rewrote a field it was not asked for may rely on that: the text is taken as
        it is meant, and the checks decide.
        """
        prompt = prompts.privacy(record, values, failures)
        reply = read(await self._reply(record, prompt, failures), PrivacyReply)
        if isinstance(reply, Failure):
            return reply
        written = reply.model_dump(exclude_none=True)
        for field in values:
            if field not in written:
                return Failure("missing field", f'the JSON object has no "{field}"')
        clean = {"question": record.clean_question, "answer": record.clean_answer}
        texts = {**clean, **{field: _tidy(text) for field, text in written.items()}}
        return Text(texts["question"], texts["answer"])

    async def write_incorrect(
        self, record: Record, harm: Harm, failures: Sequence[Failure]
    ) -> Incorrect | Failure:
        """Have an incorrect answer written; a closed question has only one, and nobody is asked.

        The model may choose the other kind, or find that the row does not fit.
        """
        if record.answer_type == "closed":
            return Incorrect(opposite(record.clean_answer), harm)
        prompt = prompts.incorrect(record, harm, failures)
        reply = read(await self._reply(record, prompt, failures), IncorrectReply)
        if isinstance(reply, Failure):
            return reply
        wrong = _tidy(reply.what_is_wrong)
        if not reply.fits:
            return Failure(NO_FIT, wrong, final=True)
        return Incorrect(_tidy(reply.answer), reply.kind or harm, wrong)

    async def _reply(
        self, record: Record, prompt: prompts.Prompt, failures: Sequence[Failure]
    ) -> Reply:
        content = self._content(record, prompt.user)
        return await self._ask(request(self._llm, prompt, len(failures), content))

    def _content(self, record: Record, text: str) -> str | list[Mapping[str, Any]]:
        if not self._llm.picture:
            return text
        data = shown_bytes(self._read_image(record))
        kind = "png" if data.startswith(b"\x89PNG") else "jpeg"
        uri = f"data:image/{kind};base64,{b64encode(data).decode()}"
        return [{"type": "image_url", "image_url": {"url": uri}}, {"type": "text", "text": text}]


async def ask_until_read(
    ask: Callable[[Request], Awaitable[Reply]],
    llm: Llm,
    prompt: Callable[[Sequence[Failure]], prompts.Prompt],
    read_one: Callable[[Reply], T | Failure],
) -> tuple[T | None, list[Failure]]:
    """What a reply says, None where none could be read in `llm.tries`; and why others could not.

    The prompt of each try is made from what was wrong with those before.
    """
    refused: list[Failure] = []
    for attempt in range(llm.tries):
        made = prompt(list(refused))
        said = read_one(await ask(request(llm, made, attempt, made.user)))
        if not isinstance(said, Failure):
            return said, refused
        refused.append(said)
    return None, refused


def request(
    llm: Llm, prompt: prompts.Prompt, attempt: int, content: str | list[Mapping[str, Any]]
) -> Request:
    """What is sent for a prompt: to the recipe's model, with its sampling."""
    if llm.model is None:
        raise ValueError("a recipe without a model")
    sampling = {"temperature": llm.temperature, "max_completion_tokens": llm.max_tokens}
    return Request(
        llm.model,
        ({"role": "system", "content": prompt.system}, {"role": "user", "content": content}),
        prompt.schema,
        {name: value for name, value in sampling.items() if value is not None},
        prompt.version,
        attempt,
    )


def _tidy(text: str) -> str:
    return " ".join(text.split())
