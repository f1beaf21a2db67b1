"""Answers through any OpenAI-compatible vision server (vLLM, SGLang): the way past one machine."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eval.answer import AnswerFile
from eval.attacks import Ask
from eval.dataset_rows import DatasetImages
from eval.model import Answer
from eval.predictions import Prediction
from mllmu_med.llm.errors import Rejected
from mllmu_med.llm.server import Server, run_all
from mllmu_med.llm.settings import Settings
from mllmu_med.progress import progress
from mllmu_med_dataset import UsageError, UserError

if TYPE_CHECKING:
    from PIL.Image import Image

TIMEOUT: Final = 300.0  # seconds an answer


def answer_with_server(
    url: str,
    name: str,
    asked: Sequence[Ask],
    images: DatasetImages,
    out: Path,
    max_new_tokens: int,
    concurrency: int,
) -> list[Prediction]:
    """Ask a server everything, greedy, each answer appended to `out` when it comes.

    The key comes from OPENAI_API_KEY, if there is one. The model's prompt is the server's own chat
    template: `run` in the file says which server's model answered.

    Raises:
        UserError: the server cannot be reached, refuses, or does not know the model.
    """
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--server {url}: write it as http://HOST:PORT/v1")
    settings = Settings(name, url, concurrency, TIMEOUT, needs_key=False)
    identity = {
        "model": name,
        "server": url,
        "server_model": name,
        "prompt": "the server's chat template",
        "max_new_tokens": max_new_tokens,
    }
    with AnswerFile(out, asked, identity) as file:
        asyncio.run(_ask_all(settings, images, file, max_new_tokens))
        return file.finish()


async def _ask_all(
    settings: Settings, images: DatasetImages, file: AnswerFile, max_new_tokens: int
) -> None:
    todo = [ask for ask in file.asked if not file.has(ask)]
    async with Server(settings) as server:

        async def answer(ask: Ask) -> None:
            image = images[ask.row.image_id] if ask.image else None
            body = {"model": settings.model, "temperature": 0, "max_tokens": max_new_tokens}
            body |= _messages(ask, image)
            file.add([ask], [await _answer(server, ask, body)])

        def retries() -> str:
            return server.stats.retries if server.stats.retried else ""

        with progress("answering", len(file.asked), retries) as advance:
            advance(len(file.asked) - len(todo))
            await run_all(server, answer, todo, lambda _: advance(), ahead=1)


def _messages(ask: Ask, image: Image | None) -> dict[str, Any]:
    content: list[dict[str, Any]] = []
    if image is not None:
        content.append({"type": "image_url", "image_url": {"url": _data_url(image)}})
    content.append({"type": "text", "text": ask.question})
    messages: list[Any] = [{"role": "user", "content": content}]
    if not ask.start:
        return {"messages": messages}
    messages.append({"role": "assistant", "content": ask.start})
    # How vLLM and SGLang are told to go on with a message instead of starting one.
    return {"messages": messages, "continue_final_message": True, "add_generation_prompt": False}


async def _answer(server: Server, ask: Ask, body: dict[str, Any]) -> Answer:
    where, model = server.settings.where, server.settings.model
    try:
        completion = await server.chat_until_answered(body, ask.row.id, TIMEOUT)
    except Rejected as error:
        _, status, message = error.args
        raise UserError(
            f"{where}: refused {ask.row.id} with {status} ({message}): mend it and run the same "
            "command again, what is answered is kept"
        ) from error
    reply = completion.reply
    if not completion.has_text:
        why = reply.refusal or f"does {model} take images?"
        raise UserError(f"{where}: sent no answer to {ask.row.id}: {why}")
    end = "length" if reply.finish_reason == "length" else "eos"
    return Answer(reply.text.strip(), reply.completion_tokens, end)


def _data_url(image: Image) -> str:
    stream = BytesIO()
    image.save(stream, "PNG")  # without loss
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
