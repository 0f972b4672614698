"""The answer to the controller's question whether the webhook is reached."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from exectrail.contracts.canary import ANSWERED, ASKED
from exectrail.contracts.session import AuditSession
from webhook.app import CANARY_PATH, Health, Webhook, admission_app

Patched = Callable[[dict[str, Any], list[Any]], dict[str, Any]]
PatchOf = Callable[[dict[str, Any]], list[Any]]


def lease(**metadata: Any) -> dict[str, Any]:
    """A review of a new Lease."""
    return {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "request": {
            "uid": "0df28fbd-5f5f-11e8-bc74-36e6bb280816",
            "operation": "CREATE",
            "kind": {"group": "coordination.k8s.io", "version": "v1", "kind": "Lease"},
            "resource": {"group": "coordination.k8s.io", "version": "v1", "resource": "leases"},
            "namespace": "exectrail",
            "userInfo": {"username": "system:serviceaccount:exectrail:exectrail-controller"},
            "object": {"kind": "Lease", "metadata": metadata, "spec": {}},
            "dryRun": True,
        },
    }


@pytest.fixture
def client(webhook: Webhook, health: Health) -> TestClient:
    return TestClient(admission_app(webhook, health))


def test_its_word_comes_back_and_nothing_else_changes(
    client: TestClient, patched: Patched, patch_of: PatchOf, sessions: list[AuditSession]
) -> None:
    review = lease(name="x", annotations={ASKED: "7f3a", "other": "stays"})
    expected = copy.deepcopy(review["request"]["object"])
    expected["metadata"]["annotations"][ANSWERED] = "7f3a"

    answer = client.post(CANARY_PATH, json=review).json()

    assert patched(review, patch_of(answer)) == expected
    assert sessions == []


@pytest.mark.parametrize("metadata", [{}, {"annotations": None}, {"annotations": {"other": "x"}}])
def test_what_asks_nothing_passes_unchanged(client: TestClient, metadata: dict[str, Any]) -> None:
    review = lease(**metadata)

    answer = client.post(CANARY_PATH, json=review).json()

    assert answer["response"] == {"uid": review["request"]["uid"], "allowed": True}
