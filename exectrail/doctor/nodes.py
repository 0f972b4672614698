"""Which nodes have no agent, or one that is weak."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta

from exectrail.doctor.finding import Checked, Finding, Kind, Name
from exectrail.doctor.objects import Meta, Node, Pod, Trail
from exectrail.doctor.seen import Seen
from exectrail.doctor.words import age, moment
from exectrail.reading.words import counted

STALE = timedelta(minutes=2)
"""As the controller and the webhook take it."""
WEAK_SENSOR = "proc"
"""It records only what has a seccomp profile that logs."""
_SENSORS: dict[str, Name] = {WEAK_SENSOR: "weak-sensor", "procconn": "no-ebpf"}
_NOT_RECORDED = "no process is recorded there, and sessions into its pods close as `not-recorded`"
_KINDS: dict[Name, Kind] = {
    "no-agent": Kind(
        "error",
        "no enricher on {}",
        _NOT_RECORDED,
        "see `kubectl describe daemonset -n {ns} -l app.kubernetes.io/component=enricher`: enricher.nodeSelector,"
        " enricher.tolerations or enricher.affinity leave the node out, or its pod is refused",
    ),
    "agent-not-ready": Kind(
        "error",
        "an enricher that is not ready on {}",
        "it does not record, or cannot say that it does",
        "see `kubectl describe pods -n {ns} -l app.kubernetes.io/component=enricher` and"
        " `kubectl logs -n {ns} -l app.kubernetes.io/component=enricher --prefix`",
    ),
    "no-nodetrail": Kind(
        "error",
        "an enricher that has never reported on {}",
        "it is not known whether it records",
        "see `kubectl logs -n {ns} -l app.kubernetes.io/component=enricher --prefix`: it may not reach the API server",
    ),
    "stale-heartbeat": Kind(
        "error",
        "no report for more than two minutes from {}",
        "it is not known whether the enricher there records; sessions close as `not-recorded`",
        "see `kubectl get pods -n {ns} -o wide -l app.kubernetes.io/component=enricher` and its log: it does not run,"
        " or does not reach the API server",
    ),
    "weak-sensor": Kind(
        "warning",
        "no eBPF and no process connector on {}",
        "only pods with a profile that logs are recorded, and short processes can be missed",
        "docs/tasks/troubleshooting.md, `Why is there no eBPF on this node?`, has the causes by the enricher's log",
    ),
    "no-ebpf": Kind(
        "notice",
        "no eBPF on {}",
        "every process is recorded; arguments of short ones can be missing",
        "docs/tasks/troubleshooting.md, `Why is there no eBPF on this node?`, has the causes by the enricher's log",
    ),
    "windows": Kind(
        "notice",
        "no agent for the operating system of {}",
        "requests to its pods have AuditSessions; their processes are not recorded",
        "none: the enricher reads the events of Linux",
    ),
}


def check(seen: Seen) -> Checked:
    """Each node: its enricher, its NodeTrail, and the sensor in use."""
    found: dict[Name, list[str]] = defaultdict(list)
    trails = {each.metadata.name: each for each in seen.trails.items}
    pods = {pod.spec.node_name: pod for pod in sorted(seen.own_pods_of("enricher"), key=lambda pod: pod.ready)}
    nodes = seen.nodes.items if seen.nodes.known else [Node(Meta(name)) for name in pods or trails]
    for node in nodes:
        name, trail = node.metadata.name, trails.get(node.metadata.name)
        for kind, words in _amiss(seen, node, trail, pods.get(name)):
            found[kind].append(f"node {name}: {words}")
    findings = [_finding(kind, found[kind], seen.release.namespace) for kind in _KINDS if kind in found]
    return Checked(
        "nodes", f"{counted(len(nodes), 'node')} looked at for an enricher that is ready and reports", findings
    )


def _amiss(seen: Seen, node: Node, trail: Trail | None, pod: Pod | None) -> Iterator[tuple[Name, str]]:
    if node.windows:
        yield "windows", "metadata.labels[kubernetes.io/os]=windows"
        return
    late = _late(trail, seen.now) if trail else ""
    away = "; the node is not Ready" if seen.nodes.known and not node.ready else ""
    if pod is None and seen.own_pods.known:
        yield "no-agent", f"no pod with the label component=enricher{f'; NodeTrail: {late}' if late else ''}{away}"
    elif pod and not pod.ready:
        yield "agent-not-ready", f"pod {pod.key}: status.phase={pod.status.phase}, not Ready{away}"
    elif trail is None and seen.trails.known:
        yield "no-nodetrail", "there is no NodeTrail of this name"
    elif late:
        yield "stale-heartbeat", f"NodeTrail {late}{away}"
    if trail and not late:
        yield from _weak(trail)


def _weak(trail: Trail) -> Iterator[tuple[Name, str]]:
    sensor = trail.status.sensor
    if sensor in _SENSORS:
        yield _SENSORS[sensor], f"NodeTrail status.sensor={sensor}"


def _late(trail: Trail, now: datetime) -> str:
    """How old its heartbeat is, where that is too old."""
    beat = moment(trail.status.heartbeat)
    if beat is None:
        return "status.heartbeat is missing"
    return f"status.heartbeat={trail.status.heartbeat}, {age(now - beat)} ago" if now - beat > STALE else ""


def _finding(name: Name, found: list[str], namespace: str) -> Finding:
    kind = _KINDS[name]
    summary = kind.summary.format(counted(len(found), "node"))
    return Finding("nodes", name, kind.severity, summary, found, kind.meaning, kind.remedy.format(ns=namespace))
