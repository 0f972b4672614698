"""Which pods run restricted, and what the two others may do instead."""

import copy
from typing import Any

import pytest

from tests.unit.chart.pod_security import violations
from tests.unit.chart.rendered import HelmTemplate, container, mounts, pod_spec

RESTRICTED: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {"name": "c", "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    ],
}


@pytest.mark.parametrize("component", ["webhook", "controller"])
def test_a_part_without_host_access_meets_pod_security_restricted(helm_template: HelmTemplate, component: str) -> None:
    assert violations(pod_spec(helm_template(), component)) == []


@pytest.mark.parametrize("component", ["webhook", "controller", "enricher", "node"])
def test_every_container_has_a_read_only_root_and_no_way_to_more_privileges(
    helm_template: HelmTemplate, component: str
) -> None:
    spec = pod_spec(helm_template(), component)
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for each in spec["containers"]:
        context = each["securityContext"]
        assert context["readOnlyRootFilesystem"] is True
        assert context["allowPrivilegeEscalation"] is False
        assert context["capabilities"]["drop"] == ["ALL"]
        assert not context.get("privileged")


@pytest.mark.parametrize(
    ("values", "capabilities"),
    [
        ({}, ["AUDIT_READ", "BPF", "PERFMON", "SYS_PTRACE", "DAC_READ_SEARCH"]),
        ({"enricher": {"capabilities": {"bpf": False, "procRoot": False}}}, ["AUDIT_READ"]),
        (
            {"enricher": {"capabilities": {"bpf": False, "procRoot": False, "netAdmin": True}}},
            ["AUDIT_READ", "NET_ADMIN"],
        ),
        (
            {"enricher": {"capabilities": {"bpf": False, "procRoot": False, "auditControl": True}}},
            ["AUDIT_READ", "AUDIT_CONTROL"],
        ),
        (
            {"enricher": {"capabilities": {"auditRead": False, "procRoot": False}}},
            ["BPF", "PERFMON"],
        ),
        (
            {"enricher": {"auditSource": "auditlog", "capabilities": {"procRoot": False}}},
            ["BPF", "PERFMON"],
        ),
    ],
)
def test_the_enricher_has_the_capabilities_that_the_values_say(
    helm_template: HelmTemplate, values: dict[str, Any], capabilities: list[str]
) -> None:
    enricher = container(pod_spec(helm_template(values), "enricher"), "enricher")
    assert enricher["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": capabilities}


def test_the_enricher_breaks_restricted_only_where_the_kernel_asks_for_it(helm_template: HelmTemplate) -> None:
    assert sorted(violations(pod_spec(helm_template(), "enricher"))) == [
        "enricher: capability AUDIT_READ",
        "enricher: capability BPF",
        "enricher: capability DAC_READ_SEARCH",
        "enricher: capability PERFMON",
        "enricher: capability SYS_PTRACE",
        "enricher: livenessProbe with a host",
        "enricher: readinessProbe with a host",
        "enricher: runAsNonRoot is not true",
        "enricher: startupProbe with a host",
        "hostNetwork",
        "hostPID",
        "runAsUser: 0",
        "volume audit: hostPath",
        "volume cgroup: hostPath",
        "volume state: hostPath",
        "volume tracefs: hostPath",
        "volume trail: hostPath",
    ]


def test_the_node_pod_breaks_restricted_only_by_its_folders_and_what_the_installer_needs_for_them(
    helm_template: HelmTemplate,
) -> None:
    assert sorted(violations(pod_spec(helm_template(), "node"))) == [
        "installer: capability DAC_OVERRIDE",
        "installer: runAsNonRoot is not true",
        "installer: runAsNonRoot: false",
        "installer: runAsUser: 0",
        "volume seccomp: hostPath",
        "volume spo: hostPath",
        "volume trail: hostPath",
    ]


def test_only_containers_that_talk_to_the_api_server_have_a_token(helm_template: HelmTemplate) -> None:
    documents = helm_template()
    tokens = {
        component: pod_spec(documents, component)["automountServiceAccountToken"]
        for component in ("webhook", "controller", "enricher", "node")
    }
    assert tokens == {"webhook": True, "controller": True, "enricher": True, "node": False}
    node = pod_spec(documents, "node")
    (volume,) = (volume for volume in node["volumes"] if "projected" in volume)
    assert "serviceAccountToken" in volume["projected"]["sources"][0]
    assert mounts(node, "installer")["/var/run/secrets/kubernetes.io/serviceaccount"]["name"] == volume["name"]
    assert volume["name"] not in {mount["name"] for mount in mounts(node, "reader").values()}
    accounts = [document for document in documents if document["kind"] == "ServiceAccount"]
    assert len(accounts) == 5
    assert not any(account["automountServiceAccountToken"] for account in accounts)


def test_the_checker_admits_a_restricted_pod() -> None:
    assert violations(RESTRICTED) == []


@pytest.mark.parametrize(
    ("path", "value", "violation"),
    [
        (("hostIPC",), True, "hostIPC"),
        (("volumes",), [{"name": "v", "hostPath": {"path": "/"}}], "volume v: hostPath"),
        (("securityContext", "sysctls"), [{"name": "kernel.msgmax", "value": "1"}], "sysctl kernel.msgmax"),
        (("securityContext", "runAsUser"), 0, "runAsUser: 0"),
        (("securityContext", "runAsNonRoot"), None, "c: runAsNonRoot is not true"),
        (("securityContext", "seccompProfile"), {"type": "Unconfined"}, "seccompProfile Unconfined"),
        (("containers", 0, "securityContext", "privileged"), True, "c: privileged"),
        (("containers", 0, "securityContext", "runAsNonRoot"), False, "c: runAsNonRoot: false"),
        (("containers", 0, "securityContext", "procMount"), "Unmasked", "c: procMount Unmasked"),
        (("containers", 0, "securityContext", "capabilities", "add"), ["SYS_ADMIN"], "c: capability SYS_ADMIN"),
        (("containers", 0, "securityContext", "capabilities", "drop"), [], "c: capabilities: ALL not dropped"),
        (
            ("containers", 0, "securityContext", "allowPrivilegeEscalation"),
            True,
            "c: allowPrivilegeEscalation is not false",
        ),
        (("containers", 0, "ports"), [{"hostPort": 80}], "c: hostPort 80"),
        (("containers", 0, "livenessProbe"), {"httpGet": {"host": "10.0.0.1"}}, "c: livenessProbe with a host"),
    ],
)
def test_the_checker_sees_each_violation(path: tuple[str | int, ...], value: object, violation: str) -> None:
    spec = copy.deepcopy(RESTRICTED)
    parent: Any = spec
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    assert violation in violations(spec)
