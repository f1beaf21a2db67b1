"""The models that a server says it has."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

from mllmu_med.files import parse_json
from mllmu_med.llm.errors import Again, GaveUp, meaning
from mllmu_med.llm.server import FIRST_TRIES, Server


async def listed_models(server: Server) -> dict[str, dict[str, Any]]:
    """What a server lists at /models, by id; empty where it has no list.

    Waits for a server that is starting, as chat completions do. What refuses to tell its models,
    for whatever reason, may answer all the same. Raises UserError when it cannot be reached.
    """
    import httpx2
    import openai

    where, model = server.settings.where, server.settings.model

    async def once() -> bytes:
        try:
            async with asyncio.timeout(server.settings.timeout):
                return (await server.openai.get("/models", cast_to=httpx2.Response)).content
        except (openai.OpenAIError, httpx2.HTTPError, TimeoutError) as error:
            problem = meaning(error, frozenset(), where, model)
        if isinstance(problem, Again):
            raise await server.judged(problem, time.monotonic())
        return b""

    with suppress(GaveUp, ValueError):
        body = parse_json(await server.retrying(once, "its list of models", FIRST_TRIES))
        listed = body.get("data") if isinstance(body, dict) else None
        entries = listed if isinstance(listed, list) else []
        named = [one for one in entries if isinstance(one, dict)]
        return {one["id"]: one for one in named if isinstance(one.get("id"), str)}
    return {}
