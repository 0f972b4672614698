"""A quota for each container, so that a fork bomb in one cannot push out what the others leave.

A token bucket: so many records a second in the long run, so many more at once. A container that has used its own up
is throttled until a tenth of the bucket has filled again, so that it does not flap; start and end stand in the trail.
Sessions, untracked entries and gaps are never throttled: evidence keeps its room.
"""

from msgspec import Struct

_RESUME = 0.1


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
        self._buckets: dict[str, _Bucket] = {}

    def take(self, container_id: str, now: float) -> bool:
        """Whether one more record of this container may leave; `now` is in seconds."""
        bucket = self._buckets.get(container_id)
        if bucket is None:
            bucket = self._buckets[container_id] = _Bucket(self._burst, now)
        self._fill(bucket, now)
        if bucket.refused or bucket.tokens < 1:
            bucket.refused += 1
            return False
        bucket.tokens -= 1
        return True

    def began(self, container_id: str) -> bool:
        """Whether the record that was just refused is the first."""
        bucket = self._buckets.get(container_id)
        return bucket is not None and bucket.refused == 1

    def ended(self, now: float) -> list[tuple[str, int]]:
        """The containers whose throttling is over, and how many records it took."""
        over: list[tuple[str, int]] = []
        for container_id, bucket in self._buckets.items():
            if bucket.refused:
                self._fill(bucket, now)
                if bucket.tokens >= self._burst * _RESUME:
                    over.append((container_id, bucket.refused))
                    bucket.refused = 0
        return over

    def forget(self, container_id: str) -> None:
        """The container is gone."""
        self._buckets.pop(container_id, None)

    def _fill(self, bucket: _Bucket, now: float) -> None:
        if now > bucket.at:  # not so within one round of the agent
            bucket.tokens = min(self._burst, bucket.tokens + (now - bucket.at) * self._rate)
            bucket.at = now
