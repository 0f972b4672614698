"""The audit source `auditlog`: SECCOMP events as auditd writes them into its log.

For nodes where the audit netlink cannot be opened. auditd writes an event within some tens of milliseconds (at most
0.25 s in measurements, with its default `flush = INCREMENTAL_ASYNC`), and this source looks every `POLL` seconds,
sooner while events are pending: their SECCOMP events come within the hold time.
"""

import logging
import selectors
from collections.abc import Callable
from pathlib import Path
from typing import Final, Self

from enricher.audit.follower import Follower
from enricher.audit.log_tail import LogTail
from enricher.audit.netlink_socket import SourceUnavailable
from enricher.audit.progress import SourceState
from enricher.events import SeccompEvent
from enricher.netlink import SocketCounters

POLL: Final = 0.25
"""Seconds between two looks. inotify would be sooner, and does not work on some file systems."""

log = logging.getLogger(__name__)


class AuditLogSource:
    """Follows auditd's log, from where the enricher before this one was.

    Args:
        tail: Reads the log.
        state: Saves how far it was read.
        gap: Why something may be missing already, if so.

    """

    name = "auditlog"

    def __init__(self, tail: LogTail, state: SourceState, gap: str | None = None) -> None:
        self._tail, self._state = tail, state
        self._gaps = [gap] if gap else []

    @classmethod
    def open(
        cls,
        path: Path,
        state: SourceState,
        is_ours: Callable[[str], bool],
        ready: Callable[[], bool],
        *,
        wait: bool,
    ) -> Self:
        """Begin to follow it: at its end, unless a checkpoint says where.

        Args:
            path: The log.
            state: With the checkpoint.
            is_ours: Whether `node=NAME` is this node.
            ready: Whether the containers to record are known by now.
            wait: Whether the file may come later, as with an auditd that is started later.

        Raises:
            SourceUnavailable: It is not there, or cannot be read; see the message.

        """
        check(path, wait=wait)
        try:
            follower, gap = _begin(path, state)
        except OSError as error:
            raise SourceUnavailable(f"auditd's log: {error.filename or path}: {error.strerror}") from error
        return cls(LogTail(follower, state.serials, is_ours, state.maybe_written, ready), state, gap)

    @property
    def behind(self) -> bool:
        """Whether more may wait in the log."""
        return self._tail.behind or self._tail.waiting

    def register(self, selector: selectors.BaseSelector) -> None:
        """Nothing to register: a file cannot wake the loop."""

    def poll_timeout(self) -> float:
        """Until the next look."""
        return 0.0 if self._tail.behind else POLL

    def read(self, now: float) -> list[SeccompEvent]:  # noqa: ARG002 - the other source needs it
        """What auditd has written since."""
        return self._tail.read()

    def lost(self) -> dict[str, int]:
        """Lines that could not be read."""
        return {"unparsable": self._tail.unparsable}

    def socket(self) -> SocketCounters:
        """It has none."""
        return SocketCounters()

    def gaps(self) -> list[str]:
        """Why something may be missing."""
        gaps, self._gaps = self._gaps, []
        return gaps

    def keep(self) -> None:
        """Save the place in the log."""
        self._state.keep(self._tail.follower.position())

    def close(self, *, clean: bool) -> None:
        """Save it once more, for the next enricher."""
        self._state.keep(self._tail.follower.position(), clean=clean)
        self._tail.close()


def check(path: Path, *, wait: bool) -> None:
    """See whether a log can be followed.

    Raises:
        SourceUnavailable: With the reason.

    """
    try:
        with path.open("rb"):
            pass
    except FileNotFoundError as error:
        if not wait or not path.parent.is_dir():
            raise SourceUnavailable(f"auditd's log: {path} is not there: is auditd on this node?") from error
        log.warning("%s is not there yet: it is read as soon as auditd makes it", path)
    except OSError as error:
        raise SourceUnavailable(f"auditd's log: {path}: {error.strerror}") from error


def _begin(path: Path, state: SourceState) -> tuple[Follower, str | None]:
    """Where to read from, and why something may be missing."""
    before = state.before
    if before is None or before.log is None:  # a first start, or one with netlink before
        return Follower.at_end(path), state.gap
    if follower := Follower.resume(path, before.log):
        return follower, None
    # It was rotated away. What is left of that time is read; serials show what is new in it.
    return Follower.since(path, before.at), "audit-log-rotated-away"
