"""Processes as the SECCOMP records and /proc tell of them: what is left where eBPF cannot be had.

A record is made before the system call runs, so the new program is looked for in /proc right after, until it shows or
the time is over. Short processes are gone by then. Every field that this way cannot vouch for is named as weak.
"""

import selectors
import time
from collections import deque

from msgspec import Struct

from enricher import container_id, syscalls
from enricher.adopt import adopt, is_runtime
from enricher.clock import Clock
from enricher.containers import Containers, Place
from enricher.events import Exec, Exit, Fork, Process, ProcessEvent, Seccomp
from enricher.pipeline import Pipeline
from enricher.proc import Proc, ProcessInfo

_WEAK_EXEC = ("argv", "cmdLine", "program", "parentKey", "origin")
_WEAK_EXIT = ("exit", "durationMs", "timestamp")
_LOOK_FOR = 0.1
"""How long a new program is looked for, in seconds."""


class _Wanted(Struct):
    """An exec whose new program does not show yet."""

    record: Seccomp
    until: float


class ProcPlaces:
    """Places of the processes that /proc told of; these events have no cgroup id to go by."""

    def __init__(self) -> None:
        self.known: dict[Process, Place] = {}

    def of(self, event: ProcessEvent) -> Place:
        """The place of an event's process."""
        process = event.child if isinstance(event, Fork) else event.process
        return self.known.get(process) or Place("unknown")


class ProcProvider:
    """The ledger of last resort.

    Args:
        containers: What is recorded.
        clock: Turns the records' times into times since boot.

    """

    name = "proc"
    weak: tuple[str, ...] = (*_WEAK_EXEC, *_WEAK_EXIT)

    def __init__(self, containers: Containers, clock: Clock) -> None:
        self.places = ProcPlaces()
        self._containers, self._clock = containers, clock
        self._proc = Proc()
        self._wanted: deque[_Wanted] = deque()

    def register(self, selector: selectors.BaseSelector) -> None:
        """Nothing of its own to wait for: records drive it."""

    def lost(self) -> int:
        """Nothing is lost in the kernel on this way; what /proc no longer tells is counted as `vanished`."""
        return 0

    def close(self) -> None:
        """Nothing to give back."""

    def seccomp(self, pipeline: Pipeline, record: Seccomp, now: float) -> None:
        """An exec is looked for in /proc; other calls stand for themselves."""
        if syscalls.name(record.arch, record.syscall) not in ("execve", "execveat"):
            pipeline.seccomp_record(record, now)
            return
        pipeline.tally.read["seccomp"] += 1
        if not self._look(pipeline, record, now, last=False):
            self._wanted.append(_Wanted(record, now + _LOOK_FOR))

    def advance(self, pipeline: Pipeline, now: float) -> None:
        """Look again for what did not show."""
        for _ in range(len(self._wanted)):
            wanted = self._wanted.popleft()
            if not self._look(pipeline, wanted.record, now, last=wanted.until <= now):
                self._wanted.append(wanted)

    def tidy(self, pipeline: Pipeline, now: float) -> None:
        """Take in what was there before, and notice who is gone; to be called every few seconds."""
        alive = {info.process: info for info in self._proc.processes()}
        for process in [each for each in pipeline.tree.processes() if each not in alive]:
            event = Exit(time.clock_gettime_ns(time.CLOCK_BOOTTIME), 0, process, None, None, _WEAK_EXIT)
            pipeline.process_event(event, now)
            self.places.known.pop(process, None)
        by_container: dict[str, list[ProcessInfo]] = {}
        for info in alive.values():
            if place := self._recorded(info):
                by_container.setdefault(place.container_id, []).append(info)
        for container_id_, processes in by_container.items():
            adopt(pipeline.tree, container_id_, processes)

    def _recorded(self, info: ProcessInfo) -> Place | None:
        place = self.places.known.get(info.process) or place_of(info.cgroup)
        if place is None or self._containers.look(place).recorded is not True:
            return None
        self.places.known[info.process] = place
        return place

    def _look(self, pipeline: Pipeline, record: Seccomp, now: float, *, last: bool) -> bool:
        """Whether it is settled what became of a record."""
        info = self._proc.process(record.pid)
        if info is None:
            pipeline.tally.lost["vanished"] += 1
            return True
        if not self._recorded(info):
            pipeline.tally.filtered["not-recorded"] += 1
            return True
        node = pipeline.tree.get(info.process)
        shows = not is_runtime(info.argv) and (node is None or info.argv != node.argv)
        if not shows and not last:
            return False
        pipeline.tally.merged["seccomp"] += 1
        self._tell(pipeline, record, info, now)
        return True

    def _tell(self, pipeline: Pipeline, record: Seccomp, info: ProcessInfo, now: float) -> None:
        at = self._clock.boot_ns(record.time)
        parent = self._proc.process(info.parent)
        parent_process = parent.process if parent else Process(info.parent, 0)
        if pipeline.tree.get(info.process) is None and pipeline.tree.get(parent_process):
            fork = Fork(at, 0, "", parent_process, info.process, info.uid, info.gid, ("timestamp", "parentKey"))
            pipeline.process_event(fork, now)
        event = Exec(
            time=at,
            cgroup=0,
            cgroup_name="",
            process=info.process,
            parent=parent_process,
            uid=info.uid,
            gid=info.gid,
            ns_pid=info.ns_pid,
            seccomp=info.seccomp,
            filename=b"",
            argv=info.argv,
            truncated=info.truncated,
            weak=_WEAK_EXEC,
        )
        pipeline.process_event(event, now, half=record)


def place_of(cgroup: str) -> Place | None:
    """The container that a `/proc/PID/cgroup` file tells of."""
    found = container_id.from_cgroup_file(cgroup)
    uids = {uid for line in cgroup.splitlines() if (uid := container_id.pod_uid(line.rpartition(":")[2]))}
    return Place(found, uids.pop() if len(uids) == 1 else None) if found else None
