"""A node made up of fake pods, as the enricher is given it: the kernel's part is real, the API's part is made up.

`record_golden` writes down what comes of it. Nothing of the machine that it runs on goes into a recording: programs
start in `/`, and of the node's own only those are kept that carry `OURS`.
"""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO

from enricher.clock import Clock
from enricher.config import OpenSensor, bpf_sensor, proc_sensor, procconn_sensor
from enricher.containers.containers import Containers
from enricher.containers.pods import Container, ContainerStatus, Namespace, Pod, PodSpec, PodStatus
from enricher.core import Core
from enricher.correlate.sessions import Sessions
from enricher.correlate.tracker import ContainerTracker
from enricher.emit.emitter import Emitter
from enricher.emit.quota import Quota
from enricher.emit.record_builder import RecordBuilder
from enricher.events import ExecEvent, ProcessEvent, SeccompEvent
from enricher.node_inputs import NodeInputs
from enricher.procfs import Proc
from enricher.sensors.procconn.connector import ProcConnector
from enricher.support.recorder import Recorder, Tables, TappedCorrelator, TappedSource, TappedTree
from enricher.tally import Tally
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.record import Record
from exectrail.contracts.session import AuditSession, SessionSpec, Target, User, Verb
from tests.kernel.fake_pods import v2_tree
from tests.kernel.test_profile_process_audit import PROFILE, load

OURS = "golden"
_PODS = {"web": "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "debugger": "9c858901-8a57-4791-81fe-4c455b099bc9"}


class _Correlator(TappedCorrelator):
    """Leaves out what the node runs beside our own."""

    def take(self, event: ProcessEvent, now: float, seccomp: SeccompEvent | None = None) -> None:
        """Take an event of the sensor."""
        place = self._cgroups.of(event)
        if place.on_node:
            if isinstance(event, ExecEvent) and OURS.encode() in event.argv:
                self._ours.add(event.process)
            if getattr(event, "process", None) not in self._ours:
                return
        elif place.pod_uid not in _PODS.values():  # a pod of somebody else
            return
        super().take(event, now, seccomp)

    _ours: set[object] = set()  # noqa: RUF012 - one pipeline in a process


_HOLD = 0.5
_BUSY = 15.0
"""How much longer, in seconds, a busy machine may take."""


class FakeNode:
    """The node; what happens on it goes into a recording.

    Args:
        file: The recording.
        sensor: Who tells of processes: `bpf`, `procconn`, or `proc`, for which programs run with the profile.
        profiled: Whether they do so with the others as well.

    """

    def __init__(self, file: BinaryIO, sensor: str = "bpf", *, profiled: bool = False) -> None:
        self.tree = Path(tempfile.mkdtemp(prefix="exectrail-golden-", dir=v2_tree()))
        (self.tree / "kubepods").mkdir()
        self._started: list[subprocess.Popen[bytes]] = []
        self._recorder = Recorder(file)
        self._source = TappedSource.open(4 << 20) if profiled or sensor == "proc" else None
        containers, clock = Containers(), Clock()
        self.sensor, cgroups = self._open(sensor, clock)
        told = self.sensor.reports_failed_execs
        self._recorder.begin("node1", sensor, "netlink" if self._source else "none", reports_failed_execs=told)
        self.tables = Tables(self._recorder, containers)
        self.namespace("kube-system")
        self.records: list[Record] = []
        """What the enricher makes of it."""
        self._requests: dict[str, AuditSession] = {}
        sessions = Sessions(self._requests.get)
        record_builder = RecordBuilder("node1", Proc().boot_id(), clock, sensor)
        tally = Tally()
        emitter = Emitter(containers, sessions, record_builder, self._keep, Quota(1e9, 1e9), tally)
        self._correlator = _Correlator(
            cgroups,
            containers,
            sessions,
            clock,
            tally,
            _HOLD,
            reports_failed_execs=told,
            has_audit_source=self._source is not None,
            tree=TappedTree(self._recorder),
        )
        self._correlator.record_into(self._recorder, self._source)
        self._tracker = ContainerTracker(self.sensor, cgroups, containers, self._correlator)
        read = self._source.read if self._source else list
        inputs = NodeInputs(self._tracker, self._correlator, clock, lambda _now: read())
        self._core = Core(inputs, self._correlator, emitter, clock)
        if self._source:
            self._source.recorder = self._recorder

    def _open(self, sensor: str, clock: Clock) -> OpenSensor:
        if sensor == "bpf":
            return bpf_sensor(self.tree)
        if sensor == "proc":
            return proc_sensor(v2_tree(), clock, self._source)
        return procconn_sensor(v2_tree(), ProcConnector.open(4 << 20))

    def _keep(self, record: Record) -> bool:
        self.records.append(record)
        return True

    # ---- the API ----

    def namespace(self, name: str, **labels: str) -> None:
        """Make or change a namespace."""
        marks = {f"exectrail.io/{key}": value for key, value in labels.items()}
        meta = ObjectMeta(name=name, uid=f"uid-of-{name}", labels=marks)
        self.tables.namespace_changed(None, Namespace(meta))

    def pod(self, spec: PodSpec, name: str = "web", phase: str = "Running", **ids: str) -> None:
        """Make or change a pod of namespace `shop`; `ids` are its containers' runtime ids."""
        statuses = [ContainerStatus(container, f"containerd://{runtime}") for container, runtime in ids.items()]
        uid = next(uid for key, uid in _PODS.items() if key in name)
        meta = ObjectMeta(name=name, namespace="shop", uid=uid)
        self.tables.pod_changed(None, Pod(meta, spec, PodStatus(statuses, phase=phase)))

    def request(
        self,
        uid: str,
        command: Sequence[str],
        tag: str = "env",
        user: str = "alice",
        verb: Verb = "exec",
        **target: str,
    ) -> None:
        """Somebody asks for something."""
        aim = Target("shop", target.pop("pod", "web"), target.pop("container", "app"), **target)
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        spec = SessionSpec(User(user, groups=["dev"]), verb, f"pods/{verb}", aim, now, list(command), recorded=True)
        spec = SessionSpec(**{each: getattr(spec, each) for each in spec.__struct_fields__} | {"tag": tag})
        self._requests[uid] = AuditSession(ObjectMeta(name=uid, namespace="exectrail"), spec)
        self.tables.session_changed(None, self._requests[uid])

    # ---- the runtime ----

    def container(self, runtime_id: str, pod: str = "web") -> Path:
        """The cgroup of a container; the pod's sandbox comes with its first one."""
        folder = self.tree / "kubepods" / f"pod{_PODS[pod]}"
        (folder / ("0" * 63 + "a")).mkdir(parents=True, exist_ok=True)
        (folder / runtime_id).mkdir()
        return folder / runtime_id

    def start(self, cgroup: Path | None, *argv: str | bytes) -> subprocess.Popen[bytes]:
        """Start a program in a container's cgroup; None is on the node."""
        process = subprocess.Popen(
            argv,
            cwd="/",
            env={"PATH": "/usr/bin:/bin"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=partial(_become, cgroup, profiled=self._source is not None),  # noqa: PLW1509 - system calls only
        )
        self._started.append(process)
        self.turn()
        return process

    def run(self, cgroup: Path | None, *argv: str | bytes) -> None:
        """Run a program to its end."""
        process = self.start(cgroup, *argv)
        while process.poll() is None:
            self.turn()
        self.turn()

    def turn(self, seconds: float = 0.02) -> None:
        """Rounds of the enricher for some time; where that is longer than it holds events, until none is held."""
        until = time.monotonic() + seconds
        while True:
            time.sleep(0.01)
            now = time.monotonic()
            self._recorder.turn()
            self._core.step(now)
            is_held = seconds > _HOLD and (self.sensor.behind or self._correlator.held_events > 0)
            if now >= until and not (is_held and now < until + _BUSY):
                break

    def lose(self, lost: dict[str, int]) -> None:
        """So much was lost in the kernel since the start, by cause."""
        self._recorder.lost(lost)

    def missing_in_the_equation(self) -> int:
        """How many events are nowhere (`enricher.tally`)."""
        return self._correlator.tally.difference(self._correlator.held)

    def maintain(self) -> None:
        """Look for what is gone."""
        self._tracker.maintain(time.monotonic())

    def close(self) -> None:
        """End all that runs, and take the cgroups away."""
        self.sensor.close()
        if self._source:
            self._source.close()
        self._recorder.flush()
        for pid in [int(pid) for each in self.tree.rglob("cgroup.procs") for pid in each.read_text().split()]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for process in self._started:
            process.wait(10)
        time.sleep(0.1)
        for folder, _, _ in os.walk(self.tree, topdown=False):
            Path(folder).rmdir()


def _become(cgroup: Path | None, *, profiled: bool) -> None:
    """As container runtimes do it: into the cgroup, then the profile, then the program. Only that is logged."""
    if cgroup:
        (cgroup / "cgroup.procs").write_text("0")
    if profiled:
        load(json.loads(PROFILE.read_bytes()))


@contextlib.contextmanager
def fake_node(file: BinaryIO, sensor: str = "bpf", *, profiled: bool = False) -> Iterator[FakeNode]:
    """A node that goes away afterwards."""
    node = FakeNode(file, sensor, profiled=profiled)
    try:
        yield node
    finally:
        node.close()


def app(**fields: object) -> PodSpec:
    """A pod with the one container `app`."""
    return PodSpec(containers=[Container("app", "shop:1", **fields)])  # type: ignore[arg-type] # as the test says
