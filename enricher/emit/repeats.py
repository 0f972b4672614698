"""Suppresses what probes and hooks repeat: the kubelet runs the same command every few seconds, for years.

Each thing that is new is written once: an argv, a program, a descendant, an end of another kind. An intruder who takes
the kubelet's door with a probe's own command is so seen at the first thing that differs.
"""

from collections import defaultdict
from collections.abc import Hashable

from enricher.events import ExecEvent, ExitEvent, ForkEvent, ProcessEvent, SeccompEvent

_MOST = 1_000
"""How many different things of a container are remembered; a container that makes more has them all written."""


class Repeats:
    """What was seen of each container's probes and hooks."""

    def __init__(self) -> None:
        self._seen: defaultdict[str, set[int]] = defaultdict(set)
        """By container, hashes: arguments may be long."""

    def is_repeat(self, container_id: str, event: ProcessEvent | SeccompEvent, argv: bytes | None) -> bool:
        """Whether the like was seen before; `argv` is what the process runs (for a fork, the parent)."""
        seen, what = self._seen[container_id], hash(_what(event, argv))
        if what in seen:
            return True
        if len(seen) < _MOST:
            seen.add(what)
        return False

    def forget(self, container_id: str) -> None:
        """The container is gone."""
        self._seen.pop(container_id, None)


def _what(event: ProcessEvent | SeccompEvent, argv: bytes | None) -> Hashable:
    match event:
        case ExecEvent():
            return "exec", event.filename, event.path, event.argv, event.uid
        case ForkEvent():
            return "fork", argv
        case SeccompEvent():
            return "syscall", argv, event.exe, event.comm, event.arch, event.syscall, event.code
        case ExitEvent():
            return "exit", argv, event.code, event.signal
        case _:
            return type(event), event.content
