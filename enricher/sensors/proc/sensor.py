"""Processes as the SECCOMP records and /proc tell of them: what is left where eBPF cannot be had.

A record is made before the system call runs, so the new program is looked for in /proc right after, until it shows or
the time is over. Short processes are gone by then. Every field that this way cannot vouch for is named as weak.
"""

import selectors
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from msgspec import Struct

from enricher import syscalls
from enricher.clock import START_SLACK_NS, Clock
from enricher.containers.containers import Containers
from enricher.containers.proc_cgroups import OUTSIDE, ProcCgroupResolver
from enricher.correlate.backfill import backfill
from enricher.correlate.pipeline import Pipeline
from enricher.events import Exec, Exit, Fork, Process, Seccomp
from enricher.netlink import SocketCounters
from enricher.procfs import Proc, ProcessInfo
from enricher.runtimes import is_runtime

_WEAK_EXEC = ("argv", "cmdLine", "program", "parentKey", "origin")
_WEAK_EXIT = ("exit", "durationMs", "timestamp")
_LOOK_FOR = 0.1
"""How long a new program is looked for, in seconds."""
_LOOK_AGAIN = 0.0005
"""How soon: the `env` of a tagged command is there for some 2 ms before it becomes the command itself."""


class _Wanted(Struct):
    """An exec whose new program does not show yet."""

    record: Seccomp
    until: float


class ProcSensor:
    """The sensor of last resort.

    Args:
        cgroup_root: The node's `/sys/fs/cgroup`.
        containers: What is recorded.
        clock: Turns the records' times into times since boot.

    """

    reports_failed_execs = False
    name = "proc"
    weak: tuple[str, ...] = (*_WEAK_EXEC, *_WEAK_EXIT)
    batch_delay = 0.0
    behind = False

    def __init__(self, cgroup_root: Path, containers: Containers, clock: Clock) -> None:
        self.cgroups = ProcCgroupResolver(cgroup_root)
        self._containers, self._clock = containers, clock
        self._proc = Proc()
        self._wanted: deque[_Wanted] = deque()

    def register(self, selector: selectors.BaseSelector) -> None:
        """Nothing of its own to wait for: records drive it."""

    def resume(self, pipeline: Pipeline, containers: set[str], outside: Iterable[tuple[Process, str]]) -> None:
        """Nothing to go on with: each record is looked at for itself."""

    def poll_timeout(self) -> float:
        """How long the loop may wait for more, in seconds."""
        return _LOOK_AGAIN if self._wanted else float("inf")

    def lost(self) -> dict[str, int]:
        """Nothing is lost in the kernel on this way; what /proc no longer tells is counted where it is looked for."""
        return {}

    def socket(self) -> SocketCounters:
        """It has none of its own."""
        return SocketCounters()

    def lost_per_cpu(self) -> list[int]:
        """It has no way that could be full."""
        return []

    def unmarked(self) -> int:
        """None: nobody is followed who leaves its cgroup."""
        return 0

    def close(self) -> None:
        """Nothing to give back."""

    def seccomp(self, pipeline: Pipeline, record: Seccomp, now: float) -> None:
        """An exec is looked for in /proc; other calls stand for themselves."""
        if syscalls.name(record.arch, record.syscall) not in ("execve", "execveat"):
            pipeline.seccomp_record(record, now)
        elif not self._look(pipeline, record, now, last=False):
            self._wanted.append(_Wanted(record, now + _LOOK_FOR))

    def advance(self, pipeline: Pipeline, now: float) -> None:
        """Look again for what did not show."""
        for _ in range(len(self._wanted)):
            wanted = self._wanted.popleft()
            if not self._look(pipeline, wanted.record, now, last=wanted.until <= now):
                self._wanted.append(wanted)

    def maintain(self, pipeline: Pipeline, now: float) -> None:
        """Take in what was there before, and notice who is gone; to be called every few seconds."""
        alive = {info.process: info for info in self._proc.processes()}
        for process in [each for each in pipeline.tree.processes() if each not in alive]:
            node = pipeline.tree.get(process)
            number = self.cgroups.number_of(node.container_id) if node else OUTSIDE
            event = Exit(time.clock_gettime_ns(time.CLOCK_BOOTTIME), number, process, None, None, _WEAK_EXIT)
            pipeline.process_event(event, now)
        self._backfill(pipeline, alive.values())
        for place in self.cgroups.keep({self.cgroups.number(info.cgroup) for info in alive.values()}):
            pipeline.forget_container(place.container_id)
            self._containers.forget(place.container_id)

    def _backfill(self, pipeline: Pipeline, infos: Iterable[ProcessInfo]) -> None:
        by_place: dict[int, list[ProcessInfo]] = {}
        coming = {wanted.record.pid for wanted in self._wanted}
        for info in infos:
            if info.process.pid not in coming and (number := self.cgroups.number(info.cgroup)):
                by_place.setdefault(number, []).append(info)
        for number, processes in by_place.items():
            place = self.cgroups.known[number]
            if self._containers.look(place).recorded:
                backfill(pipeline.tree, place.container_id, processes)

    def _look(self, pipeline: Pipeline, record: Seccomp, now: float, *, last: bool) -> bool:
        """Whether it is settled what became of a record."""
        info = self._proc.process(record.pid)
        # A record of auditd's log may be late enough for its pid to be somebody else's.
        if info is None or info.process.born > self._clock.boot_ns(record.time) + START_SLACK_NS:
            pipeline.tally.read["seccomp"] += 1
            pipeline.tally.lost["vanished"] += 1
            return True
        place = self.cgroups.known.get(self.cgroups.number(info.cgroup))
        if place is None or self._containers.look(place).recorded is False:
            pipeline.tally.read["seccomp"] += 1
            pipeline.tally.filtered["not-recorded"] += 1
            return True
        if info.argv not in (b"", self._caller(pipeline, info)) and not is_runtime(info.argv):
            self._tell(pipeline, record, info, now)
        elif last:  # it failed, or changed nothing that shows
            pipeline.seccomp_record(record, now)
        else:
            return False
        return True

    def _caller(self, pipeline: Pipeline, info: ProcessInfo) -> bytes | None:
        """The arguments that a process had before its exec; empty ones, it has for a moment in between."""
        if node := pipeline.tree.get(info.process):
            return node.argv
        parent = pipeline.tree.by_pid(info.parent)  # a new process has its parent's
        return parent.argv if parent else None

    def _tell(self, pipeline: Pipeline, record: Seccomp, info: ProcessInfo, now: float) -> None:
        pipeline.tally.read["seccomp"] += 1
        pipeline.tally.merged["seccomp"] += 1
        number = self.cgroups.number(info.cgroup)
        if not pipeline.tree.has_init(self.cgroups.known[number].container_id):
            # Else the first to come in after the agent's start would be taken for the container's own init.
            everybody = self._proc.processes()
            self._backfill(pipeline, (each for each in everybody if each.process != info.process))
        at = self._clock.boot_ns(record.time)
        parent = self._proc.process(info.parent)
        parent_process = parent.process if parent else Process(info.parent, 0)
        if pipeline.tree.get(info.process) is None and pipeline.tree.get(parent_process):
            fork = Fork(at, number, "", parent_process, info.process, info.uid, info.gid, ("timestamp", "parentKey"))
            pipeline.process_event(fork, now)
        event = Exec(
            time=at,
            cgroup=number,
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
