"""Waits a moment for a label of a namespace that the API server sees already and the webhook's copy does not yet.

The API server asks about a new pod only where it sees a label. The copy is behind where the namespace has just been
made, or the API server was away; without a wait, that pod would have no audit profile as long as it lives.
"""

import asyncio
import time
from collections.abc import Callable

_EVERY = 0.02
_MOST_WAITING = 32
"""What the API server asks at once in such a moment. More than that are made up."""


class CatchUp:
    """What waits for the copies.

    Args:
        labelled: Whether a namespace has one of the labels, with any value, as far as known.
        hurry: Has the copy look at once, where it waits after a failure.
        seconds: How long a request waits at most: a third of `webhook.timeoutSeconds`, after which the API server goes
            on without an answer.

    """

    def __init__(self, labelled: Callable[[str], bool], hurry: Callable[[], None], seconds: float = 1.0) -> None:
        self._labelled, self._hurry, self._seconds = labelled, hurry, seconds
        self._waiting = 0

    async def wait(self, namespace: str) -> None:
        """Return once the label is known, the time is over, or too many wait already."""
        if self._labelled(namespace) or self._waiting >= _MOST_WAITING:
            return
        self._waiting += 1
        try:
            self._hurry()
            until = time.monotonic() + self._seconds
            while not self._labelled(namespace) and time.monotonic() < until:  # noqa: ASYNC110 - a thread learns of it
                await asyncio.sleep(_EVERY)
        finally:
            self._waiting -= 1
