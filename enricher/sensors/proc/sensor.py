"""Processes as the SECCOMP events and /proc show them: what is left where eBPF cannot be had.

A SECCOMP event is made before the system call runs, so the new program is looked for in /proc right after, until it
shows or the time is over. Short processes are gone by then. Every field that is not certain this way is named as weak.
"""

import selectors
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from msgspec import Struct

from enricher import syscalls
from enricher.argv import shortened
from enricher.clock import START_SLACK_NS, Clock
from enricher.events import UNSEEN_END, ExecEvent, ExitEvent, ForkEvent, Process, SeccompEvent, process_of
from enricher.netlink import SocketCounters
from enricher.procfs import Proc, ProcessInfo
from enricher.runtimes import is_runtime
from enricher.sensors.sensor import Dropped, KnownProcess, Sensed

_WEAK_EXEC = ("argv", "cmdLine", "program", "parentKey", "origin")
_LOOK_FOR = 0.1
"""How long a new program is looked for, in seconds."""
_LOOK_AGAIN = 0.0005
"""How soon: the `env` of a tagged command is there for some 2 ms before it becomes the command itself."""


class _Wanted(Struct):
    """An exec whose new program does not show yet."""

    seccomp: SeccompEvent
    until: float


class _Seen(Struct):
    """A process that was reported, or looked up for the agent."""

    process: Process
    cgroup: int
    argv: bytes
    """Shortened: there may be many processes."""


class ProcSensor:
    """The sensor of last resort.

    Args:
        cgroup_number: The number of the container that a cgroup file's text shows; 0 for none.
        clock: Turns the SECCOMP events' times into times since boot.

    """

    name = "proc"
    weak: tuple[str, ...] = (*_WEAK_EXEC, *UNSEEN_END)
    reports_failed_execs = False
    reports_forks_and_exits = False
    batch_delay = 0.0
    behind = False

    def __init__(self, cgroup_number: Callable[[str], int], clock: Clock) -> None:
        self._cgroup_number, self._clock = cgroup_number, clock
        self._proc = Proc()
        self._wanted: deque[_Wanted] = deque()
        self._ready: list[Sensed] = []
        self._polled: set[int] = set()
        """The pids of what the last `poll` returned."""
        self._dropped: list[Dropped] = []
        self._seen: dict[int, _Seen] = {}
        self._ignored: set[int] = set()
        self._looked_up: set[int] = set()
        """The cgroups whose processes were seen before the first event there."""
        self._populated: set[int] = set()
        self._listing: list[ProcessInfo] = []
        """All processes, as `maintain` has found them, until the next `poll`."""

    def register(self, selector: selectors.BaseSelector) -> None:
        """Nothing of its own to wait for: SECCOMP events drive it."""

    def poll_timeout(self) -> float:
        """Soon, while a program is looked for."""
        if self._ready:
            return 0.0
        return _LOOK_AGAIN if self._wanted else float("inf")

    def take(self, seccomp: SeccompEvent, now: float) -> bool:
        """An exec is looked for in /proc, at once; other calls stand for themselves."""
        if syscalls.name(seccomp.arch, seccomp.syscall) not in ("execve", "execveat"):
            return False
        if not self._look(seccomp, last=False):
            self._wanted.append(_Wanted(seccomp, now + _LOOK_FOR))
        return True

    def poll(self, now: float) -> Sequence[Sensed]:
        """Look again for what did not show."""
        self._listing = []
        for _ in range(len(self._wanted)):
            wanted = self._wanted.popleft()
            if not self._look(wanted.seccomp, last=wanted.until <= now):
                self._wanted.append(wanted)
        ready, self._ready = self._ready, []
        self._polled = {process_of(event).pid for event, _ in ready if event}
        return ready

    def maintain(self) -> Sequence[Sensed]:
        """Notice the processes that are gone: their ends."""
        self._listing = list(self._proc.processes())
        alive = {info.process for info in self._listing}
        gone = [each for each in self._seen.values() if each.process not in alive]
        for each in gone:
            del self._seen[each.process.pid]
        self._populated = {self._cgroup_number(info.cgroup) for info in self._listing}
        return [(_end(each), None) for each in gone]

    def dropped(self) -> Sequence[Dropped]:
        """Execs of processes that were gone, or that are in no recorded container."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def decide(self, cgroup: int, *, record: bool) -> bool:
        """Ignore a cgroup's execs, or not."""
        if not record:
            self.forget(cgroup)
            self._ignored.add(cgroup)
            return False
        was_ignored = cgroup in self._ignored
        self._ignored.discard(cgroup)
        return was_ignored

    def forget(self, cgroup: int) -> None:
        """The container is gone."""
        self._ignored.discard(cgroup)
        self._looked_up.discard(cgroup)
        for pid in [pid for pid, each in self._seen.items() if each.cgroup == cgroup]:
            del self._seen[pid]

    def processes(self, cgroups: Collection[int]) -> Mapping[int, Sequence[ProcessInfo]]:
        """Those for whose exec it does not look yet."""
        found: dict[int, list[ProcessInfo]] = {cgroup: [] for cgroup in cgroups}
        coming = {wanted.seccomp.pid for wanted in self._wanted} | self._polled
        for info in self._listing or self._proc.processes():
            cgroup = self._cgroup_number(info.cgroup)
            if cgroup in found and info.process.pid not in coming:
                found[cgroup].append(info)
                self._see(info, cgroup)
        self._looked_up |= found.keys()
        return found

    def populated(self) -> Collection[int]:
        """As of the last look."""
        return self._populated | {each.cgroup for each in self._seen.values()}

    def resume(self, known: Iterable[KnownProcess]) -> None:
        """Go on with all of them: their ends are noticed, and what they fork."""
        for each in known:
            self._keep(_Seen(each.process, each.cgroup, shortened(each.argv)))

    def lost(self) -> dict[str, int]:
        """Nothing is lost in the kernel on this way; what /proc no longer shows is dropped where it is looked for."""
        return {}

    def lost_per_cpu(self) -> list[int]:
        """It has no way that could be full."""
        return []

    def socket(self) -> SocketCounters:
        """It has none of its own."""
        return SocketCounters()

    def unmarked(self) -> int:
        """None: no process is followed out of its cgroup."""
        return 0

    def close(self) -> None:
        """Nothing to give back."""

    def _look(self, seccomp: SeccompEvent, *, last: bool) -> bool:
        """Whether it is settled what became of a SECCOMP event."""
        info = self._proc.process(seccomp.pid)
        # An event of auditd's log may be late enough for its pid to be another process's.
        if info is None or info.process.born > self._clock.boot_ns(seccomp.time) + START_SLACK_NS:
            self._dropped.append(Dropped("seccomp", "vanished"))
            return True
        cgroup = self._cgroup_number(info.cgroup)
        if not cgroup or cgroup in self._ignored:
            self._dropped.append(Dropped("seccomp", "not-recorded"))
            return True
        if shortened(info.argv) not in (b"", self._argv_before(info)) and not is_runtime(info.argv):
            self._exec(seccomp, info, cgroup)
        elif last:  # it failed, or changed nothing that shows
            self._ready.append((None, seccomp))
        else:
            return False
        return True

    def _argv_before(self, info: ProcessInfo) -> bytes | None:
        """The arguments that a process had before its exec; empty ones, it has for a moment in between."""
        seen = self._seen.get(info.process.pid)
        if seen is None or seen.process != info.process:
            seen = self._seen.get(info.parent)  # a new process has its parent's
        return seen.argv if seen else None

    def _exec(self, seccomp: SeccompEvent, info: ProcessInfo, cgroup: int) -> None:
        if cgroup not in self._looked_up:
            self._look_up(but_for=info.process)
        at = self._clock.boot_ns(seccomp.time)
        found = self._proc.process(info.parent)
        parent = found.process if found else Process(info.parent, 0)
        if not self._has_seen(info.process) and self._has_seen(parent):
            weak = ("timestamp", "parentKey")
            self._ready.append((ForkEvent(at, cgroup, "", parent, info.process, info.uid, info.gid, weak), None))
        self._keep(_Seen(info.process, cgroup, shortened(info.argv)))
        event = ExecEvent(
            time=at,
            cgroup=cgroup,
            cgroup_name="",
            process=info.process,
            parent=parent,
            uid=info.uid,
            gid=info.gid,
            seccomp=info.seccomp,
            filename=b"",
            argv=info.argv,
            truncated=info.truncated,
            weak=_WEAK_EXEC,
        )
        self._ready.append((event, seccomp))

    def _look_up(self, but_for: Process) -> None:
        """See which processes are there before the first event: a child of theirs is known by its parent."""
        coming = {wanted.seccomp.pid for wanted in self._wanted}
        for info in self._proc.processes():
            cgroup = self._cgroup_number(info.cgroup)
            if cgroup and cgroup not in self._ignored:
                self._looked_up.add(cgroup)
                if info.process.pid not in coming and info.process != but_for:
                    self._see(info, cgroup)

    def _see(self, info: ProcessInfo, cgroup: int) -> None:
        if not (info.gone or is_runtime(info.argv) or self._has_seen(info.process)):
            self._keep(_Seen(info.process, cgroup, shortened(info.argv)))

    def _keep(self, seen: _Seen) -> None:
        before = self._seen.get(seen.process.pid)
        if before and before.process != seen.process:  # its pid is another's now: it has ended
            self._ready.append((_end(before), None))
        self._seen[seen.process.pid] = seen

    def _has_seen(self, process: Process) -> bool:
        seen = self._seen.get(process.pid)
        return seen is not None and seen.process == process


def _end(seen: _Seen) -> ExitEvent:
    """The end of a process that is gone."""
    return ExitEvent(time.clock_gettime_ns(time.CLOCK_BOOTTIME), seen.cgroup, seen.process, None, None, UNSEEN_END)
