"""SecurityProfileNodeStatus objects: what the API is told of each profile on this node, and how often."""

from collections.abc import Iterator

import pytest

from exectrail.contracts.meta import ObjectMeta
from exectrail.k8s.client import ApiError, Client
from profiles.installer.node_statuses import NodeStatuses
from profiles.installer.plan import NodeState
from tests.unit.profiles.node_api import STATUSES, NodeApi

INSTALLED = NodeState("Installed")
ERROR = NodeState("Error", "ForeignFile", "operator/a.json was not written by exectrail")
A = ObjectMeta(name="a", uid="uid-a")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def api() -> Iterator[NodeApi]:
    with NodeApi() as server:
        yield server


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def statuses(api: NodeApi, clock: Clock) -> NodeStatuses:
    return NodeStatuses(Client(api.url), "n1", clock)


def test_a_profile_gets_a_status_in_the_operators_form(api: NodeApi, statuses: NodeStatuses) -> None:
    assert statuses.update({"a": INSTALLED}, {"a": A}) == 0
    status = api.status("a-n1")
    assert status["metadata"]["labels"] == {
        "spo.x-k8s.io/profile-id": "SeccompProfile-a",
        "spo.x-k8s.io/node-name": "n1",
        "spo.x-k8s.io/profile-state": "Installed",
        "spo.x-k8s.io/profile-kind": "SeccompProfile",
    }
    assert status["metadata"]["ownerReferences"] == [
        {
            "apiVersion": "security-profiles-operator.x-k8s.io/v1",
            "kind": "SeccompProfile",
            "name": "a",
            "uid": "uid-a",
            "controller": True,
        }
    ]
    assert (status["spec"], status["status"]) == ({"nodeName": "n1"}, {"status": "Installed"})


def test_it_is_written_only_when_it_changes(api: NodeApi, statuses: NodeStatuses) -> None:
    statuses.update({"a": INSTALLED}, {"a": A})
    assert api.asked == [("POST", STATUSES), ("PATCH", f"{STATUSES}/a-n1/status")]
    statuses.update({"a": INSTALLED}, {"a": A})
    assert len(api.asked) == 2
    statuses.update({"a": ERROR}, {"a": A})
    assert api.asked[2:] == [("PATCH", f"{STATUSES}/a-n1"), ("PATCH", f"{STATUSES}/a-n1/status")]


def test_a_restarted_installer_writes_nothing_that_is_there(api: NodeApi, statuses: NodeStatuses) -> None:
    statuses.update({"a": ERROR}, {"a": A})
    api.asked.clear()
    NodeStatuses(Client(api.url), "n1").update({"a": ERROR}, {"a": A})
    assert api.asked == []


def test_an_error_says_why_and_the_reason_goes_with_it(api: NodeApi, statuses: NodeStatuses) -> None:
    statuses.update({"a": ERROR}, {"a": A})
    assert api.status("a-n1")["metadata"]["annotations"] == {
        "exectrail.io/reason": "ForeignFile",
        "exectrail.io/message": "operator/a.json was not written by exectrail",
    }
    statuses.update({"a": INSTALLED}, {"a": A})
    assert api.status("a-n1")["metadata"]["annotations"] == {}
    assert api.status("a-n1")["metadata"]["labels"]["spo.x-k8s.io/profile-state"] == "Installed"


def test_a_last_good_file_that_stays_is_an_annotation_beside_the_operators_fields(
    api: NodeApi, statuses: NodeStatuses
) -> None:
    statuses.update({"a": NodeState("Error", "Unsupported", "oci://", last_good=True)}, {"a": A})
    assert api.status("a-n1")["metadata"]["annotations"]["exectrail.io/last-good-file"] == "true"
    assert api.status("a-n1")["status"] == {"status": "Error"}
    statuses.update({"a": ERROR}, {"a": A})
    assert "exectrail.io/last-good-file" not in api.status("a-n1")["metadata"]["annotations"]


def test_the_status_of_a_profile_that_is_gone_is_deleted_and_no_other(api: NodeApi, statuses: NodeStatuses) -> None:
    statuses.update({"a": INSTALLED}, {"a": A})
    NodeStatuses(Client(api.url), "n2").update({"a": INSTALLED}, {"a": A})
    api.set(STATUSES, selinux := {**api.status("a-n1"), "metadata": {**api.status("a-n1")["metadata"]}})
    selinux["metadata"] |= {"name": "other-n1", "ownerReferences": []}
    selinux["metadata"]["labels"] = {"spo.x-k8s.io/node-name": "n1", "spo.x-k8s.io/profile-kind": "SelinuxProfile"}
    api.set(STATUSES, selinux)

    NodeStatuses(Client(api.url), "n1").update({}, {})

    assert set(api.statuses()) == {"a-n2", "other-n1"}


def test_one_that_the_api_server_deleted_first_is_no_failure(api: NodeApi, statuses: NodeStatuses) -> None:
    statuses.update({"a": INSTALLED}, {"a": A})
    api.delete(STATUSES, "a-n1")
    assert statuses.update({}, {}) == 0


def test_one_that_was_deleted_comes_back(api: NodeApi, statuses: NodeStatuses, clock: Clock) -> None:
    statuses.update({"a": INSTALLED}, {"a": A})
    api.delete(STATUSES, "a-n1")
    clock.now += 301
    statuses.update({"a": INSTALLED}, {"a": A})
    assert api.statuses() == {"a-n1": "Installed"}


def test_the_operators_own_status_is_taken_over(api: NodeApi, statuses: NodeStatuses) -> None:
    api.put(STATUSES, "a-n1", spec={"nodeName": "n1"}, status={"status": "Pending"}, labels={"mine": "1"})
    assert statuses.update({"a": INSTALLED}, {"a": A}) == 0
    assert api.statuses() == {"a-n1": "Installed"}
    labels = api.status("a-n1")["metadata"]["labels"]
    assert (labels["mine"], labels["spo.x-k8s.io/node-name"]) == ("1", "n1")


def test_the_status_of_another_node_by_the_same_name_is_left(api: NodeApi, statuses: NodeStatuses) -> None:
    other = ObjectMeta(name="a-b", uid="u")
    NodeStatuses(Client(api.url), "n1").update({"a-b": INSTALLED}, {"a-b": other})
    refused = NodeStatuses(Client(api.url), "b-n1").update({"a": ERROR}, {"a": A})
    assert refused == 1
    assert api.status("a-b-n1")["spec"] == {"nodeName": "n1"}
    assert api.statuses() == {"a-b-n1": "Installed"}


def test_a_profile_that_was_made_anew_owns_its_status(api: NodeApi, statuses: NodeStatuses) -> None:
    statuses.update({"a": INSTALLED}, {"a": A})
    statuses.update({"a": INSTALLED}, {"a": ObjectMeta(name="a", uid="new")})
    (owner,) = api.status("a-n1")["metadata"]["ownerReferences"]
    assert owner["uid"] == "new"


def test_a_refused_status_does_not_stop_the_others_and_is_tried_again(api: NodeApi, statuses: NodeStatuses) -> None:
    b = ObjectMeta(name="b", uid="uid-b")
    api.refused = {("PATCH", f"{STATUSES}/a-n1/status"): 422}
    assert statuses.update({"a": INSTALLED, "b": INSTALLED}, {"a": A, "b": b}) == 1
    assert api.statuses() == {"a-n1": "", "b-n1": "Installed"}
    api.refused = {}
    assert statuses.update({"a": INSTALLED, "b": INSTALLED}, {"a": A, "b": b}) == 0
    assert api.statuses() == {"a-n1": "Installed", "b-n1": "Installed"}


def test_an_api_server_that_is_away_is_an_error(api: NodeApi) -> None:
    with pytest.raises(ApiError) as error:
        NodeStatuses(Client("http://127.0.0.1:1"), "n1").update({"a": INSTALLED}, {"a": A})
    assert error.value.status == 0


def test_a_long_name_of_a_node_fits_into_a_label(api: NodeApi) -> None:
    node = "n" * 100
    for _ in range(2):
        assert NodeStatuses(Client(api.url), node).update({"a": INSTALLED}, {"a": A}) == 0
    assert len(api.asked) == 2
    status = api.status(f"a-{node}")
    assert status["spec"] == {"nodeName": node}
    assert len(status["metadata"]["labels"]["spo.x-k8s.io/node-name"]) == 63
