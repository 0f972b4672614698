"""Where a process comes from that enters a container by its namespaces, as `nsenter` does, by /proc.

It is read right after the event. The process that forked it mostly still waits for it then; the login that audit knows
it by (`loginuid`, `sessionid`) is inherited by all that it starts.
"""

import os
from pathlib import Path
from typing import TypeGuard

from msgspec.structs import replace

from enricher.argv import text, words_of
from enricher.events import ExecEvent, ExitEvent, ForkEvent, Process, ProcessEvent
from enricher.sensors import proc_snapshot
from exectrail.contracts.record import EnteredFrom

_UNSET = 0xFFFFFFFF
"""What an id that was never set reads as (loginuid, sessionid)."""
_MOST = 8_192


class Entering:
    """Completes the first exec of each process that enters a container by its namespaces.

    What such a process forks is in the container by its namespaces as well, and has not entered it.
    """

    def __init__(self) -> None:
        self._inside: dict[Process, None] = {}

    def complete(self, event: ProcessEvent) -> ProcessEvent:
        """The event, with where its process comes from if it enters just now."""
        return replace(event, entered_from=entered_from(event)) if self.is_first(event) else event

    def is_first(self, event: ProcessEvent) -> TypeGuard[ExecEvent]:
        """Whether this is the first event of a process that is in a container by its namespaces alone."""
        if not event.entered_by_namespace:
            return False
        match event:
            case ExecEvent() if event.process not in self._inside:
                self.add(event.process)
                return True
            case ForkEvent() if event.parent in self._inside:
                self.add(event.child)
            case ExitEvent():
                self._inside.pop(event.process, None)
            case _:
                pass
        return False

    def add(self, process: Process) -> None:
        """This one is inside by now."""
        self._inside[process] = None
        if len(self._inside) > _MOST:
            del self._inside[next(iter(self._inside))]


def entered_from(event: ExecEvent) -> EnteredFrom | None:
    """Where the process of this event comes from; None where it is gone and its parent with it."""
    pid = next((each for each in (event.process.pid, event.parent.pid) if _is(each, event)), None)
    if pid is None:
        return None
    parent = proc_snapshot.take(event.parent.pid) if _is(event.parent.pid, event) else None
    return EnteredFrom(
        cgroup=_cgroup(proc_snapshot.cgroup(pid) or ""),
        auid=_number(pid, "loginuid"),
        ses=_number(pid, "sessionid"),
        argv=list(words_of(parent.argv)) if parent and parent.argv else None,
    )


def _is(pid: int, event: ExecEvent) -> bool:
    """Whether the process with this pid is still the one of the event."""
    stat = proc_snapshot.stat(pid)
    return stat is not None and stat.process in (event.process, event.parent)


def _cgroup(file: str) -> str | None:
    """Its path in the v2 tree, or where that says nothing in systemd's own (cgroups(7))."""
    paths = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in file.split("\n") if line.count(":") >= 2}
    found = [path for name in ("", "name=systemd") if (path := paths.get(name))]
    path = next((path for path in found if path != "/"), found[0] if found else None)
    return None if path is None else text(os.fsencode(path))  # a cgroup may have any name, and JSON is UTF-8


def _number(pid: int, name: str) -> int | None:
    try:
        number = int(Path(f"/proc/{pid}/{name}").read_text("ascii"))
    except (OSError, ValueError):
        return None
    return None if number == _UNSET else number
