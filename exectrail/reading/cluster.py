"""Where a cluster keeps what exectrail recorded: AuditSessions in the API, and one trail per node.

A trail is read through the idle `reader` container of the DaemonSet `node` where it is a file, and from the
enricher's log where the enricher writes to standard output. Each pod says which, by its annotation.

A user who may make pods can label one as exectrail's. So all is read from one namespace: that of the release.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property, partial
from typing import IO, NoReturn
from urllib.parse import quote, urlencode

import msgspec
from msgspec import Struct

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.session import AuditSession
from exectrail.contracts.unreadable import UNREADABLE
from exectrail.reading.kubectl import Forbidden, Kubectl, KubectlError, NotFound
from exectrail.reading.listing import decoded, listed
from exectrail.reading.report import Report
from exectrail.reading.segments import CLOCK_SLACK
from exectrail.reading.summary import Summary, from_audit_session
from exectrail.reading.trail import Source
from exectrail.reading.words import counted

_AUDIT_SESSIONS = ("/apis/exectrail.io/v1alpha1", "auditsessions")
_PODS = ("/api/v1", "pods")
_PAGE = 2000
"""Objects of one answer: each has at most 8 KiB."""
_NAME, _COMPONENT = "app.kubernetes.io/name=exectrail", "app.kubernetes.io/component"
_NODE, _ENRICHER = "node", "enricher"
_OPTION = "--release-namespace"
_MOST_NAMESPACES = 5
"""So many are named where they are too many."""
_READER = "reader"
_FILE, _STDOUT = "file", "stdout"
_LOGS_MODE, _TRAIL = "exectrail.io/logs-mode", "exectrail.io/trail"
_READS = ("python3", "-m", "exectrail.reading.reader")
"""What prints a trail with its closed segments in the container."""


class NoPod(KubectlError):
    """There is no pod of exectrail, not even one that does not run."""


class _Metadata(Struct, rename="camel"):
    name: str
    namespace: str
    annotations: dict[str, str] = {}
    creation_timestamp: str = ""
    deletion_timestamp: str | None = None


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


class _NamedList(Struct):
    items: list[_Named]


@dataclass(frozen=True)
class Cluster:
    """A release in a cluster."""

    kubectl: Kubectl
    given: str | None = None
    """The release's namespace, if the user named it."""

    @cached_property
    def namespace(self) -> str:
        """The only namespace that is read. Where it is not given: that of exectrail's pods and AuditSessions.

        Both count, because AuditSessions are made by the webhook alone (the policy `auditsessions`), and pods by many.

        Raises:
            NoPod: There is none.
            KubectlError: There are several, or they cannot be listed.

        """
        if self.given:
            return self.given
        found: list[str] = []
        forbidden: list[KubectlError] = []
        for kind, query in ((_PODS, _selecting(_NODE, _ENRICHER)), (_AUDIT_SESSIONS, {})):
            try:
                found += self._namespaces(kind, query, found)
            except (Forbidden, NotFound) as error:
                forbidden.append(error)
        if len(found) == 1:
            return found[0]
        if found:
            named = ", ".join(found[:_MOST_NAMESPACES]) + (" and more" if len(found) > _MOST_NAMESPACES else "")
            raise KubectlError(
                f"pods or AuditSessions of exectrail are in several namespaces: {named}. Only one is the release's, and"
                f" a user who may make pods can label one as exectrail's: name the right one by {_OPTION}"
            )
        if forbidden:  # all that is needed at once
            raise type(forbidden[0])("\n".join(map(str, forbidden)))
        raise NoPod(f"no pod of exectrail is in this cluster (label {_NAME})")

    def path(self, kind: tuple[str, str]) -> str:
        """Where the API has the release's objects of a kind."""
        api, plural = kind
        return f"{api}/namespaces/{quote(self.namespace, safe='')}/{plural}"

    def _namespaces(self, kind: tuple[str, str], query: dict[str, str], known: list[str]) -> list[str]:
        """Further namespaces with such objects, by one object of each: there may be thousands."""
        found: list[str] = []
        while len(found) <= _MOST_NAMESPACES:
            others = ",".join(f"metadata.namespace!={each}" for each in (*known, *found))
            selects = {**query, "limit": "1"} | ({"fieldSelector": others} if others else {})
            items = decoded(self.kubectl.get("--raw", f"{'/'.join(kind)}?{urlencode(selects)}"), _NamedList).items
            namespaces = [
                each.metadata.namespace for each in items if each.metadata.namespace not in ("", *known, *found)
            ]
            if not namespaces:
                break
            found.append(namespaces[0])
        return found


def audit_sessions(
    cluster: Cluster, report: Report, name: str | None = None, *, readings: bool = True
) -> Iterator[Summary]:
    """The sessions in the API, or only the one of this name.

    Without `readings`, execs by which this command read a trail are left out, and the report says how many.

    Raises:
        KubectlError: They cannot be listed.

    """
    left_out = 0
    for item in _audit_sessions(cluster, name):
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


def audit_session_names(cluster: Cluster) -> list[str]:
    """The UIDs of the sessions in the API.

    Raises:
        KubectlError: They cannot be listed.

    """
    names: list[str] = []
    for item in _audit_sessions(cluster):
        with suppress(*UNREADABLE):
            names.append(msgspec.json.decode(item, type=_Named).metadata.name)
    return names


def _audit_sessions(cluster: Cluster, name: str | None = None) -> Iterator[msgspec.Raw]:
    query = {"fieldSelector": f"metadata.name={name}"} if name else {}
    return listed(cluster.kubectl, cluster.path(_AUDIT_SESSIONS), _PAGE, **query)


def trails(cluster: Cluster, node: str | None, only: str, since: datetime | None = None) -> list[Source]:
    """The trails of all nodes, or of one.

    Args:
        cluster: The release.
        node: The only node, if it is one.
        only: An option of the reader: what to select of a trail that is a file.
        since: What was written before need not be read.

    Raises:
        KubectlError: The pods cannot be listed, or none of them runs there.

    """
    found = _pods(cluster, node)
    return [
        *(_file(cluster, pod, (only, *_since(since))) for pod in found.kept),
        *(_log(cluster, pod, since) for pod in found.logged),
        *(_unread(pod, _does_not_run(pod)) for pod in found.down),
        *(_unread(pod, why) for pod, why in found.beside),
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
    """By pod through which none is followed: of which node's it is, and why."""


def live_trails(cluster: Cluster, node: str | None = None, since: datetime | None = None) -> LiveTrails:
    """The trails of all nodes, or of one, to be followed. What was written before `since` need not be read.

    Raises:
        NoPod: No pod is there.
        KubectlError: The pods cannot be listed, or none of them runs there.

    """
    found = _pods(cluster, node)
    files = {
        pod.spec.node_name: LiveTrail(partial(_follow_file, cluster, pod, since), speaks=True) for pod in found.kept
    }
    logs = {
        pod.spec.node_name: LiveTrail(partial(_follow_log, cluster, pod, since), speaks=False) for pod in found.logged
    }
    said = [(pod, f"{_does_not_run(pod)}; followed as soon as it runs") for pod in found.down] + found.beside
    unread = {pod.metadata.name: f"trail of node {_place(pod)}: {why}" for pod, why in said}
    return LiveTrails(files | logs, unread)  # where both are there, the enricher says where it writes now


def _follow_file(
    cluster: Cluster, pod: _Pod, since: datetime | None, after: int | None, _time: str
) -> AbstractContextManager[IO[bytes]]:
    begin = () if after is None else (f"--after={after}",)
    return cluster.kubectl.stream(*_reads(pod), "--follow", *begin, *_since(since))


def _follow_log(
    cluster: Cluster, pod: _Pod, since: datetime | None, after: int | None, time: str
) -> AbstractContextManager[IO[bytes]]:
    begin = ("--tail=0",) if after is None else (f"--since-time={time}",) if time else _since_time(since)
    return cluster.kubectl.stream(*_logs(pod), "--follow", *begin)


def _none_runs(cluster: Cluster, node: str | None, there: list[_Pod]) -> KubectlError:
    where = f"on node {node}, in namespace {cluster.namespace}" if node else f"in namespace {cluster.namespace}"
    error = KubectlError if there else NoPod
    return error(f"no running pod of exectrail {where} (label {_NAME},{_COMPONENT}={_NODE}): no trail can be read")


@dataclass(frozen=True)
class _Pods:
    """The pods of a release, by how a trail is read through them."""

    kept: list[_Pod]
    """By its file; one of each node."""
    logged: list[_Pod]
    """By its log; one of each node."""
    down: list[_Pod]
    """Not at all, because they do not run; one of each node."""
    beside: list[tuple[_Pod, str]]
    """Not at all, because another one runs on the same node; in words."""


def _pods(cluster: Cluster, node: str | None) -> _Pods:
    """The release's pods, of all nodes or of one.

    Each pod says how by its own annotation: in file mode an enricher's log has no records, also where no reader runs.

    Raises:
        NoPod: No pod is there.
        KubectlError: The pods cannot be listed, or none of them runs.

    """
    of_nodes, enrichers = _of(cluster, _NODE, node), _of(cluster, _ENRICHER, node)
    readers = [pod for pod in of_nodes if _mode(pod) != _STDOUT]
    # An enricher of an older chart does not say: its node's other pod does.
    unsaid = {pod.spec.node_name: _mode(pod) for pod in of_nodes}
    writers = [pod for pod in enrichers if _mode(pod, unsaid.get(pod.spec.node_name, _FILE)) == _STDOUT]
    (kept, more_kept), (logged, more_logged) = (_one_of_each_node(pods) for pods in (readers, writers))
    read = {pod.spec.node_name for pod in (*kept, *logged)}
    down = list({_place(pod): pod for pod in (*readers, *writers) if pod.spec.node_name not in read}.values())
    if not read:
        raise _none_runs(cluster, node, down)
    return _Pods(kept, logged, down, more_kept + more_logged)


def _one_of_each_node(pods: list[_Pod]) -> tuple[list[_Pod], list[tuple[_Pod, str]]]:
    """The oldest running pod of each node, before those that end; and further ones, with why they are not read."""
    chosen: dict[str, _Pod] = {}
    further = []
    running = [pod for pod in pods if pod.status.phase == "Running"]
    for pod in sorted(
        running, key=lambda it: (it.metadata.deletion_timestamp is not None, it.metadata.creation_timestamp)
    ):
        first = chosen.setdefault(pod.spec.node_name, pod)
        if first is not pod and pod.metadata.deletion_timestamp is None:
            further.append((pod, f"pod {_key(pod)} runs there beside {_key(first)}, which alone is read"))
    return [pod for pod in running if chosen[pod.spec.node_name] is pod], further


def _of(cluster: Cluster, component: str, node: str | None) -> list[_Pod]:
    query = _selecting(component) | ({"fieldSelector": f"spec.nodeName={node}"} if node else {})
    pods = decoded(cluster.kubectl.get("--raw", f"{cluster.path(_PODS)}?{urlencode(query)}"), _PodList).items
    return [pod for pod in pods if node in (None, pod.spec.node_name)]


def _selecting(*components: str) -> dict[str, str]:
    """The query for pods of these."""
    which = f"={components[0]}" if len(components) == 1 else f" in ({','.join(components)})"
    return {"labelSelector": f"{_NAME},{_COMPONENT}{which}"}


def _mode(pod: _Pod, unsaid: str = _FILE) -> str:
    return pod.metadata.annotations.get(_LOGS_MODE, unsaid)


def _place(pod: _Pod) -> str:
    return pod.spec.node_name or f"not known yet, of pod {pod.metadata.name}"


def _unread(pod: _Pod, why: str) -> Source:
    """Stands for a trail that is not read: the report then says so."""

    def fail() -> NoReturn:
        raise KubectlError(why)

    return Source(f"trail of node {_place(pod)}", fail)


def _does_not_run(pod: _Pod) -> str:
    return f"pod {_key(pod)} does not run: it is {pod.status.phase}"


def _key(pod: _Pod) -> str:
    return f"{pod.metadata.namespace}/{pod.metadata.name}"


def _file(cluster: Cluster, pod: _Pod, options: tuple[str, ...]) -> Source:
    name = f"trail of node {pod.spec.node_name}"
    return Source(name, lambda: cluster.kubectl.stream(*_reads(pod), *options), marked=True)


def _reads(pod: _Pod) -> tuple[str, ...]:
    meta = pod.metadata
    path = meta.annotations.get(_TRAIL, "/trail/trail.jsonl").replace("$(NODE_NAME)", pod.spec.node_name)
    return ("exec", f"--namespace={meta.namespace}", meta.name, f"--container={_READER}", "--", *_READS, path)


def _log(cluster: Cluster, pod: _Pod, since: datetime | None) -> Source:
    name = f"log of the enricher on node {pod.spec.node_name}"
    return Source(name, lambda: cluster.kubectl.stream(*_logs(pod), *_since_time(since)), pod_log=True, growing=True)


def _since(since: datetime | None) -> tuple[str, ...]:
    """For the reader."""
    return (f"--since={since.isoformat()}",) if since else ()


def _since_time(since: datetime | None) -> tuple[str, ...]:
    """For `kubectl logs`, which goes by when a line was written."""
    return (f"--since-time={(since - CLOCK_SLACK).isoformat()}",) if since else ()


def _logs(pod: _Pod) -> tuple[str, ...]:
    return ("logs", f"--namespace={pod.metadata.namespace}", pod.metadata.name, "--container=enricher")
