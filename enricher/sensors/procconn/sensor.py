"""Processes as the proc connector reports them, and /proc right after: every fork, exec and exit code is there.

The kernel says which process did something and when, not what it runs. That is read from /proc at once, and is still
too late for some (see `enricher.sensors.procconn.doubt`).
"""

import os
import selectors
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Final

from enricher.events import TICK_NS, UNSEEN_END, ExecEvent, ExitEvent, ForkEvent, Process, ProcessEvent, SeccompEvent
from enricher.netlink import SocketCounters
from enricher.procfs import Proc, ProcessInfo
from enricher.runtimes import is_runtime, is_runtime_name
from enricher.sensors import proc_snapshot
from enricher.sensors.proc_snapshot import ProcSnapshot
from enricher.sensors.procconn.connector import Event, Execed, Exited, Forked, IdChanged, ProcConnector
from enricher.sensors.procconn.doubt import UNSURE_NS, WEAK_ARGV, Delayed, DelayedEvents, doubt
from enricher.sensors.procconn.process import Live, monotonic_to_boot
from enricher.sensors.sensor import Dropped, KnownProcess, Sensed

_OUTSIDE: Final = 0
"""The number of all that is in no container."""
_MOST_BATCHES: Final = 8


class ProcconnSensor:
    """The sensor of second choice.

    Args:
        connector: An open connector.
        cgroup_number: The number of the container that a cgroup file's text shows; 0 for none.

    """

    name = "procconn"
    weak: tuple[str, ...] = WEAK_ARGV
    reports_failed_execs = False
    reports_forks_and_exits = True
    batch_delay = 0.0
    """What a process runs has to be read before it is gone."""

    def __init__(self, connector: ProcConnector, cgroup_number: Callable[[str], int]) -> None:
        self._connector, self._cgroup_number = connector, cgroup_number
        self._live: dict[int, Live] = {}
        self._ended: dict[int, tuple[Live, Delayed]] = {}
        """Those that seem to have ended, until that is certain."""
        self._delayed = DelayedEvents()
        self._dropped: list[Dropped] = []
        self._ignored: set[int] = set()
        self.behind = False
        self._read_until = 0
        """Up to when everything that the kernel reported has been read."""
        self._overruns = -1
        self._to_boot = monotonic_to_boot()
        self._proc = Proc()

    def register(self, selector: selectors.BaseSelector) -> None:
        """Wake the loop when there are events."""
        selector.register(self._connector, selectors.EVENT_READ)

    def poll_timeout(self) -> float:
        """Soon, while events are delayed."""
        return UNSURE_NS / 1e9 if self._delayed else float("inf")

    def take(self, seccomp: SeccompEvent, now: float) -> bool:  # noqa: ARG002
        """It needs none: the kernel reports each exec."""
        return False

    def poll(self, now: float) -> Sequence[Sensed]:  # noqa: ARG002 - another sensor needs it
        """Look at what happened; what is certain by now."""
        self._read()
        certain = self._delayed.certain(self._read_until)
        for each in certain:
            if isinstance(each, ExitEvent):
                self._ended.pop(each.process.pid, None)
        return [(each, None) for each in certain]

    def maintain(self) -> Sequence[Sensed]:
        """Notice processes whose end was lost in an overrun; each is reported by a later `poll`."""
        self._to_boot = monotonic_to_boot()
        self._catch_up()
        for pid, live in list(self._live.items()):
            if os.path.exists(f"/proc/{pid}"):
                live.missing = False
            elif not live.missing:
                live.missing = True  # its end may be in the socket
            else:
                self._gone(pid)
        return ()

    def dropped(self) -> Sequence[Dropped]:
        """Execs of processes that were gone before they were looked at."""
        dropped, self._dropped = self._dropped, []
        return dropped

    def decide(self, cgroup: int, *, record: bool) -> bool:
        """Drop a cgroup's events, or not; its processes are followed in any case."""
        if record:
            self._ignored.discard(cgroup)
        else:
            self._ignored.add(cgroup)
        return record

    def forget(self, cgroup: int) -> None:
        """The container is gone."""
        self._ignored.discard(cgroup)

    def processes(self, cgroups: Collection[int]) -> Mapping[int, Sequence[ProcessInfo]]:
        """Those that it follows, but for those whose exec is on its way: that event shows how they came in."""
        self._read()
        coming = {event.process for event in self._delayed.events() if isinstance(event, ExecEvent)}
        found: dict[int, list[ProcessInfo]] = {cgroup: [] for cgroup in cgroups}
        for live in self._live.values():
            if live.cgroup in found and live.process not in coming:
                info = self._proc.process(live.process.pid)
                if info and info.process == live.process:
                    found[live.cgroup].append(info)
        return found

    def populated(self) -> Collection[int]:
        """Those of the processes that it follows, and of events that are delayed."""
        return {live.cgroup for live in self._live.values()} | {event.cgroup for event in self._delayed.events()}

    def resume(self, known: Iterable[KnownProcess]) -> None:
        """Go on with those that have left their container's cgroup; the others are found there."""
        self._catch_up()
        for each in known:
            info = self._proc.process(each.process.pid) if each.outside and each.cgroup else None
            if info and info.process == each.process:
                parent = Process(info.parent, 0)
                live = Live(each.process, parent, each.cgroup, info.uid, info.gid, runtime=False)
                self._live[each.process.pid] = live

    def lost(self) -> dict[str, int]:
        """Events for which the receive buffer had no room."""
        return {"connector-overrun": self._connector.dropped()}

    def lost_per_cpu(self) -> list[int]:
        """The kernel does not say."""
        return []

    def socket(self) -> SocketCounters:
        """What befell the connector's socket."""
        return SocketCounters(self._connector.forged, self._connector.overruns)

    def unmarked(self) -> int:
        """None: where a process moves to is not asked again."""
        return 0

    def close(self) -> None:
        """Stop listening."""
        self._connector.close()

    # ---- what the kernel reports ----

    def _read(self) -> None:
        self._catch_up()
        for _ in range(_MOST_BATCHES):
            started = time.monotonic_ns()
            events = self._connector.read()
            for event in events:
                self._handle(event)
            self.behind = self._connector.behind
            if not self.behind:  # also in a flood: the kernel then sends nothing until all has been read
                self._read_until = started
            if not events:
                break

    def _handle(self, event: Event) -> None:
        match event:
            case Execed():
                self._exec(event)
            case Forked():
                self._fork(event)
            case Exited():
                self._exit(event)
            case IdChanged():
                if live := self._live.get(event.pid):
                    live.uid, live.gid = (live.uid, event.real) if event.is_group else (event.real, live.gid)

    def _fork(self, event: Forked) -> None:
        parent = self._live.get(event.parent)
        known = self._live.get(event.child)
        self._ended.pop(event.child, None)  # its pid is another's now: it has ended
        if parent is None and known is None:
            return
        process, weak = self._born(event, known)
        if known and known.process != process:
            self._gone(event.child)
        if parent is None:
            return
        cgroup = parent.cgroup
        if parent.runtime:  # it moves its children into the container
            cgroup = self._cgroup_of(event.child) or cgroup
        live = Live(process, parent.process, cgroup, parent.uid, parent.gid, parent.runtime)
        self._live[event.child] = live
        if not live.runtime:
            at = event.time + self._to_boot
            self._report(live, ForkEvent(at, cgroup, "", parent.process, process, live.uid, live.gid, weak))

    def _gone(self, pid: int) -> None:
        """The process that had this pid has ended, and the kernel's report of it was lost."""
        if live := self._live.pop(pid, None):
            now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            self._report(live, ExitEvent(now, live.cgroup, live.process, None, None, UNSEEN_END))

    def _born(self, event: Forked, known: Live | None) -> tuple[Process, tuple[str, ...]]:
        """The new process; of one that is gone already the start is the event's, a few microseconds late."""
        about = (event.time + self._to_boot) // TICK_NS
        if known and about - 1 <= known.process.start <= about:  # found in /proc before its birth was read
            return known.process, ()
        stat = proc_snapshot.stat(event.child)
        if stat and about - 1 <= stat.process.start <= about:
            return stat.process, ()
        return Process(event.child, about), ("processKey",)

    def _exec(self, event: Execed) -> None:
        live = self._revived(event.pid) or self._live.get(event.pid)
        if live is None or live.cgroup == _OUTSIDE:
            live = self._newcomer(event, live)
        if live is None:
            return
        if live.cgroup in self._ignored:
            live.runtime = False
            return
        seen = proc_snapshot.take(event.pid)
        if seen and seen.stat.process != live.process:
            seen = None  # another one with its pid
        if live.runtime and seen and is_runtime(seen.argv):
            return
        doubt(live.last, event.time, seen)
        if live.runtime and (ids := proc_snapshot.ids(event.pid)):
            live.uid, live.gid = ids
        live.runtime = False
        live.last = self._report(live, live.exec_event(event.time + self._to_boot, seen), seen)

    def _newcomer(self, event: Execed, live: Live | None) -> Live | None:
        """A process that was not in a container when it was last looked at; None where it still is not."""
        text = proc_snapshot.cgroup(event.pid)
        cgroup = _OUTSIDE if text is None else self._cgroup_number(text)
        stat = proc_snapshot.stat(event.pid) if cgroup or (text is not None and live is None) else None
        if text is None and live:  # a runtime's child: an entry, as like as not
            self._dropped.append(Dropped("process", "vanished"))
        if stat is None or (not cgroup and not is_runtime_name(stat.comm)):
            return None
        if live is None:
            above = proc_snapshot.stat(stat.parent)
            parent = above.process if above else Process(stat.parent, 0)
            live = self._live[event.pid] = Live(stat.process, parent, cgroup, 0, 0, runtime=True)
        live.cgroup = cgroup
        return live if cgroup else None

    def _exit(self, event: Exited) -> None:
        if event.pid in self._ended:
            self._correct(event)
            return
        live = self._live.get(event.pid)
        if live is None or (live.status is None and event.thread != event.pid):
            return
        live.status = event.status if live.status is None else live.status
        stat = proc_snapshot.stat(event.pid)
        if stat and stat.process == live.process and not stat.gone:
            return  # other threads go on, or one of them has executed a program
        del self._live[event.pid]
        delayed = self._report(live, live.exit_event(event.time + self._to_boot, event.status))
        if delayed:
            self._ended[event.pid] = (live, delayed)

    def _correct(self, event: Exited) -> None:
        """Another thread has ended after the one that was taken for the last."""
        live, delayed = self._ended[event.pid]
        delayed.event = live.exit_event(event.time + self._to_boot, event.status)

    def _revived(self, pid: int) -> Live | None:
        """A process whose first thread had ended because another one executed a program."""
        if pid not in self._ended:
            return None
        live, delayed = self._ended.pop(pid)
        delayed.event, live.status = None, None
        self._live[pid] = live
        return live

    def _report(self, live: Live, event: ProcessEvent, seen: ProcSnapshot | None = None) -> Delayed | None:
        """Have an event returned once it is certain; None for one of a process outside, or of an ignored cgroup."""
        if live.cgroup == _OUTSIDE or live.cgroup in self._ignored:
            return None
        return self._delayed.add(event, seen)

    # ---- what was there before ----

    def _cgroup_of(self, pid: int) -> int:
        text = proc_snapshot.cgroup(pid)
        return _OUTSIDE if text is None else self._cgroup_number(text)

    def _catch_up(self) -> None:
        """At the start, and after an overrun, take in all processes that are in a container."""
        if self._overruns == self._connector.overruns:
            return
        self._overruns = self._connector.overruns
        for info in self._proc.processes():
            cgroup = self._cgroup_number(info.cgroup)
            known = self._live.get(info.process.pid)
            if known and known.process != info.process:
                self._gone(info.process.pid)
            if cgroup and info.process.pid not in self._live:
                parent = self._live.get(info.parent)
                above = parent.process if parent else Process(info.parent, 0)
                runtime = is_runtime(info.argv)
                self._live[info.process.pid] = Live(info.process, above, cgroup, info.uid, info.gid, runtime)
