"""What the doctor finds in a cluster that was covered, when one thing in it is spoilt."""

import base64
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from exectrail.doctor.diagnosis import diagnosis
from exectrail.doctor.finding import Finding, NotChecked
from exectrail.doctor.seen import Answer
from profiles.controller.outages import Failure, History, written

from .covered_cluster import (
    NOW,
    PROFILE,
    CoveredCluster,
    ca,
    entry,
    namespace,
    own_pod,
    pod,
    stamp,
    trail,
    workload,
)

Spoil = Callable[[CoveredCluster], object]


def findings(cluster: CoveredCluster) -> list[Finding]:
    return [each for area in diagnosis(cluster.seen()).areas for each in area.findings]


def unready(of: dict[str, Any]) -> None:
    of["status"]["conditions"][0]["status"] = "False"


def removed(items: list[dict[str, Any]], name: str) -> None:
    items[:] = [each for each in items if each["metadata"]["name"] != name]


def outages(cluster: CoveredCluster, *failures: str | None, ago: float = 0) -> None:
    """As the controller keeps them: a look each half a minute, the last one so many days ago."""
    end = NOW - timedelta(days=ago)
    history = History()
    for number, reason in enumerate(failures):
        failure = Failure("no-replica", reason) if reason else None
        history = history.looked(end - timedelta(seconds=30 * (len(failures) - number)), failure)
    cluster.config_maps[0]["data"] = written(history)


def bound(cluster: CoveredCluster, image: str, *pods: dict[str, Any], selects: str = "web") -> None:
    space = namespace("bound")
    space["metadata"]["labels"] = {"spo.x-k8s.io/enable-binding": ""}
    cluster.namespaces.append(space)
    spec = {"image": image, "profileRef": {"kind": "SeccompProfile", "name": "p"}}
    spec["podSelector"] = {"matchLabels": {"app": selects}}
    cluster.bindings.append({"metadata": {"name": "b", "namespace": "bound"}, "spec": spec})
    cluster.pods += pods


def container(name: str = "app", **context: Any) -> dict[str, Any]:
    return {"name": name, "image": "nginx:1.27", "securityContext": context}


def unconfined(cluster: CoveredCluster, *pods: dict[str, Any], allowed: bool = False) -> None:
    """A namespace that asks for the profile that refuses nothing."""
    if allowed:
        cluster.workloads[0] = workload("webhook", "--allow-unconfined", readyReplicas=2)
    cluster.namespaces.append(namespace("legacy", profile="process-audit-only"))
    cluster.pods += pods


def trusts(cluster: CoveredCluster, bundle: str) -> None:
    for each in cluster.configurations[0]["webhooks"]:
        each["clientConfig"]["caBundle"] = bundle


def both(*bundles: str) -> str:
    return base64.b64encode(b"".join(map(base64.b64decode, bundles))).decode()


def unwritten(cluster: CoveredCluster, **entries: str) -> None:
    cluster.config_maps[1]["data"] = entries


SESSION = {
    "uid": "0b5e7c1e",
    "user": "alice",
    "namespace": "shop",
    "pod": "web",
    "verb": "exec",
    "time": stamp(hours=1),
    "cause": "user-limit",
}


def test_a_cluster_that_is_covered_has_no_finding() -> None:
    found = diagnosis(CoveredCluster().seen())

    assert [each.findings for each in found.areas] == [[]] * 8
    assert found.covered
    assert found.not_checked == []


@pytest.mark.parametrize(
    ("spoil", "name", "severity", "words"),
    [
        # the release
        (lambda it: removed(it.workloads, "trail-exectrail-enricher"), "part-missing", "error", "component=enricher"),
        (lambda it: removed(it.workloads, "trail-exectrail-controller"), "part-missing", "error", "=controller"),
        (lambda it: it.workloads[0]["status"].clear(), "part-not-ready", "error", "status.readyReplicas=0"),
        (
            lambda it: it.workloads[0].update(spec={"replicas": 0}, status={}),
            "part-not-ready",
            "error",
            "spec.replicas=0",
        ),
        (lambda it: it.workloads[0]["status"].update(readyReplicas=1), "part-not-ready", "warning", "spec.replicas=2"),
        (lambda it: it.workloads[3]["status"].update(numberReady=1), "part-not-ready", "warning", "numberReady=1"),
        (
            lambda it: it.namespaces[0]["metadata"]["labels"].update(
                {"pod-security.kubernetes.io/enforce": "baseline"}
            ),
            "pod-security",
            "error",
            "namespace audit: metadata.labels[pod-security.kubernetes.io/enforce]=baseline",
        ),
        # nodes
        (lambda it: removed(it.own_pods, "enricher-n2"), "no-agent", "error", "node n2: no pod"),
        (lambda it: unready(it.own_pods[4]), "agent-not-ready", "error", "pod audit/enricher-n2: status.phase=Running"),
        (lambda it: removed(it.trails, "n2"), "no-nodetrail", "error", "node n2: there is no NodeTrail"),
        (
            lambda it: it.trails.__setitem__(0, trail("n1", heartbeat=stamp(minutes=5))),
            "stale-heartbeat",
            "error",
            "status.heartbeat=2026-11-29T11:55:00Z, 5 min ago",
        ),
        (
            lambda it: it.trails.__setitem__(0, trail("n1", sensor="procconn")),
            "no-ebpf",
            "notice",
            "node n1: NodeTrail status.sensor=procconn",
        ),
        (
            lambda it: it.nodes.append({"metadata": {"name": "win", "labels": {"kubernetes.io/os": "windows"}}}),
            "windows",
            "notice",
            "node win",
        ),
        # the webhook
        (lambda it: removed(it.configurations, "exectrail"), "configuration-missing", "error", "instance=trail"),
        (
            lambda it: it.configurations[0]["webhooks"][1]["clientConfig"].update(caBundle=""),
            "ca-bundle",
            "error",
            "webhooks[execmetadata.exectrail.io].clientConfig.caBundle is empty",
        ),
        (
            lambda it: it.configurations[0]["webhooks"][1]["clientConfig"].update(caBundle="bm9uZQ=="),
            "ca-bundle",
            "error",
            "holds no certificate",
        ),
        (
            lambda it: it.configurations[0]["webhooks"][1]["rules"][0].update(resources=["pods/attach"]),
            "configuration-changed",
            "error",
            "execmetadata.exectrail.io has another rules",
        ),
        (
            lambda it: it.configurations[0]["webhooks"][1].update(failurePolicy="Fail"),
            "configuration-changed",
            "error",
            "execmetadata.exectrail.io has another failurePolicy",
        ),
        (lambda it: it.configurations[0]["webhooks"].pop(0), "configuration-changed", "error", "is missing"),
        (lambda it: outages(it, None, "no endpoints"), "not-reached", "error", "reason no-replica: no endpoints"),
        (lambda it: outages(it, None, ago=0.5), "not-watched", "warning", "12 h ago"),
        (lambda it: it.config_maps[0].pop("data"), "not-watched", "warning", "no data.reached"),
        (lambda it: it.config_maps.pop(0), "not-watched", "warning", "namespace audit: no ConfigMap"),
        (lambda it: outages(it, None, "x", None), "past-outages", "notice", "until 2026-11-29T11:59:30Z"),
        (
            lambda it: it.configurations.append(
                {
                    "metadata": {"name": "spo-mutating-webhook-configuration"},
                    "webhooks": [entry("execmetadata.spo.io", "CONNECT", "pods/exec")],
                }
            ),
            "later-webhook",
            "warning",
            "spo-mutating-webhook-configuration: webhooks[execmetadata.spo.io].rules: CONNECT pods/exec",
        ),
        (
            lambda it: it.workloads.__setitem__(0, workload("webhook", readyReplicas=1)),
            "single-replica",
            "warning",
            "spec.replicas=1",
        ),
        # the certificate
        (
            lambda it: it.certificates[0]["status"]["conditions"][0].update(
                status="False", reason="IncorrectIssuer", message="no issuer"
            ),
            "certificate-not-ready",
            "error",
            "Certificate audit/trail-exectrail-webhook: Ready=False, IncorrectIssuer: no issuer",
        ),
        (
            lambda it: it.certificates.clear(),
            "certificate-not-ready",
            "error",
            "no Certificate audit/trail-exectrail-webhook, which cert-manager.io/inject-ca-from names",
        ),
        (lambda it: it.certificates[0]["status"].update(notAfter=stamp(days=1)), "expired", "error", "24 h ago"),
        (lambda it: it.certificates[0]["status"].update(notBefore=stamp(hours=-2)), "not-yet-valid", "error", "in 2 h"),
        (
            lambda it: it.certificates[0]["status"].update(notAfter=stamp(days=-3), renewalTime=""),
            "expires-soon",
            "warning",
            "in 3 d",
        ),
        (
            lambda it: trusts(it, ca(NOW - timedelta(days=9), NOW - timedelta(days=3))),
            "expired",
            "error",
            "MutatingWebhookConfiguration exectrail: the CA in caBundle: not valid after 2026-11-26T12:00:00Z, 3 d ago",
        ),
        (
            lambda it: trusts(it, ca(NOW + timedelta(hours=3))),
            "not-yet-valid",
            "error",
            "not valid before 2026-11-29T15:00:00Z, in 3 h",
        ),
        (
            lambda it: it.certificates[0]["status"].update(renewalTime=stamp(hours=5)),
            "renewal-overdue",
            "warning",
            "5 h ago",
        ),
        # clocks
        (
            lambda it: it.trails[1]["metadata"]["managedFields"][0].update(time=stamp(seconds=40)),
            "clock-apart",
            "warning",
            "which the API server took by 2026-11-29T11:59:20Z: 29 s ahead",
        ),
        (
            lambda it: it.trails[1]["metadata"]["managedFields"][0].update(time=stamp(seconds=-20)),
            "clock-apart",
            "warning",
            "30 s behind",
        ),
        (
            lambda it: (
                it.trails[1]["metadata"].pop("managedFields"),
                it.trails[1]["status"].update(heartbeat=stamp(seconds=-60)),
            ),
            "clock-apart",
            "warning",
            "50 s ahead",
        ),
        # losses
        (
            lambda it: it.trails.__setitem__(0, trail("n1", lost=5, lostByCause={"ring-full": 4, "undecided": 1})),
            "lost",
            "warning",
            "NodeTrail n1: status.lost=5 (ring-full 4, undecided 1), since 2026-11-20T12:00:00Z",
        ),
        (lambda it: it.trails.__setitem__(0, trail("n1", lagMs=9000)), "lag", "warning", "status.lagMs=9000"),
        # requests
        (
            lambda it: unwritten(it, hook=json.dumps({"sessions": [SESSION]})),
            "unwritten-sessions",
            "warning",
            "2026-11-29T11:00:00Z alice exec shop/web, cause user-limit, UID 0b5e7c1e",
        ),
        (lambda it: unwritten(it, hook="{"), "unwritten-sessions", "warning", "data[hook] cannot be read"),
        # pods
        (
            lambda it: it.pods.append(pod("old", "bank")),
            "pods-without-profile",
            "warning",
            "pod bank/old: container app seccompProfile=none; created 2026-11-27T12:00:00Z, after the label",
        ),
        (
            lambda it: (
                it.namespaces.append(namespace("late", stamp(days=1), profile="process-audit")),
                it.pods.append(pod("old", "late")),
            ),
            "pods-without-profile",
            "warning",
            "created 2026-11-27T12:00:00Z, before the label of 2026-11-28T12:00:00Z",
        ),
        (
            lambda it: it.pods.append(pod("strong", "bank", containers=[container(privileged=True)])),
            "pods-beyond-profile",
            "notice",
            "pod bank/strong: container app is privileged",
        ),
        (
            lambda it: it.pods.append(
                pod("free", "bank", containers=[container(seccompProfile={"type": "Unconfined"})])
            ),
            "pods-beyond-profile",
            "notice",
            "pod bank/free: container app is Unconfined",
        ),
        (
            lambda it: it.pods.append(
                pod("caps", "bank", containers=[container(capabilities={"add": ["SYS_ADMIN", "SYS_TIME"]})])
            ),
            "pods-beyond-profile",
            "notice",
            "pod bank/caps: container app adds SYS_ADMIN, SYS_TIME",
        ),
        (
            lambda it: it.namespaces.append(namespace("typo", profile="proces-audit")),
            "unknown-profile",
            "warning",
            "namespace typo: metadata.labels[exectrail.io/profile]=proces-audit",
        ),
        (
            lambda it: unconfined(it, pod("old", "legacy")),
            "unknown-profile",
            "warning",
            "labels[exectrail.io/profile]=process-audit-only, which takes profiles.allowUnconfined=true",
        ),
        (
            lambda it: unconfined(it, pod("old", "legacy"), allowed=True),
            "pods-without-profile",
            "warning",
            "pod legacy/old: container app seccompProfile=none",
        ),
        (
            lambda it: it.trails.__setitem__(
                0,
                trail(
                    "n1",
                    uncovered=[{"pod": "shop/vm", "reason": "sandboxed", "runtime": "kata"}],
                    uncoveredPods=1,
                ),
            ),
            "pods-uncovered",
            "error",
            "pod shop/vm: NodeTrail n1 status.uncovered reason=sandboxed, kata",
        ),
        (
            lambda it: bound(it, "nginx:1.27", pod("web", "bound")),
            "pods-without-bound-profile",
            "warning",
            "pod bound/web: container app seccompProfile=none",
        ),
        (
            lambda it: bound(it, "nginx:1.27", pod("web", "bound", containers=[container(seccompProfile=PROFILE)])),
            "pods-without-bound-profile",
            "warning",
            "seccompProfile=exectrail/process-audit.json",
        ),
    ],
)
def test_what_is_spoilt_is_found_alone(spoil: Spoil, name: str, severity: str, words: str) -> None:
    cluster = CoveredCluster()
    spoil(cluster)

    (found,) = findings(cluster)

    assert (found.name, found.severity) == (name, severity)
    assert words in "\n".join(found.found)
    assert found.meaning
    assert found.remedy


def test_a_webhook_that_issues_short_certificates_itself_is_not_late_with_each() -> None:
    cluster = CoveredCluster()
    cluster.workloads[0]["spec"]["template"]["spec"]["containers"][0]["args"].append("--tls-renew-before=8h")
    ends = [("audit/webhook-n1", (NOW + timedelta(hours=20)).timestamp())]
    late = [("audit/webhook-n2", (NOW + timedelta(hours=6)).timestamp())]

    seen = msgspec.structs.replace(cluster.seen(), expiries=Answer(ends + late))

    (found,) = [each for area in diagnosis(seen).areas for each in area.findings]
    assert (found.name, found.found) == (
        "expires-soon",
        ["pod audit/webhook-n2: its certificate: not valid after 2026-11-29T18:00:00Z, in 6 h"],
    )


def test_on_a_node_without_ebpf_only_pods_with_a_profile_are_recorded() -> None:
    cluster = CoveredCluster()
    cluster.trails[0] = trail("n1", sensor="proc")

    not_recorded, weak = findings(cluster)

    assert (not_recorded.name, weak.name) == ("pods-not-recorded", "weak-sensor")
    assert not_recorded.found == ["pod shop/web: NodeTrail n1 status.sensor=proc; container app seccompProfile=none"]


def static(name: str, namespace: str) -> dict[str, Any]:
    """One that the kubelet runs from a file: the webhook cannot change it."""
    made = pod(name, namespace)
    made["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "4f6c"}
    return made


def test_on_a_node_without_ebpf_static_pods_are_not_recorded_either() -> None:
    cluster = CoveredCluster()
    cluster.trails[0] = trail("n1", sensor="proc")
    cluster.pods = [static("etcd-n1", "bank")]

    not_recorded, _ = findings(cluster)

    assert (not_recorded.name, not_recorded.severity) == ("pods-not-recorded", "error")
    assert not_recorded.found == [
        "pod bank/etcd-n1: NodeTrail n1 status.sensor=proc; container app seccompProfile=none"
    ]
    assert "A static pod has only the profile of its manifest" in not_recorded.remedy


def test_where_the_webhook_was_not_seen_it_may_know_each_profile() -> None:
    cluster = CoveredCluster()
    unconfined(cluster, pod("old", "legacy"))
    seen = msgspec.structs.replace(cluster.seen(), workloads=Answer(problem=NotChecked("all", "forbidden")))

    (found,) = [each for area in diagnosis(seen).areas for each in area.findings]

    assert found.name == "pods-without-profile"


def test_what_is_not_known_is_not_taken_for_missing() -> None:
    cluster = CoveredCluster()
    seen = cluster.seen()
    unknown: Answer[Any] = Answer(problem=NotChecked("all", "forbidden"))
    nothing = {name: unknown for name in seen.__struct_fields__ if isinstance(getattr(seen, name), Answer)}

    found = diagnosis(msgspec.structs.replace(seen, **nothing))

    assert [each for area in found.areas for each in area.findings] == []
    assert found.not_checked == [NotChecked("all", "forbidden")]


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.pods.append(
            pod("own", "bank", containers=[container(seccompProfile={**PROFILE, "localhostProfile": "x.json"})])
        ),
        lambda it: it.certificates[0]["status"].update(notAfter=stamp(hours=-20), renewalTime=stamp(hours=-4)),
        lambda it: (it.certificates.clear(), it.configurations[0]["metadata"]["annotations"].clear()),
        lambda it: it.certificates[0]["status"].update(renewalTime="9999-12-31T23:59:59Z"),
        lambda it: trusts(it, both(ca(end=NOW - timedelta(days=3)), ca())),
        lambda it: it.configurations.append(
            {"metadata": {"name": "beside", "labels": {"app.kubernetes.io/instance": "trail"}}, "webhooks": []}
        ),
        lambda it: it.pods.append(pod("w", "bank", os={"name": "windows"})),
        lambda it: it.pods.append(static("etcd-n1", "bank")),
        lambda it: bound(it, "nginx:1.27", static("etcd-n1", "bound")),
        lambda it: it.pods.append(pod("waits", "bank", node="")),
        lambda it: (
            it.namespaces.append(namespace("left-out", profile="process-audit")),
            it.pods.append(pod("a", "left-out")),
        ),
        lambda it: bound(it, "redis", pod("web", "bound")),
        lambda it: bound(it, "nginx:1.27", pod("web", "bound"), selects="db"),
        lambda it: bound(
            it, "*", pod("web", "bound", containers=[container(seccompProfile={"type": "RuntimeDefault"})])
        ),
        lambda it: bound(
            it,
            "*",
            pod(
                "web",
                "bound",
                containers=[container(seccompProfile={**PROFILE, "localhostProfile": "operator/p.json"})],
            ),
        ),
        lambda it: it.config_maps[0]["data"].update(outages="{\n"),
        lambda it: it.configurations.append(
            {"metadata": {"name": "zzz"}, "webhooks": [entry("a", "CREATE", "pods"), entry("b", "*", "*")]}
        ),
        lambda it: it.own_pods.append(own_pod("enricher", "gone")),
        lambda it: it.trails.append(trail("gone", heartbeat=stamp(days=3), lost=7, lagMs=9000)),
    ],
)
def test_what_is_as_it_should_be_is_no_finding(change: Spoil) -> None:
    cluster = CoveredCluster()
    change(cluster)

    assert findings(cluster) == []
