"""When parts fail: no exec fails because of exectrail, and what can go on goes on."""

from typing import Any

import pytest

from .cluster import eventually
from .product import NAMESPACE
from .sessions import Person, auditsessions, closed, records_of


@pytest.mark.values("enricher.capabilities.bpf=false")
def test_without_the_capability_for_ebpf_it_goes_on_and_says_what_is_weak(alice: Person, profiled: str) -> None:
    def reported() -> dict[str, Any]:
        status: dict[str, Any] = alice.admin.get("nodetrail", "node1")["status"]
        assert status["sensor"] == "proc"
        return status

    assert "argv" in eventually(reported, 60)["weak"]
    log = alice.admin.kubectl("logs", "-n", NAMESPACE, "ds/exectrail-enricher").stdout
    assert "CAP_BPF" in log
    done, session = alice.does("exec", "-n", profiled, "web", "--", "sh", "-c", "sleep 1; sleep 1", check=False)
    assert done.returncode == 0
    records = eventually(lambda: [r for r in records_of(session["metadata"]["name"]) if r.kind == "exec"])
    assert {record.user for record in records} == {"alice"}
    assert all("argv" in (record.weak or []) for record in records)


@pytest.mark.values(
    "controller.extraArgs[0]=--interval=1",
    # Above the time between two heartbeats: the next one proves that the node would have seen the process.
    "controller.extraArgs[1]=--start-grace=3",
    "enricher.extraArgs[0]=--heartbeat=2",
)
def test_an_exec_that_never_becomes_a_process_is_closed_as_never_started(alice: Person, recorded: str) -> None:
    # kubectl asks twice: its WebSocket request is refused, so it tries SPDY.
    done, sessions = alice.does_all(
        "exec", "-n", recorded, "web", "-c", "no-such-container", "--", "id", check=False, sessions=2
    )

    assert done.returncode != 0
    for session in sessions:
        assert session["spec"]["target"]["container"] == "no-such-container"
        assert closed(session["metadata"]["name"])["outcome"] == "never-started"


@pytest.mark.values("sessions.retention.count=3", "controller.extraArgs[0]=--interval=1")
def test_sessions_are_deleted_when_there_are_too_many(alice: Person, plain: str) -> None:
    for _ in range(5):
        alice.does("exec", "-n", plain, "web", "--", "true")

    def names() -> list[str]:
        return [each["metadata"]["name"] for each in auditsessions()]

    eventually(lambda: len(names()) <= 3, 60)


def test_a_session_that_ended_is_closed_with_its_result(alice: Person, recorded: str) -> None:
    uid, _ = alice.executes(recorded, "sh", "-c", "kill -9 $$", code=137)

    assert closed(uid)["exit"] == {"signal": "SIGKILL"}
