"""How many calls may be in flight at once: fewer after a 429, more again after answers."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

GROWTH: Final = 16  # rounds of answered calls from one call at a time back to all


class Slots:
    """How many calls may be in flight: halved by a 429, grown again by answers."""

    def __init__(self, most: int) -> None:
        self.most, self.limit, self.taken = most, float(most), 0
        self._queue: deque[asyncio.Future[None]] = deque()
        self._paused_until = self._halved_at = 0.0

    async def take(self) -> None:
        if not self._queue and self._free():
            self.taken += 1
            return
        place = asyncio.get_running_loop().create_future()
        self._queue.append(place)
        try:
            await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled():
                self.give()
            raise

    def give(self) -> None:
        self.taken -= 1
        self._grant()

    def answered(self) -> None:
        self.limit = min(self.most, self.limit + self.most / GROWTH / self.limit)

    def throttled(self, sent_at: float, wait: float) -> None:
        """A 429 to a call sent at `sent_at`: one burst of them counts once."""
        loop = asyncio.get_running_loop()
        if sent_at >= self._halved_at:
            self.limit = max(1.0, self.limit / 2)
            self._halved_at = loop.time()
        if wait:
            self._paused_until = max(self._paused_until, loop.time() + wait)
            loop.call_at(self._paused_until + 0.001, self._grant)

    def let_all_go(self) -> None:
        while self._queue:
            self._grant_one()

    def _free(self) -> bool:
        paused = asyncio.get_running_loop().time() < self._paused_until
        return self.taken < int(self.limit) and not paused

    def _grant(self) -> None:
        while self._queue and self._free():
            self._grant_one()

    def _grant_one(self) -> None:
        place = self._queue.popleft()
        if not place.done():  # a cancelled one has left the queue
            self.taken += 1
            place.set_result(None)
