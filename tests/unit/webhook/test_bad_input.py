"""Whatever comes to the port: an answer with a reason, or a 4xx that names the field; and patches that fit."""

import copy
import json
from collections.abc import Callable
from typing import Any

import jsonpatch
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY
from starlette.testclient import TestClient

from exectrail.contracts.session import TAG_VARIABLE, AuditSession
from webhook.app import BINDING_PATH, CANARY_PATH, EXEC_METADATA_PATH, Health, Webhook, admission_app
from webhook.reviews.review import MAX_BYTES

Load = Callable[..., dict[str, Any]]
PatchOf = Callable[[dict[str, Any]], list[Any]]

PATHS = [BINDING_PATH, EXEC_METADATA_PATH, CANARY_PATH]
MEBIBYTE = 1 << 20


@pytest.fixture
def client(webhook: Webhook) -> TestClient:
    return TestClient(admission_app(webhook, Health()), raise_server_exceptions=False)


def faults() -> float:
    name = "exectrail_webhook_errors_total"
    return sum(
        REGISTRY.get_sample_value(name, {"webhook": each}) or 0 for each in ("binding", "exec-metadata", "canary")
    )


def encoded(review: dict[str, Any], old: bytes = b"", new: bytes = b"") -> bytes:
    """A review's body, with some of its bytes replaced."""
    body = json.dumps(review).encode()
    assert not old or old in body
    return body.replace(old, new, 1) if old else body


UID = b'"uid": "439b23d5-cd0d-42ac-9058-4211913ea3aa"'
BROKEN: dict[str, tuple[Callable[[dict[str, Any]], bytes], int, str]] = {
    "nothing": (lambda _: b"", 400, "Input data was truncated"),
    "no JSON": (lambda _: b"uid=7", 400, "malformed"),
    "truncated": (lambda review: encoded(review)[:-20], 400, "Input data was truncated"),
    "a list": (lambda _: b"[]", 400, "Expected `object`, got `array`"),
    "null": (lambda _: b"null", 400, "Expected 'admission.k8s.io/v1', got ''"),
    "another kind": (lambda review: encoded({**review, "kind": "Pod"}), 400, "got 'Pod' - at `$.kind`"),
    "another version": (
        lambda review: encoded({**review, "apiVersion": "admission.k8s.io/v1beta1"}),
        400,
        "at `$.apiVersion`",
    ),
    "a response": (
        lambda _: (
            b'{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"x","allowed":true}}'
        ),
        400,
        "at `$.request`",
    ),
    "no request": (lambda review: encoded({**review, "request": None}), 400, "at `$.request`"),
    "no uid": (lambda review: encoded(review, UID, b'"x": 1'), 400, "Expected a UID, got '' - at `$.request.uid`"),
    "a uid with a newline": (
        lambda review: encoded(review, UID, UID[:-1] + b'\\n"'),
        400,
        "Expected a UID, got '439b23d5-cd0d-42ac-9058-4211913ea3aa\\n' - at `$.request.uid`",
    ),
    "deep nesting": (lambda _: b'{"apiVersion":' * 100_000, 400, "nested too deeply"),
    "a deep object": (
        lambda review: encoded(review, b'"object": {', b'"object": {"x": ' + b"[" * 100_000 + b"]" * 100_000 + b", "),
        400,
        "nested too deeply",
    ),
    "no UTF-8": (lambda review: encoded(review, b"alice", b"\xff\xfe"), 400, "at `$"),
    "ten megabytes": (lambda review: encoded(review) + b" " * (10 * MEBIBYTE), 413, f"more than {MAX_BYTES} bytes"),
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", BROKEN)
def test_a_body_that_is_no_review_gets_a_4xx_that_says_what_is_wrong(
    client: TestClient, review: Load, sessions: list[AuditSession], path: str, name: str
) -> None:
    body, status, why = BROKEN[name]
    before = faults()

    reply = client.post(path, content=body(review("exec-sh")))

    assert reply.status_code == status
    assert why in reply.text
    assert reply.text.count("\n") == 1
    assert len(reply.text) < 300
    assert sessions == []
    assert faults() == before


OTHERS = [
    ({"resource": {"group": "", "version": "v1", "resource": "secrets"}}, "UPDATE"),
    ({"resource": {"group": "apps", "version": "v1", "resource": "deployments"}}, "CREATE"),
    ({"resource": {"group": "metrics.k8s.io", "version": "v1", "resource": "pods"}}, "DELETE"),
    ({"resource": None}, "CONNECT"),
    ({"kind": {"group": "", "version": "v1", "kind": "NodeProxyOptions"}}, "CONNECT"),
    ({"subResource": None}, "CONNECT"),
    ({}, "DELETE"),
    ({}, ""),
]


@pytest.mark.parametrize("path", [BINDING_PATH, EXEC_METADATA_PATH])
@pytest.mark.parametrize(("changes", "operation"), OTHERS)
def test_other_requests_pass_unchanged_under_a_name(
    client: TestClient,
    review: Load,
    sessions: list[AuditSession],
    path: str,
    changes: dict[str, Any],
    operation: str,
) -> None:
    webhook = "binding" if path == BINDING_PATH else "exec-metadata"
    body = review("exec-sh", operation=operation, **changes)
    before = unsupported(webhook)

    reply = client.post(path, json=body)

    assert reply.json()["response"] == {"uid": body["request"]["uid"], "allowed": True}
    assert unsupported(webhook) == before + 1
    assert sessions == []


def unsupported(webhook: str) -> float:
    return sum(
        sample.value
        for family in REGISTRY.collect()
        for sample in family.samples
        if sample.name == "exectrail_webhook_requests_total"
        and (sample.labels["webhook"], sample.labels["reason"]) == (webhook, "unsupported")
    )


def test_a_command_of_a_mebibyte_is_tagged_and_stays_whole(
    client: TestClient, review: Load, patch_of: PatchOf, sessions: list[AuditSession]
) -> None:
    command = ["sh", "-c", "x" * (MEBIBYTE - 100)]
    body = review("exec-sh", {"command": command})

    patch = patch_of(client.post(EXEC_METADATA_PATH, json=body).json())

    after = jsonpatch.apply_patch(body["request"]["object"], patch)
    assert after["command"] == ["env", f"{TAG_VARIABLE}={body['request']['uid']}", *command]
    assert len(json.dumps(sessions[0].spec.command)) < 8 << 10


def test_a_pod_of_a_thousand_containers_is_bound_in_each(client: TestClient, review: Load, patch_of: PatchOf) -> None:
    adds = {"capabilities": {"add": ["NET_ADMIN", "SYS_ADMIN"]}}
    containers = [{"name": f"c{n}", "image": "x"} | ({"securityContext": adds} if n == 0 else {}) for n in range(1000)]
    body = review("pod-create")
    body["request"]["object"]["spec"] = {"containers": containers}

    patch = patch_of(client.post(BINDING_PATH, json=body).json())

    after = jsonpatch.apply_patch(body["request"]["object"], patch)["spec"]["containers"]
    profiles = [each.get("securityContext", {}).get("seccompProfile", {}).get("localhostProfile") for each in after]
    assert profiles[1:] == ["exectrail/process-audit.json"] * 999
    assert profiles[0] != profiles[1]


# ---- any pod ----

# Names that a JSON pointer has to escape, or that look like a step of one.
NAMES = st.sampled_from(["a", "~", "/", "~1", "~0", "a/b", "a~b", "-", "0", "é", "\U0001f600", " ", '"', "\\"])
TEXTS = st.text(max_size=4) | NAMES
MAPPING = st.dictionaries(NAMES, TEXTS, max_size=3)
PROFILE = st.sampled_from(
    [
        {"type": "RuntimeDefault"},
        {"type": "Unconfined"},
        {"type": "Localhost", "localhostProfile": "exectrail/process-audit.json"},
        {"type": "Localhost", "localhostProfile": "~/own~1.json"},
    ]
)
CONTEXT = st.fixed_dictionaries(
    {},
    optional={
        "seccompProfile": st.none() | PROFILE,
        "privileged": st.booleans(),
        "runAsUser": st.integers(0, 9),
        "capabilities": st.none()
        | st.fixed_dictionaries({}, optional={"add": st.lists(st.sampled_from(["NET_ADMIN", "SYS_TIME", "ALL"]))}),
    },
)
VARIABLE = st.fixed_dictionaries({"name": st.sampled_from([TAG_VARIABLE, "A", "~/"])}, optional={"value": TEXTS})
CONTAINER = st.fixed_dictionaries(
    {"name": NAMES, "image": TEXTS},
    optional={
        "command": st.none() | st.lists(TEXTS, max_size=3),
        "args": st.none() | st.lists(TEXTS, max_size=3),
        "env": st.none() | st.lists(VARIABLE, max_size=3),
        "tty": st.booleans(),
        "stdin": st.none() | st.booleans(),
        "securityContext": st.none() | CONTEXT,
        "~/more": TEXTS,
    },
)
CONTAINERS = st.lists(CONTAINER, max_size=4, unique_by=lambda each: str(each["name"]))
POD = st.fixed_dictionaries(
    {
        "metadata": st.fixed_dictionaries(
            {}, optional={"name": NAMES, "labels": st.none() | MAPPING, "annotations": st.none() | MAPPING}
        ),
        "spec": st.fixed_dictionaries(
            {"containers": CONTAINERS},
            optional={
                "initContainers": st.none() | CONTAINERS,
                "ephemeralContainers": st.none() | CONTAINERS,
                "securityContext": st.none() | CONTEXT,
                "nodeName": TEXTS,
                "hostPID": st.booleans(),
                "volumes": st.none() | st.just([{"name": "v", "hostPath": {"path": "/"}}]),
            },
        ),
    }
)
LISTS = ("containers", "initContainers", "ephemeralContainers")


@st.composite
def pods(draw: st.DrawFn) -> dict[str, Any]:
    """No name is that of two containers: the API server has seen to that."""
    pod: dict[str, Any] = draw(POD)
    names: set[str] = set()
    for listed in (pod["spec"].get(name) or [] for name in LISTS):
        listed[:] = [each for each in listed if each["name"] not in names]
        names |= {each["name"] for each in listed}
    return pod


@st.composite
def node_debug_pods(draw: st.DrawFn) -> dict[str, Any]:
    pod: dict[str, Any] = draw(pods())
    pod["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "kubectl-debug"}
    pod["spec"]["nodeName"] = "node1"
    return pod


@st.composite
def asked(draw: st.DrawFn, review: Load) -> tuple[str, dict[str, Any]]:
    """Any request with a pod, or an exec, and the path that it comes to."""
    what = draw(st.sampled_from(["bind", "bind-late", "debug", "node-debug", "exec"]))
    if what == "exec":
        command = draw(st.none() | st.lists(TEXTS, max_size=4))
        return EXEC_METADATA_PATH, review("exec-sh", {"command": command, "container": draw(NAMES)})
    late = what in {"bind-late", "debug"}
    body = review("ephemeralcontainers" if late else "pod-create")
    body["request"]["object"] = draw(node_debug_pods() if what == "node-debug" else pods())
    if late:
        body["request"]["oldObject"] = draw(st.none() | pods())
    return BINDING_PATH if what.startswith("bind") else EXEC_METADATA_PATH, body


def without_ours(obj: dict[str, Any], *, profiles: bool) -> dict[str, Any]:
    """A pod without all that the webhook of these requests may change."""
    pod = copy.deepcopy(obj)
    spec = pod["spec"]
    for owner in [spec, *(each for name in LISTS for each in spec.get(name) or [])]:
        if profiles:
            context = owner.pop("securityContext", None) or {}
            owner["securityContext"] = {key: value for key, value in context.items() if key != "seccompProfile"}
        elif owner is not spec:
            owner["env"] = [each for each in owner.pop("env", None) or [] if each["name"] != TAG_VARIABLE]
    return pod


def tags(pod: dict[str, Any]) -> set[str]:
    variables = (v for name in LISTS for each in pod["spec"].get(name) or [] for v in each.get("env") or [])
    return {each.get("value", "") for each in variables if each["name"] == TAG_VARIABLE}


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_whatever_the_pod_the_answer_is_a_yes_and_its_patch_changes_what_it_may_and_nothing_else(
    client: TestClient, review: Load, patch_of: PatchOf, sessions: list[AuditSession], data: st.DataObject
) -> None:
    path, body = data.draw(asked(review))
    before = faults()
    sessions.clear()

    reply = client.post(path, json=body)

    assert reply.status_code == 200
    answer = reply.json()
    assert answer["response"]["allowed"]
    assert faults() == before
    assert all(len(each) <= 256 for each in answer["response"].get("warnings", []))
    obj, uid = body["request"]["object"], body["request"]["uid"]
    patch = patch_of(answer) if "patch" in answer["response"] else []
    after = jsonpatch.apply_patch(obj, patch)
    if body["request"]["kind"]["kind"] == "PodExecOptions":
        tagged = ["env", f"{TAG_VARIABLE}={uid}", *(obj["command"] or [])] if patch else obj["command"]
        assert after == obj | {"command": tagged}
    else:
        binds = path == BINDING_PATH
        assert without_ours(after, profiles=binds) == without_ours(obj, profiles=binds)
        if not binds:
            assert tags(after) - tags(obj) == {each.metadata.name for each in sessions if each.spec.tag == "env"}
