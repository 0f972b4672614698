"""Where a process comes from that enters a container by its namespaces, as `nsenter` does: what /proc tells of it.

It is read right after the event. What the process was forked by mostly still waits for it then; the login that audit
knows it by (`loginuid`, `sessionid`) is inherited by all that it starts.
"""

from pathlib import Path
from typing import TypeGuard

from enricher.argv import words_of
from enricher.correlate.process_tree import Tree
from enricher.events import Exec, ProcessEvent
from enricher.sensors import proc_snapshot
from exectrail.contracts.record import EnteredFrom

_NOBODY = 0xFFFFFFFF
"""What an id that was never set reads as (loginuid, sessionid)."""


def is_entering(event: ProcessEvent, tree: Tree) -> TypeGuard[Exec]:
    """Whether this is the first that is told of a process that is in a container by its namespaces alone."""
    if not event.entered_by_namespace or not isinstance(event, Exec):
        return False
    known = tree.get(event.process)
    return known is None or known.entry is None


def entered_from(event: Exec) -> EnteredFrom | None:
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


def _is(pid: int, event: Exec) -> bool:
    """Whether the process with this pid is still the one of the event."""
    stat = proc_snapshot.stat(pid)
    return stat is not None and stat.process in (event.process, event.parent)


def _cgroup(text: str) -> str | None:
    """Its path in the v2 tree, or where that says nothing in systemd's own (cgroups(7))."""
    paths = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in text.split("\n") if line.count(":") >= 2}
    found = [path for name in ("", "name=systemd") if (path := paths.get(name))]
    return next((path for path in found if path != "/"), found[0] if found else None)


def _number(pid: int, name: str) -> int | None:
    try:
        number = int(Path(f"/proc/{pid}/{name}").read_text("ascii"))
    except (OSError, ValueError):
        return None
    return None if number == _NOBODY else number
