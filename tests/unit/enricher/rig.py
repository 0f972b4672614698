"""A pipeline with a container, a sensor of requests and a clock to turn by hand; and what happens in it."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec

from enricher.clock import Clock
from enricher.containers.containers import CgroupRef, Containers
from enricher.containers.pods import (
    Container,
    ContainerStatus,
    ExecAction,
    Handler,
    Lifecycle,
    Namespace,
    Pod,
    PodSpec,
    PodStatus,
)
from enricher.correlate.correlator import Correlator
from enricher.correlate.request_index import RequestIndex
from enricher.correlate.sessions import Sessions
from enricher.emit.emitter import Emitter
from enricher.emit.quota import Quota
from enricher.emit.record_builder import RecordBuilder
from enricher.events import ExecEvent, ExecFailedEvent, ExitEvent, ForkEvent, Process, ProcessEvent
from enricher.tally import Tally
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.record import Record
from exectrail.contracts.session import AuditSession, SessionSpec, Target, User

UID = "de193172-188c-4596-a2a0-b64f75a1b8e4"
OTHER_UID = "00000000-188c-4596-a2a0-b64f75a1b8e4"
APP = "a" * 64
CGROUP = 4711
INIT = Process(100, 1000)
STAGE_0, STAGE_1, ENTRY = Process(200, 2000), Process(201, 2001), Process(202, 2001)
SECOND = 1_000_000_000
REQUESTED_MS = 1_795_435_200_000
"""2026-11-23T12:00:00Z, when all requests here were made."""


class OnePlace:
    """All processes are in the same container."""

    def __init__(self, place: CgroupRef) -> None:
        self.place = place

    def of(self, event: ProcessEvent) -> CgroupRef:
        return self.place

    again = of


class Rig:
    """A pipeline with a container, a sensor of requests and a clock to turn by hand."""

    def __init__(self, labels: dict[str, str], pod: Pod) -> None:
        self.containers = Containers()
        self.containers.now_ms = lambda: REQUESTED_MS + 200
        self.containers.namespace_changed(None, Namespace(ObjectMeta(name="kube-system", uid="cluster-1")))
        self.containers.namespace_changed(None, Namespace(ObjectMeta(name="shop", labels=labels)))
        self.containers.pod_changed(None, pod)
        self.requests: dict[str, AuditSession] = {}
        self.records: list[Record] = []
        self.room = self.ready = True
        self.reported: list[tuple[str, str]] = []
        clock = Clock()
        self.wall_ms: Callable[[int], int] = clock.wall_ms
        self.asked = RequestIndex()
        self.started_ms: Callable[[int], int] = lambda _: REQUESTED_MS + 1_000
        """When an entry started, as its request's age is reckoned: in time, unless a test says otherwise."""
        sessions = Sessions(self.requests.get, self.asked, lambda time: self.started_ms(time))  # noqa: PLW0108 - a test may replace it
        tally = Tally()
        self.emitter = Emitter(
            self.containers,
            sessions,
            RecordBuilder("node1", "0123456789abcdef", clock, "bpf"),
            self.take,
            Quota(rate=10, burst=20),
            tally,
            on_start=lambda session, _: self.reported.append(("start", session.request_uid)),
            on_end=lambda session, _: self.reported.append(("end", session.request_uid)),
            on_ambiguous=lambda uids, _: self.reported.extend(("ambiguous", uid) for uid in uids),
        )
        self.sessions, self.clock = sessions, clock
        self.cgroups = OnePlace(CgroupRef(APP, pod.metadata.uid))
        self.correlator = Correlator(
            self.cgroups, self.containers, sessions, clock, tally, hold=0.5, is_ready=lambda: self.ready
        )

    def take(self, record: Record) -> bool:
        if self.room:
            self.records.append(record)
        return self.room

    def happen(self, *events: ProcessEvent, now: float = 0.0) -> list[Record]:
        """Feed events; returns the records that came of them at once."""
        before = len(self.records)
        for event in events:
            self.correlator.take(event, now)
        self.advance(now)
        self.check_equation()
        return self.records[before:]

    def wait(self, until: float) -> list[Record]:
        """Let time go by; returns the records that this let go."""
        before = len(self.records)
        self.advance(until)
        self.emitter.tick(until, 0)
        self.check_equation()
        return self.records[before:]

    def advance(self, now: float) -> None:
        """Write what waits no longer."""
        for known in self.correlator.advance(now):
            self.emitter.emit(known, now)

    def flush(self) -> None:
        self.advance(math.inf)

    def check_equation(self) -> None:
        assert self.correlator.tally.difference(self.correlator.held) == 0


def pod(*, ids: bool = True, spec: PodSpec | None = None, status: PodStatus | None = None) -> Pod:
    spec = spec or PodSpec(containers=[Container("app", "shop:1")])
    status = status or PodStatus(container_statuses=[ContainerStatus("app", f"containerd://{APP}")] if ids else [])
    return Pod(ObjectMeta(name="web", namespace="shop", uid="pod-1"), spec, status)


def request(
    uid: str = UID, container: str = "app", name: str = "web", command: Sequence[str] = ("sh", "-c", "id")
) -> AuditSession:
    spec = SessionSpec(
        user=User("alice", groups=["dev"], extra={"key": ["value"]}),
        verb="exec",
        resource="pods/exec",
        target=Target("shop", name, container),
        time="2026-11-23T12:00:00.000000Z",
        command=[*command],
        tag="env",
        recorded=True,
    )
    return AuditSession(ObjectMeta(name=uid), spec)


def fork(parent: Process, child: Process, time: int = 10 * SECOND) -> ForkEvent:
    return ForkEvent(time, CGROUP, "", parent, child, 0, 0)


def execute(process: Process, *argv: str, parent: Process = STAGE_1, time: int = 10 * SECOND) -> ExecEvent:
    joined = b"".join(word.encode() + b"\0" for word in argv)
    return ExecEvent(time, CGROUP, "", process, parent, 0, 0, True, b"/bin/" + argv[0].encode(), joined, False)


def script(process: Process, path: str, *args: str, time: int = 10 * SECOND) -> ExecEvent:
    """What the kernel shows of a script that a runtime runs: its interpreter is in front."""
    seen = execute(process, "/bin/sh", path, *args, time=time)
    return msgspec.structs.replace(seen, filename=path.encode(), path=b"/usr/bin/dash")


def end(process: Process, code: int = 0, time: int = 12 * SECOND) -> ExitEvent:
    return ExitEvent(time, CGROUP, process, code, None)


def container_starts(rig: Rig) -> None:
    """The runtime makes the container: its init comes in from outside."""
    rig.happen(execute(INIT, "sleep", "inf", parent=Process(1, 1)))
    rig.records.clear()


def entering(uid: str = UID, entry: Process = ENTRY) -> list[ProcessEvent]:
    """What the runtime does for an exec: two helpers of its own, then the tagged command."""
    return [
        fork(STAGE_0, STAGE_1),
        fork(STAGE_1, entry),
        end(STAGE_1, time=10 * SECOND),
        execute(entry, "env", f"SPO_EXEC_REQUEST_UID={uid}", "sh", "-c", "id"),
    ]


def probed(probe: Sequence[str] = ("cat", "/ready"), hook: Sequence[str] = ("sh", "-c", "drain")) -> Rig:
    """A container with an exec probe and a hook, running."""
    spec = PodSpec(
        containers=[
            Container(
                "app",
                "shop:1",
                readiness_probe=Handler(ExecAction([*probe])),
                lifecycle=Lifecycle(pre_stop=Handler(ExecAction([*hook]))),
            )
        ]
    )
    rig = Rig({"exectrail.io/record": "true"}, pod(spec=spec))
    container_starts(rig)
    return rig


def at_request(rig: Rig, event: ExecEvent, after_ms: int = 500) -> ExecEvent:
    """The event, so long after the request."""
    offset = rig.wall_ms(0)
    return msgspec.structs.replace(event, time=(REQUESTED_MS + after_ms - offset) * 1_000_000)


def matched_request(uid: str = UID, user: str = "alice", command: tuple[str, ...] = ("sh", "-c", "id")) -> AuditSession:
    asked = request(uid)
    spec = msgspec.structs.replace(asked.spec, tag="match", user=User(user), command=list(command))
    return msgspec.structs.replace(asked, spec=spec)


def debug_request(
    container: str, uid: str = UID, user: str = "alice", tag: Literal["env", "match"] = "env"
) -> AuditSession:
    """A request for an ephemeral container."""
    spec = msgspec.structs.replace(
        request(uid, container).spec,
        user=User(user),
        verb="debug",
        resource="pods/ephemeralcontainers",
        command=[],
        tag=tag,
    )
    return AuditSession(ObjectMeta(name=uid), spec)


def ask(rig: Rig, *requests: AuditSession) -> None:
    for each in requests:
        rig.requests[each.metadata.name] = each
        rig.asked.changed(None, each)


def failed(
    process: Process, path: str, *argv: str, parent: Process = INIT, errno: int = 2, time: int = 10 * SECOND
) -> ExecFailedEvent:
    joined = b"".join(word.encode() + b"\0" for word in argv)
    return ExecFailedEvent(time, CGROUP, "", process, parent, 0, 0, errno, path.encode(), joined, False)


def by_namespace(event: ProcessEvent) -> ProcessEvent:
    return msgspec.structs.replace(event, entered_by_namespace=True)
