"""Finding the request of an entry by container, command and time."""

from datetime import UTC, datetime

import msgspec
import pytest

from enricher.containers.containers import Container
from enricher.correlate.request_index import RequestIndex
from enricher.correlate.sessions import Sessions
from enricher.events import Process
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.record import Resource
from exectrail.contracts.session import AuditSession, SessionSpec, Target, User

APP = Container("c" * 64, Resource("shop", "web", "app"), "shop:1", "pod-1", None, logged=True)
AT = "2026-11-23T12:00:00.000000Z"
AT_MS = int(datetime(2026, 11, 23, 12, tzinfo=UTC).timestamp() * 1000)


def request(
    uid: str = "one", *command: str, pod: str = "web", container: str = "app", verb: str = "exec"
) -> AuditSession:
    spec = SessionSpec(
        user=User("alice"),
        verb="exec" if verb == "exec" else "attach",
        resource="pods/exec",
        target=Target("shop", pod, container),
        time=AT,
        command=list(command or ("sh", "-c", "id")),
    )
    return AuditSession(ObjectMeta(name=uid), spec)


def found(
    *requests: AuditSession,
    argv: bytes = b"sh\0-c\0id\0",
    wall_ms: int = AT_MS + 500,
    container: Container = APP,
) -> list[str]:
    asked = RequestIndex()
    for each in requests:
        asked.changed(None, each)
    return Sessions(lambda _uid: None, asked).match(container, argv, wall_ms, tagged=True)


def test_the_same_command_in_the_container_that_was_meant_is_found() -> None:
    assert found(request()) == ["one"]


def test_without_a_containers_name_it_is_that_of_the_pods_only_regular_one() -> None:
    assert found(request(container=""), container=msgspec.structs.replace(APP, sole=True)) == ["one"]
    assert found(request(container="")) == []


def test_two_requests_that_can_be_meant_are_both_named() -> None:
    assert found(request("one"), request("two")) == ["one", "two"]


@pytest.mark.parametrize(
    "other",
    [request(pod="db"), request(container="sidecar"), request("one", "sh", "-c", "id; id"), request(verb="attach")],
)
def test_a_request_for_something_else_is_not(other: AuditSession) -> None:
    assert found(other) == []


@pytest.mark.parametrize(("after_ms", "is_found"), [(-2000, True), (-2001, False), (30_000, True), (30_001, False)])
def test_only_requests_of_the_last_half_minute_count(after_ms: int, is_found: bool) -> None:
    assert bool(found(request(), wall_ms=AT_MS + after_ms)) == is_found


@pytest.mark.parametrize(("argv", "is_found"), [(b"env\0A=b\0id\0", True), (b"id\0", True), (b"env\0id\0", False)])
def test_a_command_that_begins_with_env_is_found_before_and_after_env_is_gone(argv: bytes, is_found: bool) -> None:
    assert bool(found(request("one", "env", "A=b", "id"), argv=argv)) == is_found


def test_a_request_that_is_bound_is_no_candidate_any_more() -> None:
    asked = RequestIndex()
    asked.changed(None, request())
    sessions = Sessions(lambda _uid: None, asked)
    sessions.bind(Process(7, 70), "one", 0)

    assert sessions.match(APP, b"sh\0-c\0id\0", AT_MS, tagged=True) == []


def test_a_request_that_is_gone_is_forgotten() -> None:
    asked = RequestIndex()
    asked.changed(None, request())
    asked.changed(request(), None)

    assert asked.by_command(APP, b"sh\0-c\0id\0", AT_MS) == []
