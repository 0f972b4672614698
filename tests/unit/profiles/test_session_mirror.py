"""The controller follows AuditSessions by one watch, and keeps little of each."""

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from exectrail.k8s.client import Client
from exectrail.k8s.mirror import Mirror
from profiles.controller import session_api
from profiles.controller.retention import Session
from tests.unit.exectrail.api_server import ApiServer
from tests.unit.waiting import until


def stored(name: str, phase: str = "Open") -> dict[str, Any]:
    meta: dict[str, Any] = {
        "name": name,
        "namespace": "release",
        "uid": "7",
        "creationTimestamp": "2026-11-23T11:00:00Z",
        "labels": {"a": "b"},
    }
    target = {"namespace": "shop", "pod": "web-0"}
    spec = {"user": {"username": "alice"}, "verb": "exec", "resource": "pods/exec", "target": target, "recorded": True}
    spec |= {"command": ["sh"] * 1000, "time": "2026-11-23T11:00:00.000123Z"}
    return {"metadata": meta, "spec": spec, "status": {"phase": phase}}


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def mirror(server: ApiServer) -> Iterator[Mirror[Session]]:
    for number in range(250):
        server.put(stored(f"s{number}"))
    mirror = session_api.mirror(Client(server.url), "release")
    thread = threading.Thread(target=mirror.run)
    thread.start()
    assert mirror.synced.wait(10)
    yield mirror
    mirror.stop()
    server.end_watches()
    thread.join(10)
    assert not thread.is_alive()


def test_sessions_are_listed_once_and_then_watched(server: ApiServer, mirror: Mirror[Session]) -> None:
    assert len(mirror.objects) == 250
    server.wait_until_watched()
    requests = server.counts()
    server.put(stored("late"))
    until(lambda: "release/late" in mirror.objects)
    server.delete("s0")
    until(lambda: "release/s0" not in mirror.objects)
    assert server.counts() == requests == {"list": 3, "watch": 1}
    assert {asked.path for asked in server.asked} == {"/apis/exectrail.io/v1alpha1/namespaces/release/auditsessions"}


def test_of_a_session_that_is_not_open_only_name_age_phase_and_whose_it_is_are_kept(
    server: ApiServer, mirror: Mirror[Session]
) -> None:
    assert mirror.objects["release/s1"].spec.target.pod == "web-0"
    server.put(stored("s1", "Closed"))
    until(lambda: mirror.objects["release/s1"].status.phase == "Closed")
    kept = mirror.objects["release/s1"]
    assert kept.metadata.creation_timestamp == "2026-11-23T11:00:00Z"
    assert (kept.spec.target.pod, kept.metadata.labels) == ("", {})
    assert (kept.spec.target.namespace, kept.spec.user.username) == ("shop", "alice")
