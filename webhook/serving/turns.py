"""Work that costs, in turns: one piece a round of the event loop, by address.

A hundred handshakes that are ready at once would take a tenth of a second, and the API server's call would wait
behind them. Here it waits for one: its address comes after the other's first.
"""

import asyncio
from collections import deque
from collections.abc import Callable

Work = Callable[[], bool]
"""Does it; False where there was nothing to do any more."""


class Turns:
    """The queues of all addresses. Work that comes while none waits is done at once."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Work]] = {}
        self._busy = False

    def take(self, address: str, work: Work) -> None:
        """Do this when it is this address's turn."""
        if self._busy:
            self._waiting.setdefault(address, deque()).append(work)
        else:
            self._busy = True
            asyncio.get_running_loop().call_soon(self._next)
            work()

    def _next(self) -> None:
        self._busy = bool(self._waiting)
        if self._busy:
            # Before the work: should that fail, the others still get their turns.
            asyncio.get_running_loop().call_soon(self._next)
            while self._waiting and not self._first()():
                pass

    def _first(self) -> Work:
        address = next(iter(self._waiting))
        queue = self._waiting.pop(address)
        work = queue.popleft()
        if queue:
            self._waiting[address] = queue  # behind all others
        return work
