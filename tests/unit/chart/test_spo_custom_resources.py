"""The Security Profiles Operator's kinds, as this chart defines them: what its users write is accepted, and kept."""

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import yaml

from exectrail.contracts import spo
from tests.unit.chart.rendered import Document, HelmTemplate

KINDS = {
    "SeccompProfile": (spo.SECCOMP_PROFILES, "Cluster", ["sp"], ["v1", "v1beta1"]),
    "ProfileBinding": (spo.PROFILE_BINDINGS, "Namespaced", [], ["v1", "v1alpha1"]),
    "SecurityProfileNodeStatus": (spo.NODE_STATUSES, "Cluster", ["spns"], ["v1", "v1alpha1"]),
    "SecurityProfilesOperatorDaemon": (spo.DAEMONS, "Namespaced", ["spod"], ["v1", "v1alpha1"]),
}
COLUMNS = {
    "SeccompProfile": {
        "Status": ".status.status",
        "Age": ".metadata.creationTimestamp",
        "LocalhostProfile": ".status.localhostProfile",
    },
    "ProfileBinding": {},
    "SecurityProfileNodeStatus": {
        "Status": ".status.status",
        "Age": ".metadata.creationTimestamp",
        "Node": ".spec.nodeName",
    },
    "SecurityProfilesOperatorDaemon": {"State": ".status.state"},
}

# What users have in their repositories, in every form that their operator took.
ACCEPTED = """
kind: SeccompProfile
spec: {defaultAction: SCMP_ACT_LOG}
---
kind: SeccompProfile
spec: {defaultAction: SCMP_ACT_ERRNO, disabled: true}
---
kind: SeccompProfile
spec:
  state: Disabled
  defaultAction: SCMP_ACT_ERRNO
  baseProfileName: runc-v1.3.0
  architectures: [SCMP_ARCH_X86_64, SCMP_ARCH_AARCH64]
  flags: [SECCOMP_FILTER_FLAG_LOG]
  listenerPath: /var/run/security-profiles-operator/agent.sock
  listenerMetadata: for the agent
  syscalls:
    - {action: SCMP_ACT_ALLOW, names: [read, write, no_such_syscall]}
    - {action: SCMP_ACT_LOG, names: [execve, clone, getpid]}
    - action: SCMP_ACT_ERRNO
      names: [socket]
      errnoRet: 22
      args:
        - {index: 0, value: 40, op: SCMP_CMP_EQ}
        - {index: 1, value: 4026531840, valueTwo: 16, op: SCMP_CMP_MASKED_EQ}
---
kind: SeccompProfile
spec: {defaultAction: SCMP_ACT_ALLOW, baseProfileName: "oci://registry.example/profiles/runc:v1"}
---
kind: ProfileBinding
spec: {profileRef: {kind: SeccompProfile, name: audit}, image: "*"}
---
kind: ProfileBinding
spec:
  profileRef: {kind: SeccompProfile, name: audit}
  image: registry.example/shop/cart@sha256:2fdb
  podSelector:
    matchLabels: {app: cart}
    matchExpressions: [{key: tier, operator: In, values: [web, api]}]
---
kind: SecurityProfileNodeStatus
spec: {nodeName: node1}
status: {status: Installed}
---
kind: SecurityProfilesOperatorDaemon
spec:
  enableJsonEnricher: true
  jsonEnricherOptions: {auditLogIntervalSeconds: 10, auditLogPath: /data/logs/x.log, auditLogMaxSize: 5}
  jsonEnricherFilters: "[]"
  allowedSyscalls: [read]
  tolerations: [{key: dedicated, operator: Exists}]
  webhookOptions: [{name: binding.spo.io, failurePolicy: Ignore}]
  logEnricherSource: auditd
---
kind: SecurityProfilesOperatorDaemon
spec:
  verbosity: 1
  enricher:
    enableJsonEnricher: true
    logEnricherSource: Auditd
    jsonEnricherOptions: {auditLogMaxBackups: 0, auditLogMaxAge: 0}
  security: {allowedSyscalls: [read], allowedSeccompActions: [SCMP_ACT_ALLOW]}
  webhook:
    staticConfig: false
    options: [{name: execmetadata.spo.io, namespaceSelector: {matchLabels: {audit: "yes"}}}]
  scheduling: {tolerations: [{operator: Exists}], affinity: {nodeAffinity: {}}}
  selinux: {enable: false, options: {allowedSystemProfiles: [container]}}
"""

# Kind, path to the bad field, and its value.
REFUSED: list[tuple[str, Document]] = [
    ("SeccompProfile", {}),
    ("SeccompProfile", {"defaultAction": "ALLOW"}),
    ("SeccompProfile", {"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": [], "action": "SCMP_ACT_LOG"}]}),
    ("SeccompProfile", {"defaultAction": "SCMP_ACT_LOG", "syscalls": [{"names": ["read"], "action": "LOG"}]}),
    ("SeccompProfile", {"defaultAction": "SCMP_ACT_LOG", "architectures": ["x86_64"]}),
    ("SeccompProfile", {"defaultAction": "SCMP_ACT_LOG", "flags": ["LOG"]}),
    ("SeccompProfile", {"defaultAction": "SCMP_ACT_LOG", "listenerPath": "/run/agent.sock"}),
    ("ProfileBinding", {"profileRef": {"kind": "SeccompProfile", "name": ""}, "image": "*"}),
    ("ProfileBinding", {"profileRef": {"kind": "SeccompProfile", "name": "a"}, "image": ""}),
    ("ProfileBinding", {"profileRef": {"kind": "ConfigMap", "name": "a"}, "image": "*"}),
    ("SecurityProfileNodeStatus", {}),
    ("SecurityProfilesOperatorDaemon", {"jsonEnricherOptions": {"auditLogIntervalSeconds": 0}}),
    ("SecurityProfilesOperatorDaemon", {"enricher": {"jsonEnricherOptions": {"auditLogMaxSize": 0}}}),
    ("SecurityProfilesOperatorDaemon", {"hostProcVolumePath": "/host"}),
]


@pytest.fixture(scope="module")
def definitions(helm_template: HelmTemplate) -> dict[str, Document]:
    """The definitions' specs by kind."""
    found = [d["spec"] for d in helm_template() if d["kind"] == "CustomResourceDefinition"]
    return {spec["names"]["kind"]: spec for spec in found if spec["group"] == spo.GROUP}


def schemas(definition: Document) -> list[Document]:
    return [version["schema"]["openAPIV3Schema"] for version in definition["versions"]]


def nodes(schema: Document, path: str = "") -> Iterator[tuple[str, Document]]:
    """A schema and all schemas in it, by path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from nodes(schema[keyword], f"{path}[]")


def pruned(value: Any, schema: Document) -> Any:
    """What the API server keeps of a value: what the schema names."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        return value
    if isinstance(value, dict) and "properties" in schema:
        return {
            name: pruned(each, schema["properties"][name])
            for name, each in value.items()
            if name in schema["properties"]
        }
    if isinstance(value, list):
        return [pruned(each, schema["items"]) for each in value]
    return value


def test_the_kinds_are_those_of_the_operator(definitions: dict[str, Document]) -> None:
    found = {
        kind: (
            spec["names"]["plural"],
            spec["scope"],
            spec["names"].get("shortNames", []),
            [each["name"] for each in spec["versions"]],
        )
        for kind, spec in definitions.items()
    }
    assert found == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_v1_is_stored_and_every_version_has_the_same_fields(definitions: dict[str, Document], kind: str) -> None:
    """Else the API server, which converts by the version's name alone, would prune what only one of them knows."""
    versions = definitions[kind]["versions"]
    assert [each["name"] for each in versions if each["storage"]] == ["v1"]
    assert all(each["served"] and each["subresources"] == {"status": {}} for each in versions)
    assert definitions[kind]["conversion"] == {"strategy": "None"}
    first, second = schemas(definitions[kind])
    assert first == second


@pytest.mark.parametrize("kind", KINDS)
def test_kubectl_shows_the_operators_columns(definitions: dict[str, Document], kind: str) -> None:
    for version in definitions[kind]["versions"]:
        shown = {each["name"]: each["jsonPath"] for each in version.get("additionalPrinterColumns", [])}
        assert shown == COLUMNS[kind]


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_structural(definitions: dict[str, Document], kind: str) -> None:
    for path, schema in nodes(schemas(definitions[kind])[0]):
        assert schema["type"] in {"object", "array", "string", "integer", "boolean"}, path
        assert ("items" in schema) == (schema["type"] == "array"), path
        assert set(schema.get("required", [])) <= set(schema.get("properties", {})), path
        if schema["type"] == "object" and path not in {".metadata", ""}:
            assert {"properties", "additionalProperties", "x-kubernetes-preserve-unknown-fields"} & set(schema), path


@pytest.mark.parametrize("manifest", list(yaml.safe_load_all(ACCEPTED)), ids=lambda each: json.dumps(each)[:70])
def test_manifests_of_the_operators_users_are_accepted_and_kept_whole(
    definitions: dict[str, Document], manifest: Document
) -> None:
    for schema in schemas(definitions[manifest["kind"]]):
        jsonschema.Draft4Validator(schema).validate(manifest)
        assert pruned(manifest, schema) == manifest


@pytest.mark.parametrize(("kind", "spec"), REFUSED, ids=lambda each: json.dumps(each)[:70])
def test_what_the_operator_refuses_is_refused(definitions: dict[str, Document], kind: str, spec: Document) -> None:
    for schema in schemas(definitions[kind]):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.Draft4Validator(schema).validate({"kind": kind, "spec": spec})


def test_the_flat_form_of_the_daemon_has_no_defaults_that_could_hide_the_nested_one(
    definitions: dict[str, Document],
) -> None:
    spec = schemas(definitions["SecurityProfilesOperatorDaemon"])[0]["properties"]["spec"]["properties"]
    nested = {name for group in ("enricher", "webhook", "scheduling", "security") for name in spec[group]["properties"]}
    flat = {name: schema for name, schema in spec.items() if name in nested | {"staticWebhookConfig", "webhookOptions"}}
    assert flat.keys() >= {"enableJsonEnricher", "jsonEnricherOptions", "allowedSyscalls", "tolerations"}
    assert not [path for name, schema in flat.items() for path, each in nodes(schema, name) if "default" in each]


@pytest.mark.parametrize("crds", [{"spo": {"enabled": False}}, {"enabled": False}])
def test_the_kinds_can_be_left_to_others(helm_template: HelmTemplate, crds: Document) -> None:
    groups = {d["spec"]["group"] for d in helm_template({"crds": crds}) if d["kind"] == "CustomResourceDefinition"}
    assert spo.GROUP not in groups
