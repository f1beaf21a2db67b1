"""How to ask a language model's server, what that has cost, and when it is enough."""

from __future__ import annotations

import ipaddress
import math
import os
from contextlib import suppress
from dataclasses import dataclass, fields
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from mllmu_med.errors import UsageError, UserError

OPENAI: Final = "https://api.openai.com/v1"


class Price(NamedTuple):
    """USD per million tokens."""

    input: float
    output: float


def read_price(text: str) -> Price:
    """A price as written on the command line: IN/OUT, in USD per million tokens."""
    try:
        paid, received = (float(part) for part in text.split("/"))
    except ValueError:
        paid = received = -1.0
    if not (0 <= paid < math.inf and 0 <= received < math.inf):
        raise UsageError(f"--price {text}: write IN/OUT, USD per million tokens, e.g. 2.50/10")
    return Price(paid, received)


@dataclass(frozen=True)
class Settings:
    """How to ask; but for `model`, no part of a request's identity. Wrong values: UsageError."""

    model: str
    base_url: str | None = None  # None: OPENAI_BASE_URL, else OpenAI's own
    concurrency: int = 16  # calls in flight, at most
    timeout: float = 120.0  # seconds a call
    max_requests: int | None = None  # replies paid for with this cache, earlier runs included
    max_cost: float | None = None  # USD, likewise
    price: Price | None = None  # None: unknown; never guessed
    offline: bool = False  # the cache only
    attempts: int = 8  # tries a call
    backoff: float = 1.0  # seconds before the second try; doubles with each
    needs_key: bool = True  # but on this machine
    patience: float = 0.0  # seconds to wait for a server that is starting

    def __post_init__(self) -> None:
        if self.concurrency < 1 or self.attempts < 1 or not self.timeout > 0:  # nor "nan"
            raise UsageError("concurrency, attempts and timeout must be above 0")
        if self.max_cost is not None and not self.max_cost >= 0:
            raise UsageError(f"a cost limit of {self.max_cost} is none: give USD, e.g. 5")
        if self.max_cost is not None and self.price is None:
            raise UsageError(
                "a cost limit needs the model's price: --price IN/OUT, USD per million tokens"
            )
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError(f"base URL {self.url!r}: write it as http://HOST:PORT/v1")

    @property
    def url(self) -> str:
        return self.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI

    @property
    def where(self) -> str:
        """The server's URL without a password that may stand in it."""
        parts = urlsplit(self.url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()


@dataclass
class Totals:
    """What one model was asked for; exports that were loaded do not count."""

    replies: int = 0  # answered and kept
    prompt_tokens: int = 0
    completion_tokens: int = 0
    without_usage: int = 0  # replies whose server did not tell their tokens

    def __add__(self, other: Totals) -> Totals:
        return Totals(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(Totals)))

    def cost_at(self, price: Price | None) -> float | None:
        """USD; None when the price or any reply's tokens are unknown."""
        if price is None or self.without_usage:
            return None
        return (self.prompt_tokens * price.input + self.completion_tokens * price.output) / 1e6


@dataclass
class Stats(Totals):
    """What this run has done so far."""

    price: Price | None = None
    sent: int = 0  # HTTP requests, refused ones included
    from_cache: int = 0
    retried: int = 0
    why_again: str = ""  # the last of these was sent again
    in_flight: int = 0

    @property
    def cost(self) -> float | None:
        return self.cost_at(self.price)

    @property
    def retries(self) -> str:
        why = f" (last: {self.why_again})" if self.why_again else ""
        return f"{self.retried:,} retried{why}"


def limit_reached(settings: Settings, spent: Totals, active: int) -> str | None:
    """Why one more call would break a limit, counting each of the `active` at the mean price."""
    cost = spent.cost_at(settings.price)
    if settings.max_requests is not None and spent.replies + active >= settings.max_requests:
        return _reached(f"{settings.max_requests:,} requests", spent, cost)
    if settings.max_cost is not None:
        if cost is None:
            return (
                f"{settings.where}: tells no token counts: a cost limit cannot be kept; limit the "
                "requests instead"
            )
        # Before the first reply nothing shows what a call costs: the first one goes alone.
        next_ones = (active + 1) * cost / spent.replies if spent.replies else 0.0
        alone = not spent.replies and active > 0
        if alone or settings.max_cost <= 0 or cost + next_ones > settings.max_cost:
            return _reached(f"{settings.max_cost:.2f} USD", spent, cost)
    return None


def _reached(limit: str, spent: Totals, cost: float | None) -> str:
    paid = "cost unknown" if cost is None else f"{cost:.4f} USD"
    return (
        f"the limit of {limit} is reached: {spent.replies:,} replies, {spent.prompt_tokens:,} + "
        f"{spent.completion_tokens:,} tokens, {paid}; all are kept, and a higher limit goes on "
        "from there"
    )


def api_key(settings: Settings) -> str:
    """The key from the environment, or a word for a server that needs none."""
    key = os.environ.get("OPENAI_API_KEY", "").strip()
    if not key and not (settings.needs_key and _is_elsewhere(settings.url)):
        return "none"
    if not key:
        raise UserError(
            f"{settings.where}: needs a key: set OPENAI_API_KEY in the environment (any word will "
            "do for a server that asks for none)"
        )
    if not key.isascii() or not key.isprintable():
        # The library would quote it in its own complaint.
        raise UserError("OPENAI_API_KEY holds characters that no key has: set it again")
    return key


def _is_elsewhere(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    with suppress(ValueError):
        return not ipaddress.ip_address(host).is_loopback
    return host != "localhost"
