"""Which parameters a server refuses, and what is sent instead: learnt from its complaints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mllmu_med.progress import say

#: What a reply can be had without.
OPTIONAL: Final = frozenset(
    "temperature top_p presence_penalty frequency_penalty repetition_penalty seed".split()
)
#: The limit on a reply's length has two names, and some servers take one of them only.
OTHER_NAME: Final = {"max_completion_tokens": "max_tokens", "max_tokens": "max_completion_tokens"}


@dataclass
class Dialect:
    """What one model's server was seen to refuse."""

    model: str
    refused: set[str] = field(default_factory=set)

    def fit(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """The body without what is refused, under the other name where there is one."""
        if "system" in self.refused:
            body = {**body, "messages": _without_system(body["messages"])}
        named = (
            (OTHER_NAME.get(name, "") if name in self.refused else name, value)
            for name, value in body.items()
        )
        return {name: value for name, value in named if name}

    def wants(self, body: Mapping[str, Any]) -> frozenset[str]:
        """What of a fitted body could still be done without."""
        system = {"system"} & {message["role"] for message in body.get("messages", ())}
        return ((OPTIONAL | OTHER_NAME.keys()) & body.keys() | system) - self.refused

    def go_without(self, name: str) -> None:
        """Note a refusal, and say so once."""
        if name in self.refused:
            return
        self.refused.add(name)
        instead = f"{OTHER_NAME[name]} instead" if name in OTHER_NAME else "without it"
        if name == "system":
            instead = "its text stands before the first question"
        say(f"  {self.model}: the server does not take {name}: {instead}")


def _without_system(messages: list[Any]) -> list[Any]:
    """A chat whose system message, if it begins with one, stands in the first question instead."""
    if messages[0]["role"] != "system":
        return messages
    system, first, *rest = messages
    words, content = f"{system['content']}\n\n", first["content"]
    parts = [{"type": "text", "text": words}, *content] if isinstance(content, list) else None
    return [{**first, "content": parts or words + content}, *rest]
