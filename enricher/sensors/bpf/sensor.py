"""Processes as eBPF reports them: every fork, exec and exit of recorded containers, complete.

The kernel passes on what is recorded or not decided yet; the decisions go back to it from here.
"""

import logging
import selectors
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from enricher.cgroup import NODE_CGROUP, Cgroup
from enricher.events import SeccompEvent
from enricher.netlink import SocketCounters
from enricher.procfs import Proc, ProcessInfo
from enricher.sensors.bpf.program import BATCH, BpfProgram
from enricher.sensors.entered_from import Entering
from enricher.sensors.sensor import Dropped, KnownProcess, Sensed

_BATCH_DELAY = 0.05
"""The socket has room for many times as many records as come in that time, and so has the ring."""

log = logging.getLogger(__name__)


class BpfSensor:
    """The sensor of first choice.

    Args:
        roots: The cgroups that pods are under.
        pids: The processes in a cgroup now, by its id.

    Raises:
        SensorUnavailable: With what is missing.

    """

    name = "bpf"
    weak: tuple[str, ...] = ()
    reports_forks_and_exits = True

    def __init__(self, roots: Sequence[Cgroup], pids: Callable[[int], Iterable[int]]) -> None:
        first, *others = roots
        self._program = BpfProgram.open(first)
        for root in others:
            self._program.watch(root)
        self.reports_failed_execs = "errno" not in self._program.missing
        if self._program.missing:
            log.warning("the eBPF sensor lacks %s on this node", ", ".join(self._program.missing))
        self._attached = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        self._reported_since: dict[int, int] = {}
        """Since when the kernel reports a cgroup, in nanoseconds since boot, where that is later than `_attached`."""
        self._ignored: set[int] = set()
        """Cgroups whose events the kernel has not passed on so far."""
        self.behind = False
        self._entering = Entering()
        self._pids, self._proc = pids, Proc()

    @property
    def batch_delay(self) -> float:
        """The kernel has read everything already, and the ring keeps it; where much waits there, no time is lost."""
        return 0.0 if self.behind else _BATCH_DELAY

    def register(self, selector: selectors.BaseSelector) -> None:
        """Wake the loop when there are events."""
        selector.register(self._program, selectors.EVENT_READ)

    def poll_timeout(self) -> float:
        """Nothing but the ring is waited for."""
        return float("inf")

    def take(self, seccomp: SeccompEvent, now: float) -> bool:  # noqa: ARG002
        """It needs none: each of its events is complete."""
        return False

    def poll(self, now: float) -> Sequence[Sensed]:  # noqa: ARG002 - another sensor needs it
        """At most one batch of events."""
        events = self._program.events()
        self.behind = len(events) >= BATCH
        return [
            (self._entering.complete(event) if event.entered_by_namespace else event, None)  # read before it is gone
            for event in events
        ]

    def maintain(self) -> Sequence[Sensed]:
        """Nothing: the kernel reports which processes come and go."""
        return ()

    def dropped(self) -> Sequence[Dropped]:
        """None: the kernel passes on nothing that is not to be reported."""
        return ()

    def watch(self, root: Cgroup, below: Callable[[], Iterable[int]]) -> None:
        """Have the kernel look below another cgroup as well; `below` lists the cgroups that are there by now."""
        if self._program.watch(root):
            self._ignored.update(below())

    def decide(self, cgroup: int, *, record: bool) -> bool:
        """Hand the decision to the kernel; only of a cgroup that was ignored are processes unknown."""
        if cgroup == NODE_CGROUP:
            self._program.report_node(report=record)
            return False
        self._program.decide(cgroup, record=record)
        if not record:
            self._ignored.add(cgroup)
            return False
        if cgroup not in self._ignored:
            return False  # its processes were there before the program, or were reported from their birth on
        self._ignored.discard(cgroup)
        self._reported_since[cgroup] = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return True

    def forget(self, cgroup: int) -> None:
        """The container is gone."""
        self._program.forget(cgroup)
        self._ignored.discard(cgroup)
        self._reported_since.pop(cgroup, None)

    def processes(self, cgroups: Collection[int]) -> Mapping[int, Sequence[ProcessInfo]]:
        """Those born before the kernel reported their cgroup; of the others it reports also how they came in."""
        return {cgroup: self._born_before(cgroup) for cgroup in cgroups}

    def populated(self) -> Collection[int]:
        """It follows none: a cgroup's folder is there as long as its processes are."""
        return ()

    def resume(self, known: Iterable[KnownProcess]) -> None:
        """Have the kernel follow those that have left their container's cgroup."""
        for each in known:
            if each.outside and each.cgroup:
                self._program.mark(each.process, each.cgroup)
                self._entering.add(each.process)

    def lost(self) -> dict[str, int]:
        """Events that found no room, that were not understood, or whose processes this node cannot see."""
        return {
            "ring-full": self._program.lost(),
            "undecodable": self._program.undecodable,
            "without-pid": self._program.without_pid(),
        }

    def lost_per_cpu(self) -> list[int]:
        """Events that found the ring full, by the CPU they happened on."""
        return self._program.lost_per_cpu()

    def socket(self) -> SocketCounters:
        """It has none: only the kernel can write into the ring."""
        return SocketCounters()

    def unmarked(self) -> int:
        """Processes for whose mark there was no room."""
        return self._program.unmarked()

    def close(self) -> None:
        """Take the programs out of the kernel."""
        self._program.close()

    def _born_before(self, cgroup: int) -> list[ProcessInfo]:
        since = self._reported_since.get(cgroup, self._attached)
        found = filter(None, map(self._proc.process, self._pids(cgroup)))
        return [info for info in found if info.process.born < since]
