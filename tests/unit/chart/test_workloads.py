"""How each part is run: arguments, folders, probes."""

import json

import pytest

from profiles.controller.spod_status import FIELDS
from tests.unit.chart.rendered import Document, HelmTemplate, container, mounts, only, pod_spec, pod_template

PARTS = [
    ("webhook", "webhook", "webhook"),
    ("controller", "controller", "profiles.controller"),
    ("enricher", "enricher", "enricher"),
    ("node", "installer", "profiles.installer"),
]


@pytest.mark.parametrize(("component", "name", "module"), PARTS)
def test_a_part_is_a_module_of_the_one_image(
    helm_template: HelmTemplate, component: str, name: str, module: str
) -> None:
    part = container(pod_spec(helm_template(), component), name)
    assert part["command"] == ["python", "-m", module]
    assert part["image"] == "ghcr.io/exectrail/exectrail:0.1.0"


@pytest.mark.parametrize(("component", "name", "module"), PARTS)
def test_extra_arguments_come_last(helm_template: HelmTemplate, component: str, name: str, module: str) -> None:
    part = container(pod_spec(helm_template({component: {"extraArgs": ["--more=1"]}}), component), name)
    assert part["args"][-1] == "--more=1"
    assert len(part["args"]) > 1


@pytest.mark.parametrize(("component", "name", "module"), PARTS)
def test_the_log_level_reaches_a_part(helm_template: HelmTemplate, component: str, name: str, module: str) -> None:
    part = container(pod_spec(helm_template({"logLevel": "debug"}), component), name)
    assert "--log-level=debug" in part["args"]


def test_a_digest_pins_the_image(helm_template: HelmTemplate) -> None:
    digest = "sha256:" + "0" * 64
    values = {"image": {"repository": "registry.example/exectrail", "tag": "2", "digest": digest}}
    spec = pod_spec(helm_template(values), "webhook")
    assert container(spec, "webhook")["image"] == f"registry.example/exectrail:2@{digest}"


def test_where_pods_run_follows_the_values(helm_template: HelmTemplate) -> None:
    placement: Document = {
        "nodeSelector": {"kubernetes.io/os": "linux", "disk": "ssd"},
        "tolerations": [{"key": "k", "operator": "Exists"}],
        "affinity": {"nodeAffinity": {}},
        "priorityClassName": "high",
    }
    for component in ("webhook", "controller", "enricher", "node"):
        spec = pod_spec(helm_template({component: placement, "imagePullSecrets": [{"name": "s"}]}), component)
        assert placement.items() <= spec.items()
        assert spec["imagePullSecrets"] == [{"name": "s"}]


def test_the_controller_knows_what_spod_is_compared_with(helm_template: HelmTemplate) -> None:
    values = {"webhook": {"failurePolicy": "Fail"}, "logs": {"auditLogMaxSize": 5, "file": {"path": "/logs"}}}
    spec = pod_spec(helm_template(values), "controller")
    (used,) = (
        json.loads(each.partition("=")[2])
        for each in container(spec, "controller")["args"]
        if each.startswith("--release-values=")
    )
    assert (used["webhook.failurePolicy"], used["logs.auditLogMaxSize"]) == ("Fail", 5)
    assert (used["logs.mode"], used["logs.file.path"], used["logs.pvc.existingClaim"]) == ("file", "/logs", "")
    assert {field.value for field in FIELDS if field.value} | {"logs.auditLogPath"} <= used.keys()


def test_retention_reaches_the_controller(helm_template: HelmTemplate) -> None:
    # Large numbers come out of a values file as floats: they must not render as 1e+06.
    spec = pod_spec(helm_template({"sessions": {"retention": {"days": 7, "count": 1000000}}}), "controller")
    arguments = container(spec, "controller")["args"]
    assert [each for each in arguments if not each.startswith(("--release-values=", "--webhook"))] == [
        "--lease-name=exectrail-controller",
        "--installer-daemonset=exectrail-node",
        "--enricher-daemonset=exectrail-enricher",
        "--settings-configmap=exectrail-spod",
        "--retention-days=7",
        "--retention-count=1000000",
        "--metrics-port=9081",
        "--log-level=info",
    ]


def test_the_enricher_gets_its_arguments(helm_template: HelmTemplate) -> None:
    enricher = {"sensor": "proc", "receiveBuffer": 33554432, "metrics": {"address": "10.0.0.7", "port": 9999}}
    values = {"enricher": enricher, "logs": {"holdMs": 250}}
    assert container(pod_spec(helm_template(values), "enricher"), "enricher")["args"] == [
        "--trail=/trail/trail.jsonl",
        "--audit-log-interval-seconds=0",
        "--audit-log-max-size=100",
        "--audit-log-max-backups=0",
        "--audit-log-max-age=0",
        "--max-total-size=1024",
        "--compress",
        "--fsync=interval",
        "--state-dir=/state",
        "--cgroup-root=/host/cgroup",
        "--sensor=proc",
        "--audit-source=auto",
        "--audit-log=/host/audit/audit.log",
        "--receive-buffer=33554432",
        "--hold-ms=250",
        "--quota=10000",
        "--command-key-secret=exectrail-command-key",
        "--settings-dir=/settings",
        "--metrics-address=10.0.0.7:9999",
        "--look-for-env",
        "--log-level=info",
    ]


@pytest.mark.parametrize(
    ("address", "host"), [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("10.0.0.7", "10.0.0.7")]
)
def test_the_enricher_is_probed_where_it_listens(helm_template: HelmTemplate, address: str, host: str) -> None:
    values = {"enricher": {"metrics": {"address": address, "port": 9999}}}
    enricher = container(pod_spec(helm_template(values), "enricher"), "enricher")
    assert enricher["livenessProbe"]["httpGet"] == {"host": host, "path": "/healthz", "port": "metrics"}
    assert enricher["startupProbe"]["httpGet"] == enricher["livenessProbe"]["httpGet"]
    assert enricher["readinessProbe"]["httpGet"] == {"host": host, "path": "/readyz", "port": "metrics"}
    assert enricher["ports"] == [{"name": "metrics", "containerPort": 9999}]


@pytest.mark.parametrize(
    ("component", "name"), [("webhook", "webhook"), ("controller", "controller"), ("node", "installer")]
)
def test_a_part_with_a_network_of_its_own_is_probed_on_its_metrics_port(
    helm_template: HelmTemplate, component: str, name: str
) -> None:
    part = container(pod_spec(helm_template(), component), name)
    assert part["livenessProbe"]["httpGet"] == {"path": "/healthz", "port": "metrics"}
    assert part["startupProbe"]["httpGet"] == part["livenessProbe"]["httpGet"]
    assert part["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": "metrics"}
    assert "metrics" in {port["name"] for port in part["ports"]}


def test_file_mode_shares_a_folder_of_the_node(helm_template: HelmTemplate) -> None:
    documents = helm_template({"logs": {"file": {"path": "/srv/audit"}}})
    volume = {"name": "trail", "hostPath": {"path": "/srv/audit", "type": "DirectoryOrCreate"}}
    assert mounts(pod_spec(documents, "enricher"), "enricher")["/trail"]["volume"] == volume
    reader = mounts(pod_spec(documents, "node"), "reader")["/trail"]
    assert (reader["volume"], reader["readOnly"]) == (volume, True)
    assert "PersistentVolumeClaim" not in {document["kind"] for document in documents}


@pytest.mark.parametrize("claim", ["", "existing"])
def test_pvc_mode_shares_a_claim_with_a_file_for_each_node(helm_template: HelmTemplate, claim: str) -> None:
    create = {"size": "5Gi", "storageClass": "nfs"}
    documents = helm_template({"logs": {"mode": "pvc", "pvc": {"existingClaim": claim, "create": create}}})
    claims = {d["metadata"]["name"]: d for d in documents if d["kind"] == "PersistentVolumeClaim"}
    name = claim or "exectrail-trail"
    assert set(claims) == ({name} if not claim else set())
    enricher = pod_spec(documents, "enricher")
    assert mounts(enricher, "enricher")["/trail"]["volume"]["persistentVolumeClaim"] == {"claimName": name}
    assert "--trail=/trail/trail-$(NODE_NAME).jsonl" in container(enricher, "enricher")["args"]
    assert "NODE_NAME" in {variable["name"] for variable in container(enricher, "enricher")["env"]}
    reader = mounts(pod_spec(documents, "node"), "reader")["/trail"]
    assert reader["volume"]["persistentVolumeClaim"] == {"claimName": name}
    assert reader["readOnly"] is True


def test_storage_values_reach_the_enricher(helm_template: HelmTemplate) -> None:
    logs = {
        "auditLogIntervalSeconds": 60,
        "auditLogMaxSize": 10,
        "auditLogMaxBackups": 3,
        "auditLogMaxAge": 30,
        "maxTotalSizeMB": 2000000,
        "compress": False,
        "fsync": "always",
    }
    args = container(pod_spec(helm_template({"logs": logs}), "enricher"), "enricher")["args"]
    assert args[1:8] == [
        "--audit-log-interval-seconds=60",
        "--audit-log-max-size=10",
        "--audit-log-max-backups=3",
        "--audit-log-max-age=30",
        "--max-total-size=2000000",
        "--no-compress",
        "--fsync=always",
    ]


@pytest.mark.parametrize(
    ("path", "mode", "folder", "trail"),
    [
        ("", "file", "/var/log/security-profiles-operator", "/trail/trail.jsonl"),
        ("/tmp/logs/audit1.log", "file", "/tmp/logs", "/trail/audit1.log"),
        ("/tmp/logs/audit1.log", "pvc", None, "/trail/audit1-$(NODE_NAME).log"),
        ("/tmp/logs/audit", "pvc", None, "/trail/audit-$(NODE_NAME)"),
    ],
)
def test_the_trails_path_is_that_of_spos_option(
    helm_template: HelmTemplate, path: str, mode: str, folder: str | None, trail: str
) -> None:
    documents = helm_template({"logs": {"mode": mode, "auditLogPath": path}})
    spec = pod_spec(documents, "enricher")
    assert f"--trail={trail}" in container(spec, "enricher")["args"]
    assert pod_template(documents, "node")["metadata"]["annotations"]["exectrail.io/trail"] == trail
    assert mounts(spec, "enricher")["/trail"]["volume"].get("hostPath", {}).get("path") == folder


def test_standard_output_is_not_rotated(helm_template: HelmTemplate) -> None:
    args = container(pod_spec(helm_template({"logs": {"mode": "stdout"}}), "enricher"), "enricher")["args"]
    assert args[:3] == ["--trail=-", "--audit-log-interval-seconds=0", "--state-dir=/state"]


def test_a_created_claim_is_as_asked_and_outlives_the_release(helm_template: HelmTemplate) -> None:
    create = {"size": "5Gi", "storageClass": "nfs", "accessModes": ["ReadWriteOnce"]}
    claim = only(helm_template({"logs": {"mode": "pvc", "pvc": {"create": create}}}), "PersistentVolumeClaim")
    assert claim["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "nfs",
        "resources": {"requests": {"storage": "5Gi"}},
    }


@pytest.mark.parametrize(
    ("values", "mounted"),
    [({}, True), ({"failedExecs": False}, False), ({"capabilities": {"bpf": False}}, False)],
    ids=["default", "no failed execs", "no eBPF"],
)
def test_the_enricher_reads_tracefs_only_for_failed_execs_by_ebpf(
    helm_template: HelmTemplate, values: Document, mounted: bool
) -> None:
    found = mounts(pod_spec(helm_template({"enricher": values}), "enricher"), "enricher").get("/sys/kernel/tracing")
    assert (found is not None) == mounted
    if found:
        assert found["readOnly"]
        assert found["volume"]["hostPath"] == {"path": "/sys/kernel/tracing"}


@pytest.mark.parametrize(
    ("values", "folder", "file"),
    [
        ({}, "/var/log/audit", "audit.log"),
        ({"auditSource": "auditlog"}, "/var/log/audit", "audit.log"),
        ({"auditLog": {"path": "/srv/audit/all.log"}}, "/srv/audit", "all.log"),
        ({"auditLog": {"path": ""}}, None, None),
        ({"auditSource": "none"}, None, None),
    ],
)
def test_auditds_log_is_mounted_read_only_and_only_where_it_can_be_used(
    helm_template: HelmTemplate, values: Document, folder: str | None, file: str | None
) -> None:
    spec = pod_spec(helm_template({"enricher": values}), "enricher")
    found = mounts(spec, "enricher").get("/host/audit")
    flags = [flag for flag in container(spec, "enricher")["args"] if flag.startswith("--audit-log=")]
    assert flags == ([f"--audit-log=/host/audit/{file}"] if file else [])
    assert (found is not None) == (folder is not None)
    if found:
        assert found["readOnly"]
        assert found["volume"]["hostPath"] == {"path": folder, "type": "DirectoryOrCreate"}


def test_stdout_mode_needs_no_trail_folder_and_no_reader(helm_template: HelmTemplate) -> None:
    documents = helm_template({"logs": {"mode": "stdout"}})
    enricher, node = pod_spec(documents, "enricher"), pod_spec(documents, "node")
    assert "--trail=-" in container(enricher, "enricher")["args"]
    expected = {"/state", "/settings", "/host/audit", "/host/cgroup", "/sys/kernel/tracing"}
    assert set(mounts(enricher, "enricher")) == expected
    assert [each["name"] for each in node["containers"]] == ["installer"]
    assert [volume["name"] for volume in node["volumes"]] == ["seccomp", "spo", "settings", "token"]


@pytest.mark.parametrize(
    ("mode", "annotations"),
    [
        ("file", {"exectrail.io/logs-mode": "file", "exectrail.io/trail": "/trail/trail.jsonl"}),
        ("pvc", {"exectrail.io/logs-mode": "pvc", "exectrail.io/trail": "/trail/trail-$(NODE_NAME).jsonl"}),
        ("stdout", {"exectrail.io/logs-mode": "stdout"}),
    ],
)
def test_the_pods_tell_the_command_where_the_trail_is(
    helm_template: HelmTemplate, mode: str, annotations: dict[str, str]
) -> None:
    documents = helm_template({"logs": {"mode": mode}})
    assert pod_template(documents, "node")["metadata"]["annotations"] == annotations
    assert pod_template(documents, "enricher")["metadata"]["annotations"] == {"exectrail.io/logs-mode": mode}


@pytest.mark.parametrize("mode", ["file", "pvc", "stdout"])
def test_what_seals_the_trail_is_never_in_the_trails_folder(helm_template: HelmTemplate, mode: str) -> None:
    documents = helm_template({"logs": {"mode": mode}})
    state = mounts(pod_spec(documents, "enricher"), "enricher")["/state"]["volume"]
    assert state["hostPath"] == {"path": "/var/lib/exectrail", "type": "DirectoryOrCreate"}
    assert "/var/lib/exectrail" not in str(pod_spec(documents, "node"))


def test_the_readers_group_is_the_one_that_the_trail_lets_in(helm_template: HelmTemplate) -> None:
    documents = helm_template()
    assert pod_spec(documents, "enricher")["securityContext"]["runAsGroup"] == 65532
    node = pod_spec(documents, "node")
    reader = {**node["securityContext"], **container(node, "reader")["securityContext"]}
    assert (reader["runAsUser"], reader["runAsGroup"]) == (65532, 65532)


def test_the_installer_writes_into_the_kubelets_folder(helm_template: HelmTemplate) -> None:
    spec = pod_spec(helm_template({"node": {"kubeletDir": "/data/kubelet"}}), "node")
    seccomp = mounts(spec, "installer")["/host/seccomp"]
    assert seccomp["volume"]["hostPath"] == {"path": "/data/kubelet/seccomp", "type": "DirectoryOrCreate"}
    spo = mounts(spec, "installer")["/host/spo"]
    path = "/var/lib/security-profiles-operator"
    assert spo["volume"]["hostPath"] == {"path": path, "type": "DirectoryOrCreate"}
    assert container(spec, "installer")["args"] == [
        "--seccomp-dir=/host/seccomp",
        "--spo-dir=/host/spo",
        "--settings-dir=/settings",
        "--metrics-port=9082",
        "--log-level=info",
    ]
    assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(spec)


def test_the_installer_knows_its_node(helm_template: HelmTemplate) -> None:
    (variable,) = container(pod_spec(helm_template(), "node"), "installer")["env"]
    assert variable == {"name": "NODE_NAME", "valueFrom": {"fieldRef": {"fieldPath": "spec.nodeName"}}}


def test_what_profiles_may_allow_reaches_the_installer(helm_template: HelmTemplate) -> None:
    values = {"allowedSyscalls": ["read", "write"], "allowedSeccompActions": ["SCMP_ACT_ALLOW", "SCMP_ACT_LOG"]}
    args = container(pod_spec(helm_template({"node": values}), "node"), "installer")["args"]
    assert args[2:4] == ["--allowed-syscalls=read,write", "--allowed-actions=SCMP_ACT_ALLOW,SCMP_ACT_LOG"]


def test_the_node_pod_reaches_the_api_server_and_nothing_else(helm_template: HelmTemplate) -> None:
    documents = helm_template({"networkPolicy": {"enabled": True, "apiServerPorts": [443, 16443]}})
    (policy,) = (d for d in documents if d["kind"] == "NetworkPolicy" and d["metadata"]["name"] == "exectrail-node")
    assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]
    assert policy["spec"]["ingress"] == [{"ports": [{"port": "metrics"}]}]
    assert policy["spec"]["egress"] == [{"ports": [{"port": 443}, {"port": 16443}]}]


def test_network_policies_are_the_users_choice(helm_template: HelmTemplate) -> None:
    def policies(values: Document) -> set[str]:
        return {d["metadata"]["name"] for d in helm_template(values) if d["kind"] == "NetworkPolicy"}

    assert policies({}) == set()
    assert policies({"networkPolicy": {"enabled": True}}) == {
        "exectrail-webhook",
        "exectrail-controller",
        "exectrail-node",
    }


def test_filters_reach_the_enricher_as_a_folder_that_follows_changes(helm_template: HelmTemplate) -> None:
    rules = [{"level": "None", "matchKeys": ["kind"], "matchValues": ["clone"]}]
    rendered = helm_template({"enricher": {"filters": rules}})

    (config,) = [each for each in rendered if each["metadata"]["name"] == "exectrail-filters"]
    enricher = container(pod_spec(rendered, "enricher"), "enricher")
    (mount,) = [each for each in enricher["volumeMounts"] if each["name"] == "filters"]
    assert json.loads(config["data"]["filters.json"]) == rules
    assert "--filters=/etc/exectrail/filters.json" in enricher["args"]
    assert "subPath" not in mount


def test_each_rate_of_sessions_is_the_values(helm_template: HelmTemplate) -> None:
    rates = {"user": {"perSecond": 0.5}, "namespace": {"burst": 7}, "total": {"perSecond": 1000, "burst": 1000000}}
    arguments = container(pod_spec(helm_template({"sessions": {"rates": rates}}), "webhook"), "webhook")["args"]
    assert {"--user-limit=0.5:600", "--namespace-limit=30:7", "--total-limit=1000:1000000"} <= set(arguments)


def test_an_upgrade_leaves_the_list_of_unwritten_sessions_alone(helm_template: HelmTemplate) -> None:
    config = only(helm_template(), "ConfigMap", "webhook")
    arguments = container(pod_spec(helm_template(), "webhook"), "webhook")["args"]
    assert f"--unwritten-configmap={config['metadata']['name']}" in arguments
    assert not {"data", "binaryData", "immutable"} & config.keys()


@pytest.mark.parametrize(("component", "name"), [("enricher", "enricher"), ("node", "installer")])
def test_what_spod_asks_for_reaches_the_nodes_as_a_folder_that_follows_changes(
    helm_template: HelmTemplate, component: str, name: str
) -> None:
    rendered = helm_template(release="prod")
    mount = mounts(pod_spec(rendered, component), name)["/settings"]
    assert (mount["readOnly"], "subPath" in mount) == (True, False)
    assert mount["volume"]["configMap"] == {"name": "prod-exectrail-spod", "optional": True}
    assert "--settings-dir=/settings" in container(pod_spec(rendered, component), name)["args"]
    assert (
        "--settings-configmap=prod-exectrail-spod" in container(pod_spec(rendered, "controller"), "controller")["args"]
    )


def test_users_in_the_reader_do_not_see_what_spod_asks_for(helm_template: HelmTemplate) -> None:
    assert set(mounts(pod_spec(helm_template(), "node"), "reader")) == {"/trail"}


@pytest.mark.parametrize("name", ["exectrail-spod", "security-profiles-operator-profile"])
def test_an_upgrade_leaves_what_the_controller_or_a_user_wrote(helm_template: HelmTemplate, name: str) -> None:
    (config,) = [each for each in helm_template() if each["metadata"]["name"] == name]
    assert config["kind"] == "ConfigMap"
    assert config.keys() == {"apiVersion", "kind", "metadata"}
