"""What an enricher reads, and the flags that say so: the API's objects, the SECCOMP records, the sensor."""

import argparse
import logging
import os
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from enricher import pid_namespace
from enricher.audit.auditlog import AuditLogSource
from enricher.audit.choice import AUTO, NONE, Choice, choose
from enricher.audit.kernel_lost import KernelLost
from enricher.audit.netlink import NetlinkSource
from enricher.audit.netlink_socket import AuditSource, SourceUnavailable
from enricher.audit.own_name import ours
from enricher.audit.progress import SourceState, modified_ms
from enricher.audit.source import Source
from enricher.clock import Clock
from enricher.containers.cgroup_resolver import CgroupfsResolver, NodeCgroups
from enricher.containers.lean_pod import lean_pod
from enricher.containers.pod_roots import PodRoots
from enricher.containers.pods import Namespace, Pod
from enricher.containers.proc_cgroups import ProcCgroupResolver
from enricher.correlate.request_expiry import EXPIRED, is_over
from enricher.correlate.requests_elsewhere import RequestsElsewhere
from enricher.procfs import Proc
from enricher.sensors.bpf.sensor import BpfSensor
from enricher.sensors.proc.sensor import ProcSensor
from enricher.sensors.procconn.connector import ProcConnector
from enricher.sensors.procconn.sensor import ProcconnSensor
from enricher.sensors.sensor import Sensor
from enricher.sensors.unavailable import SensorUnavailable
from exectrail.contracts import node_label
from exectrail.contracts.session import GROUP_VERSION, PLURAL, AuditSession
from exectrail.contracts.settings import FILTERS, LOG_LEVEL
from exectrail.filter.file import FilterFile
from exectrail.k8s.client import Client
from exectrail.k8s.mirror import Mirror
from exectrail.service import logs
from exectrail.service.label_flag import labels

S = TypeVar("S", bound=AuditSource)

_MOST_MISSED = 10_000
"""As many as wait for their requests (`enricher.emit.late_requests`)."""

log = logging.getLogger("enricher")


class Requests(Mirror[AuditSession]):
    """The requests that the webhook wrote down, in one namespace: a node's shard of them, and those of no known node.

    Args:
        client: Where to ask.
        namespace: Where AuditSessions are.
        on_change: As a mirror's.
        node: Whose they are. Of what is over for it, no more is kept than that it was there. None watches all, and
            keeps them whole.

    """

    def __init__(
        self,
        client: Client,
        namespace: str,
        on_change: Callable[[AuditSession | None, AuditSession | None], None] | None = None,
        node: str | None = None,
    ) -> None:
        path = f"/apis/{GROUP_VERSION}/namespaces/{namespace}/{PLURAL}"
        super().__init__(client, path, AuditSession, on_change, self._as_needed if node else None, few=bool(node))
        if node:
            self._selectors["labelSelector"] = node_label.selector(node)
        self._namespace, self._node = namespace, node or ""
        self._elsewhere = RequestsElsewhere(client, path) if node else None
        self._missed: dict[str, None] = {}

    def start(self) -> None:
        """Watch, and ask for what is not watched, in threads of their own."""
        super().start()
        if self._elsewhere:
            self._elsewhere.start()

    def get(self, uid: str) -> AuditSession | None:
        """The request of a process with this tag, as known now; `EXPIRED` if no process can come of it any more."""
        found = self.objects.get(f"{self._namespace}/{uid}")
        if self._elsewhere and found is None:
            found = self._elsewhere.get(uid)
        if found is None:
            self._missed[uid] = None
            if len(self._missed) > _MOST_MISSED:
                del self._missed[next(iter(self._missed))]
            return None
        if uid in self._missed:
            del self._missed[uid]
            if self._elsewhere:
                self._elsewhere.forget(uid)
        return found if found.spec.verb in ("exec", "debug") else EXPIRED

    def _as_needed(self, audit: AuditSession) -> AuditSession:
        # One that shows late may be closed by then: a process that asked for it in vain still needs it.
        if audit is EXPIRED or audit.metadata.name in self._missed:
            return audit
        return EXPIRED if is_over(audit, self._node, time.time() * 1000) else audit

    def running_on(self, node: str) -> list[AuditSession]:
        """Those that run on a node, as far as the API knows now."""
        every = list(self.objects.values())  # at once: the mirror goes on in its own thread
        return [each for each in every if each.status.phase == "Running" and each.status.node == node]


def watch_node(
    client: Client,
    node: str,
    pod_changed: Callable[[Pod | None, Pod | None], None],
    namespace_changed: Callable[[Namespace | None, Namespace | None], None],
    debugs_node: Callable[[Pod], bool],
) -> list[Mirror[Any]]:
    """Mirrors of all namespaces and of this node's pods, to be started; of pods only what is needed is kept."""

    def lean(pod: Pod) -> Pod:
        return lean_pod(pod, debugs=debugs_node(pod))

    return [
        Mirror(client, "/api/v1/namespaces", Namespace, namespace_changed, metadata_only=True),
        Mirror(client, "/api/v1/pods", Pod, pod_changed, keep=lean, few=True, fieldSelector=f"spec.nodeName={node}"),
    ]


def open_source(receive_buffer: int, kind: type[S]) -> S | None:
    """The SECCOMP records, with a receive buffer in bytes; None, and a line in the log, where they cannot be read."""
    try:
        return kind.open(receive_buffer)
    except SourceUnavailable as error:
        log.error("no SECCOMP events: %s", error)
        return None


def source_state(args: argparse.Namespace) -> SourceState:
    """How far the enricher before read; to be asked before this one writes to the trail."""
    written_ms = max(modified_ms(args.state_dir / "chain.json"), modified_ms(Path(args.trail)))
    return SourceState(args.state_dir / "source.json", Proc().boot_id(), written_ms)


class SourceNeeds(NamedTuple):
    """What an audit source is opened with."""

    args: argparse.Namespace
    state: SourceState
    is_ours: Callable[[str], bool]
    """Whether a line of auditd's log is this node's, by its `node=`."""
    ready: Callable[[], bool]
    """Whether the API has said what is recorded."""


def _netlink(needs: SourceNeeds) -> Source:
    args = needs.args
    _refuse_where_nested("audit netlink", "the kernel sends audit records to the machine below it only")
    audit = AuditSource.open(args.receive_buffer)
    _say_if_capped(args.receive_buffer, audit.receive_buffer())
    return NetlinkSource(audit, needs.state, args.audit_log, needs.is_ours, needs.ready)


def _auditlog(needs: SourceNeeds) -> Source:
    args = needs.args
    if args.audit_log is None:
        raise SourceUnavailable("auditd's log: no flag --audit-log says where it is")
    _refuse_where_nested("auditd's log", "the pids in it are those of the machine below it")
    wait = args.audit_source == "auditlog"
    return AuditLogSource.open(args.audit_log, needs.state, needs.is_ours, needs.ready, wait=wait)


def _refuse_where_nested(what: str, why: str) -> None:
    """Audit knows the machine's pids and namespaces only: there, what it says could be joined to the wrong process."""
    if pid_namespace.is_nested():
        raise SourceUnavailable(f"{what}: {pid_namespace.NESTED}, and {why}")


SOURCES: dict[str, Callable[[SourceNeeds], Source]] = {"netlink": _netlink, "auditlog": _auditlog}
"""How each audit source is opened, by its name; the best first."""


def choose_source(args: argparse.Namespace, state: SourceState, ready: Callable[[], bool]) -> Choice:
    """Where SECCOMP records come from, by the flags; `ready` says whether the API has said what is recorded.

    Raises:
        SourceUnavailable: The source that the flags name cannot be had.

    """
    needs = SourceNeeds(args, state, ours(args.node, socket.gethostname()), ready)
    return choose(args.audit_source, {name: partial(make, needs) for name, make in SOURCES.items()})


def _say_if_capped(asked: int, accounted: int) -> None:
    granted = accounted // 2  # the kernel counts what it needs for itself as well (socket(7), SO_RCVBUF)
    if granted < asked:
        log.info("the audit socket's receive buffer has %d bytes, not %d: net.core.rmem_max caps it", granted, asked)


def open_kernel_lost(*, asked: bool) -> KernelLost | None:
    """The kernel's count of lost audit records; None where it is not asked for, or the kernel does not say."""
    if not asked:
        return None
    try:
        _refuse_where_nested(
            "the kernel's count of lost audit records", "the kernel tells it to the machine below it only"
        )
        return KernelLost.open()
    except SourceUnavailable as error:
        log.error("%s", error)
        return None


class OpenSensor(NamedTuple):
    """A sensor at work, and what knows the containers that its events' cgroups are."""

    sensor: Sensor
    cgroups: NodeCgroups


SENSORS: dict[str, Callable[[argparse.Namespace, Clock, object | None], OpenSensor]] = {
    "bpf": lambda args, _clock, _source: bpf_sensor(args.cgroup_root),
    "procconn": lambda args, _clock, _source: procconn_sensor(args.cgroup_root, _connector(args.receive_buffer)),
    "proc": lambda args, clock, source: proc_sensor(args.cgroup_root, clock, source),
}
"""How each sensor is opened, by its name, with the flags, the clock and the audit source; the best first."""


def open_sensor(args: argparse.Namespace, clock: Clock, source: object | None) -> OpenSensor:
    """The sensor that `--sensor` names, or the best that this node offers.

    Raises:
        SensorUnavailable: With what is missing.

    """
    if args.sensor != AUTO:
        return SENSORS[args.sensor](args, clock, source)
    missing: list[str] = []
    for name, make in SENSORS.items():
        try:
            return make(args, clock, source)
        except SensorUnavailable as error:
            missing.append(f"{name}: {error}")
            log.warning("no sensor %s: %s; trying the next one, which is weaker", name, error)
    raise SensorUnavailable(f"there is nothing to record from; {'; '.join(missing)}")


def bpf_sensor(cgroup_root: Path) -> OpenSensor:
    """The sensor `bpf`, for the node's `/sys/fs/cgroup`."""
    roots = PodRoots(cgroup_root)
    cgroups = CgroupfsResolver(roots)
    sensor = BpfSensor(roots.known, cgroups.pids)
    cgroups.on_root = sensor.watch
    return OpenSensor(sensor, cgroups)


def _connector(receive_buffer: int) -> ProcConnector:
    """Where the node is itself a container, the kernel would not even answer."""
    if pid_namespace.is_nested():
        why = "the kernel reports processes to the machine below it only"
        raise SensorUnavailable(f"proc connector: {pid_namespace.NESTED}, and {why}")
    return ProcConnector.open(receive_buffer)


def procconn_sensor(cgroup_root: Path, connector: ProcConnector) -> OpenSensor:
    """The sensor `procconn`."""
    cgroups = ProcCgroupResolver(cgroup_root)
    return OpenSensor(ProcconnSensor(connector, cgroups.number), cgroups)


def proc_sensor(cgroup_root: Path, clock: Clock, source: object | None) -> OpenSensor:
    """The sensor `proc`, which SECCOMP events drive."""
    if source is None:
        raise SensorUnavailable("it needs an audit source, and there is none")
    cgroups = ProcCgroupResolver(cgroup_root)
    return OpenSensor(ProcSensor(cgroups.number, clock), cgroups)


def follow_settings(args: argparse.Namespace) -> tuple[FilterFile, logs.Level]:
    """The filters and the log level: by the flags, or by the settings' files while these are there.

    Raises:
        OSError: The filters of the flag cannot be read.
        FilterError: They have a mistake.

    """
    settings = args.settings_dir
    filters = FilterFile(args.filters, settings and settings / FILTERS)
    if filters.problem:
        log.error("the filters in %s cannot be used: %s", settings, filters.problem)
    return filters, logs.Level(args.log_level, settings and settings / LOG_LEVEL)


def add_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that say what is read."""
    add = parser.add_argument
    help_ = "the node's cgroup tree (default %(default)s)"
    add("--cgroup-root", type=Path, default=Path("/sys/fs/cgroup"), help=help_)
    help_ = "process event backend, the sensor (default %(default)s)"
    add("--sensor", choices=(AUTO, *SENSORS), default=AUTO, help=help_)
    help_ = "receive buffer of each netlink socket, in bytes (default %(default)s)"
    add("--receive-buffer", type=positive, default=4 << 20, metavar="BYTES", help=help_)
    help_ = "name of this node (default $NODE_NAME or the host's name)"
    add("--node", default=os.environ.get("NODE_NAME", socket.gethostname()), help=help_)
    help_ = "labels of pods that debug a node; one suffices, besides those that are known (default none)"
    add("--node-debug-labels", type=labels, default="", metavar="KEY=VALUE,...", help=help_)
    help_ = "namespace of AuditSessions (default $POD_NAMESPACE or exectrail)"
    add("--namespace", default=os.environ.get("POD_NAMESPACE", "exectrail"), help=help_)


def add_source_flags(parser: argparse.ArgumentParser) -> None:
    """The flags that say where SECCOMP records come from."""
    add = parser.add_argument
    help_ = "audit source, where SECCOMP events come from (default %(default)s)"
    add("--audit-source", choices=(AUTO, *SOURCES, NONE), default=AUTO, help=help_)
    help_ = "auditd's log, for the audit source auditlog and for what netlink missed"
    add("--audit-log", type=Path, metavar="FILE", help=help_)
    add(
        "--ask-kernel-lost",
        action="store_true",
        help="count the audit records that the kernel lost; takes CAP_AUDIT_CONTROL",
    )


def positive(text: str) -> int:
    """A flag's value: a whole number above 0."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number
