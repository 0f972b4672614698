"""The HTTP side: always a yes, never a traceback, and health as Kubernetes asks for it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from exectrail.contracts.session import AuditSession
from webhook.app import BINDING_PATH, EXEC_METADATA_PATH, Health, Webhook, admission_app, status_app
from webhook.reviews import exec_metadata
from webhook.reviews.review import MAX_BYTES

Load = Callable[..., dict[str, Any]]
PatchOf = Callable[[dict[str, Any]], list[Any]]


@pytest.fixture
def client(webhook: Webhook, health: Health) -> TestClient:
    return TestClient(admission_app(webhook, health))


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"exectrail_webhook_{name}_total", labels) or 0


def webhooks_of(metric: str) -> set[str]:
    """The webhooks that a metric has series of."""
    (family,) = [each for each in REGISTRY.collect() if each.name == f"exectrail_webhook_{metric}"]
    return {sample.labels["webhook"] for sample in family.samples}


@pytest.mark.usefixtures("client")
def test_the_faults_of_every_webhook_are_counted_from_the_start() -> None:
    assert len(webhooks_of("duration_seconds")) == 5
    assert webhooks_of("errors") == webhooks_of("duration_seconds")


def test_an_exec_is_tagged_annotated_and_has_a_session(
    client: TestClient, review: Load, patch_of: PatchOf, sessions: list[AuditSession]
) -> None:
    body = review("exec-sh")
    uid = body["request"]["uid"]

    reply = client.post(EXEC_METADATA_PATH, json=body)

    assert (reply.status_code, reply.headers["content-type"]) == (200, "application/json")
    assert patch_of(reply.json()) == [
        {"op": "add", "path": "/command/0", "value": f"SPO_EXEC_REQUEST_UID={uid}"},
        {"op": "add", "path": "/command/0", "value": "env"},
    ]
    assert reply.json()["response"]["auditAnnotations"] == {"SPO_EXEC_REQUEST_UID": uid}
    assert [(session.metadata.name, session.metadata.namespace) for session in sessions] == [(uid, "exectrail")]
    assert sessions[0].spec.tag == "env"


@pytest.mark.parametrize(
    ("name", "verb"),
    [("exec-sh", "exec"), ("attach", "attach"), ("portforward", "portforward"), ("ephemeralcontainers", "debug")],
)
def test_every_request_has_a_session_and_is_in_the_audit_log_also_where_nothing_is_opted_in(
    client: TestClient,
    review: Load,
    sessions: list[AuditSession],
    namespaces: dict[str, dict[str, str]],
    name: str,
    verb: str,
) -> None:
    namespaces["default"] = {}
    body = review(name)

    response = client.post(EXEC_METADATA_PATH, json=body).json()["response"]

    uid = body["request"]["uid"]
    assert response == {"uid": uid, "allowed": True, "auditAnnotations": {"SPO_EXEC_REQUEST_UID": uid}}
    assert [session.spec.verb for session in sessions] == [verb]


def test_each_new_container_of_one_request_has_a_session_and_the_audit_log_leads_to_the_first(
    client: TestClient, review: Load, sessions: list[AuditSession]
) -> None:
    body = review("ephemeralcontainers", oldObject=None)
    uid = body["request"]["uid"]

    response = client.post(EXEC_METADATA_PATH, json=body).json()["response"]

    assert response["auditAnnotations"] == {"SPO_EXEC_REQUEST_UID": uid}
    assert [(each.spec.target.container, each.spec.request_uid) for each in sessions] == [("dbg1", ""), ("dbg2", uid)]
    assert sessions[0].metadata.name == uid
    assert {each.metadata.namespace for each in sessions} == {"exectrail"}


def test_a_pod_to_debug_a_node_is_tagged_and_has_a_session_also_where_nothing_is_opted_in(
    client: TestClient, review: Load, sessions: list[AuditSession], namespaces: dict[str, dict[str, str]]
) -> None:
    namespaces["default"] = {}
    body = review("pod-node-debug")

    response = client.post(EXEC_METADATA_PATH, json=body).json()["response"]

    assert "patch" in response
    assert response["auditAnnotations"] == {"SPO_EXEC_REQUEST_UID": body["request"]["uid"]}
    assert [(session.spec.verb, session.spec.resource) for session in sessions] == [("debug", "pods")]


def test_a_dry_run_is_patched_and_not_recorded(client: TestClient, review: Load, sessions: list[AuditSession]) -> None:
    response = client.post(EXEC_METADATA_PATH, json=review("ephemeralcontainers", dryRun=True)).json()["response"]

    assert "patch" in response
    assert "auditAnnotations" not in response
    assert sessions == []


def test_a_pod_is_bound(client: TestClient, review: Load, patch_of: PatchOf, sessions: list[AuditSession]) -> None:
    reply = client.post(BINDING_PATH, json=review("pod-create"))

    assert patch_of(reply.json()) == [
        {
            "op": "add",
            "path": "/spec/securityContext/seccompProfile",
            "value": {"type": "Localhost", "localhostProfile": "exectrail/process-audit.json"},
        }
    ]
    assert sessions == []


def test_a_warning_reaches_the_person(client: TestClient, review: Load, namespaces: dict[str, dict[str, str]]) -> None:
    namespaces["default"] = {"exectrail.io/profile": "x" * 5000}

    response = client.post(BINDING_PATH, json=review("pod-create")).json()["response"]

    assert response["allowed"]
    (warning,) = response["warnings"]
    assert "known: process-audit" in warning
    assert len(warning) <= 256


@pytest.mark.parametrize("path", [BINDING_PATH, EXEC_METADATA_PATH])
def test_a_body_that_is_no_review_is_a_400_with_the_fields_path(client: TestClient, review: Load, path: str) -> None:
    reply = client.post(path, json=review("exec-sh", uid=7))

    assert reply.status_code == 400
    assert (
        reply.text == "not an AdmissionReview of admission.k8s.io/v1: Expected `str`, got `int` - at `$.request.uid`\n"
    )


@pytest.mark.parametrize("declared", [True, False], ids=["declared", "chunked"])
def test_a_body_that_is_too_long_is_a_413(client: TestClient, declared: bool) -> None:
    def chunks() -> Iterator[bytes]:
        yield from [b" " * (1 << 20)] * 9

    reply = client.post(EXEC_METADATA_PATH, content=b" " * (MAX_BYTES + 1) if declared else chunks())

    assert (reply.status_code, reply.text) == (413, "a body of more than 8388608 bytes\n")


def test_the_largest_pod_is_read(client: TestClient, review: Load) -> None:
    body = review("pod-create")
    body["request"]["object"]["metadata"]["annotations"] = {"big": "x" * (MAX_BYTES - 5000)}

    assert "patch" in client.post(BINDING_PATH, json=body).json()["response"]


def test_a_fault_of_our_own_lets_the_request_pass_and_is_counted(
    client: TestClient, review: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(exec_metadata, "session_spec")
    before = counted("errors", webhook="exec-metadata")
    body = review("exec-sh")

    reply = client.post(EXEC_METADATA_PATH, json=body)

    assert reply.json()["response"] == {
        "uid": body["request"]["uid"],
        "allowed": True,
        "warnings": ["exectrail: internal error; the request goes on unchanged"],
    }
    assert counted("errors", webhook="exec-metadata") == before + 1


def test_a_session_writer_that_fails_does_not_fail_the_request(webhook: Webhook, review: Load, health: Health) -> None:
    def fail(_session: AuditSession) -> None:
        raise MemoryError

    client = TestClient(admission_app(msgspec.structs.replace(webhook, record=fail), health))

    assert client.post(EXEC_METADATA_PATH, json=review("attach")).json()["response"]["allowed"]


@pytest.mark.parametrize(
    ("path", "name", "labels"),
    [
        (BINDING_PATH, "pod-create", {"webhook": "binding", "verb": "create", "outcome": "patched", "reason": "bound"}),
        (
            EXEC_METADATA_PATH,
            "exec-sh",
            {"webhook": "exec-metadata", "verb": "exec", "outcome": "patched", "reason": "tagged"},
        ),
        (
            EXEC_METADATA_PATH,
            "attach",
            {"webhook": "exec-metadata", "verb": "attach", "outcome": "unchanged", "reason": "session-only"},
        ),
        (
            EXEC_METADATA_PATH,
            "pod-create",
            {"webhook": "exec-metadata", "verb": "none", "outcome": "unchanged", "reason": "no-node-debug"},
        ),
    ],
)
def test_each_answer_is_counted_by_its_reason(
    client: TestClient, review: Load, path: str, name: str, labels: dict[str, str]
) -> None:
    before = counted("requests", **labels)
    client.post(path, json=review(name))

    assert counted("requests", **labels) == before + 1


@dataclass
class Switch:
    on: bool = False

    def __call__(self) -> bool:
        return self.on


@pytest.mark.parametrize("app", ["admission", "status"])
def test_readiness_names_what_is_missing_and_liveness_does_not_care(webhook: Webhook, app: str) -> None:
    synced = Switch()
    health = Health({"namespaces known": synced, "certificate loaded": lambda: True})
    client = TestClient(admission_app(webhook, health) if app == "admission" else status_app(health))

    reply = client.get("/readyz")
    assert (reply.status_code, reply.text) == (503, "not ready: namespaces known\n")

    synced.on = True
    assert client.get("/readyz").status_code == 200

    health.draining = True
    assert client.get("/readyz").text == "not ready: not draining\n"
    assert client.get("/healthz").status_code == 200


def test_while_it_drains_it_still_answers_and_sends_the_api_server_on(
    client: TestClient, review: Load, health: Health
) -> None:
    assert "connection" not in client.post(EXEC_METADATA_PATH, json=review("exec-sh")).headers

    health.draining = True
    reply = client.post(EXEC_METADATA_PATH, json=review("exec-sh"))

    assert reply.json()["response"]["allowed"]
    assert reply.headers["connection"] == "close"


def test_metrics_are_readable_and_ours_have_help(client: TestClient, review: Load, health: Health) -> None:
    client.post(EXEC_METADATA_PATH, json=review("exec-sh"))
    families = {
        family.name: family.documentation
        for family in text_string_to_metric_families(TestClient(status_app(health)).get("/metrics").text)
    }

    ours = {name for name in families if name.startswith("exectrail_webhook_")}
    assert {
        "exectrail_webhook_requests",
        "exectrail_webhook_errors",
        "exectrail_webhook_duration_seconds",
        "exectrail_webhook_sessions_written",
        "exectrail_webhook_sessions_dropped",
        "exectrail_webhook_sessions_queued",
        "exectrail_webhook_certificate_expiry_timestamp_seconds",
    } <= ours
    assert all(families[name] for name in ours)


@pytest.mark.parametrize("path", ["/docs", "/redoc", "/openapi.json", "/metrics", "/"])
def test_the_tls_port_serves_nothing_else(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 404
