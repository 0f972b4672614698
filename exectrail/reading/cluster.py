"""Where a cluster keeps what exectrail recorded: AuditSessions in the API, and one trail per node.

A trail is read through the idle `reader` container of the DaemonSet `node` where it is a file, and from the
enricher's log where the enricher writes to standard output. The pods say which, by annotation.
"""

from collections.abc import Iterator
from typing import TypeVar

import msgspec
from msgspec import Struct

from exectrail.contracts.unreadable import UNREADABLE
from exectrail.reading.kubectl import Kubectl, KubectlError
from exectrail.reading.summary import Summary, from_audit_session
from exectrail.reading.trail import Damage, Source

_AUDIT_SESSIONS = "auditsessions.exectrail.io"
_LABELS = "app.kubernetes.io/name=exectrail,app.kubernetes.io/component="
_NODE, _ENRICHER = "node", "enricher"
_LOGS_MODE, _TRAIL = "exectrail.io/logs-mode", "exectrail.io/trail"
_PRINT_ALL = ("python3", "-m", "exectrail.reading.segments")
"""What prints a trail with its closed segments in the container."""


T = TypeVar("T")


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


class _RawList(Struct):
    items: list[msgspec.Raw]


def audit_sessions(kubectl: Kubectl, damage: Damage, name: str | None = None) -> Iterator[Summary]:
    """The sessions in the API, or only the one of this name.

    Raises:
        KubectlError: They cannot be listed.

    """
    only = [f"--field-selector=metadata.name={name}"] if name else []
    answer = kubectl.get(_AUDIT_SESSIONS, "--all-namespaces", *only, "--output=json")
    for item in _decode(answer, _RawList).items:
        try:
            yield from_audit_session(item)
        except UNREADABLE:
            damage.lines += 1


def audit_session_names(kubectl: Kubectl) -> list[str]:
    """The UIDs of the sessions in the API, without fetching the rest of them into memory.

    Raises:
        KubectlError: They cannot be listed.

    """
    column = "--output=custom-columns=UID:.metadata.name"
    return kubectl.get(_AUDIT_SESSIONS, "--all-namespaces", "--no-headers", column).decode().split()


def trails(kubectl: Kubectl, node: str | None = None) -> list[Source]:
    """The trails of all nodes, or of one.

    Raises:
        KubectlError: The pods cannot be listed, or none of them runs there.

    """
    sources = [_file(kubectl, pod) for pod in _pods(kubectl, _NODE, node) if _mode(pod) != "stdout"]
    if not sources:
        sources = [_log(kubectl, pod) for pod in _pods(kubectl, _ENRICHER, node)]
    if not sources:
        where = f"on node {node}" if node else "in this cluster"
        raise KubectlError(f"no running pod of exectrail {where} (label {_LABELS}{_NODE}): no trail can be read")
    return sources


def _pods(kubectl: Kubectl, component: str, node: str | None) -> list[_Pod]:
    answer = kubectl.get("pods", "--all-namespaces", f"--selector={_LABELS}{component}", "--output=json")
    pods = _decode(answer, _PodList).items
    return [pod for pod in pods if pod.status.phase == "Running" and node in (None, pod.spec.node_name)]


def _mode(pod: _Pod) -> str:
    return pod.metadata.annotations.get(_LOGS_MODE, "file")


def _file(kubectl: Kubectl, pod: _Pod) -> Source:
    node, meta = pod.spec.node_name, pod.metadata
    path = meta.annotations.get(_TRAIL, "/trail/trail.jsonl").replace("$(NODE_NAME)", node)
    exec_ = ("exec", f"--namespace={meta.namespace}", meta.name, "--container=reader", "--", *_PRINT_ALL, path)
    return Source(f"trail of node {node}", lambda: kubectl.stream(*exec_))


def _log(kubectl: Kubectl, pod: _Pod) -> Source:
    meta = pod.metadata
    logs = ("logs", f"--namespace={meta.namespace}", meta.name, "--container=enricher")
    return Source(f"log of the enricher on node {pod.spec.node_name}", lambda: kubectl.stream(*logs), pod_log=True)


def _decode(answer: bytes, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer, type=kind)
    except UNREADABLE as error:
        raise KubectlError(f"kubectl's answer cannot be read: {error}") from error
