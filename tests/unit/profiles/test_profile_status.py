"""What a SeccompProfile's status says, for what its nodes and pods say."""

from datetime import UTC, datetime

import pytest

from exectrail.contracts import spo
from exectrail.contracts.profile_state import LAST_GOOD_ANNOTATION, MESSAGE_ANNOTATION, REASON_ANNOTATION
from profiles.controller.objects import (
    Condition,
    Meta,
    NodeName,
    NodeState,
    NodeStatus,
    Profile,
    ProfileSpec,
    ProfileStatus,
    Rule,
)
from profiles.controller.profile_status import MOST_WORKLOADS, Decision, decide

NOW = datetime(2026, 11, 29, 1, 2, 3, tzinfo=UTC)
LATER = datetime(2026, 11, 29, 2, 0, 0, tzinfo=UTC)
GONE = "2026-11-29T01:00:00Z"


def profile(
    *finalizers: str, deleting: bool = False, generation: int = 1, status: ProfileStatus | None = None
) -> Profile:
    meta = Meta(
        name="audit",
        uid="u1",
        generation=generation,
        finalizers=list(finalizers),
        deletion_timestamp=GONE if deleting else None,
    )
    return Profile(meta, status or ProfileStatus())


def said(node: str, state: str, reason: str = "", message: str = "") -> NodeStatus:
    annotations = {REASON_ANNOTATION: reason, MESSAGE_ANNOTATION: message} if reason else {}
    return NodeStatus(Meta(name=f"audit-{node}", annotations=annotations), NodeName(node), NodeState(state))


def decided(states: dict[str, str], nodes: str, users: tuple[str, ...] = ()) -> Decision:
    return decide(profile(), [said(node, state) for node, state in states.items()], set(nodes), users, NOW)


def ready(decision: Decision) -> Condition:
    (found,) = (each for each in decision.status.conditions if each.type == "Ready")
    return found


def problems(decision: Decision) -> list[Condition]:
    return [each for each in decision.status.conditions if each.type not in {"Ready", "Available"}]


@pytest.mark.parametrize(
    ("states", "nodes", "state", "reason"),
    [
        ({}, "", "Pending", "Pending"),
        ({}, "a", "Pending", "Pending"),
        ({"a": "Installed"}, "a", "Installed", "Available"),
        ({"a": "Installed"}, "ab", "Pending", "Pending"),
        ({"a": "Installed", "b": "Installed"}, "ab", "Installed", "Available"),
        ({"a": "Installed", "b": "InProgress"}, "ab", "InProgress", "Creating"),
        ({"a": "InProgress", "b": "Pending"}, "ab", "Pending", "Pending"),
        ({"a": "Pending", "b": "Disabled"}, "ab", "Disabled", "Unavailable"),
        ({"a": "Disabled", "b": "Partial"}, "ab", "Partial", "Unavailable"),
        ({"a": "Partial", "b": "Terminating"}, "ab", "Terminating", "Deleting"),
        ({"a": "Terminating", "b": "Error"}, "ab", "Error", "Unavailable"),
        ({"a": "Error"}, "ab", "Error", "Unavailable"),
        ({"a": "Installed", "gone": "Error"}, "a", "Installed", "Available"),
        ({"a": "", "b": "Installed"}, "ab", "Installed", "Available"),
    ],
)
def test_the_state_is_the_first_in_the_operators_order_that_any_node_has(
    states: dict[str, str], nodes: str, state: str, reason: str
) -> None:
    decision = decided(states, nodes)
    assert decision.status.status == state
    assert (ready(decision).reason, ready(decision).status) == (reason, "True" if state == "Installed" else "False")


def kept(node: str) -> NodeStatus:
    """A node that cannot have the newest version, and still has the file of an earlier one."""
    annotations = {REASON_ANNOTATION: "Unsupported", LAST_GOOD_ANNOTATION: "true"}
    return NodeStatus(Meta(name=f"audit-{node}", annotations=annotations), NodeName(node), NodeState("Error"))


def available(decision: Decision) -> Condition:
    found = decision.status.condition("Available")
    assert found
    return found


@pytest.mark.parametrize(
    ("statuses", "nodes", "at_first", "once_it_was"),
    [
        ([], "ab", False, False),
        ([said("a", "Installed")], "ab", True, True),
        ([said("a", "Installed"), said("b", "Installed")], "ab", True, True),
        ([said("a", "Installed"), said("b", "")], "ab", True, True),
        ([said("a", "Installed"), said("b", "Pending")], "ab", False, True),
        ([said("a", "Installed"), said("b", "Error")], "ab", False, True),
        ([said("a", "Installed"), kept("b")], "ab", True, True),
        ([kept("a"), kept("b")], "ab", True, True),
        ([kept("a"), said("b", "Error")], "ab", False, True),
        ([said("a", "Error"), said("b", "Error")], "ab", False, False),
        ([said("a", "Disabled"), said("b", "Terminating")], "ab", False, False),
        ([said("a", "Installed")], "", True, True),  # the installer's pod is being replaced, its file stays
    ],
)
def test_a_profile_is_available_once_all_that_answer_have_a_good_file_and_then_while_any_has(
    statuses: list[NodeStatus], nodes: str, at_first: bool, once_it_was: bool
) -> None:
    def status_after(before: str) -> str:
        was = ProfileStatus("Error", conditions=[Condition("Available", before)])
        return available(decide(profile(status=was), statuses, nodes, (), NOW)).status

    assert available(decide(profile(), statuses, nodes, (), NOW)).status == str(at_first)
    assert (status_after("False"), status_after("True")) == (str(at_first), str(once_it_was))


def test_a_profile_that_the_operator_installed_is_available_although_a_node_has_no_file() -> None:
    of_operator = ProfileStatus("Installed", conditions=[Condition("Ready", "True")])
    taken = decide(profile(status=of_operator), [said("a", "Installed"), said("b", "Error")], "ab", (), NOW)
    assert (taken.status.status, available(taken).status) == ("Error", "True")


def test_available_says_which_nodes_are_without_and_is_no_event() -> None:
    was = ProfileStatus("Installed", conditions=[Condition("Available", "True")])
    states = [said("a", "Installed"), kept("b"), said("c", "Error")]
    decision = decide(profile(status=was), states, "abc", (), NOW)
    assert available(decision).message == "nodes with a good file: 2, of an earlier version: 1; without: c"
    assert "Available" not in {each.reason for each in decision.events}


@pytest.mark.parametrize(
    ("meta", "spec", "reason"),
    [
        (Meta(name="audit", deletion_timestamp=GONE), ProfileSpec(), "Deleting"),
        (Meta(name="audit"), ProfileSpec(state="Disabled"), "Disabled"),
        (Meta(name="audit"), ProfileSpec(disabled=True), "Disabled"),
        (Meta(name="audit", labels={"spo.x-k8s.io/partial": "true"}), ProfileSpec(), "Partial"),
    ],
)
def test_a_profile_that_is_to_go_is_not_available_from_then_on(meta: Meta, spec: ProfileSpec, reason: str) -> None:
    was = ProfileStatus("Installed", conditions=[Condition("Available", "True")])
    decision = decide(Profile(meta, was, spec), [said("a", "Installed")], "a", (), NOW)
    assert (available(decision).status, available(decision).reason) == ("False", reason)


def test_the_status_says_where_the_file_is_and_who_uses_it() -> None:
    decision = decided({"a": "Installed"}, "a", ("shop/b", "shop/a"))
    assert decision.status.localhost_profile == "operator/audit.json"
    assert decision.status.active_workloads == ["shop/a", "shop/b"]
    assert decision.labels == {spo.PROFILE_ID_LABEL: "SeccompProfile-audit"}


def test_more_pods_than_an_object_has_room_for_are_cut() -> None:
    users = {f"shop/p{number}" for number in range(MOST_WORKLOADS + 1)}
    assert len(decide(profile(), [], [], users, NOW).status.active_workloads) == MOST_WORKLOADS


def test_a_node_that_joins_takes_nothing_away_from_the_others() -> None:
    there = decided({"a": "Installed"}, "a").status
    joined = decide(profile(status=there), [said("a", "Installed")], {"a", "b"}, (), LATER)
    assert joined.status.status == "Installed"
    assert ready(joined).message == "Installed on 1 of 2 nodes; nothing heard yet of b"


def test_a_profile_that_is_pending_says_which_nodes_it_waits_for() -> None:
    nodes = [f"n{number:02}" for number in range(100)]
    said_by = [said(node, "Installed") for node in nodes[5:]]
    waits = decide(profile(), said_by, nodes, (), NOW)
    assert waits.status.status == "Pending"
    assert ready(waits).message == "Installed on 95 of 100 nodes; nothing heard yet of n00, n01, n02 and 2 more"


def test_a_new_version_waits_for_all_nodes_that_said_nothing() -> None:
    there = decided({"a": "Installed"}, "a").status
    changed = decide(profile(generation=2, status=there), [said("a", "Installed")], {"a", "b"}, (), LATER)
    assert changed.status.status == "Pending"


def test_the_time_of_a_condition_is_that_of_its_last_change() -> None:
    first = decided({"a": "Installed"}, "a").status
    same = decide(profile(status=first), [said("a", "Installed")], {"a"}, (), LATER).status
    assert same == first
    other = decide(profile(status=first), [said("a", "Error")], {"a"}, (), LATER).status
    assert other.conditions[0].last_transition_time == "2026-11-29T02:00:00Z"


def test_what_nodes_complain_of_is_a_condition_and_an_event_once() -> None:
    complaints = [said("b", "Error", "Unsupported", "oci:// bases"), said("a", "Error", "Unsupported", "oci:// bases")]
    first = decide(profile(), complaints, {"a", "b"}, (), NOW)
    (problem,) = problems(first)
    assert (problem.type, problem.status, problem.reason) == ("Unsupported", "True", "Unsupported")
    assert problem.message == "oci:// bases (on a, b)"
    assert [(each.type, each.reason) for each in first.events] == [("Warning", "Unsupported")]
    assert decide(profile(status=first.status), complaints, {"a", "b"}, (), LATER).events == []
    solved = decide(profile(status=first.status), [said("a", "Installed"), said("b", "Installed")], {"a", "b"}, (), NOW)
    assert problems(solved) == []


def test_many_nodes_with_the_same_complaint_are_counted() -> None:
    nodes = [f"n{number:02}" for number in range(13)]
    complaints = [said(node, "Error", "DiskFull", "no space") for node in nodes]
    decision = decide(profile(), complaints, nodes, (), NOW)
    assert decision.events[0].message.endswith("n09 and 3 more)")


@pytest.mark.parametrize(
    ("there", "used", "deleting", "wanted"),
    [
        ([], False, False, []),
        ([], True, False, ["in-use-by-active-pods"]),
        (["in-use-by-active-pods"], True, False, ["in-use-by-active-pods"]),
        (["in-use-by-active-pods", "mine"], False, False, ["mine"]),
        (["node1-deleted"], False, False, ["node1-deleted"]),
        (["node1-deleted"], True, False, ["node1-deleted", "in-use-by-active-pods"]),
        (["in-use-by-active-pods"], True, True, ["in-use-by-active-pods"]),
        ([], True, True, []),
        (["in-use-by-active-pods", "node1-deleted", "node2-deleted"], False, True, []),
        (["spo.x-k8s.io/partial-profile-finalizer", "mine"], False, True, ["mine"]),
    ],
)
def test_finalizers_hold_a_profile_for_its_pods_and_for_nothing_else(
    there: list[str], used: bool, deleting: bool, wanted: list[str]
) -> None:
    before = profile(*there, deleting=deleting)
    decision = decide(before, [], {"a"}, {"shop/a"} if used else set(), NOW)
    assert decision.finalizers == wanted
    assert decision.released(before) is (deleting and not wanted)


def test_a_deletion_that_waits_names_the_pods_in_an_event() -> None:
    held = profile(spo.IN_USE_FINALIZER, deleting=True)
    decision = decide(held, [said("a", "Installed")], {"a"}, {"shop/b", "shop/a"}, NOW)
    assert (decision.status.status, ready(decision).reason) == ("Terminating", "Deleting")
    (event,) = decision.events
    assert (event.type, event.reason) == ("Normal", "InUse")
    assert event.message == "deletion waits for the pods that use it: shop/a, shop/b"
    again = decide(
        profile(spo.IN_USE_FINALIZER, deleting=True, status=decision.status), [], {"a"}, {"shop/a", "shop/b"}, LATER
    )
    assert again.events == []


def test_a_profile_that_names_a_call_that_no_kernel_has_is_installed_and_says_so() -> None:
    named = Profile(profile().metadata, spec=ProfileSpec(syscalls=[Rule(["execve", "exceve"]), Rule(["mkdirr"])]))

    found = decide(named, [said("a", "Installed")], {"a"}, (), NOW)

    assert found.status.status == "Installed"
    (unknown,) = (each for each in found.status.conditions if each.type == "UnknownSyscalls")
    assert unknown.message == "no kernel has exceve, mkdirr: runtimes skip them; correct or remove them"
    assert [each.reason for each in found.events] == ["UnknownSyscalls"]
