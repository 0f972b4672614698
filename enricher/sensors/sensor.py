"""What a sensor is: it reports what processes do, and knows nothing of containers, pods, requests or the trail.

A cgroup is a number here: the kernel's id, or one that was given to the text of a `/proc/PID/cgroup`. Who the container
is, whether it is recorded, and what becomes of an event is decided above (`enricher.correlate.tracker`).
"""

import selectors
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from enricher.events import Process, ProcessEvent, SeccompEvent
from enricher.netlink import SocketCounters
from enricher.procfs import ProcessInfo

Sensed = tuple[ProcessEvent | None, SeccompEvent | None]
"""An event, with the SECCOMP event that it was made from, if it was. Without an event, the sensor gives back a SECCOMP
event that it had taken: its call has run no program."""


class Dropped(NamedTuple):
    """Something that a sensor has read and that becomes no event."""

    kind: Literal["process", "seccomp"]
    """What it was, as in `enricher.tally.Tally.read`."""
    reason: Literal["vanished", "not-recorded"]
    """`vanished`: the process was gone before it was looked at, which is a loss; else it is no recorded container's."""


class KnownProcess(NamedTuple):
    """A live process that an agent before this one followed."""

    process: Process
    cgroup: int
    """Its container's."""
    argv: bytes
    """Shortened (`enricher.argv`), or whole."""
    outside: bool
    """Whether it has left its container's cgroup, so that no look at the cgroup finds it."""


class Sensor(Protocol):
    """A sensor at work: `bpf`, else `procconn`, else `proc`."""

    name: str
    weak: tuple[str, ...]
    """The record's fields that are not certain with it."""
    reports_failed_execs: bool
    reports_forks_and_exits: bool
    """Whether it reports each process's start and end. Where not, the agent looks up processes that came or went."""

    @property
    def batch_delay(self) -> float:
        """How long to wait for more events once there are some, in seconds: being woken costs several times more than
        an event. 0 where what happened can be seen only for a moment."""

    @property
    def behind(self) -> bool:
        """Whether more may wait than the last `poll` took."""

    def register(self, selector: selectors.BaseSelector) -> None:
        """Have the loop woken when there is something."""

    def poll_timeout(self) -> float:
        """How long the loop may wait for the kernel before the next `poll`, in seconds."""

    def take(self, seccomp: SeccompEvent, now: float) -> bool:
        """Take a SECCOMP event, for a sensor that is driven by them; False where it has no use for this one."""

    def poll(self, now: float) -> Sequence[Sensed]:
        """What happened since the last call, in its order and without waiting; `now` in monotonic seconds."""

    def maintain(self) -> Sequence[Sensed]:
        """Look at which processes are there; to be called every few seconds. Returns what that shows."""

    def dropped(self) -> Sequence[Dropped]:
        """What was read since the last call and becomes no event."""

    def decide(self, cgroup: int, *, record: bool) -> bool:
        """Report a cgroup's processes, or ignore them; before this call it reports them.

        Returns whether there may be some in there whose start it has not reported.
        """

    def forget(self, cgroup: int) -> None:
        """Take a decision back: the cgroup is gone."""

    def processes(self, cgroups: Collection[int]) -> Mapping[int, Sequence[ProcessInfo]]:
        """The processes in each of these cgroups but for those whose start, or exec, it reports yet."""

    def populated(self) -> Collection[int]:
        """The cgroups of which it knows processes, or has events yet."""

    def resume(self, known: Iterable[KnownProcess]) -> None:
        """Go on with the processes that an agent before this one followed; before the first `poll`."""

    def lost(self) -> dict[str, int]:
        """What was lost on the way to it since the start, by cause."""

    def lost_per_cpu(self) -> list[int]:
        """Of those, what found that way full, by CPU; empty where that is not known."""

    def socket(self) -> SocketCounters:
        """What befell its socket; nothing where it has none."""

    def unmarked(self) -> int:
        """Processes that would be lost from sight if they left their container's cgroup."""

    def close(self) -> None:
        """Give everything back."""
