"""A gap: from when to when something may be missing, and how much at most."""

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace


class Gap(Struct, frozen=True):
    """A time in which no enricher watched this node, or of which what was seen is gone."""

    reason: str
    """`restart` of the enricher, `reboot` of the node, or why that is not known; of a session also
    `container-unwatched`."""
    at_ms: int
    """Its end: milliseconds since the epoch."""
    since_ms: int | None = None
    """Its begin; None if unknown."""
    at_most: Mapping[str, int] | None = None
    """How many `processes` can have been born in it, threads among them, by the kernel's own count of the whole node.
    None where that has begun anew. It bounds no execs: a process that was there before may have made any number."""
    boot_id: str | None = None
    """Of the boot before, where that was another one."""

    def ending(self, at_ms: int) -> "Gap":
        """The same, with another end."""
        return replace(self, at_ms=at_ms)
