"""Where a cluster keeps what exectrail recorded: AuditSessions in the API, and one trail per node.

A trail is read through the idle `reader` container of the DaemonSet `node` where it is a file, and from the
enricher's log where the enricher writes to standard output. Each pod says which, by its annotation.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import IO, NoReturn
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.session import AuditSession
from exectrail.contracts.unreadable import UNREADABLE
from exectrail.reading.kubectl import Kubectl, KubectlError
from exectrail.reading.listing import decoded, listed
from exectrail.reading.report import Report
from exectrail.reading.segments import CLOCK_SLACK
from exectrail.reading.summary import Summary, from_audit_session
from exectrail.reading.trail import Source
from exectrail.reading.words import counted

_AUDIT_SESSIONS = "/apis/exectrail.io/v1alpha1/auditsessions"
_PAGE = 2000
"""Objects of one answer: each has at most 8 KiB."""
_LABELS = "app.kubernetes.io/name=exectrail,app.kubernetes.io/component="
_NODE, _ENRICHER = "node", "enricher"
_READER = "reader"
_FILE, _STDOUT = "file", "stdout"
_LOGS_MODE, _TRAIL = "exectrail.io/logs-mode", "exectrail.io/trail"
_READS = ("python3", "-m", "exectrail.reading.reader")
"""What prints a trail with its closed segments in the container."""


class NoPod(KubectlError):
    """There is no pod of exectrail, not even one that does not run."""


class _Metadata(Struct):
    name: str
    namespace: str
    annotations: dict[str, str] = {}


class _PodSpec(Struct, rename="camel"):
    node_name: str = ""


class _PodStatus(Struct):
    phase: str = ""


class _Pod(Struct):
    metadata: _Metadata
    spec: _PodSpec
    status: _PodStatus


class _PodList(Struct):
    items: list[_Pod]


class _Named(Struct):
    metadata: ObjectMeta


def audit_sessions(
    kubectl: Kubectl, report: Report, name: str | None = None, *, readings: bool = True
) -> Iterator[Summary]:
    """The sessions in the API, or only the one of this name.

    Without `readings`, execs by which this command read a trail are left out, and the report says how many.

    Raises:
        KubectlError: They cannot be listed.

    """
    left_out = 0
    for item in _audit_sessions(kubectl, name):
        try:
            session = msgspec.json.decode(item, type=AuditSession)
        except UNREADABLE:
            report.damaged += 1
            continue
        if not readings and is_reading(session):
            left_out += 1
        else:
            yield from_audit_session(session)
    if left_out:
        report.notes.append(f"{counted(left_out, 'reading')} of trails by exectrail itself left out; --all lists them")


def is_reading(session: AuditSession) -> bool:
    """Whether this command read a trail by it: in a container named like the reader of exectrail's own namespace.

    In any other namespace such a command is a user's, who may have named a program and a container so to hide.
    """
    target = session.spec.target
    return (
        session.spec.verb == "exec"
        and bool(target.namespace)
        and target.namespace == session.metadata.namespace
        and target.container == _READER
        and session.spec.command[: len(_READS)] == list(_READS)
    )


def audit_session_names(kubectl: Kubectl) -> list[str]:
    """The UIDs of the sessions in the API.

    Raises:
        KubectlError: They cannot be listed.

    """
    names: list[str] = []
    for item in _audit_sessions(kubectl):
        with suppress(*UNREADABLE):
            names.append(msgspec.json.decode(item, type=_Named).metadata.name)
    return names


def _audit_sessions(kubectl: Kubectl, name: str | None = None) -> Iterator[msgspec.Raw]:
    query = {"fieldSelector": f"metadata.name={name}"} if name else {}
    return listed(kubectl, _AUDIT_SESSIONS, _PAGE, **query)


def trails(kubectl: Kubectl, node: str | None, only: str, since: datetime | None = None) -> list[Source]:
    """The trails of all nodes, or of one.

    Args:
        kubectl: The cluster.
        node: The only node, if it is one.
        only: An option of the reader: what to select of a trail that is a file.
        since: What was written before need not be read.

    Raises:
        KubectlError: The pods cannot be listed, or none of them runs there.

    """
    kept, logged, unread = _pods(kubectl, node)
    return [
        *(_file(kubectl, pod, (only, *_since(since))) for pod in kept),
        *(_log(kubectl, pod, since) for pod in logged),
        *map(_unread, unread),
    ]


@dataclass(frozen=True)
class LiveTrail:
    """A node's trail that is followed."""

    open: Callable[[int | None, str], AbstractContextManager[IO[bytes]]]
    """Given the last number that is known (None: from now on) and its time."""
    speaks: bool
    """Whether it says something even where nothing is added."""


@dataclass(frozen=True)
class LiveTrails:
    """The trails of all nodes, or of one, to be followed."""

    by_node: dict[str, LiveTrail]
    unread: dict[str, str]
    """By pod that does not run: which trail is not followed for it, and why."""


def live_trails(kubectl: Kubectl, node: str | None = None, since: datetime | None = None) -> LiveTrails:
    """The trails of all nodes, or of one, to be followed. What was written before `since` need not be read.

    Raises:
        NoPod: No pod is there.
        KubectlError: The pods cannot be listed, or none of them runs there.

    """
    kept, logged, unread = _pods(kubectl, node)
    files = {pod.spec.node_name: LiveTrail(partial(_follow_file, kubectl, pod, since), speaks=True) for pod in kept}
    logs = {pod.spec.node_name: LiveTrail(partial(_follow_log, kubectl, pod, since), speaks=False) for pod in logged}
    why = {pod.metadata.name: f"trail of node {_place(pod)}: {_does_not_run(pod)}" for pod in unread}
    return LiveTrails(files | logs, why)


def _follow_file(
    kubectl: Kubectl, pod: _Pod, since: datetime | None, after: int | None, _time: str
) -> AbstractContextManager[IO[bytes]]:
    begin = () if after is None else (f"--after={after}",)
    return kubectl.stream(*_reads(pod), "--follow", *begin, *_since(since))


def _follow_log(
    kubectl: Kubectl, pod: _Pod, since: datetime | None, after: int | None, time: str
) -> AbstractContextManager[IO[bytes]]:
    begin = ("--tail=0",) if after is None else (f"--since-time={time}",) if time else _since_time(since)
    return kubectl.stream(*_logs(pod), "--follow", *begin)


def _none_runs(node: str | None, there: list[_Pod]) -> KubectlError:
    where = f"on node {node}" if node else "in this cluster"
    error = KubectlError if there else NoPod
    return error(f"no running pod of exectrail {where} (label {_LABELS}{_NODE}): no trail can be read")


def _pods(kubectl: Kubectl, node: str | None) -> tuple[list[_Pod], list[_Pod], list[_Pod]]:
    """The running pods through which a trail is read, by its file and by its log, and those that do not run.

    Each pod says which by its own annotation: in file mode an enricher's log has no records, also where no reader runs.

    Raises:
        NoPod: No pod is there.
        KubectlError: The pods cannot be listed, or none of them runs.

    """
    of_nodes, enrichers = _of(kubectl, _NODE, node), _of(kubectl, _ENRICHER, node)
    readers = [pod for pod in of_nodes if _mode(pod) != _STDOUT]
    # An enricher of an older chart does not say: its node's other pod does.
    unsaid = {pod.spec.node_name: _mode(pod) for pod in of_nodes}
    writers = [pod for pod in enrichers if _mode(pod, unsaid.get(pod.spec.node_name, _FILE)) == _STDOUT]
    kept, logged = ([pod for pod in pods if pod.status.phase == "Running"] for pods in (readers, writers))
    read = {pod.spec.node_name for pod in (*kept, *logged)}
    unread = {_place(pod): pod for pod in (*readers, *writers) if pod.spec.node_name not in read}
    if not read:
        raise _none_runs(node, list(unread.values()))
    return kept, logged, list(unread.values())


def _of(kubectl: Kubectl, component: str, node: str | None) -> list[_Pod]:
    query = {"labelSelector": f"{_LABELS}{component}"} | ({"fieldSelector": f"spec.nodeName={node}"} if node else {})
    pods = decoded(kubectl.get("--raw", f"/api/v1/pods?{urlencode(query)}"), _PodList).items
    return [pod for pod in pods if node in (None, pod.spec.node_name)]


def _mode(pod: _Pod, unsaid: str = _FILE) -> str:
    return pod.metadata.annotations.get(_LOGS_MODE, unsaid)


def _place(pod: _Pod) -> str:
    return pod.spec.node_name or f"not known yet, of pod {pod.metadata.name}"


def _unread(pod: _Pod) -> Source:
    """Stands for a trail that cannot be read now: the report then says so."""

    def fail() -> NoReturn:
        raise KubectlError(_does_not_run(pod))

    return Source(f"trail of node {_place(pod)}", fail)


def _does_not_run(pod: _Pod) -> str:
    return f"pod {pod.metadata.namespace}/{pod.metadata.name} does not run: it is {pod.status.phase}"


def _file(kubectl: Kubectl, pod: _Pod, options: tuple[str, ...]) -> Source:
    name = f"trail of node {pod.spec.node_name}"
    return Source(name, lambda: kubectl.stream(*_reads(pod), *options), marked=True)


def _reads(pod: _Pod) -> tuple[str, ...]:
    meta = pod.metadata
    path = meta.annotations.get(_TRAIL, "/trail/trail.jsonl").replace("$(NODE_NAME)", pod.spec.node_name)
    return ("exec", f"--namespace={meta.namespace}", meta.name, f"--container={_READER}", "--", *_READS, path)


def _log(kubectl: Kubectl, pod: _Pod, since: datetime | None) -> Source:
    name = f"log of the enricher on node {pod.spec.node_name}"
    return Source(name, lambda: kubectl.stream(*_logs(pod), *_since_time(since)), pod_log=True, growing=True)


def _since(since: datetime | None) -> tuple[str, ...]:
    """For the reader."""
    return (f"--since={since.isoformat()}",) if since else ()


def _since_time(since: datetime | None) -> tuple[str, ...]:
    """For `kubectl logs`, which goes by when a line was written."""
    return (f"--since-time={(since - CLOCK_SLACK).isoformat()}",) if since else ()


def _logs(pod: _Pod) -> tuple[str, ...]:
    return ("logs", f"--namespace={pod.metadata.namespace}", pod.metadata.name, "--container=enricher")
