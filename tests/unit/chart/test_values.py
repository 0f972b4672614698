"""The values: every key is described, every wrong one refused."""

import itertools
import json
import re
from collections.abc import Iterator

import jsonschema
import pytest
import yaml

from tests.unit.chart.rendered import CHART, Document, HelmTemplate, RunHelm, workloads

LINES = (CHART / "values.yaml").read_text().splitlines()
VALUES: Document = yaml.safe_load("\n".join(LINES))
SCHEMA: Document = json.loads((CHART / "values.schema.json").read_text())

OPEN = {"commonLabels", "match", "nodeSelector", "podAnnotations", "podLabels", "affinity", "requests", "limits"}
"""Objects whose keys are the user's."""
WHOLE = {"resources", "updateStrategy"}
"""Objects that are described as a whole."""


def resolved(schema: Document) -> Document:
    """The schema behind a `$ref`."""
    if "$ref" in schema:
        definition: Document = SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]]
        return definition
    return schema


def fixed(values: Document, schema: Document, path: str = "") -> Iterator[tuple[str, Document, Document]]:
    """Each object of the values whose keys the chart fixes: its path, itself, its schema."""
    yield path, values, schema
    for key, value in values.items():
        if isinstance(value, dict) and key not in OPEN:
            yield from fixed(value, resolved(schema["properties"][key]), f"{path}.{key}".lstrip("."))


def test_the_schema_is_valid() -> None:
    jsonschema.Draft7Validator.check_schema(SCHEMA)


def test_the_schema_knows_the_keys_of_the_values_and_no_others() -> None:
    # Helm adds `global`; for `node`, `maxSurge` is an alternative to the default's `maxUnavailable`.
    alternatives = {"global", "maxSurge"}
    for path, values, schema in fixed(VALUES, SCHEMA):
        assert set(schema["properties"]) - alternatives == set(values), path or "the root"
        assert schema["additionalProperties"] is False, path or "the root"


def described(node: yaml.MappingNode, path: str = "") -> Iterator[tuple[str, bool]]:
    """Each value that a user sets as one: its path, and whether the comment above it is helm-docs'."""
    for key, value in node.value:
        here = f"{path}.{key.value}".lstrip(".")
        if isinstance(value, yaml.MappingNode) and key.value not in OPEN | WHOLE:
            yield from described(value, here)
        else:
            above = list(
                itertools.takewhile(lambda line: line.lstrip().startswith("#"), reversed(LINES[: key.start_mark.line]))
            )
            yield here, any(line.lstrip().startswith("# -- ") for line in above)


def test_every_value_is_described_where_it_stands() -> None:
    root = yaml.compose("\n".join(LINES))
    assert isinstance(root, yaml.MappingNode)
    values = dict(described(root))
    assert values["webhook.failurePolicy"]
    assert [path for path, is_described in values.items() if not is_described] == []


@pytest.mark.parametrize("key", ["path: /var/log/security-profiles-operator", 'auditLogPath: ""'])
def test_what_becomes_of_the_trails_folder_is_said_where_it_is_chosen(key: str) -> None:
    at = [line.strip() for line in LINES].index(key)
    comment = itertools.takewhile(lambda line: line.lstrip().startswith("#"), reversed(LINES[:at]))
    said = " ".join(line.strip("# ") for line in reversed(list(comment)))
    assert [word for word in ("own", "65532", "0750") if not re.search(rf"\b{word}\b", said)] == []


def console(resource: str, group: str = "") -> Document:
    """A rule that `webhook.consoles` may not have: what it matches would have two sessions."""
    return {"apiGroups": [group], "apiVersions": ["v1"], "resources": [resource]}


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"webhok": {}}, "webhok"),
        ({"webhook": {"replica": 3}}, "replica"),
        ({"logs": {"pvc": {"create": {"storageclass": "x"}}}}, "storageclass"),
        ({"enricher": {"capabilities": {"BPF": True}}}, "BPF"),
        ({"node": {"resources": {"limit": {}}}}, "limit"),
        ({"tls": {"issuerRef": {"nmae": "x"}}}, "nmae"),
        ({"tls": {"mode": "existing"}}, "/tls/mode"),
        ({"tls": {"minVersion": "1.1"}}, "/tls/minVersion"),
        ({"tls": {"duration": "90d"}}, "/tls/duration"),
        ({"tls": {"renewBefore": "0h"}}, "/tls/renewBefore"),
        ({"tls": {"ca": {"duration": "8760000h"}}}, "/tls/ca/duration"),
        ({"tls": {"renewBefore": "8760h"}}, "tls.renewBefore is 8760h, and tls.duration 8760h"),
        ({"tls": {"ca": {"duration": "17520h"}}}, "tls.ca.renewBefore is 17520h, and tls.ca.duration 17520h"),
        ({"tls": {"duration": "17521h"}}, "tls.ca.renewBefore is 17520h, and tls.duration 17521h"),
        ({"tls": {"mode": "existingSecret"}}, "tls.existingSecret.name is empty"),
        ({"tls": {"mode": "existingSecret", "existingSecret": {"name": "x"}}}, "tls.existingSecret.caBundle is empty"),
        ({"tls": {"existingSecret": {"name": "x"}}}, 'tls.existingSecret is set, but tls.mode is "cert-manager"'),
        ({"tls": {"existingSecret": {"name": "Not/A Name"}}}, "/tls/existingSecret/name"),
        ({"tls": {"existingSecret": {"caBundle": "AAAA"}}}, "/tls/existingSecret/caBundle"),
        ({"networkPolicy": {"apiServerCIDRs": ["10.0.0.1"]}}, "/networkPolicy/apiServerCIDRs/0"),
        ({"logs": {"mode": "files"}}, "/logs/mode"),
        ({"logLevel": "verbose"}, "/logLevel"),
        ({"webhook": {"replicas": 0}}, "/webhook/replicas"),
        ({"webhook": {"timeoutSeconds": 31}}, "/webhook/timeoutSeconds"),
        ({"webhook": {"port": 443}}, "/webhook/port"),
        ({"webhook": {"consoles": [console("pods/exec")]}}, "/webhook/consoles/0/resources/0"),
        ({"webhook": {"consoles": [console("*/*")]}}, "/webhook/consoles/0/resources/0"),
        ({"webhook": {"consoles": [console("machines/console", "*")]}}, "/webhook/consoles/0/apiGroups/0"),
        ({"webhook": {"port": 9080}}, "webhook.port and webhook.metricsPort are both 9080"),
        ({"webhook": {"tagUnknown": "auto"}}, "/webhook/tagUnknown"),
        ({"enricher": {"metrics": {"address": "localhost"}}}, "/enricher/metrics/address"),
        ({"enricher": {"metrics": {"address": "10.0.0.256"}}}, "/enricher/metrics/address"),
        ({"enricher": {"metrics": {"address": "10.0.0.1."}}}, "/enricher/metrics/address"),
        ({"enricher": {"receiveBuffer": 1 << 31}}, "/enricher/receiveBuffer"),
        ({"sessions": {"retention": {"days": 1_000_000}}}, "/sessions/retention/days"),
        ({"sessions": {"rates": {"user": {"perSecond": 0}}}}, "/sessions/rates/user/perSecond"),
        ({"logs": {"file": {"path": "var/log"}}}, "/logs/file/path"),
        ({"logs": {"auditLogPath": "audit.log"}}, "/logs/auditLogPath"),
        ({"logs": {"auditLogPath": "/audit.log"}}, "/logs/auditLogPath"),
        ({"logs": {"auditLogPath": "/a/b.log", "mode": "stdout"}}, "logs.auditLogPath is set"),
        ({"logs": {"auditLogMaxSize": -1}}, "/logs/auditLogMaxSize"),
        ({"logs": {"pvc": {"create": {"accessModes": ["ReadWriteOncePod"]}}}}, "/logs/pvc/create/accessModes/0"),
        ({"enricher": {"updateStrategy": {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}}}, "maxSurge"),
        ({"logs": {"auditLogMaxBackups": 1.5}}, "/logs/auditLogMaxBackups"),
        ({"logs": {"maxTotalSizeMB": 50}}, "logs.maxTotalSizeMB is 50"),
        ({"logs": {"maxTotalSizeMB": 50, "auditLogMaxSize": 0}}, "logs.maxTotalSizeMB is 50"),
        ({"logs": {"fsync": "sometimes"}}, "/logs/fsync"),
        ({"image": {"digest": "latest"}}, "/image/digest"),
        ({"fullnameOverride": "Not A Name"}, "/fullnameOverride"),
        ({"enricher": {"sensor": "bpf", "capabilities": {"bpf": False}}}, "enricher.capabilities.bpf"),
        ({"enricher": {"sensor": "procconn"}}, "enricher.capabilities.netAdmin"),
        ({"enricher": {"auditSource": "syslog"}}, "/enricher/auditSource"),
        (
            {"enricher": {"auditSource": "netlink", "capabilities": {"auditRead": False}}},
            "enricher.capabilities.auditRead",
        ),
        ({"enricher": {"auditSource": "auditlog", "auditLog": {"path": ""}}}, "enricher.auditLog.path"),
        ({"enricher": {"auditLog": {"path": "audit.log"}}}, "/enricher/auditLog/path"),
    ],
)
def test_helm_refuses_a_wrong_value_and_names_it(run_helm: RunHelm, values: Document, named: str) -> None:
    result = run_helm(values)
    assert result.returncode != 0
    assert named in result.stderr


MAY_BE_EMPTY = {"requests", "limits", "rollingUpdate", "maxUnavailable"}
"""Keys that mean nothing where they are empty: Kubernetes has its own defaults."""


def emptied(values: Document, depth: int, path: str = "") -> tuple[Document, list[tuple[str, str]]]:
    """All keys at a depth without a value, as `key:` alone is in YAML; each with the object that it is in."""
    made: Document = {}
    keys = []
    for key, value in values.items():
        if key in MAY_BE_EMPTY:
            continue
        if depth == 1:
            made[key] = None
            keys.append((path, key))
        elif isinstance(value, dict) and key not in OPEN:
            made[key], below = emptied(value, depth - 1, f"{path}/{key}")
            keys += below
    return made, keys


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
def test_a_key_that_is_left_empty_is_refused_by_its_name(run_helm: RunHelm, depth: int) -> None:
    values, keys = emptied(VALUES, depth)
    result = run_helm(values)
    said = dict(re.findall(r"at '(.*)': missing propert(?:y|ies) (.*)", result.stderr))
    assert keys
    assert result.returncode != 0
    assert [f"{path}/{key}" for path, key in keys if f"'{key}'" not in said.get(path, "")] == []


def test_no_key_is_deeper_than_those() -> None:
    assert emptied(VALUES, 4)[1]
    assert emptied(VALUES, 5)[1] == []


def test_what_kubernetes_has_defaults_for_may_be_left_empty(helm_template: HelmTemplate) -> None:
    parts = ("webhook", "controller", "enricher", "node")
    bare: Document = {part: {"resources": {"requests": None, "limits": None}} for part in parts}
    for part in ("enricher", "node"):
        bare[part]["updateStrategy"] = {"type": "OnDelete", "rollingUpdate": None}
    for part, workload in workloads(helm_template(bare)).items():
        spec = workload["spec"]
        assert [each["resources"] for each in spec["template"]["spec"]["containers"] if each["resources"]] == [], part
        assert spec.get("updateStrategy", {"type": "OnDelete"}) == {"type": "OnDelete"}, part
    quantities: Document = {"requests": {"cpu": None, "memory": None}, "limits": {"memory": None}}
    strategy: Document = {"rollingUpdate": {"maxUnavailable": None}}
    for part in ("enricher", "node"):
        helm_template({part: {"resources": quantities, "updateStrategy": strategy}})


def test_a_part_of_an_object_leaves_the_rest_at_its_defaults(run_helm: RunHelm) -> None:
    values = {
        "webhook": {"replicas": 3},
        "tls": {"ca": {"duration": "87601h"}},
        "enricher": {"nodeSelector": {"a": "b"}},
    }
    assert run_helm(values).returncode == 0


def test_a_node_pod_may_have_its_successor_beside_it(run_helm: RunHelm) -> None:
    surge = {"rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}}
    assert run_helm({"node": {"updateStrategy": surge}}).returncode == 0


def test_a_parent_chart_may_hand_down_its_globals(run_helm: RunHelm) -> None:
    assert run_helm({"global": {"region": "eu"}}).returncode == 0
