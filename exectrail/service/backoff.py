"""How long to wait between tries: twice as long after each failure in a row, and never all clients at once."""

import random


class Backoff:
    """The wait before the next try.

    Args:
        first: Seconds after the first failure, at most.
        most: Seconds after many, at most.

    """

    def __init__(self, first: float, most: float) -> None:
        self._first, self._most = first, most
        self.bound = first
        """The longest that the next wait may be, in seconds."""

    def next(self) -> float:
        """Seconds to wait now: half of the bound to all of it, at random. The next one may be twice as long."""
        bound, self.bound = self.bound, min(2 * self.bound, self._most)
        return bound * random.uniform(0.5, 1.0)  # noqa: S311 - jitter

    def reset(self) -> None:
        """Begin anew, after a success."""
        self.bound = self._first
