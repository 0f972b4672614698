"""What the API server sends to the webhook, and how they trust each other."""

import itertools
import json

import cel
import msgspec
import pytest

from exectrail.contracts.canary import LABEL
from exectrail.contracts.label_selector import LabelSelector
from exectrail.contracts.webhook_configuration import changes
from tests.unit.chart.pod_security import violations
from tests.unit.chart.rendered import Document, HelmTemplate, container, mounts, only, pod_spec, workloads
from webhook.app import BINDING_PATH, BREAK_GLASS_PATH, CANARY_PATH, EXEC_METADATA_PATH, REQUIRED_PATH


def entries(documents: list[Document]) -> dict[str, Document]:
    return {entry["name"]: entry for entry in only(documents, "MutatingWebhookConfiguration")["webhooks"]}


def requests(entry: Document) -> set[tuple[str, str]]:
    """The (operation, resource) pairs that an entry's rules match."""
    return {
        pair
        for rule in entry["rules"]
        for pair in itertools.product(rule["operations"], rule["resources"])
    }  # fmt: skip


@pytest.mark.parametrize("values", [{}, {"tls": {"issuerRef": {"name": "vault"}}}], ids=["own CA", "other issuer"])
def test_nothing_is_rendered_where_cert_manager_injects(helm_template: HelmTemplate, values: Document) -> None:
    def keys(value: object) -> set[str]:
        if isinstance(value, dict):
            return set(value) | {key for each in value.values() for key in keys(each)}
        return {key for each in value for key in keys(each)} if isinstance(value, list) else set()

    documents = helm_template(values)
    assert not keys(documents) & {"caBundle"}
    assert only(documents, "Secret")["metadata"]["name"] == "exectrail-command-key"


ASKED = {
    ("CONNECT", "pods/exec"),
    ("CONNECT", "pods/attach"),
    ("CONNECT", "pods/portforward"),
    ("UPDATE", "pods/ephemeralcontainers"),
}
NAMESPACES = set(itertools.product(("CREATE", "UPDATE"), ("namespaces", "namespaces/status", "namespaces/finalize")))
"""All that may change a namespace's labels and annotations."""
BINDING = ("/mutate-v1-pod-binding", {("CREATE", "pods"), ("UPDATE", "pods/ephemeralcontainers")})


def test_the_entries_are_the_ones_the_webhook_serves(helm_template: HelmTemplate) -> None:
    served = {
        name: (entry["clientConfig"]["service"]["path"], requests(entry))
        for name, entry in entries(helm_template()).items()
    }
    assert served == {
        "binding.exectrail.io": BINDING,
        "profilebinding.exectrail.io": BINDING,
        "execmetadata.exectrail.io": ("/mutate-v1-exec-metadata", ASKED),
        "execmetadata-own.exectrail.io": ("/mutate-v1-exec-metadata", ASKED),
        "requireaudit.exectrail.io": ("/mutate-v1-exec-metadata-required", ASKED),
        "nodedebug.exectrail.io": ("/mutate-v1-exec-metadata", {("CREATE", "pods")}),
        "canary.exectrail.io": ("/canary", {("CREATE", "leases")}),
        "breakglass.exectrail.io": ("/mutate-v1-break-glass", NAMESPACES),
    }
    paths = {BINDING_PATH, EXEC_METADATA_PATH, REQUIRED_PATH, BREAK_GLASS_PATH, CANARY_PATH}
    assert {path for path, _ in served.values()} == paths


REQUIRED = {"exectrail.io/require-audit": "true"}


@pytest.mark.parametrize(
    ("name", "labels", "entry", "policy"),
    [
        ("shop", {}, "execmetadata", "Ignore"),
        ("shop", {"exectrail.io/require-audit": "false"}, "execmetadata", "Ignore"),
        ("shop", {"exectrail.io/require-audit": ""}, "execmetadata", "Ignore"),
        ("shop", REQUIRED, "requireaudit", "Fail"),
        ("audit", {}, "execmetadata", "Ignore"),
        ("audit", REQUIRED, "execmetadata-own", "Ignore"),
        ("kube-system", {}, "execmetadata", "Ignore"),
        ("kube-system", REQUIRED, "execmetadata-own", "Ignore"),
    ],
)
def test_each_request_matches_one_entry_that_makes_its_session_and_only_a_required_one_fails_closed(
    helm_template: HelmTemplate, name: str, labels: dict[str, str], entry: str, policy: str
) -> None:
    """Two would make two sessions; Fail in the product's own namespace, or in kube-system, could lock both out."""
    found = entries(helm_template({"webhook": {"excludedNamespaces": ["build"]}}, namespace="audit"))
    matching = {
        each: rule["failurePolicy"]
        for each, rule in found.items()
        if requests(rule) & ASKED
        and rule["clientConfig"]["service"]["path"] != BINDING[0]
        and selected(rule, labels | {"kubernetes.io/metadata.name": name})
    }
    assert matching == {f"{entry}.exectrail.io": policy}
    assert not {"objectSelector", "matchConditions"} & found[f"{entry}.exectrail.io"].keys()


def test_entries_that_make_sessions_share_no_request_beyond_those(helm_template: HelmTemplate) -> None:
    making = [each for each in entries(helm_template()).values() if each["reinvocationPolicy"] == "Never"]
    for one, other in itertools.combinations(making, 2):
        assert requests(one) == requests(other) == ASKED or not requests(one) & requests(other)
        assert "*" not in str([one["rules"], other["rules"]])


def annotated(reason: str | None) -> Document | None:
    return (
        {"metadata": {"annotations": {"exectrail.io/break-glass": reason}}} if reason is not None else {"metadata": {}}
    )


@pytest.mark.parametrize(
    ("new", "old", "asked"),
    [
        (annotated("a"), None, True),
        (annotated("a"), annotated(None), True),
        (annotated("b"), annotated("a"), True),
        (annotated(None), annotated("a"), True),
        (annotated(None), None, False),
        (annotated("a"), annotated("a"), False),
        (annotated(None), annotated(None), False),
        ({"metadata": {"annotations": {"team": "b"}}}, {"metadata": {"annotations": {"team": "a"}}}, False),
    ],
)
def test_of_namespaces_only_those_are_asked_about_where_the_glass_is_broken_or_mended(
    helm_template: HelmTemplate, new: Document, old: Document | None, asked: bool
) -> None:
    entry = entries(helm_template())["breakglass.exectrail.io"]
    (condition,) = entry["matchConditions"]
    assert cel.evaluate(condition["expression"], {"object": new, "oldObject": old}) is asked
    assert not {"namespaceSelector", "objectSelector"} & entry.keys()


@pytest.mark.parametrize(
    ("name", "reinvocation", "side_effects", "failure_policy"),
    [
        ("binding.exectrail.io", "IfNeeded", "None", "Ignore"),
        ("profilebinding.exectrail.io", "IfNeeded", "None", "Ignore"),
        ("execmetadata.exectrail.io", "Never", "NoneOnDryRun", "Ignore"),
        ("execmetadata-own.exectrail.io", "Never", "NoneOnDryRun", "Ignore"),
        ("requireaudit.exectrail.io", "Never", "NoneOnDryRun", "Fail"),
        ("nodedebug.exectrail.io", "Never", "NoneOnDryRun", "Ignore"),
        ("breakglass.exectrail.io", "Never", "NoneOnDryRun", "Ignore"),
        ("canary.exectrail.io", "Never", "None", "Fail"),
    ],
)
def test_an_entry_says_what_calling_it_means(
    helm_template: HelmTemplate, name: str, reinvocation: str, side_effects: str, failure_policy: str
) -> None:
    entry = entries(helm_template())[name]
    assert entry["reinvocationPolicy"] == reinvocation
    assert entry["sideEffects"] == side_effects
    assert entry["failurePolicy"] == failure_policy
    assert entry["timeoutSeconds"] == 3
    assert entry["matchPolicy"] == "Equivalent"


@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
def test_failure_policy_and_timeout_follow_the_values(helm_template: HelmTemplate, policy: str) -> None:
    """But for a required record and the canary, which always fail closed, and changes of namespaces, which never do."""
    fixed = {
        "requireaudit.exectrail.io": "Fail",
        "breakglass.exectrail.io": "Ignore",
        "canary.exectrail.io": "Fail",
    }
    for name, entry in entries(helm_template({"webhook": {"failurePolicy": policy, "timeoutSeconds": 5}})).items():
        assert (entry["failurePolicy"], entry["timeoutSeconds"]) == (fixed.get(name, policy), 5)


@pytest.mark.parametrize(("timeout", "seconds"), [(3, "1.5"), (1, "0.5"), (30, "8")])
def test_a_required_record_is_written_in_half_of_the_timeout(
    helm_template: HelmTemplate, timeout: int, seconds: str
) -> None:
    webhook = container(pod_spec(helm_template({"webhook": {"timeoutSeconds": timeout}}), "webhook"), "webhook")
    assert f"--required-seconds={seconds}" in webhook["args"]


def selected(entry: Document, labels: dict[str, str]) -> bool:
    """Whether an entry's selector means a namespace with these labels."""
    spec = msgspec.convert(entry["namespaceSelector"], LabelSelector)
    assert spec.mistake() is None
    return spec.matches(labels)


PROFILE, BINDINGS = {"exectrail.io/profile": "process-audit"}, {"spo.x-k8s.io/enable-binding": ""}


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        ({}, []),
        ({"exectrail.io/record": "true"}, []),
        (PROFILE, ["binding.exectrail.io"]),
        (BINDINGS, ["profilebinding.exectrail.io"]),
        (PROFILE | BINDINGS, ["binding.exectrail.io"]),
    ],
)
def test_a_namespace_with_either_label_is_asked_about_once(
    helm_template: HelmTemplate, labels: dict[str, str], names: list[str]
) -> None:
    binding = [
        name
        for name, entry in entries(helm_template()).items()
        if entry["clientConfig"]["service"]["path"] == BINDING[0]
        and selected(entry, labels | {"kubernetes.io/metadata.name": "shop"})
    ]
    assert binding == names


@pytest.mark.parametrize("excluded", [[], ["build"], ["build", "kube-system", "audit"]])
@pytest.mark.parametrize("mandatory", ["audit", "kube-system"])
def test_excluded_namespaces_never_lose_the_mandatory_ones(
    helm_template: HelmTemplate, excluded: list[str], mandatory: str
) -> None:
    labels = {"kubernetes.io/metadata.name": "shop", "exectrail.io/profile": "none"}
    documents = helm_template(
        {"webhook": {"excludedNamespaces": excluded, "podLabels": labels}, "commonLabels": labels}, namespace="audit"
    )
    for entry, label in (("binding", PROFILE), ("profilebinding", BINDINGS)):
        found = entries(documents)[f"{entry}.exectrail.io"]
        for name in (mandatory, *excluded):
            assert not selected(found, label | {"kubernetes.io/metadata.name": name})
        assert selected(found, label | {"kubernetes.io/metadata.name": "shop"})


def test_consoles_are_asked_about_where_the_values_name_them(helm_template: HelmTemplate) -> None:
    rules = [
        {"apiGroups": [""], "apiVersions": ["v1"], "resources": ["nodes/proxy"]},
        {"apiGroups": ["consoles.example"], "apiVersions": ["*"], "resources": ["machines/console", "machines/vnc"]},
    ]
    entry = entries(helm_template({"webhook": {"consoles": rules}}))["consoles.exectrail.io"]
    assert entry["rules"] == [{**rule, "operations": ["CONNECT"], "scope": "*"} for rule in rules]
    assert entry["clientConfig"]["service"]["path"] == "/mutate-v1-exec-metadata"
    assert (entry["reinvocationPolicy"], entry["sideEffects"]) == ("Never", "NoneOnDryRun")


def test_the_canarys_entry_matches_the_canary_and_nothing_else(helm_template: HelmTemplate) -> None:
    entry = entries(helm_template(namespace="audit"))["canary.exectrail.io"]
    assert entry["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "audit"}}
    assert entry["objectSelector"] == {"matchLabels": {LABEL: "true"}}
    assert entry["clientConfig"]["service"]["path"] == CANARY_PATH


@pytest.mark.parametrize("values", [{}, {"webhook": {"failurePolicy": "Fail", "excludedNamespaces": ["build"]}}])
def test_the_controller_compares_the_cluster_with_the_entries_as_rendered(
    helm_template: HelmTemplate, values: Document
) -> None:
    documents = helm_template(values, release="prod")
    configuration = only(documents, "MutatingWebhookConfiguration")
    args = dict(each.split("=", 1) for each in container(pod_spec(documents, "controller"), "controller")["args"])
    assert args["--webhook-configuration"] == configuration["metadata"]["name"]
    expected = json.loads(args["--webhooks"])
    assert expected == configuration["webhooks"]
    # What the API server adds, and cert-manager.
    for entry in configuration["webhooks"]:
        entry["clientConfig"]["caBundle"] = "b3Vycw=="
        entry.setdefault("objectSelector", {})
        entry.setdefault("namespaceSelector", {})
    assert changes(expected, configuration["webhooks"]) == []


def test_outages_outlive_an_upgrade_because_the_chart_has_no_data_for_them(helm_template: HelmTemplate) -> None:
    documents = helm_template(release="prod")
    (kept,) = [each for each in documents if each["metadata"]["name"] == "prod-exectrail-webhook-outages"]
    assert "data" not in kept
    assert "--webhook-outages=prod-exectrail-webhook-outages" in str(pod_spec(documents, "controller"))


def test_helm_test_asks_once_by_a_restricted_pod(helm_template: HelmTemplate) -> None:
    documents = helm_template(namespace="audit")
    hooks = [each for each in documents if each["metadata"].get("annotations", {}).get("helm.sh/hook") == "test"]
    assert {each["kind"] for each in hooks} == {"Pod", "ServiceAccount", "Role", "RoleBinding"}
    pod = only(hooks, "Pod")["spec"]
    assert violations(pod) == []
    assert container(pod, "canary")["command"] == ["python", "-m", "profiles.controller.canary"]
    assert container(pod, "canary")["args"] == ["--namespace=audit"]
    assert pod["serviceAccountName"] == only(hooks, "ServiceAccount")["metadata"]["name"]
    order = sorted(hooks, key=lambda each: int(each["metadata"]["annotations"]["helm.sh/hook-weight"]))
    assert order[-1]["kind"] == "Pod"


def test_of_new_pods_only_those_that_debug_a_node_are_asked_about_in_every_namespace(
    helm_template: HelmTemplate,
) -> None:
    entry = entries(helm_template({"webhook": {"excludedNamespaces": ["build"]}}))["nodedebug.exectrail.io"]
    assert not {"namespaceSelector", "objectSelector"} & entry.keys()
    assert [condition["name"] for condition in entry["matchConditions"]] == [
        "the-client-chose-the-node",
        "it-debugs-the-node",
    ]


def test_every_part_that_hashes_commands_reads_the_same_secret(helm_template: HelmTemplate) -> None:
    documents = helm_template(release="prod", namespace="audit")
    named = [
        name
        for component in ("webhook", "enricher")
        for rule in only(documents, "Role", component)["rules"]
        if rule["resources"] == ["secrets"]
        for name in rule.get("resourceNames", [])
    ]
    assert named == ["prod-exectrail-command-key"] * 2
    webhook = container(pod_spec(documents, "webhook"), "webhook")
    assert "--command-key-secret=prod-exectrail-command-key" in webhook["args"]


def test_the_secret_of_the_key_is_empty_and_outlives_the_release(helm_template: HelmTemplate) -> None:
    secret = only(helm_template(release="prod", namespace="audit"), "Secret")
    assert (secret["metadata"]["name"], secret["metadata"]["namespace"]) == ("prod-exectrail-command-key", "audit")
    assert secret["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}
    # Whatever Helm does not set is the webhook's, also where the chart is applied by others.
    assert secret.keys() == {"apiVersion", "kind", "metadata", "type"}


@pytest.mark.parametrize(("values", "mode"), [({}, "match"), ({"webhook": {"tagUnknown": "env"}}, "env")])
def test_what_is_done_about_unknown_containers_follows_the_values(
    helm_template: HelmTemplate, values: Document, mode: str
) -> None:
    webhook = container(pod_spec(helm_template(values), "webhook"), "webhook")
    assert f"--tag-unknown={mode}" in webhook["args"]


@pytest.mark.parametrize(
    ("values", "ports"),
    [
        ({}, {"https": 9443, "metrics": 9080}),
        ({"port": 10443, "metricsPort": 50000}, {"https": 10443, "metrics": 50000}),
        ({"hostNetwork": True}, {"https": 9443, "metrics": 9080}),
    ],
)
def test_the_api_server_reaches_the_pods_port(
    helm_template: HelmTemplate, values: Document, ports: dict[str, int]
) -> None:
    documents = helm_template({"webhook": values}, release="prod", namespace="audit")
    service = only(documents, "Service")
    for entry in entries(documents).values():
        reference = entry["clientConfig"]["service"]
        assert (reference["name"], reference["namespace"]) == (service["metadata"]["name"], "audit")
        assert reference["port"] == service["spec"]["ports"][0]["port"] == 443
        assert service["spec"]["ports"][0]["targetPort"] == "https"
    webhook = container(pod_spec(documents, "webhook"), "webhook")
    assert {port["name"]: port["containerPort"] for port in webhook["ports"]} == ports
    assert {f"--port={ports['https']}", f"--metrics-port={ports['metrics']}"} <= set(webhook["args"])


def test_on_the_hosts_network_no_upgrade_waits_for_a_second_replica_on_a_node(helm_template: HelmTemplate) -> None:
    documents = helm_template({"webhook": {"hostNetwork": True}})
    spec = pod_spec(documents, "webhook")
    assert (spec["hostNetwork"], spec["dnsPolicy"]) == (True, "ClusterFirstWithHostNet")
    assert violations(spec) == ["hostNetwork"]
    update = workloads(documents)["webhook"]["spec"]["strategy"]["rollingUpdate"]
    assert update == {"maxUnavailable": 1, "maxSurge": 0}
    assert "hostNetwork" not in pod_spec(helm_template(), "webhook")


def test_the_certificate_names_the_service_and_its_ca_is_injected(helm_template: HelmTemplate) -> None:
    documents = helm_template(release="prod", namespace="audit")
    leaf = next(d for d in documents if d["kind"] == "Certificate" and not d["spec"].get("isCA"))
    service = only(documents, "Service")["metadata"]["name"]
    assert leaf["spec"]["dnsNames"] == [service, f"{service}.audit", f"{service}.audit.svc"]
    assert leaf["spec"]["privateKey"] == {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"}
    configuration = only(documents, "MutatingWebhookConfiguration")
    injected = configuration["metadata"]["annotations"]["cert-manager.io/inject-ca-from"]
    assert injected == f"audit/{leaf['metadata']['name']}"
    assert f"--server-name={service}.audit.svc" in container(pod_spec(documents, "webhook"), "webhook")["args"]
    tls = mounts(pod_spec(documents, "webhook"), "webhook")["/tls"]
    assert tls["volume"]["secret"]["secretName"] == leaf["spec"]["secretName"]


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("ConfigMap", {"configMap": {"name": "callers", "items": [{"key": "root.pem", "path": "ca.crt"}]}}),
        ("Secret", {"secret": {"secretName": "callers", "items": [{"key": "root.pem", "path": "ca.crt"}]}}),
    ],
)
def test_the_callers_ca_comes_from_where_the_values_say(
    helm_template: HelmTemplate, kind: str, source: Document
) -> None:
    values = {"webhook": {"clientCA": {"name": "callers", "kind": kind, "key": "root.pem"}}}
    spec = pod_spec(helm_template(values), "webhook")
    assert "--client-ca=/client-ca/ca.crt" in container(spec, "webhook")["args"]
    assert mounts(spec, "webhook")["/client-ca"]["volume"] == {"name": "client-ca", **source}


def test_without_a_callers_ca_nothing_of_it_is_there(helm_template: HelmTemplate) -> None:
    assert "client-ca" not in str(pod_spec(helm_template(), "webhook"))


def test_the_leaf_hangs_on_a_ca_that_outlives_it(helm_template: HelmTemplate) -> None:
    documents = helm_template()
    issuers = {d["metadata"]["name"]: d["spec"] for d in documents if d["kind"] == "Issuer"}
    certificates = [d["spec"] for d in documents if d["kind"] == "Certificate"]
    ca, leaf = sorted(certificates, key=lambda spec: not spec.get("isCA"))
    assert issuers[leaf["issuerRef"]["name"]] == {"ca": {"secretName": ca["secretName"]}}
    assert issuers[ca["issuerRef"]["name"]] == {"selfSigned": {}}

    def hours(text: str) -> int:
        return int(text.removesuffix("h"))

    assert hours(ca["renewBefore"]) > hours(leaf["duration"])


def test_another_issuer_replaces_the_whole_chain(helm_template: HelmTemplate) -> None:
    documents = helm_template({"tls": {"issuerRef": {"name": "vault", "kind": "ClusterIssuer"}}})
    assert "Issuer" not in {document["kind"] for document in documents}
    issuer = only(documents, "Certificate")["spec"]["issuerRef"]
    assert issuer == {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": "vault"}


def test_a_replica_is_never_missing_by_our_own_doing(helm_template: HelmTemplate) -> None:
    documents = helm_template()
    deployment = only(documents, "Deployment", "webhook")
    assert deployment["spec"]["replicas"] == 2
    assert deployment["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0
    assert only(documents, "PodDisruptionBudget")["spec"]["maxUnavailable"] == 1


def test_a_single_replica_has_no_budget_that_would_block_a_drain(helm_template: HelmTemplate) -> None:
    kinds = {document["kind"] for document in helm_template({"webhook": {"replicas": 1}})}
    assert "PodDisruptionBudget" not in kinds
