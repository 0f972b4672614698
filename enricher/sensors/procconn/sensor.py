"""Processes as the proc connector tells of them, and /proc right after: every fork, exec and exit code is there.

The kernel says which process did something and when, not what it runs. That is read from /proc at once, and is still
too late for some (see `enricher.sensors.procconn.doubt`).
"""

import os
import selectors
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from enricher.containers.containers import Containers
from enricher.containers.proc_cgroups import OUTSIDE, ProcCgroupResolver
from enricher.correlate.backfill import backfill
from enricher.correlate.pipeline import Pipeline
from enricher.events import TICK_NS, Exec, Exit, Fork, Process, ProcessEvent, Seccomp
from enricher.netlink import SocketCounters
from enricher.procfs import Proc, ProcessInfo
from enricher.runtimes import is_runtime, is_runtime_name
from enricher.sensors import proc_snapshot
from enricher.sensors.proc_snapshot import ProcSnapshot
from enricher.sensors.procconn.connector import Event, Execed, Exited, Forked, IdChanged, ProcConnector
from enricher.sensors.procconn.doubt import UNSURE_NS, WEAK_ARGV, Told, Waiting, doubt
from enricher.sensors.procconn.process import Live, monotonic_to_boot

_MOST_BATCHES: Final = 8
_WEAK_EXIT: Final = ("exit", "durationMs", "timestamp")


class ProcconnSensor:
    """The sensor of second choice.

    Args:
        connector: An open connector.
        cgroup_root: The node's `/sys/fs/cgroup`.
        containers: What is recorded.

    """

    reports_failed_execs = False
    name = "procconn"
    weak: tuple[str, ...] = WEAK_ARGV
    batch_delay = 0.0
    """What a process runs has to be read before it is gone."""

    def __init__(self, connector: ProcConnector, cgroup_root: Path, containers: Containers) -> None:
        self.cgroups = ProcCgroupResolver(cgroup_root)
        self._connector, self._containers = connector, containers
        containers.is_there = self.cgroups.is_there
        self._live: dict[int, Live] = {}
        self._ended: dict[int, tuple[Live, Told]] = {}
        """Those that seem to have ended, until that is certain."""
        self._waiting = Waiting()
        self.behind = False
        self._heard_until = 0
        """Up to when everything that the kernel told has been taken."""
        self._decided: dict[int, bool] = {}
        self._seen = (-1, -1)
        self._overruns = -1
        self._to_boot = monotonic_to_boot()
        self._proc = Proc()

    def register(self, selector: selectors.BaseSelector) -> None:
        """Wake the loop when there are events."""
        selector.register(self._connector, selectors.EVENT_READ)

    def resume(self, pipeline: Pipeline, containers: set[str], outside: Iterable[tuple[Process, str]]) -> None:  # noqa: ARG002
        """Go on with who has left its container's cgroup."""
        self._scan()
        for process, container_id in outside:
            place, info = self.cgroups.number_of(container_id), self._proc.process(process.pid)
            if place and info and info.process == process:
                parent = Process(info.parent, 0)
                self._live[process.pid] = Live(process, parent, place, info.uid, info.gid, runtime=False)

    def poll_timeout(self) -> float:
        """How long the loop may wait for more, in seconds."""
        return UNSURE_NS / 1e9 if self._waiting else float("inf")

    def seccomp(self, pipeline: Pipeline, record: Seccomp, now: float) -> None:
        """A SECCOMP record is the other half of an event."""
        pipeline.seccomp_record(record, now)

    def advance(self, pipeline: Pipeline, now: float) -> None:
        """Look at what happened, and feed what is certain."""
        if self._overruns != self._connector.overruns:  # the first time as well
            self._overruns = self._connector.overruns
            self._scan()
        self.behind = True
        for _ in range(_MOST_BATCHES):
            started = time.monotonic_ns()
            events = self._connector.read()
            for event in events:
                self._take(event, pipeline)
            if not events:
                self._heard_until = started
                self.behind = False
                break
        for each in self._waiting.certain(self._heard_until):
            if isinstance(each, Exit):
                self._ended.pop(each.process.pid, None)
            pipeline.process_event(each, now)
        news = (self._containers.version, len(self.cgroups.known))
        if news != self._seen:
            self._seen = news
            self._decide(pipeline)

    def maintain(self, pipeline: Pipeline, now: float) -> None:  # noqa: ARG002 - another sensor needs it
        """Notice who is gone without a word, after an overrun; to be called every few seconds."""
        self._to_boot = monotonic_to_boot()
        for pid, live in list(self._live.items()):
            if os.path.exists(f"/proc/{pid}"):
                live.missing = False
            elif not live.missing:
                live.missing = True  # its end may be in the socket
            else:
                self._gone(pid)
        self._forget_containers(pipeline)

    def lost(self) -> dict[str, int]:
        """Events for which the receive buffer had no room."""
        return {"connector-overrun": self._connector.dropped()}

    def socket(self) -> SocketCounters:
        """What befell the connector's socket."""
        return SocketCounters(self._connector.forged, self._connector.overruns)

    def lost_per_cpu(self) -> list[int]:
        """The kernel does not say."""
        return []

    def unmarked(self) -> int:
        """None: where a process moves to is not asked again."""
        return 0

    def close(self) -> None:
        """Stop listening."""
        self._connector.close()

    # ---- what the kernel tells ----

    def _take(self, event: Event, pipeline: Pipeline) -> None:
        match event:
            case Execed():
                self._exec(event, pipeline)
            case Forked():
                self._fork(event)
            case Exited():
                self._exit(event)
            case IdChanged():
                if live := self._live.get(event.pid):
                    live.uid, live.gid = (live.uid, event.real) if event.is_group else (event.real, live.gid)

    def _fork(self, event: Forked) -> None:
        parent = self._live.get(event.parent)
        self._ended.pop(event.child, None)  # its pid is another's now: it has ended
        self._gone(event.child)
        if parent is None:
            return
        process, weak = self._born(event)
        place = parent.place
        if parent.runtime:  # it moves its children into the container
            place = self._place(event.child) or place
        live = Live(process, parent.process, place, parent.uid, parent.gid, parent.runtime)
        self._live[event.child] = live
        if not live.runtime:
            at = event.time + self._to_boot
            self._tell(live, Fork(at, place, "", parent.process, process, live.uid, live.gid, weak))

    def _gone(self, pid: int) -> None:
        """Whoever had this pid has ended, and the kernel's word of it was lost."""
        if live := self._live.pop(pid, None):
            now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
            self._tell(live, Exit(now, live.place, live.process, None, None, _WEAK_EXIT))

    def _born(self, event: Forked) -> tuple[Process, tuple[str, ...]]:
        """Who was born; where it is gone already its start is told by the event, a few microseconds late."""
        about = (event.time + self._to_boot) // TICK_NS
        stat = proc_snapshot.stat(event.child)
        if stat and about - 1 <= stat.process.start <= about:
            return stat.process, ()
        return Process(event.child, about), ("processKey",)

    def _exec(self, event: Execed, pipeline: Pipeline) -> None:
        live = self._revived(event.pid) or self._live.get(event.pid)
        if live is None or live.place == OUTSIDE:
            live = self._newcomer(event, live, pipeline)
        if live is None:
            return
        if self._containers.look(self.cgroups.known[live.place]).recorded is False:
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
        live.last = self._tell(live, live.exec_event(event.time + self._to_boot, seen), seen)

    def _newcomer(self, event: Execed, live: Live | None, pipeline: Pipeline) -> Live | None:
        """A process that was not in a container when it was last looked at; None where it still is not."""
        text = proc_snapshot.cgroup(event.pid)
        place = OUTSIDE if text is None else self.cgroups.number(text)
        stat = proc_snapshot.stat(event.pid) if place or (text is not None and live is None) else None
        if text is None and live:  # a runtime's child: an entry, as like as not
            pipeline.tally.read["process"] += 1
            pipeline.tally.lost["vanished"] += 1
        if stat is None or (not place and not is_runtime_name(stat.comm)):
            return None
        if live is None:
            above = proc_snapshot.stat(stat.parent)
            parent = above.process if above else Process(stat.parent, 0)
            live = self._live[event.pid] = Live(stat.process, parent, place, 0, 0, runtime=True)
        live.place = place
        return live if place else None

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
        told = self._tell(live, live.exit_event(event.time + self._to_boot, event.status))
        if told:
            self._ended[event.pid] = (live, told)

    def _correct(self, event: Exited) -> None:
        """Another thread has ended after the one that was taken for the last."""
        live, told = self._ended[event.pid]
        told.event = live.exit_event(event.time + self._to_boot, event.status)

    def _revived(self, pid: int) -> Live | None:
        """A process whose first thread had ended because another one executed a program."""
        if pid not in self._ended:
            return None
        live, told = self._ended.pop(pid)
        told.event, live.status = None, None
        self._live[pid] = live
        return live

    # ---- what goes to the pipeline ----

    def _tell(self, live: Live, event: ProcessEvent, seen: ProcSnapshot | None = None) -> Told | None:
        place = self.cgroups.known.get(live.place)
        if place is None or self._containers.look(place).recorded is False:
            return None
        return self._waiting.add(event, seen)

    # ---- what was there before ----

    def _place(self, pid: int) -> int:
        text = proc_snapshot.cgroup(pid)
        return OUTSIDE if text is None else self.cgroups.number(text)

    def _scan(self) -> None:
        """Take in everybody who is in a container."""
        for info in self._proc.processes():
            place = self.cgroups.number(info.cgroup)
            known = self._live.get(info.process.pid)
            if known and known.process != info.process:
                self._gone(info.process.pid)
            if place and info.process.pid not in self._live:
                parent = self._live.get(info.parent)
                above = parent.process if parent else Process(info.parent, 0)
                runtime = is_runtime(info.argv)
                self._live[info.process.pid] = Live(info.process, above, place, info.uid, info.gid, runtime)

    def _decide(self, pipeline: Pipeline) -> None:
        fresh: dict[int, list[ProcessInfo]] = {}
        for number, place in list(self.cgroups.known.items()):
            recorded = self._containers.look(place).recorded
            if recorded is None or self._decided.get(number) is recorded:
                continue
            self._decided[number] = recorded
            if recorded:
                fresh[number] = []
            else:
                pipeline.forget_container(place.container_id)
        self._backfill(fresh, pipeline)

    def _backfill(self, fresh: dict[int, list[ProcessInfo]], pipeline: Pipeline) -> None:
        """Take the processes of containers into the tree that are older than our looking at them."""
        coming = {event.process for event in self._waiting.events() if isinstance(event, Exec)}
        for live in list(self._live.values()):
            if live.place in fresh and live.process not in coming and (info := self._proc.process(live.process.pid)):
                fresh[live.place].append(info)
        for number, infos in fresh.items():
            backfill(pipeline.tree, self.cgroups.known[number].container_id, infos)

    def _forget_containers(self, pipeline: Pipeline) -> None:
        """Forget containers without processes."""
        populated = {live.place for live in self._live.values()}
        populated |= {event.cgroup for event in self._waiting.events()}
        for place in self.cgroups.keep(populated):
            pipeline.forget_container(place.container_id)
            self._containers.forget(place.container_id)
        self._decided = {number: recorded for number, recorded in self._decided.items() if number in self.cgroups.known}
