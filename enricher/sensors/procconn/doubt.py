"""Holds events back for a moment, in order, until nothing can come any more that makes them doubtful.

The kernel says when a process executes a program; what it executes is read from /proc later. So arguments are those
of their exec only if the same process had not executed the next program by then. A moment later that is known.
"""

import time
from collections import deque
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from enricher.events import Exec, Exit, ProcessEvent
from enricher.sensors.proc_snapshot import ProcSnapshot

UNSURE_NS: Final = 5_000_000
"""How long before the kernel tells of an exec its arguments may show already: the process may lose the processor
in between."""
WEAK_ARGV: Final = ("argv", "cmdLine", "program", "cwd")


class Told(Struct):
    """An event on its way; None when it turned out to be none."""

    event: ProcessEvent | None
    due: int
    """From when on it is certain: nanoseconds of CLOCK_MONOTONIC."""
    seen: ProcSnapshot | None = None
    """What was read of an exec."""


class Waiting:
    """The events that wait."""

    def __init__(self) -> None:
        self._queue: deque[Told] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, event: ProcessEvent, seen: ProcSnapshot | None = None) -> Told:
        """Take an event, with what was read of an exec."""
        told = Told(event, time.monotonic_ns(), seen)
        if seen or isinstance(event, Exit):
            told.due += UNSURE_NS
        self._queue.append(told)
        return told

    def events(self) -> list[ProcessEvent]:
        """All that wait."""
        return [told.event for told in self._queue if told.event]

    def certain(self, heard_until: int) -> list[ProcessEvent]:
        """Take out what is certain, when all has been taken that the kernel told until then (CLOCK_MONOTONIC)."""
        taken: list[ProcessEvent] = []
        while self._queue and self._queue[0].due <= heard_until:
            told = self._queue.popleft()
            told.seen = None
            if told.event:
                taken.append(told.event)
        return taken


def doubt(told: Told | None, next_exec: int, then: ProcSnapshot | None) -> None:
    """Mark what was read of an exec, if it may have been the next one's of the same process already.

    The new arguments show a moment before the kernel tells of the exec, and so does the new name, `comm`: where the
    name after reading was not yet the new one, the arguments were not either.

    Args:
        told: The exec before.
        next_exec: When the kernel told of the next one: nanoseconds of CLOCK_MONOTONIC.
        then: What was read after that.

    """
    if told is None or told.seen is None or not isinstance(told.event, Exec):
        return
    seen = told.seen
    if seen.read_at >= next_exec:  # they are the next one's
        nothing = {"argv": b"", "filename": b"", "path": b"", "cwd": b"", "truncated": False}
        told.event = replace(told.event, **nothing, weak=_weak(told.event))
    elif seen.read_at >= next_exec - UNSURE_NS and (then is None or then.stat.comm == seen.stat.comm):
        told.event = replace(told.event, weak=_weak(told.event))


def _weak(event: Exec) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*WEAK_ARGV, *event.weak)))
