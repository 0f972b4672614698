"""What the enricher reports to the API, and what becomes of it while the API is away."""

import json
from collections.abc import Callable, Iterator

import pytest

from enricher.correlate.sessions import Session
from enricher.events import Process
from enricher.status.reporter import Reporter
from exectrail.contracts.nodetrail import NodeTrailStatus
from exectrail.contracts.record import VERSION, Exit, Node, Record
from exectrail.k8s.client import Client
from tests.unit.exectrail.api_server import ApiServer, Asked
from tests.unit.waiting import until

UID = "de193172-188c-4596-a2a0-b64f75a1b8e4"
OTHER_UID = "00000000-188c-4596-a2a0-b64f75a1b8e4"
NOT_FOUND = (404, b'{"kind": "Status", "code": 404, "reason": "NotFound", "message": "not found"}')


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def start(api: ApiServer) -> Iterator[Callable[[], Reporter]]:
    """Starts reporters. What they have to say is said before the API ends, or they would try on for ever."""
    every: list[Reporter] = []

    def started() -> Reporter:
        every.append(Reporter(Client(api.url), "node1", "exectrail"))
        every[-1].start()
        return every[-1]

    yield started
    for each in every:
        each.drain(10)


@pytest.fixture
def reporter(start: Callable[[], Reporter]) -> Reporter:
    return start()


def session() -> Session:
    return Session(UID, Process(1, 2))


def record(**fields: object) -> Record:
    common = {"version": VERSION, "kind": "session", "audit_id": "", "node": Node("node1"), "resource": None}
    return Record(**{**common, "timestamp": "2026-11-23T12:00:00.000Z", "seq": 0, "prev": "", **fields})  # type: ignore[arg-type]


def asked(api: ApiServer, found: Callable[[list[Asked]], bool]) -> list[Asked]:
    """The requests, once they are as wanted."""
    until(lambda: found(api.asked))
    return api.asked


def status_of(request: Asked) -> dict[str, object]:
    status: dict[str, object] = json.loads(request.body)["status"]
    return status


def test_a_session_that_begins_and_ends_is_reported(api: ApiServer, reporter: Reporter) -> None:
    reporter.started(session(), record())
    reporter.drain(10)  # what is not answered yet is written once more, with what came to it
    reporter.ended(session(), record(outcome="completed", exit=Exit(code=3), duration_ms=5, processes=2))

    first, last = asked(api, lambda seen: len(seen) == 2)

    assert first.path == f"/apis/exectrail.io/v1alpha1/namespaces/exectrail/auditsessions/{UID}/status"
    assert status_of(first)["phase"] == "Running"
    assert status_of(last) == {
        "phase": "Closed",
        "outcome": "completed",
        "node": "node1",
        "exit": {"code": 3},
        "endTime": "2026-11-23T12:00:00.000Z",
        "durationMs": 5,
        "processes": 2,
    }


def test_requests_that_cannot_be_distinguished_are_closed_as_ambiguous(api: ApiServer, reporter: Reporter) -> None:
    reporter.ambiguous([UID, OTHER_UID], "2026-11-23T12:00:00.000Z")

    reported = asked(api, lambda seen: len(seen) == 2)

    assert {request.path.split("/")[-2] for request in reported} == {UID, OTHER_UID}
    ended = {"phase": "Closed", "outcome": "ambiguous", "node": "node1", "startTime": "2026-11-23T12:00:00.000Z"}
    assert [status_of(request) for request in reported] == [ended, ended]


def test_one_of_them_that_is_found_after_all_is_taken_back(api: ApiServer, reporter: Reporter) -> None:
    reporter.ambiguous([UID], "2026-11-23T12:00:00.000Z")
    asked(api, lambda seen: len(seen) == 1)
    reporter.started(session(), record())

    *_, last = asked(api, lambda seen: len(seen) == 2)

    assert (status_of(last)["phase"], status_of(last)["outcome"]) == ("Running", None)


def test_a_session_that_the_webhook_has_not_written_yet_is_reported_again(api: ApiServer, reporter: Reporter) -> None:
    api.canned.append(NOT_FOUND)
    reporter.started(session(), record())

    asked(api, lambda seen: len(seen) == 2)

    assert reporter.dropped == 0


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        (401, "Unauthorized", "Unauthorized"),
        (
            403,
            "Forbidden",
            'User "node1" cannot patch resource "auditsessions/status" in API group ""',
        ),
        (409, "Conflict", "the object has been modified"),
    ],
)
def test_what_the_api_refuses_for_a_moment_is_reported_again(
    api: ApiServer, reporter: Reporter, status: int, reason: str, message: str
) -> None:
    refusal = {"kind": "Status", "code": status, "reason": reason, "message": message}
    api.canned.append((status, json.dumps(refusal).encode()))
    reporter.started(session(), record())

    first, again = asked(api, lambda seen: len(seen) == 2)

    assert status_of(first) == status_of(again)
    assert reporter.dropped == 0


def test_a_nodetrail_that_is_refused_for_good_holds_up_no_session(
    api: ApiServer, reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    api.canned.append((422, b'{"kind": "Status", "code": 422, "reason": "Invalid", "message": "seq has fallen"}'))
    reporter.node(NodeTrailStatus(seq=1))
    reporter.started(session(), record())

    *_, last = asked(api, lambda seen: len(seen) == 2)

    assert last.path.endswith(f"/auditsessions/{UID}/status")
    assert "the API refused this node's NodeTrail: Invalid: seq has fallen" in caplog.text


def test_what_the_api_refuses_is_given_up_and_counted(api: ApiServer, reporter: Reporter) -> None:
    api.canned.append((422, b'{"kind": "Status", "code": 422, "reason": "Invalid", "message": "no"}'))
    reporter.started(session(), record())
    reporter.drain(5)

    assert (len(api.asked), reporter.dropped) == (1, 1)


def test_an_absence_of_the_api_loses_nothing(
    api: ApiServer, reporter: Reporter, caplog: pytest.LogCaptureFixture
) -> None:
    api.stop()
    reporter.started(session(), record())
    reporter.ended(session(), record(outcome="completed", exit=Exit(code=0)))
    until(lambda: "cannot report to the API" in caplog.text)
    api.start()

    (reported,) = asked(api, lambda seen: len(seen) == 1)

    assert status_of(reported)["phase"] == "Closed"
    assert status_of(reported)["startTime"] == "2026-11-23T12:00:00.000Z"


def test_a_node_that_is_new_makes_its_nodetrail(api: ApiServer, reporter: Reporter) -> None:
    api.canned += [NOT_FOUND]
    reporter.node(NodeTrailStatus(sensor="bpf"))

    requests = asked(api, lambda seen: len(seen) == 3)

    assert [request.method for request in requests] == ["PATCH", "POST", "PATCH"]
    assert json.loads(requests[1].body)["metadata"]["name"] == "node1"
    assert status_of(requests[2])["sensor"] == "bpf"


def test_containers_that_are_gone_are_taken_out_of_the_report(api: ApiServer, reporter: Reporter) -> None:
    reporter.node(NodeTrailStatus(env={"a/b/c": True}))
    asked(api, lambda seen: len(seen) == 2)
    reporter.node(NodeTrailStatus(env={"d/e/f": False}))

    before, first, second = asked(api, lambda seen: len(seen) == 3)

    assert status_of(before) == {"env": None, "lostByCause": None}
    assert status_of(first)["env"] == {"a/b/c": True}
    assert status_of(second)["env"] == {"a/b/c": None, "d/e/f": False}


def test_of_the_containers_only_changes_are_sent(api: ApiServer, reporter: Reporter) -> None:
    env = {"a/b/c": True, "a/b/d": True}
    for number, now in enumerate((env, env, {**env, "a/b/d": False})):
        reporter.node(NodeTrailStatus(env=now))
        asked(api, lambda seen, number=number: len(seen) == 2 + number)  # type: ignore[misc]
        reporter.drain(10)

    _, first, same, changed = (status_of(each) for each in api.asked)
    assert (first["env"], same["env"], changed["env"]) == (env, {}, {"a/b/d": False})


def test_a_nodetrail_that_was_deleted_is_made_anew_with_all_containers(api: ApiServer, reporter: Reporter) -> None:
    reporter.node(NodeTrailStatus(env={"a/b/c": True}))
    reporter.drain(10)
    api.canned.append(NOT_FOUND)
    reporter.node(NodeTrailStatus(env={"a/b/c": True}))

    *_, last = asked(api, lambda seen: len(seen) == 5)

    assert status_of(last)["env"] == {"a/b/c": True}


def test_what_the_api_has_of_the_containers_is_not_taken_for_granted_after_a_failure(
    api: ApiServer, reporter: Reporter
) -> None:
    reporter.node(NodeTrailStatus(env={"a/b/c": True}))
    reporter.drain(10)
    api.canned += [NOT_FOUND, (200, b"{}"), (503, b"{}")]  # deleted, made anew, and its status not written
    reporter.node(NodeTrailStatus(env={"a/b/c": True}))
    reporter.drain(10)

    cleared, last = api.asked[-2:]
    assert (status_of(cleared)["env"], status_of(last)["env"]) == (None, {"a/b/c": True})


def test_now_and_then_all_containers_are_sent_as_the_api_may_have_been_restored(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch, start: Callable[[], Reporter]
) -> None:
    monkeypatch.setattr("enricher.status.reporter._COUNT_EVERY", 0.0)
    reporter = start()
    for env in ({"a/b/c": True, "a/b/d": True}, {"a/b/c": True}):
        reporter.node(NodeTrailStatus(env=env))
        reporter.drain(10)

    last = next(each for each in reversed(api.asked) if each.method == "PATCH")
    assert status_of(last)["env"] == {"a/b/c": True, "a/b/d": None}


def test_now_and_then_it_asks_how_many_nodes_report(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch, start: Callable[[], Reporter]
) -> None:
    monkeypatch.setattr("enricher.status.reporter._COUNT_EVERY", 0.0)
    for number in range(7):
        api.set(f"node{number}")
    reporter = start()
    assert reporter.nodes == 1

    reporter.node(NodeTrailStatus())
    until(lambda: reporter.nodes == 7)

    (counted,) = (each for each in api.asked if each.method == "GET")
    assert (counted.path, counted.query) == ("/apis/exectrail.io/v1alpha1/nodetrails", {"limit": "1"})


def test_a_node_that_may_not_ask_for_the_number_reports_all_the_same(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch, start: Callable[[], Reporter]
) -> None:
    monkeypatch.setattr("enricher.status.reporter._COUNT_EVERY", 0.0)
    api.canned += [(200, b"{}"), (200, b"{}"), (403, b"{}")]
    reporter = start()

    reporter.node(NodeTrailStatus(seq=1))
    reporter.drain(10)

    assert [each.method for each in api.asked] == ["PATCH", "PATCH", "GET"]
    assert reporter.nodes == 1
