"""Turns at the event loop: many requests that begin at once do not hold it up together."""

from __future__ import annotations

import asyncio

from anyio.lowlevel import checkpoint

MOST_A_TURN = 4
"""Evaluations in place during one turn of the loop: a millisecond or two."""


class Turns:
    """Lets so many evaluations begin in one turn of the event loop; the others wait for the next."""

    def __init__(self) -> None:
        self._taken = 0

    async def take(self) -> None:
        """Waits for a turn; at once when few ask."""
        while self._taken >= MOST_A_TURN:
            await checkpoint()
        if not self._taken:
            asyncio.get_running_loop().call_soon(self._begin)
        self._taken += 1

    def _begin(self) -> None:
        self._taken = 0
