"""A canary is a dry run, and tells apart why it did not come back."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from exectrail.contracts.canary import ANSWERED, ASKED, LABEL
from exectrail.k8s.client import ApiError, Client
from profiles.controller import canary
from tests.unit.exectrail.api_server import ApiServer


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


def failed(why: str) -> bytes:
    """What an API server says of a webhook that it could not call; `why` is the transport's."""
    url = "https://exectrail-webhook.exectrail.svc:443/canary?timeout=3s"
    call = f'failed calling webhook "canary.exectrail.io": failed to call webhook: Post "{url}": {why}'
    message = f"Internal error occurred: {call}"
    return json.dumps({"kind": "Status", "code": 500, "reason": "InternalError", "message": message}).encode()


def answering(body: bytes) -> bytes:
    """The canary as our webhook changes it."""
    lease: dict[str, Any] = json.loads(body)
    lease["metadata"]["annotations"][ANSWERED] = lease["metadata"]["annotations"][ASKED]
    return json.dumps(lease).encode()


def test_it_is_a_dry_run_of_a_lease_in_the_releases_namespace(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "answering", answering)
    canary.ask(Client(server.url), "audit")

    (asked,) = server.asked
    assert (asked.method, asked.path) == ("POST", "/apis/coordination.k8s.io/v1/namespaces/audit/leases")
    assert asked.query == {"dryRun": "All"}
    lease = json.loads(asked.body)
    assert lease["metadata"]["labels"] == {LABEL: "true"}
    assert "name" not in lease["metadata"]


def test_no_two_canaries_have_the_same_word(server: ApiServer) -> None:
    for _ in range(2):
        with pytest.raises(canary.NotReached):
            canary.ask(Client(server.url), "audit")
    one, other = (json.loads(asked.body)["metadata"]["annotations"][ASKED] for asked in server.asked)
    assert one != other


@pytest.mark.parametrize(
    ("why", "reason"),
    [
        ("context deadline exceeded", "timeout"),
        ("dial tcp 10.96.3.7:443: i/o timeout", "timeout"),
        ("dial tcp 10.96.3.7:443: connect: connection timed out", "timeout"),
        ("dial tcp 10.96.3.7:443: connect: connection refused", "unreachable"),
        ("dial tcp 10.96.3.7:443: connect: no route to host", "unreachable"),
        ("EOF", "unreachable"),
        ('no endpoints available for service "exectrail-webhook"', "no-replica"),
        ('service "exectrail-webhook" not found', "no-replica"),
        ("tls: failed to verify certificate: x509: certificate signed by unknown authority", "certificate"),
        ("remote error: tls: certificate required", "certificate"),
        ("the server could not find the requested resource", "bad-answer"),
    ],
)
def test_why_it_did_not_come_back_has_a_name(server: ApiServer, why: str, reason: str) -> None:
    server.canned.append((500, failed(why)))
    with pytest.raises(canary.NotReached) as caught:
        canary.ask(Client(server.url), "audit")
    assert caught.value.reason == reason
    assert str(caught.value) == f'failed calling webhook "canary.exectrail.io": failed to call webhook: {why}'


def test_a_request_that_no_webhook_saw_was_not_called(server: ApiServer) -> None:
    with pytest.raises(canary.NotReached) as caught:
        canary.ask(Client(server.url), "audit")  # comes back as it was
    assert caught.value.reason == "not-called"


@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_an_api_server_that_takes_no_canary_says_nothing_about_the_webhook(server: ApiServer, status: int) -> None:
    server.canned.append((status, json.dumps({"code": status, "message": "not now"}).encode()))
    with pytest.raises(ApiError, match="not now"):
        canary.ask(Client(server.url), "audit")


def test_another_products_webhook_that_fails_says_nothing_about_ours(server: ApiServer) -> None:
    server.canned.append((500, failed("EOF").replace(b"canary.exectrail.io", b"mutate.policies.example")))
    with pytest.raises(ApiError, match=r"mutate\.policies\.example"):
        canary.ask(Client(server.url), "audit")


@pytest.mark.parametrize(
    ("canned", "code", "sentence"),
    [
        ([], 0, "The API server reaches the webhook"),
        ([(500, failed("EOF"))], 1, "The webhook is NOT reached (unreachable)"),
        ([(403, b"{}")], 2, "It is not known whether the webhook is reached"),
    ],
)
def test_helm_test_says_what_it_found_in_a_sentence(
    server: ApiServer,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    canned: list[tuple[int, bytes]],
    code: int,
    sentence: str,
) -> None:
    monkeypatch.setattr(server, "answering", answering)
    monkeypatch.setattr(Client, "in_cluster", lambda: Client(server.url))
    server.canned += canned
    assert canary.main(["--namespace=audit"]) == code
    assert capsys.readouterr().out.startswith(sentence)
