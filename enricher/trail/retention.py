"""How a trail is cut into segments, and which of the old ones go: pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Literal

from msgspec import Struct

from exectrail.reading.segments import Segment

MB = 1 << 20

Reason = Literal["removed-by-backups", "removed-by-age", "removed-by-size-cap"]


class Rotation(Struct, frozen=True):
    """When a segment is closed, and how long it stays. Options of SPO have their meaning there (lumberjack's)."""

    max_size: int = 100 * MB
    """Bytes; a segment is closed before it grows beyond."""
    max_backups: int = 0
    """Number of closed segments to keep; 0 for all."""
    max_age: timedelta = timedelta()
    """How long to keep a closed segment; 0 for ever."""
    max_total: int = 0
    """Bytes of all segments, the one being written with its greatest size; 0 for no bound."""
    compress: bool = True

    @property
    def close_after(self) -> timedelta | None:
        """At which age a segment is closed however small: else an age bound would not reach a quiet node's records."""
        return min(self.max_age, timedelta(days=1)) if self.max_age else None


class Stored(Struct, frozen=True):
    """A closed segment in its folder."""

    segment: Segment
    size: int


class Removed(Struct, frozen=True):
    """A segment that was removed, and why."""

    name: str
    reason: Reason
    records: int
    """How many lines it had; what could not be read of it is not counted."""


def surplus(stored: Iterable[Stored], rotation: Rotation, now: datetime) -> list[tuple[Stored, Reason]]:
    """The segments to remove, oldest first."""
    gone: list[tuple[Stored, Reason]] = []
    total = rotation.max_size
    for count, each in enumerate(sorted(stored, key=lambda each: each.segment, reverse=True), 1):
        total += each.size
        if rotation.max_backups and count > rotation.max_backups:
            gone.append((each, "removed-by-backups"))
        elif rotation.max_age and now - each.segment.closed > rotation.max_age:
            gone.append((each, "removed-by-age"))
        elif rotation.max_total and total > rotation.max_total:
            gone.append((each, "removed-by-size-cap"))
    return gone[::-1]
