"""A quota for each container, so that a fork bomb in one cannot push out what the others leave.

A token bucket: so many records a second in the long run, so many more at once. A container that has used its own up
is throttled until a tenth of the bucket has filled again, so that it does not flap; start and end stand in the trail.
What came into a container without a request has a bucket of its own, which the container's own processes cannot empty.
Sessions, the first process of each entry, and gaps are never throttled: evidence keeps its room.
"""

from typing import NamedTuple

from msgspec import Struct

_RESUME = 0.1


class Throttled(NamedTuple):
    """A throttling that is over."""

    container_id: str
    untracked: bool
    """Whether it was of what came in without a request."""
    refused: int
    """How many records it took."""


class _Bucket(Struct):
    tokens: float
    at: float
    refused: int = 0
    """Records since the throttling began; 0 while there is none."""


class Quota:
    """Counts each container's records.

    Args:
        rate: Records a second.
        burst: Records at once.

    """

    def __init__(self, rate: float, burst: float) -> None:
        self._rate, self._burst = rate, burst
        self._buckets: dict[tuple[str, bool], _Bucket] = {}

    def take(self, container_id: str, now: float, *, untracked: bool = False) -> bool:
        """Whether one more record of this container may leave; `now` is in seconds."""
        key = container_id, untracked
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(self._burst, now)
        self._fill(bucket, now)
        if bucket.refused or bucket.tokens < 1:
            bucket.refused += 1
            return False
        bucket.tokens -= 1
        return True

    def began(self, container_id: str, *, untracked: bool = False) -> bool:
        """Whether the record that was just refused is the first."""
        bucket = self._buckets.get((container_id, untracked))
        return bucket is not None and bucket.refused == 1

    def ended(self, now: float) -> list[Throttled]:
        """Whose throttling is over."""
        over: list[Throttled] = []
        for (container_id, untracked), bucket in self._buckets.items():
            if bucket.refused:
                self._fill(bucket, now)
                if bucket.tokens >= self._burst * _RESUME:
                    over.append(Throttled(container_id, untracked, bucket.refused))
                    bucket.refused = 0
        return over

    def forget(self, container_id: str) -> list[Throttled]:
        """The container is gone; returns its throttlings, which are over with it."""
        buckets = [(untracked, self._buckets.pop((container_id, untracked), None)) for untracked in (False, True)]
        return [Throttled(container_id, each, bucket.refused) for each, bucket in buckets if bucket and bucket.refused]

    def close(self) -> list[Throttled]:
        """Nothing comes any more; returns the throttlings of all containers, which are over with that."""
        containers = dict.fromkeys(container_id for container_id, _ in self._buckets)
        return [over for container_id in containers for over in self.forget(container_id)]

    def _fill(self, bucket: _Bucket, now: float) -> None:
        if now > bucket.at:  # not so within one round of the agent
            bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._rate)
            bucket.at = now
