"""A live process, as the proc connector's sensor follows it, and the events that it makes."""

import time

from msgspec import Struct

from enricher.events import ExecEvent, ExitEvent, Process
from enricher.sensors.proc_snapshot import ProcSnapshot
from enricher.sensors.procconn.doubt import Delayed


class Live(Struct):
    """A process of a container, or of a runtime on its way into one."""

    process: Process
    parent: Process
    cgroup: int
    uid: int
    gid: int
    runtime: bool = False
    """Whether it is the container runtime's own: what it forks may become an entry."""
    last: Delayed | None = None
    """Its latest exec, while that may become doubtful."""
    status: int | None = None
    """What the first thread to be seen leaving left with."""
    missing: bool = False

    def exec_event(self, at: int, seen: ProcSnapshot | None) -> ExecEvent:
        """Its exec, nanoseconds since boot, with what /proc showed; what that did not show is weak."""
        argv, path, cwd = (seen.argv, seen.path, seen.cwd) if seen else (b"", b"", b"")
        missing = (("argv", argv), ("cmdLine", argv), ("program", path), ("cwd", cwd))
        return ExecEvent(
            time=at,
            cgroup=self.cgroup,
            cgroup_name="",
            process=self.process,
            parent=self.parent,
            uid=self.uid,
            gid=self.gid,
            seccomp=None,
            filename=path,
            argv=argv,
            truncated=bool(seen and seen.truncated),
            weak=tuple(name for name, value in missing if not value),
            path=path,
            cwd=cwd,
        )

    def exit_event(self, at: int, status: int) -> ExitEvent:
        """Its end, nanoseconds since boot, with the status that its last thread left (wait(2))."""
        # Where the threads left with different ones, it depends on the kernel which one is the process's.
        weak = () if self.status == status else ("exit",)
        by_signal = status & 0x7F
        code = None if by_signal else status >> 8 & 0xFF
        return ExitEvent(at, self.cgroup, self.process, code, by_signal or None, weak)


def monotonic_to_boot() -> int:
    """Nanoseconds to add to CLOCK_MONOTONIC, which stands still while the machine sleeps, to get CLOCK_BOOTTIME."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.clock_gettime_ns(time.CLOCK_MONOTONIC)
