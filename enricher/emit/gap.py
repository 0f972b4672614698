"""The hole that a restart leaves: from when to when something may be missing, and how much at most."""

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from enricher.state.progress_marker import Alive


class Hole(Struct, frozen=True):
    """A time in which nobody watched this node, or of which what was seen is gone."""

    reason: str
    """`restart` of the enricher, `reboot` of the node, or why that cannot be told."""
    at_ms: int
    """Its end: milliseconds since the epoch."""
    since_ms: int | None = None
    """Its begin; None where nobody knows."""
    at_most: Mapping[str, int] | None = None
    """How many `processes` can have been born in it, threads among them, by the kernel's own count of the whole node.
    None where that has begun anew. It bounds no execs: a process that was there before may have made any number."""
    boot_id: str | None = None
    """Of the boot before, where that was another one."""

    def ending(self, at_ms: int) -> "Hole":
        """The same, with another end."""
        return replace(self, at_ms=at_ms)


def between(before: Alive, boot_id: str, offset_ns: int, now_ms: int, forks: int) -> Hole:
    """The hole between an enricher's last word and now.

    Args:
        before: That word.
        boot_id: Of this boot.
        offset_ns: What to add to nanoseconds since this boot to get those since the epoch.
        now_ms: Milliseconds since the epoch.
        forks: The kernel's count of forks by now.

    """
    if before.boot_id != boot_id:
        return Hole("reboot", now_ms, before.until_ms, boot_id=before.boot_id)
    since_ms = (before.until + offset_ns) // 1_000_000  # by the clock of now: somebody may have set it
    return Hole("restart", now_ms, since_ms, {"processes": max(0, forks - before.forks)})
