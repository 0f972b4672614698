"""A request for a pod to debug a node has a session in every namespace, and no other pod is touched."""

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from webhook.reviews.exec_metadata import decide
from webhook.reviews.json_value import BadReview
from webhook.reviews.review import Decision, decode
from webhook.reviews.session_spec import Rules
from webhook.reviews.tag_mode import Known

Load = Callable[..., dict[str, Any]]
Apply = Callable[[dict[str, Any], list[Any]], dict[str, Any]]

TAG = "SPO_EXEC_REQUEST_UID"
KUBECTL = {"app.kubernetes.io/managed-by": "kubectl-debug"}
OC = {"debug.openshift.io/managed-by": "oc-debug"}
ROOT = [{"name": "host-root", "hostPath": {"path": "/", "type": ""}}]
HOST = {"nodeName": "node1", "hostPID": True, "volumes": ROOT}
NAME = "node-debugger-node1-9pxn8"


@pytest.fixture
def decided(rules: Rules) -> Callable[..., Decision]:
    def of(review: dict[str, Any], labels: dict[str, str] | None = None) -> Decision:
        return decide(decode(json.dumps(review).encode()), Known(labels), rules, "now")

    return of


Decided = Callable[..., Decision]


@pytest.mark.parametrize("labels", [None, {}, {"exectrail.io/record": "true"}, {"exectrail.io/tag": "match"}], ids=str)
def test_its_container_gets_the_variable_whatever_the_namespace(
    review: Load, patched: Apply, decided: Decided, labels: dict[str, str] | None
) -> None:
    asked = review("pod-node-debug")
    expected = json.loads(json.dumps(asked["request"]["object"]))
    expected["spec"]["containers"][0]["env"] = [{"name": TAG, "value": asked["request"]["uid"]}]

    decision = decided(asked, labels)

    assert (decision.reason, decision.warnings) == ("tagged", [])
    assert patched(asked, decision.patch) == expected


def test_the_session_has_the_user_and_the_node(review: Load, decided: Decided) -> None:
    (session,) = decided(review("pod-node-debug")).sessions.values()

    assert msgspec.to_builtins(session) == {
        "user": {
            "username": "alice@example.com",
            "groups": ["developers", "system:authenticated"],
            "extra": {"authentication.kubernetes.io/credential-id": ["X509SHA256=" + "0" * 64]},
        },
        "verb": "debug",
        "resource": "pods",
        "target": {"namespace": "default", "pod": NAME, "container": "debugger", "node": "node1"},
        "time": "now",
        "command": ["id"],
        "tag": "env",
        "recorded": True,
    }


def pod(review: Load, name: str, spec: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    """A new pod; what is not said is not there."""
    containers = {"containers": [{"name": "c", "image": "i"}]}
    return review("pod-node-debug", {"metadata": metadata, "spec": containers | spec}, name=name)


@pytest.mark.parametrize(
    ("name", "spec", "labels"),
    [
        (NAME, HOST, {}),
        (NAME, HOST | {"hostPID": False, "hostNetwork": True}, {}),
        (NAME, HOST | {"hostPID": False, "hostIPC": True}, {}),
        (NAME, {"nodeName": "node1", "hostPID": True}, {}),
        ("any", {"nodeName": "node1"}, KUBECTL),
        ("any", {"nodeName": "node1"}, OC),
    ],
)
def test_it_is_known_by_its_label_or_by_its_name_and_its_way_to_the_host(
    review: Load, decided: Decided, name: str, spec: dict[str, Any], labels: dict[str, str]
) -> None:
    assert decided(pod(review, name, spec, labels=labels)).reason == "tagged"


@pytest.mark.parametrize(
    ("name", "spec", "labels"),
    [
        ("web", HOST, {}),
        ("my-node-debugger-x", HOST, {}),
        (NAME, HOST | {"nodeName": ""}, KUBECTL),
        (NAME, {"hostPID": True, "volumes": ROOT}, {}),
        (NAME, {"nodeName": "node1", "volumes": ROOT}, {}),
        ("any", {"nodeName": "node1"}, {"app.kubernetes.io/managed-by": "Helm"}),
        ("any", {}, OC),
        (NAME, HOST | {"containers": []}, KUBECTL),
    ],
)
def test_any_other_pod_is_left_alone(
    review: Load, decided: Decided, name: str, spec: dict[str, Any], labels: dict[str, str]
) -> None:
    assert decided(pod(review, name, spec, labels=labels)) == Decision("no-node-debug")


def test_an_ordinary_pod_is_left_alone(review: Load, decided: Decided) -> None:
    assert decided(review("pod-create")) == Decision("no-node-debug")


def test_every_container_gets_the_variable_and_no_forged_one_stays(
    review: Load, patched: Apply, decided: Decided
) -> None:
    other = {"name": "A", "value": "b"}
    mine = {"name": "c1", "env": [{"name": TAG, "value": "forged"}, other, {"name": TAG, "value": "forged"}]}
    asked = pod(review, NAME, HOST | {"containers": [mine, {"name": "c2"}], "initContainers": [{"name": "i"}]})

    decision = decided(asked)

    spec = patched(asked, decision.patch)["spec"]
    first, second, third = ({"name": TAG, "value": uid} for uid in decision.sessions)
    assert [each["env"] for each in spec["containers"]] == [[other, first], [second]]
    assert [each["env"] for each in spec["initContainers"]] == [[third]]


def test_each_container_has_a_session_and_the_first_that_goes_on_running_the_requests_uid(
    review: Load, decided: Decided
) -> None:
    containers = {"containers": [{"name": "c1"}, {"name": "c2"}], "initContainers": [{"name": "i"}]}
    asked = pod(review, NAME, HOST | containers)
    uid = asked["request"]["uid"]

    sessions = decided(asked).sessions

    assert [(session.target.container, session.request_uid) for session in sessions.values()] == [
        ("c1", ""),
        ("c2", uid),
        ("i", uid),
    ]
    assert next(iter(sessions)) == uid
    assert {session.target.node for session in sessions.values()} == {"node1"}


def test_a_pod_that_the_api_server_names_is_known_by_how_its_name_begins(review: Load, decided: Decided) -> None:
    asked = pod(review, "", {"nodeName": "node1"}, generateName="node1-debug-", labels=OC)

    (session,) = decided(asked).sessions.values()

    assert (session.target.pod, session.target.generate_name) == ("", "node1-debug-")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (
            {"containers": [{"image": "i"}]},
            "Expected `str`, got `null` - at `$.request.object.spec.containers[0].name`",
        ),
        ({"hostPID": "yes"}, "Expected `bool`, got `str` - at `$.request.object.spec.hostPID`"),
    ],
)
def test_what_is_no_pod_is_refused_with_the_fields_path(
    review: Load, decided: Decided, spec: dict[str, Any], message: str
) -> None:
    with pytest.raises(BadReview) as refused:
        decided(pod(review, NAME, HOST | spec))

    assert message in str(refused.value)
