"""Answers through any OpenAI-compatible vision server (vLLM, SGLang): the way past one machine."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Mapping, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from eval.answer import AnswerFile, is_complete
from eval.attacks import Ask
from eval.dataset_rows import DatasetImages
from eval.model import Answer
from eval.predictions import Prediction
from eval.run_folder import describe
from eval.unanswered import Unanswered, why_none
from mllmu_med.llm.concurrency import run_all
from mllmu_med.llm.errors import Declined, GaveUp
from mllmu_med.llm.models import listed_models
from mllmu_med.llm.server import Server
from mllmu_med.llm.settings import Settings
from mllmu_med.progress import progress
from mllmu_med_dataset import UsageError, UserError

if TYPE_CHECKING:
    from PIL.Image import Image

TIMEOUT: Final = 300.0  # seconds an answer
#: Greedy whatever a server takes from the checkpoint's generation_config. The last one is vLLM's
#: and SGLang's; a server that refuses one is asked without, and the file's identity says so.
SAMPLING: Final = {
    "temperature": 0,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "repetition_penalty": 1.0,
}


def answer_with_server(
    url: str,
    name: str,
    asked: Sequence[Ask],
    images: DatasetImages,
    out: Path,
    max_new_tokens: int,
    concurrency: int,
    patience: float = 0.0,
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> list[Prediction]:
    """Ask a server everything, greedy, each answer appended to `out` when it comes.

    The key comes from OPENAI_API_KEY, if there is one. The model's prompt is the server's own chat
    template: `run` in the file says which server's model answered. A row that is refused stops no
    other; the same call asks again for what is missing.

    Args:
        patience: seconds to wait for a server that is starting.
        chat_template_kwargs: what the server's chat template is given, e.g. `enable_thinking`.

    Raises:
        UserError: the server cannot be reached, does not know the model, or refused any row.
    """
    if not url.startswith(("http://", "https://")):
        raise UsageError(f"--server {url}: write it as http://HOST:PORT/v1")
    settings = Settings(name, url, concurrency, TIMEOUT, needs_key=False, patience=patience)
    sent = {"chat_template_kwargs": chat_template_kwargs} if chat_template_kwargs else {}
    identity = {
        "model": name,
        "server": url,
        "server_model": name,
        "prompt": "the server's chat template",
        "max_new_tokens": max_new_tokens,
        "sampling": SAMPLING,
        **sent,
    }
    before = describe(out)
    listed = {"served": before["served"]} if "served" in before else {}
    if not is_complete(out, asked, {**identity, **listed}):  # else it may have been shut down
        listed = asyncio.run(_listed(settings))
    body = {"model": name, **SAMPLING, "max_tokens": max_new_tokens, **sent}
    with AnswerFile(out, asked, {**identity, **listed}) as file:
        missing = Unanswered(any(map(file.has, asked)))
        try:
            asyncio.run(_ask_all(settings, images, file, body, missing))
        finally:
            missing.tell()
        predictions = file.finish()
    if missing.rows:
        raise UserError(
            f"{out}: {missing.rows:,} of {len(asked):,} rows have no answer, for the reasons above "
            f"({len(predictions):,} are kept): run the same command again to ask them alone"
        )
    return predictions


async def _listed(settings: Settings) -> dict[str, Any]:
    """What the server lists of the model: vLLM tells an adapter's folder and its base model."""
    async with Server(settings) as server:
        listed = await listed_models(server)
    name = settings.model
    # Ollama's tag that may be left out, Gemini's prefix, SGLang's BASE:ADAPTER.
    called = (name, f"{name}:latest", f"models/{name}", name.partition(":")[2])
    found = next((listed[each] for each in called if each in listed), {})
    if listed and not found:
        names = ", ".join(list(listed)[:10]) + (", ..." if len(listed) > 10 else "")
        raise UserError(f"{settings.where}: has no model {name!r}: give --model one of: {names}")
    base = found.get("parent")
    if name in listed and base and found.get("owned_by") == "sglang":
        why = f"SGLang answers for its adapter {name!r} with the base model"
        raise UserError(f"{settings.where}: {why}: give --model {base}:{name}")
    known = ("id", "root", "parent", "max_model_len")
    served = {name: found[name] for name in known if found.get(name) is not None}
    return {"served": served} if served else {}


async def _ask_all(
    settings: Settings,
    images: DatasetImages,
    file: AnswerFile,
    body: Mapping[str, Any],
    missing: Unanswered,
) -> None:
    todo = [ask for ask in file.asked if not file.has(ask)]
    async with Server(settings) as server:
        server.dialect.refused |= set(file.notes.get("refused", ()))

        async def answer(ask: Ask) -> None:
            """One row, to its end: what is in flight when the run stops is kept."""
            image = images[ask.row.image_id] if ask.image else None
            whole = {**body, **_messages(ask, image)}
            words, gave_up = "", False
            try:
                completion = await server.chat_until_answered(whole, ask.row.id, TIMEOUT)
                words = why_none(completion)
            except (Declined, GaveUp) as error:
                words, gave_up = error.args[1], isinstance(error, GaveUp)
            if words:
                stop = missing.note(ask, words, gave_up)
                if stop:
                    raise server.halt(UserError(f"{settings.where}: {stop}"))
                return
            if server.dialect.refused:
                file.note(refused=sorted(server.dialect.refused))
            reply = completion.reply
            end = "length" if reply.cut else "eos"
            file.add([ask], [Answer(reply.text.strip(), reply.completion_tokens, end)])
            missing.note_answer()

        async def kept(ask: Ask) -> None:
            await server.to_its_end(repr(ask.key), partial(answer, ask))

        def more() -> str:
            said = [f"{missing.rows:,} without an answer"] * bool(missing.rows)
            return "; ".join(said + [server.stats.retries] * bool(server.stats.retried))

        with progress("answering", len(file.asked), more) as advance:
            advance(len(file.asked) - len(todo))
            await run_all(server, kept, todo, lambda _: advance(), ahead=1)


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


def _data_url(image: Image) -> str:
    stream = BytesIO()
    image.save(stream, "PNG")  # without loss
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode()
