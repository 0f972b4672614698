"""What an agent shows of itself: looked up in its own thread, then read from others, which ask none of its parts.

Those parts belong to the agent's thread. A map of a BPF object that is closed meanwhile is freed memory.
"""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from enricher.netlink import SocketCounters
from enricher.tally import Tally
from exectrail.contracts.nodetrail import NodeTrailStatus


class Snapshot(Struct, frozen=True, kw_only=True):
    """How an agent does at a moment. Nothing in here changes."""

    at: float = 0.0
    """When, in seconds of the monotonic clock."""
    trail: NodeTrailStatus = NodeTrailStatus()
    tally: Tally
    lost_before_reading: Mapping[str, int] = {}
    """By cause; never read, so not in the tally."""
    ring_full: Sequence[int] = ()
    """By CPU."""
    unmarked: int = 0
    sockets: Mapping[str, SocketCounters] = {}
    """By who reads them."""
    filter_hits: Mapping[str, int] | None = None
    """By rule; None without filters."""
    filter_reloads_refused: int = 0
    write_failures: int = 0
    unwritten_bytes: int = 0
    checkpoint_failures: int = 0
    held: int = 0
    processes: int = 0
    processes_evicted: int = 0
