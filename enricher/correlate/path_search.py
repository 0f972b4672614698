"""Searches along PATH: a shell tries a program in each folder, and only what came of the search is worth a record."""

import errno

from enricher.argv import as_asked
from enricher.correlate.pending_event import PendingEvent
from enricher.events import ExecEvent, ExecFailedEvent, Process, process_of

_RUNS = (ExecEvent, ExecFailedEvent)
"""Made once: a union of types would be made anew for each event."""


class PathSearches:
    """The searches that may go on."""

    def __init__(self) -> None:
        self.latest: dict[Process, PendingEvent] = {}
        """The latest attempt of each process that found no program. Mostly there is none, and nothing to ask for."""

    def add(self, pending: PendingEvent) -> None:
        """Take an exec or a failed one; what it supersedes is marked so."""
        event = pending.event
        if not isinstance(event, _RUNS):
            return
        before = self.latest.pop(event.process, None)
        if before and isinstance(before.event, ExecFailedEvent) and _goes_on(before.event, event):
            before.superseded = True
        if isinstance(event, ExecFailedEvent) and event.errno == errno.ENOENT:
            self.latest[event.process] = pending

    def may_go_on(self, pending: PendingEvent) -> bool:
        """Whether the next attempt may follow."""
        return self.latest.get(process_of(pending.event)) is pending

    def give_up(self, pending: PendingEvent) -> None:
        """Wait for no other attempt."""
        if self.may_go_on(pending):
            del self.latest[process_of(pending.event)]


def _goes_on(before: ExecFailedEvent, event: ExecEvent | ExecFailedEvent) -> bool:
    """Whether an attempt is for the same program in the next folder, with the same arguments.

    Where the kernel gives no access to a failed exec's file name, nothing shows that: then each is worth a record.
    """
    name = before.filename.rpartition(b"/")[2]
    if not name or name != event.filename.rpartition(b"/")[2]:
        return False
    path = event.path if isinstance(event, ExecEvent) else b""
    return before.argv in as_asked(event.argv, event.filename, path, found=True)
