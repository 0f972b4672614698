"""How many AuditSessions a user and a namespace may cause, and how fast all are written: etcd holds each of them.

A token bucket each: so many sessions at once, and so many a second on average. A session of more than 2 KiB counts as
one for each 2 KiB, so the same bucket bounds bytes. What is over a user's or a namespace's limit is not written. The
limit on the total is a pace: what comes faster waits in the queue, where it is fair.
"""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Literal

from msgspec import Struct

UNIT_BYTES = 2 << 10
_MOST_KNOWN = 4096
"""Users, or namespaces, whose use is remembered: who was not seen for longest begins anew."""

Over = Literal["user-limit", "namespace-limit"]


class Rate(Struct, frozen=True):
    """So many a second on average, and so many at once."""

    per_second: float
    burst: int


class Bucket:
    """What is left of a rate.

    Args:
        rate: How fast it fills, and how much it holds; it begins full.
        now: Seconds, of the clock that the other times are of.

    """

    def __init__(self, rate: Rate, now: float) -> None:
        self._rate, self._tokens, self._at = rate, float(rate.burst), now

    def wait(self, size: int, now: float) -> float:
        """Seconds until there is enough for a session of so many bytes; 0 where there is now."""
        elapsed, self._at = now - self._at, now
        self._tokens = min(self._rate.burst, self._tokens + elapsed * self._rate.per_second)
        # A burst of fewer than one large session takes must not stop it for ever.
        return max(0.0, (min(_cost(size), self._rate.burst) - self._tokens) / self._rate.per_second)

    def take(self, size: int) -> None:
        """Take it, though it may not be there yet: then the next one waits for longer."""
        self._tokens -= _cost(size)


class Limits:
    """What each user and each namespace may still cause.

    Args:
        user: The limit of each user, over all namespaces.
        namespace: The limit of each namespace.
        clock: Seconds.

    """

    def __init__(self, user: Rate, namespace: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._users, self._namespaces = _Buckets(user), _Buckets(namespace)
        self._clock = clock

    def over(self, namespace: str, user: str, size: int) -> Over | None:
        """Which limit a session of so many bytes is over; where it is over none, it counts from now on."""
        now = self._clock()
        of_user, of_namespace = self._users.of(user, now), self._namespaces.of(namespace, now)
        if of_user.wait(size, now):
            return "user-limit"
        if of_namespace.wait(size, now):
            return "namespace-limit"
        of_user.take(size)
        of_namespace.take(size)
        return None


class _Buckets:
    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._by_name: OrderedDict[str, Bucket] = OrderedDict()

    def of(self, name: str, now: float) -> Bucket:
        bucket = self._by_name.pop(name, None) or Bucket(self._rate, now)
        self._by_name[name] = bucket
        if len(self._by_name) > _MOST_KNOWN:
            self._by_name.popitem(last=False)
        return bucket


def _cost(size: int) -> int:
    return -(-size // UNIT_BYTES)
