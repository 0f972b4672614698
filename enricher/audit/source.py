"""What an audit source is to the agent: `netlink`, or `auditlog`."""

import selectors
from typing import Protocol

from enricher.events import SeccompEvent
from enricher.netlink import SocketCounters


class Source(Protocol):
    """SECCOMP events of this node, each of them once."""

    name: str

    @property
    def behind(self) -> bool:
        """Whether more may wait than the last `read` took."""

    def register(self, selector: selectors.BaseSelector) -> None:
        """Have the loop woken when there is something, if the source can."""

    def poll_timeout(self) -> float:
        """How long the loop may wait before it asks again, in seconds."""

    def read(self, now: float) -> list[SeccompEvent]:
        """Take what has come, in a bounded time and without waiting."""

    def lost(self) -> dict[str, int]:
        """Events lost since the start, by cause."""

    def socket(self) -> SocketCounters:
        """What befell its socket; nothing where it has none."""

    def gaps(self) -> list[str]:
        """New reasons why an unknown number of events may be missing."""

    def keep(self) -> None:
        """Save how far it is; to be called each second."""

    def close(self, *, clean: bool) -> None:
        """Give everything back, and remember whether all that was taken is in the trail."""
