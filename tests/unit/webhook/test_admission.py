"""The envelope: what cannot be read is refused by the path of the field."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from exectrail.contracts.session import SessionSpec, Target, User
from webhook.reviews.json_value import BadReview
from webhook.reviews.review import Decision, Operation, answer, decode

Load = Callable[..., dict[str, Any]]


@pytest.mark.parametrize(
    "name",
    ["attach", "ephemeralcontainers", "exec-env", "exec-sh", "exec-tar", "pod-create", "pod-node-debug", "portforward"],
)
def test_what_an_api_server_sends_is_read(review: Load, name: str) -> None:
    body = review(name)
    request = decode(json.dumps(body).encode())

    assert (request.uid, request.name) == (body["request"]["uid"], body["request"]["name"])
    assert request.sub_resource == body["request"].get("subResource", "")
    assert request.user_info.username == "alice@example.com"
    assert json.loads(bytes(request.object.raw)) == body["request"]["object"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"uid": 7}, "Expected `str`, got `int` - at `$.request.uid`"),
        ({"uid": "../../pods"}, "Expected a UID, got '../../pods' - at `$.request.uid`"),
        ({"uid": "07cf31f2-6128-4a85-85e8-aeafba2d26e9\n"}, "at `$.request.uid`"),
        ({"uid": None}, "Expected a UID, got '' - at `$.request.uid`"),
        ({"uid": "07CF31F2-6128-4A85-85E8-AEAFBA2D26E9"}, "at `$.request.uid`"),
        (
            {"userInfo": {"username": "a", "groups": [1]}},
            "Expected `str`, got `int` - at `$.request.userInfo.groups[0]`",
        ),
        ({"dryRun": "no"}, "Expected `bool`, got `str` - at `$.request.dryRun`"),
        ({"kind": {"kind": 7}}, "Expected `str`, got `int` - at `$.request.kind.kind`"),
    ],
)
def test_a_request_that_is_none_is_refused_with_the_fields_path(
    review: Load, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadReview) as refused:
        decode(json.dumps(review("exec-sh", **changes)).encode())

    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "Input data was truncated"),
        (b"[]", "Expected `object`, got `array`"),
        (b"{}", "Expected 'admission.k8s.io/v1', got '' - at `$.apiVersion`"),
        (b'{"apiVersion": "admission.k8s.io/v1"}', "Expected `object`, got `null` - at `$.request`"),
        (
            b'{"apiVersion": "admission.k8s.io/v1beta1", "request": {}}',
            "got 'admission.k8s.io/v1beta1' - at `$.apiVersion`",
        ),
        (b'{"apiVersion": "' + b"x" * 200 + b'"}', "got '" + "x" * 59 + " - at `$.apiVersion`"),
        (b'{"apiVersion": "' + b"x" * 8_000_000 + b'"}', "got '[cut: 8000000 bytes in 1 words]' - at `$.apiVersion`"),
        (b'{"' + b"x" * 300 + b'": [}', "malformed"),
        (b'{"apiVersion": "\xff"}', "invalid"),
        (b"[" * 100_000, "Expected `object`, got `array`"),
        (b'{"x":' * 100_000, "nested too deeply - at `$`"),
    ],
)
def test_a_body_that_is_no_review_is_refused(body: bytes, message: str) -> None:
    with pytest.raises(BadReview) as refused:
        decode(body)

    assert message in str(refused.value)
    assert len(str(refused.value)) <= 200


def test_an_answer_has_what_the_api_wants_and_nothing_empty(review: Load) -> None:
    request = decode(json.dumps(review("exec-sh")).encode())

    assert json.loads(answer(request, Decision("not-opted-in"))) == {
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": {"uid": request.uid, "allowed": True},
    }


@pytest.mark.parametrize("dry_run", [False, True])
def test_the_audit_log_points_to_the_session_where_there_is_one(review: Load, dry_run: bool) -> None:
    request = decode(json.dumps(review("exec-sh", dryRun=dry_run)).encode())
    session = SessionSpec(User("a"), "exec", "pods/exec", Target("n", "p"), "now")

    response = json.loads(answer(request, Decision("tagged", [Operation("/command", ["x"])], {request.uid: session})))[
        "response"
    ]

    assert response.get("auditAnnotations") == (None if dry_run else {"SPO_EXEC_REQUEST_UID": request.uid})
    assert response["patchType"] == "JSONPatch"
