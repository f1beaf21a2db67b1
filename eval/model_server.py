"""Answers through any OpenAI-compatible vision server (vLLM, SGLang): the way past one machine."""

from __future__ import annotations

import asyncio
import base64
import os
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eval.answer import AnswerFile
from eval.attacks import Ask
from eval.dataset_rows import DatasetImages
from eval.model import Answer
from eval.predictions import Prediction
from mllmu_med.progress import Advance, progress
from mllmu_med_dataset import UsageError, UserError

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from PIL.Image import Image

TRIES: Final = 6
TIMEOUT: Final = 300.0
KEY: Final = "OPENAI_API_KEY"


def answer_with_server(
    url: str,
    name: str,
    asked: Sequence[Ask],
    pictures: DatasetImages,
    out: Path,
    max_new_tokens: int,
    concurrency: int,
) -> list[Prediction]:
    """Ask a server everything, greedy, each answer appended to `out` when it comes.

    The key comes from OPENAI_API_KEY; a local server needs none. The model's prompt is the
    server's own chat template: `run` in the file says which server's model answered.

    Raises:
        UserError: the server cannot be reached, refuses, or does not know the model.
    """
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--server {url}: write it as http://HOST:PORT/v1")
    identity = {
        "model": name,
        "server": url,
        "server_model": name,
        "prompt": "the server's chat template",
        "max_new_tokens": max_new_tokens,
    }
    with AnswerFile(out, asked, identity) as file:
        todo = [ask for ask in asked if not file.has(ask)]
        with progress("answering", len(asked)) as advance:
            advance(len(asked) - len(todo))
            asyncio.run(
                _ask_all(url, name, todo, pictures, file, max_new_tokens, concurrency, advance)
            )
        return file.finish()


async def _ask_all(
    url: str,
    name: str,
    todo: list[Ask],
    pictures: DatasetImages,
    file: AnswerFile,
    max_new_tokens: int,
    concurrency: int,
    advance: Advance,
) -> None:
    from openai import AsyncOpenAI

    queue = iter(todo)
    async with AsyncOpenAI(
        base_url=url,
        api_key=os.environ.get(KEY) or "none",
        max_retries=TRIES,  # of 429, 5xx and broken connections, with backoff
        timeout=TIMEOUT,
    ) as client:

        async def worker() -> None:
            for ask in queue:
                picture = pictures[ask.row.image_id] if ask.image else None
                answer = await _ask(client, url, name, ask, picture, max_new_tokens)
                file.add([ask], [answer])
                advance()

        # The first worker that fails ends the others; what is answered is kept.
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(worker())
        except* UserError as errors:
            raise errors.exceptions[0] from None


async def _ask(
    client: AsyncOpenAI,
    url: str,
    name: str,
    ask: Ask,
    picture: Image | None,
    max_new_tokens: int,
) -> Answer:
    import openai

    content: list[dict[str, Any]] = []
    if picture is not None:
        content.append({"type": "image_url", "image_url": {"url": _data_url(picture)}})
    content.append({"type": "text", "text": ask.question})
    messages: list[Any] = [{"role": "user", "content": content}]
    extra: dict[str, Any] = {}
    if ask.start:
        messages.append({"role": "assistant", "content": ask.start})
        # How vLLM and SGLang are told to go on with a message instead of starting one.
        extra = {"continue_final_message": True, "add_generation_prompt": False}
    try:
        reply = await client.chat.completions.create(
            model=name,
            messages=messages,
            temperature=0,
            max_tokens=max_new_tokens,
            extra_body=extra,
        )
    except openai.APIStatusError as error:
        reason = str(getattr(error, "message", error)).split("\n")[0]
        raise UserError(
            f"{url}: refused {ask.row.id} with {error.status_code} ({reason}): mend it and run the "
            "same command again, what is answered is kept"
        ) from error
    except openai.APIConnectionError as error:
        raise UserError(
            f"{url}: cannot be reached ({error.__cause__ or error}): is the server running?"
        ) from error
    choice = reply.choices[0] if reply.choices else None
    if choice is None or choice.message.content is None:
        raise UserError(f"{url}: sent no answer to {ask.row.id}: does {name} take pictures?")
    tokens = reply.usage.completion_tokens if reply.usage else 0
    end = "length" if choice.finish_reason == "length" else "eos"
    return Answer(choice.message.content.strip(), tokens, end)


def _data_url(picture: Image) -> str:
    stream = BytesIO()
    picture.save(stream, "PNG")  # without loss
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
