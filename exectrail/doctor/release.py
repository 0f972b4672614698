"""Whether the release's parts are there and run."""

from collections.abc import Iterator

from exectrail.doctor.finding import Checked, Finding
from exectrail.doctor.objects import Workload
from exectrail.doctor.seen import Seen

ENFORCE = "pod-security.kubernetes.io/enforce"
_PARTS = {
    "enricher": ("DaemonSet", "no process is recorded on any node"),
    "webhook": ("Deployment", "no request has an AuditSession, and processes have no user"),
    "controller": (
        "Deployment",
        "nothing watches whether the webhook is reached, and sessions are not closed or deleted",
    ),
    "node": ("DaemonSet", "trails cannot be read through the cluster, and pods with a built-in profile do not start"),
}


def check(seen: Seen) -> Checked:
    """The release: its workloads, and whether its namespace admits their pods."""
    findings = [*_missing(seen), *_unready(seen), *_pod_security(seen), *_several(seen)]
    parts = ", ".join(each.component for each in seen.workloads.items) or "its workloads are not known"
    return Checked("release", f"{seen.release} is looked at: {parts}", findings)


def _missing(seen: Seen) -> Iterator[Finding]:
    if not seen.workloads.known:
        return
    for component, (kind, meaning) in _PARTS.items():
        if seen.workload(component) is None:
            yield Finding(
                "release",
                "part-missing",
                "error",
                f"the {kind} of the {component} is missing",
                [f"namespace {seen.release.namespace}: no {kind} with the label component={component}"],
                meaning,
                f"run `helm upgrade {seen.release.instance} ./chart -n {seen.release.namespace} --reuse-values`",
            )


def _unready(seen: Seen) -> Iterator[Finding]:
    """All but the enricher: which nodes lack one is said by node."""
    for component in ("webhook", "controller"):
        workload = seen.workload(component)
        if workload is None or _ready(workload) >= max(workload.spec.replicas, 1):
            continue
        none = _ready(workload) == 0
        place = f"{seen.release.namespace}/{workload.metadata.name}"
        yield Finding(
            "release",
            "part-not-ready",
            "error" if none else "warning",
            f"{_ready(workload)} of {workload.spec.replicas} replicas of the {component} are ready",
            [f"Deployment {place}: status.readyReplicas={_ready(workload)}, spec.replicas={workload.spec.replicas}"],
            _PARTS[component][1] if none else "one more that ends, and none may be left",
            _remedy(seen, component)
            if workload.spec.replicas
            else f"run `kubectl scale -n {seen.release.namespace} deploy/{workload.metadata.name} --replicas=2`",
        )
    if (node := seen.workload("node")) and node.status.number_ready < node.status.desired_number_scheduled:
        counts = f"numberReady={node.status.number_ready}, desired={node.status.desired_number_scheduled}"
        yield Finding(
            "release",
            "part-not-ready",
            "warning",
            "the installer of profiles is not ready on all nodes",
            [f"DaemonSet {seen.release.namespace}/{node.metadata.name}: status: {counts}"],
            "on those nodes pods with a built-in profile do not start, and trails cannot be read through the cluster",
            _remedy(seen, "node"),
        )


def _remedy(seen: Seen, component: str) -> str:
    chosen = f"-n {seen.release.namespace} -l app.kubernetes.io/component={component}"
    return f"see `kubectl describe pods {chosen}` and `kubectl logs {chosen} --all-containers --prefix`"


def _ready(workload: Workload) -> int:
    return workload.status.ready_replicas


def _pod_security(seen: Seen) -> Iterator[Finding]:
    namespace = next((each for each in seen.namespaces.items if each.metadata.name == seen.release.namespace), None)
    level = namespace.metadata.labels.get(ENFORCE, "") if namespace else ""
    if level in ("baseline", "restricted"):
        yield Finding(
            "release",
            "pod-security",
            "error",
            f"Pod Security of the release's namespace refuses the pods of both DaemonSets ({level})",
            [f"namespace {seen.release.namespace}: metadata.labels[{ENFORCE}]={level}"],
            "agents that run go on; none can start anew, on new nodes or after an upgrade",
            f"run `kubectl label namespace {seen.release.namespace} {ENFORCE}=privileged --overwrite`",
        )


def _several(seen: Seen) -> Iterator[Finding]:
    if seen.others:
        yield Finding(
            "release",
            "several-releases",
            "warning",
            "exectrail is installed more than once",
            [str(each) for each in (seen.release, *seen.others)],
            "requests are tagged twice, and nodes have two agents; only the first one is looked at here",
            "uninstall all but one (`helm list -A`), or look at another one with `--namespace`",
        )
