"""The definitions of AuditSession and NodeTrail agree with the types that the parts exchange."""

from collections.abc import Iterator

import jsonschema
import msgspec
import pytest

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.nodetrail import MOST_ENV, NodeTrail, NodeTrailStatus
from exectrail.contracts.record import Exit
from exectrail.contracts.session import AuditSession, SessionSpec, SessionStatus, Target, User
from tests.unit.chart.rendered import Document, HelmTemplate

SESSION = AuditSession(
    metadata=ObjectMeta(name="0b5c"),
    spec=SessionSpec(
        user=User("alice", uid="7", groups=["dev"], extra={"scopes": ["a"]}),
        verb="exec",
        resource="pods/exec",
        target=Target("shop", "cart", "app", "n1", "cart-"),
        time="2026-01-02T03:04:05.678901Z",
        command=["sh", "-c", "id"],
        command_hash="0" * 32,
        tty=True,
        stdin=True,
        tag="env",
        recorded=True,
        break_glass="etcd is full",
        truncated=["command"],
        request_uid="439b23d5-cd0d-42ac-9058-4211913ea3aa",
    ),
    status=SessionStatus(
        phase="Closed",
        outcome="completed",
        exit=Exit(code=137, signal="SIGKILL"),
        node="n1",
        start_time="2026-01-02T03:04:05.700Z",
        end_time="2026-01-02T03:04:06.700Z",
        duration_ms=1000,
        processes=3,
    ),
)
TRAIL = NodeTrail(
    metadata=ObjectMeta(name="n1"),
    status=NodeTrailStatus(
        audit_source="netlink",
        sensor="bpf",
        weak=["cwd"],
        lost=1,
        seq=9,
        lag_ms=3,
        heartbeat="2026-01-02T03:04:05Z",
        env={"shop/cart/app": True},
    ),
)


@pytest.fixture(scope="module")
def definitions(helm_template: HelmTemplate) -> dict[str, Document]:
    """The definitions' specs by kind."""
    found = [d["spec"] for d in helm_template() if d["kind"] == "CustomResourceDefinition"]
    return {spec["names"]["kind"]: spec for spec in found}


def schema_of(definition: Document) -> Document:
    (version,) = definition["versions"]
    schema: Document = version["schema"]["openAPIV3Schema"]
    return schema


def nodes(schema: Document, path: str = "") -> Iterator[tuple[str, Document]]:
    """A schema and all schemas in it, by path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    for keyword in ("items", "additionalProperties"):
        if isinstance(schema.get(keyword), dict):
            yield from nodes(schema[keyword], f"{path}[]")


def shape(schema: Document, definitions: Document) -> object:
    """What two schema dialects have in common: fields, which of them are required, types and enumerations."""
    schema = definitions[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
    if "anyOf" in schema:  # msgspec's optional fields: absent, never null, in what the parts write
        (schema,) = (each for each in schema["anyOf"] if each != {"type": "null"})
        return shape(schema, definitions)
    if schema.get("type") == "array":
        return [shape(schema["items"], definitions)]
    if isinstance(schema.get("additionalProperties"), dict):
        return {"*": shape(schema["additionalProperties"], definitions)}
    if "properties" in schema:
        required = schema.get("required", [])
        return {
            name + ("!" if name in required else ""): shape(child, definitions)
            for name, child in schema["properties"].items()
        }
    if "enum" in schema:
        return sorted(value for value in schema["enum"] if value is not None)
    return schema["type"]


@pytest.mark.parametrize(
    ("kind", "field", "type_"),
    [
        ("AuditSession", "spec", SessionSpec),
        ("AuditSession", "status", SessionStatus),
        ("NodeTrail", "status", NodeTrailStatus),
    ],
)
def test_a_definition_has_the_fields_of_its_type(
    definitions: dict[str, Document], kind: str, field: str, type_: type
) -> None:
    ours = msgspec.json.schema(type_)
    theirs = schema_of(definitions[kind])["properties"][field]
    assert shape(theirs, {}) == shape(ours, ours["$defs"])


@pytest.mark.parametrize("kind", ["AuditSession", "NodeTrail"])
def test_a_schema_is_structural(definitions: dict[str, Document], kind: str) -> None:
    """The API server prunes what it does not know only where every field has a type.

    Source: https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/
    "Specifying a structural schema".
    """
    for path, schema in nodes(schema_of(definitions[kind])):
        assert schema["type"] in {"object", "array", "string", "integer", "boolean"}, path
        assert not {"$ref", "anyOf", "oneOf", "allOf", "not", "x-kubernetes-preserve-unknown-fields"} & set(schema)
        assert ("items" in schema) == (schema["type"] == "array"), path
        assert not ("properties" in schema and "additionalProperties" in schema), path
        assert set(schema.get("required", [])) <= set(schema.get("properties", {})), path


@pytest.mark.parametrize(("kind", "value"), [("AuditSession", SESSION), ("NodeTrail", TRAIL)])
def test_what_the_parts_write_passes_the_schema(definitions: dict[str, Document], kind: str, value: object) -> None:
    schema = schema_of(definitions[kind])
    written = msgspec.to_builtins(value)
    jsonschema.Draft4Validator(schema).validate(written)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(schema).validate({**written, "status": {"processes": "many", "lost": "many"}})


def test_no_request_that_was_admitted_is_too_large_for_a_session(definitions: dict[str, Document]) -> None:
    spec = schema_of(definitions["AuditSession"])["properties"]["spec"]
    bounded = {
        path for path, schema in nodes(spec) if {"maxLength", "maxItems", "maxProperties", "pattern"} & schema.keys()
    }
    assert bounded == {".resource", ".requestUID"}


def test_a_node_knows_how_many_containers_it_may_report(definitions: dict[str, Document]) -> None:
    env = schema_of(definitions["NodeTrail"])["properties"]["status"]["properties"]["env"]
    assert env["maxProperties"] == MOST_ENV


def test_a_request_cannot_be_rewritten(definitions: dict[str, Document]) -> None:
    spec = schema_of(definitions["AuditSession"])["properties"]["spec"]
    assert [rule["rule"] for rule in spec["x-kubernetes-validations"]] == ["self == oldSelf"]


@pytest.mark.parametrize(
    ("kind", "plural", "scope", "short", "columns"),
    [
        (
            "AuditSession",
            "auditsessions",
            "Namespaced",
            ["asess"],
            ["User", "Verb", "Namespace", "Pod", "Outcome", "Exit", "Age"],
        ),
        (
            "NodeTrail",
            "nodetrails",
            "Cluster",
            [],
            ["Audit source", "Sensor", "Weak", "Lost", "Seq", "Lag", "Heartbeat", "Age"],
        ),
    ],
)
def test_kubectl_shows_what_matters(
    definitions: dict[str, Document], kind: str, plural: str, scope: str, short: list[str], columns: list[str]
) -> None:
    definition = definitions[kind]
    (version,) = definition["versions"]
    assert (definition["group"], version["name"]) == ("exectrail.io", "v1alpha1")
    assert (definition["names"]["plural"], definition["scope"]) == (plural, scope)
    assert definition["names"].get("shortNames", []) == short
    assert version["subresources"] == {"status": {}}
    shown = [column["name"] for column in version["additionalPrinterColumns"] if not column.get("priority")]
    assert shown == columns


@pytest.mark.parametrize("kind", ["AuditSession", "NodeTrail"])
def test_every_column_shows_a_field_that_exists(definitions: dict[str, Document], kind: str) -> None:
    (version,) = definitions[kind]["versions"]
    paths = {path for path, _ in nodes(schema_of(definitions[kind]))} | {".metadata.creationTimestamp"}
    for column in version["additionalPrinterColumns"]:
        assert column["jsonPath"] in paths


@pytest.mark.parametrize(("values", "annotations"), [({}, True), ({"crds": {"keep": False}}, False)])
def test_definitions_stay_when_the_release_goes(
    helm_template: HelmTemplate, values: Document, annotations: bool
) -> None:
    for document in helm_template(values):
        if document["kind"] == "CustomResourceDefinition":
            kept = document["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
            assert kept is annotations


def test_a_second_release_can_leave_the_definitions_to_the_first(helm_template: HelmTemplate) -> None:
    kinds = {document["kind"] for document in helm_template({"crds": {"enabled": False}})}
    assert "CustomResourceDefinition" not in kinds
