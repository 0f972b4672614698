"""Whose a container is that a request made: the spec that the API has must fit the request, not the variable alone."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from enricher.containers.pods import Container, ContainerStatus, EnvVar, Pod, PodSpec, PodStatus
from enricher.correlate.command import is_same_as_kept
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.record import Record
from exectrail.contracts.session import AuditSession, Target
from tests.unit.enricher.rig import INIT, OTHER_UID, REQUESTED_MS, UID, Rig, ask, debug_request, execute, request

SH = ["sh", "-c", "id"]
NODE_DEBUGGER = "node-debugger-node1-abcde"
CREATED = "2026-11-23T12:00:01Z"


def variable(uid: str | None) -> list[EnvVar]:
    return [EnvVar("SPO_EXEC_REQUEST_UID", uid)] if uid else []


def debugged(uid: str | None, command: list[str] = SH, created: str = "2026-11-23T11:00:00Z") -> Pod:
    """A pod with an ephemeral container that has this UID for its variable."""
    spec = PodSpec(
        containers=[Container("app", "shop:1")],
        ephemeral_containers=[Container("debugger", "tools", variable(uid), command)],
    )
    status = PodStatus(container_statuses=[ContainerStatus("app", "containerd://other")])
    return Pod(ObjectMeta(name="web", namespace="shop", uid="pod-1", creation_timestamp=created), spec, status)


def node_debugger(
    uid: str | None = UID, command: list[str] = SH, created: str = CREATED, node: str = "node1", name: str = "debugger"
) -> Pod:
    """A pod to debug the node that has this UID for its variable."""
    spec = PodSpec(
        containers=[Container(name, "tools", variable(uid), command)],
        node_name=node,
        host_pid=True,
    )
    return Pod(ObjectMeta(name=NODE_DEBUGGER, namespace="shop", uid="pod-1", creation_timestamp=created), spec)


def node_request(uid: str = UID, user: str = "alice", name: str = NODE_DEBUGGER, node: str = "node1") -> AuditSession:
    """A request for a pod to debug a node."""
    made = debug_request("debugger", uid, user)
    target = Target("shop", name, "debugger", node=node)
    return replace(made, spec=replace(made.spec, resource="pods", command=SH, target=target))


def asked(uid: str = UID, user: str = "alice", tag: str = "env", seconds: int = 0) -> AuditSession:
    """A request for the ephemeral container, so many seconds later than others."""
    made = debug_request("debugger", uid, user, "env" if tag == "env" else "match")
    return replace(
        made, spec=replace(made.spec, command=SH, time=f"2026-11-23T12:{seconds // 60:02}:{seconds % 60:02}Z")
    )


def starts(pod: Pod, *requests: AuditSession, seen_after_ms: int = 200) -> list[Record]:
    """The container starts; it was in its pod's spec so long after the first request."""
    rig = Rig({"exectrail.io/record": "true"}, replace(pod, spec=replace(pod.spec, ephemeral_containers=[])))
    rig.containers.now_ms = lambda: REQUESTED_MS + seen_after_ms
    rig.containers.pod_changed(pod, pod)
    ask(rig, *requests)
    rig.happen(execute(INIT, "sh", "-c", "id"))
    rig.wait(0.5)
    return rig.records


def named(records: list[Record]) -> tuple[str | None, str | None, tuple[str, ...], list[str] | None]:
    """Of the one program that ran: the user, the request, what is weak of it, and who else it may be."""
    (ran,) = [record for record in records if record.kind == "exec"]
    return ran.user, ran.request_uid, tuple(ran.weak or ()), ran.candidates


def reasons(records: list[Record]) -> list[str | None]:
    """Why UIDs do not hold."""
    return [record.reason for record in records if record.kind == "session" and record.state == "forged"]


WEAK = ("requestUID", "user")
EARLIER_POD = "2026-11-23T12:00:03Z"


def test_an_ephemeral_container_that_fits_its_request_is_its_users() -> None:
    assert named(starts(debugged(UID), asked())) == ("alice", UID, (), None)


def test_a_pod_to_debug_a_node_that_fits_its_request_is_its_users() -> None:
    assert named(starts(node_debugger(), node_request())) == ("alice", UID, (), None)
    generated = node_request(name="")
    target = replace(generated.spec.target, generate_name="node-debugger-")
    generated = replace(generated, spec=replace(generated.spec, target=target))
    assert named(starts(node_debugger(), generated)) == ("alice", UID, (), None)


@pytest.mark.parametrize("made", [debugged, node_debugger])
@pytest.mark.parametrize(
    "text", ["x", "?watch=true", "../../../../../../api/v1/pods?watch=true", UID.upper(), UID + "/status", UID + "\n"]
)
def test_text_that_is_no_uid_is_no_tag_and_is_not_looked_up(made: Callable[[str], Pod], text: str) -> None:
    rig = Rig({"exectrail.io/record": "true"}, made(text))
    looked_up: list[str] = []
    rig.correlator._binder._sessions._requests = looked_up.append
    rig.happen(execute(INIT, "sh", "-c", "id"))
    rig.wait(0.6)

    assert [each.tag for each in rig.correlator.inits().values()] == [None]
    assert looked_up == []
    assert named(starts(debugged(text), asked(tag="match"))) == ("alice", UID, WEAK, None)


@pytest.mark.parametrize(
    ("pod", "borrowed_from", "reason"),
    [
        (debugged(UID, ["sh", "-c", "evil"]), asked(), "other-command"),
        (debugged(UID, []), asked(), "other-command"),
        (debugged(UID, [*SH, "more"]), asked(), "other-command"),
        (debugged(UID, created=EARLIER_POD), asked(), "other-pod"),
        (debugged(UID), asked(tag="match"), "not-tagged"),
        (debugged(UID), request(container="debugger"), "not-tagged"),
        (debugged(UID), node_request(), "other-container"),
        (debugged(UID), debug_request("other"), "other-container"),
        (node_debugger(command=["sh", "-c", "evil"]), node_request(), "other-command"),
        (node_debugger(created="2026-11-23T12:01:01Z"), node_request(), "too-late"),
        (node_debugger(created="2026-11-23T11:59:56Z"), node_request(), "other-pod"),
        (node_debugger(node="node2"), node_request(), "other-container"),
        (node_debugger(name="second"), node_request(), "other-container"),
        (node_debugger(), node_request(name="node-debugger-node1-other"), "other-container"),
        (node_debugger(), asked(), "other-container"),
        (node_debugger(), request(container="debugger", name=NODE_DEBUGGER), "not-tagged"),
    ],
    ids=[
        "another command", "the image's command", "a word more", "an earlier pod of this name",
        "a request that was not tagged", "an exec", "a pod to debug a node", "another container",
        "node: another command", "node: too late", "node: a pod that was there", "node: another node",
        "node: another container", "node: another pod", "node: an ephemeral container", "node: an exec",
    ],
)  # fmt: skip
def test_a_borrowed_uid_in_a_containers_spec_gives_no_name(pod: Pod, borrowed_from: AuditSession, reason: str) -> None:
    """As who writes the variable where no webhook is asked: it is down, or the API server does not call it."""
    records = starts(pod, borrowed_from)

    assert named(records)[0] is None
    assert reasons(records) == [reason]


def test_an_ordinary_containers_variable_is_not_even_looked_at() -> None:
    pod = Pod(
        ObjectMeta(name="web", namespace="shop", uid="pod-1"), PodSpec([Container("app", "shop:1", variable(UID), SH)])
    )

    assert named(starts(pod, request())) == (None, None, (), None)


def test_a_container_with_the_uid_of_a_request_that_made_none_is_weak_where_it_came_more_than_a_minute_later() -> None:
    assert named(starts(debugged(UID), asked(), seen_after_ms=60_000)) == ("alice", UID, (), None)
    assert named(starts(debugged(UID), asked(), seen_after_ms=60_001)) == ("alice", UID, WEAK, None)


def test_who_writes_the_uid_of_another_request_into_their_own_container_is_a_candidate_beside_it() -> None:
    """In a namespace with `match`, where the webhook leaves the variable as it is."""
    mallory = asked(OTHER_UID, "mallory", "match", seconds=5)

    records = starts(debugged(UID), asked(), mallory, seen_after_ms=5_200)

    assert named(records) == (None, None, (), [OTHER_UID, UID])
    assert reasons(records) == ["other-request"]


def test_and_stands_there_alone_where_the_other_request_is_minutes_old() -> None:
    mallory = asked(OTHER_UID, "mallory", "match", seconds=90)

    records = starts(debugged(UID), asked(), mallory, seen_after_ms=90_200)

    assert named(records) == ("mallory", OTHER_UID, WEAK, None)
    assert reasons(records) == ["other-request"]


def test_other_requests_for_a_container_of_this_name_take_no_name_away() -> None:
    """The API server asks again after a conflict, and admits what it refuses to store later."""
    again, earlier = asked(OTHER_UID, "alice", "match", seconds=1), asked(OTHER_UID, "mallory", "match")
    earlier = replace(earlier, spec=replace(earlier.spec, time="2026-11-23T11:59:50Z"))
    tagged = asked(OTHER_UID, "mallory", "env", seconds=1)

    for other in (again, earlier, tagged):
        assert named(starts(debugged(UID), asked(), other, seen_after_ms=1_200)) == ("alice", UID, (), None)


def test_a_container_without_a_variable_is_found_by_its_name_and_weak() -> None:
    assert named(starts(debugged(None), asked(tag="match"))) == ("alice", UID, WEAK, None)


@pytest.mark.parametrize(
    ("pod", "request_"),
    [
        (debugged(None), asked()),
        (debugged(None, ["evil"]), asked(tag="match")),
        (debugged(None, created=EARLIER_POD), asked(tag="match")),
        (debugged(None), debug_request("other", tag="match")),
    ],
    ids=["a request whose container has the variable", "another command", "an earlier pod", "another container"],
)
def test_a_container_without_a_variable_is_not_found_by(pod: Pod, request_: AuditSession) -> None:
    assert named(starts(pod, request_)) == (None, None, (), None)


def test_of_two_users_who_asked_for_a_container_of_this_name_none_is_chosen() -> None:
    """One of them was admitted and refused later, for all that is known."""
    records = starts(
        debugged(None), asked(tag="match"), asked(OTHER_UID, "mallory", "match", seconds=3), seen_after_ms=3_200
    )

    assert named(records) == (None, None, (), [OTHER_UID, UID])


def test_a_request_that_the_container_came_at_once_after_goes_before_one_that_is_minutes_old() -> None:
    bob = asked(OTHER_UID, "bob", "match", seconds=120)

    records = starts(debugged(None), asked(tag="match"), bob, seen_after_ms=120_200)

    assert named(records) == ("bob", OTHER_UID, WEAK, None)


def test_of_one_user_who_asked_twice_it_is_the_last_request() -> None:
    """As `kubectl debug` does when another update of the pod came between."""
    records = starts(debugged(None), asked(tag="match"), asked(OTHER_UID, "alice", "match", seconds=1))

    assert named(records) == ("alice", OTHER_UID, WEAK, None)


@pytest.mark.parametrize(
    ("kept", "words", "same"),
    [
        ([], (), True),
        (["sh"], ("sh",), True),
        (["sh"], (), False),
        (["sh"], ("sh", "-c"), False),
        (["sh", "wo[cut: 9 bytes in 2 words]"], ("sh", "word", "more"), True),
        (["sh", "wo[cut: 9 bytes in 2 words]"], ("sh", "other"), False),
        (["sh", "wo[cut: 9 bytes in 2 words]"], ("sh",), False),
        (["sh", "wo[cut: 9 bytes in 2 words]"], ("ash", "word"), False),
    ],
)
def test_a_command_that_is_cut_is_compared_as_far_as_it_is_there(
    kept: list[str], words: tuple[str, ...], same: bool
) -> None:
    assert is_same_as_kept(kept, words) is same
