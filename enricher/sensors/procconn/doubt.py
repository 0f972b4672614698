"""Delays events for a moment, in order, until nothing can come any more that makes them doubtful.

The kernel says when a process executes a program; what it executes is read from /proc later. So arguments are those
of their exec only if the same process had not executed the next program by then. A moment later that is known.
"""

import time
from collections import deque
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from enricher.events import ExecEvent, ExitEvent, ProcessEvent, size_of_strings
from enricher.sensors.proc_snapshot import ProcSnapshot

UNSURE_NS: Final = 5_000_000
"""How long before the kernel reports an exec its arguments may show already: the process may lose the processor
in between."""
_MOST: Final = 50_000
_MOST_BYTES: Final = 16 << 20
"""Of arguments and paths, as in `enricher.correlate.correlator`."""
WEAK_ARGV: Final = ("argv", "cmdLine", "program", "cwd")


class Delayed(Struct):
    """An event on its way; None when it turned out to be none, or has left."""

    event: ProcessEvent | None
    due: int
    """From when on it is certain: nanoseconds of CLOCK_MONOTONIC."""
    seen: ProcSnapshot | None = None
    """What was read of an exec."""
    size: int = 0
    """Bytes of its strings."""


class DelayedEvents:
    """The events that are delayed; where they become too many, the oldest are delayed no longer."""

    def __init__(self) -> None:
        self._queue: deque[Delayed] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, event: ProcessEvent, seen: ProcSnapshot | None = None) -> Delayed:
        """Take an event, with what was read of an exec."""
        delayed = Delayed(event, time.monotonic_ns(), seen, size_of_strings(event))
        self._bytes += delayed.size
        if seen or isinstance(event, ExitEvent):
            delayed.due += UNSURE_NS
        self._queue.append(delayed)
        return delayed

    def events(self) -> list[ProcessEvent]:
        """All that are delayed now."""
        return [delayed.event for delayed in self._queue if delayed.event]

    def certain(self, read_until: int) -> list[ProcessEvent]:
        """Take out what is certain, when all has been read that the kernel reported until then (CLOCK_MONOTONIC)."""
        taken: list[ProcessEvent] = []
        while self._queue and (self._queue[0].due <= read_until or self._is_full):
            delayed = self._queue.popleft()
            self._bytes -= delayed.size
            if delayed.event:
                taken.append(delayed.event)
            delayed.event = delayed.seen = None  # a process's last one is kept as long as it lives
        return taken

    @property
    def _is_full(self) -> bool:
        return len(self._queue) > _MOST or self._bytes > _MOST_BYTES


def doubt(delayed: Delayed | None, next_exec: int, then: ProcSnapshot | None) -> None:
    """Mark what was read of an exec, if it may have been the next one's of the same process already.

    The new arguments show a moment before the kernel reports the exec, and so does the new name, `comm`: where the
    name after reading was not yet the new one, the arguments were not either.

    Args:
        delayed: The exec before.
        next_exec: When the kernel reported the next one: nanoseconds of CLOCK_MONOTONIC.
        then: What was read after that.

    """
    if delayed is None or delayed.seen is None or not isinstance(delayed.event, ExecEvent):
        return
    seen = delayed.seen
    if seen.read_at >= next_exec:  # they are the next one's
        nothing = {"argv": b"", "filename": b"", "path": b"", "cwd": b"", "truncated": False}
        delayed.event = replace(delayed.event, **nothing, weak=_weak(delayed.event))
    elif seen.read_at >= next_exec - UNSURE_NS and (then is None or then.stat.comm == seen.stat.comm):
        delayed.event = replace(delayed.event, weak=_weak(delayed.event))


def _weak(event: ExecEvent) -> tuple[str, ...]:
    return tuple(dict.fromkeys((*WEAK_ARGV, *event.weak)))
