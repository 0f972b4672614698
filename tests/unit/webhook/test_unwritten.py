"""What could not be written is listed where it is found: bounded, beside the lists of the other replicas."""

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.session import AuditSession, SessionSpec, Target, User
from exectrail.contracts.unwritten import Unwritten, UnwrittenList
from exectrail.k8s.client import ApiError, Client
from tests.unit.exectrail.api_server import ApiServer
from tests.unit.waiting import until
from webhook.sessions import unwritten as unwritten_module
from webhook.sessions.unwritten import MOST_BYTES, MOST_SESSIONS, UnwrittenSessions, changed

NOW = datetime(2026, 11, 23, 12, 0, 0, 1, tzinfo=UTC)
PATH = "/api/v1/namespaces/exectrail/configmaps/exectrail-unwritten-sessions"


def listed(*uids: str, user: str = "alice") -> list[Unwritten]:
    return [Unwritten(uid, user, "shop", "web", "exec", "2026-11-23T12:00:00.000001Z", "queue-full") for uid in uids]


def text(ago: timedelta, *uids: str, user: str = "alice") -> str:
    found = UnwrittenList((NOW - ago).isoformat().replace("+00:00", "Z"), 0, listed(*uids, user=user))
    return msgspec.json.encode(found).decode()


def own(data: dict[str, str | None]) -> UnwrittenList:
    return msgspec.json.decode(data["pod-a"] or "", type=UnwrittenList)


def test_a_replica_adds_to_its_own_list_and_leaves_the_others() -> None:
    data = {"pod-a": text(timedelta(hours=1), "u1"), "pod-b": text(timedelta(days=29), "u2"), "note": "a person's"}

    patch = changed(data, "pod-a", listed("u3"), 0, NOW)

    assert patch.keys() == {"pod-a"}
    assert own(patch) == UnwrittenList("2026-11-23T12:00:00.000001Z", 0, listed("u1", "u3"))


def test_what_was_written_and_not_answered_is_listed_once() -> None:
    patch = changed({"pod-a": text(timedelta(0), "u1", "u2")}, "pod-a", listed("u2", "u3"), 0, NOW)

    assert own(patch).sessions == listed("u1", "u2", "u3")


def test_the_newest_are_listed_and_the_others_are_counted() -> None:
    data = {"pod-a": text(timedelta(0), *[f"old{number}" for number in range(MOST_SESSIONS)])}

    found = own(changed(data, "pod-a", listed("u1", "u2"), 7, NOW))

    assert (len(found.sessions), found.omitted) == (MOST_SESSIONS, 9)
    assert [each.uid for each in found.sessions[:1] + found.sessions[-2:]] == ["old2", "u1", "u2"]


def test_the_list_of_a_replica_that_is_long_gone_is_removed() -> None:
    data = {"pod-b": text(timedelta(days=31), "u1"), "pod-c": text(timedelta(days=29), "u2")}

    assert changed(data, "pod-a", listed("u3"), 0, NOW).keys() == {"pod-a", "pod-b"}


def test_where_there_is_no_room_the_oldest_lists_go() -> None:
    large = [f"{number:036}" for number in range(MOST_SESSIONS)]
    data = {f"pod-{day}": text(timedelta(days=day), *large, user="u" * 100) for day in range(1, 20)}

    patch = changed(data, "pod-a", listed("u1"), 0, NOW)

    gone = {key for key, value in patch.items() if value is None}
    left = {**data, **{key: value or "" for key, value in patch.items()}}
    assert sum(len(value) for value in left.values()) <= 768 << 10
    assert gone == {f"pod-{day}" for day in range(20 - len(gone), 20)} != set()


@given(st.lists(st.text(max_size=600), max_size=600))
def test_whatever_the_names_a_list_is_small(users: list[str]) -> None:
    fresh = [each for number, user in enumerate(users) for each in listed(f"u{number}", user=user)]

    found = changed({}, "pod-a", fresh, 0, NOW)["pod-a"]

    assert len((found or "").encode()) <= MOST_BYTES + 200
    decoded = msgspec.json.decode(found or "", type=UnwrittenList)
    assert len(decoded.sessions) + decoded.omitted == len(users)


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        server.created[PATH] = b'{"metadata": {"name": "x"}}'
        yield server


def session(name: str) -> AuditSession:
    spec = SessionSpec(User("alice"), "exec", "pods/exec", Target("shop", "web"), "now", ["cat", "secret"])
    return AuditSession(ObjectMeta(name=name), spec)


def patches(server: ApiServer) -> list[dict[str, Any]]:
    return [json.loads(asked.body)["data"] for asked in server.asked if asked.method == "PATCH"]


def test_it_is_written_without_the_command_and_without_anybody_waiting(server: ApiServer) -> None:
    sessions = UnwrittenSessions(Client(server.url), "exectrail", "exectrail-unwritten-sessions", "pod-a", every=0.01)
    sessions.add(session("u1"), "queue-full")
    sessions.start()
    until(lambda: patches(server))
    sessions.close(5)

    (patch,) = patches(server)
    assert [each.uid for each in own(patch).sessions] == ["u1"]
    assert "secret" not in str(patch)


def test_without_the_api_server_the_list_waits_within_bounds(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unwritten_module, "_BACKOFF_FIRST", 0.001)
    failed = threading.Event()
    client = Client(server.url)
    real = client.get

    def fail(*_: object) -> None:
        failed.set()
        raise ApiError(0, "", "away")

    monkeypatch.setattr(client, "get", fail)
    sessions = UnwrittenSessions(client, "exectrail", "exectrail-unwritten-sessions", "pod-a", every=0.01)
    sessions.start()
    for number in range(MOST_SESSIONS + 10):
        sessions.add(session(f"u{number}"), "queue-full")
        assert number or failed.wait(10)
    monkeypatch.setattr(client, "get", real)
    until(lambda: patches(server) and own(patches(server)[-1]).sessions[-1].uid == f"u{MOST_SESSIONS + 9}")
    sessions.close(5)

    found = own(patches(server)[-1])
    assert (len(found.sessions), found.omitted) == (MOST_SESSIONS, 10)


def test_at_the_end_what_waits_is_written_once_more(server: ApiServer) -> None:
    sessions = UnwrittenSessions(Client(server.url), "exectrail", "exectrail-unwritten-sessions", "pod-a", every=3600)
    sessions.start()
    sessions.add(session("u1"), "queue-full")
    until(lambda: patches(server))
    sessions.add(session("u2"), "shutdown")
    sessions.close(5)

    assert [each.uid for each in own(patches(server)[-1]).sessions] == ["u1", "u2"]
