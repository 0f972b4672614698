"""A request without a tag that shows only after its process was written: the process gets its name all the same."""

import pytest
from msgspec.structs import replace

from enricher.containers.pods import Container, ContainerStatus, EnvVar, PodSpec, PodStatus
from enricher.events import Process
from exectrail.contracts.record import Record
from tests.unit.enricher.rig import (
    ENTRY,
    INIT,
    OTHER_UID,
    UID,
    Rig,
    ask,
    at_request,
    debug_request,
    end,
    execute,
    matched_request,
    pod,
    script,
)

INTRUDER = Process(400, 4000)


def comes_in(rig: Rig, entry: Process = ENTRY, after_ms: int = 500) -> None:
    rig.happen(at_request(rig, execute(entry, "sh", "-c", "id"), after_ms))
    rig.wait(0.5)
    assert [(record.origin, record.user) for record in rig.records if record.kind == "exec"][-1] == ("untracked", None)


def starts(records: list[Record]) -> list[tuple[str | None, str | None, str | None, list[str] | None]]:
    return [(each.user, each.request_uid, each.reason, each.weak) for each in records if each.phase == "start"]


def test_a_request_that_shows_late_is_found_once_no_own_process_of_another_can_come(rig: Rig) -> None:
    comes_in(rig)
    ask(rig, matched_request())

    assert rig.wait(35.0) == []
    late = rig.wait(40.0)
    (after,) = rig.happen(execute(ENTRY, "id"), now=41.0)
    *_, ended = rig.happen(end(ENTRY), now=41.0)

    assert starts(late) == [("alice", UID, "late", ["requestUID", "user"])]
    assert (after.user, after.request_uid, after.origin) == ("alice", UID, "session")
    assert (ended.kind, ended.phase, ended.user) == ("session", "end", "alice")
    assert rig.reported == [("start", UID), ("end", UID)]


def test_a_request_for_a_script_that_shows_late_is_found(rig: Rig) -> None:
    rig.happen(at_request(rig, script(ENTRY, "/run.sh", "x")))
    rig.wait(0.5)
    ask(rig, matched_request(command=("/run.sh", "x")))

    assert starts(rig.wait(40.0)) == [("alice", UID, "late", ["requestUID", "user"])]


def test_of_a_process_that_has_ended_meanwhile_the_end_is_written_as_well(rig: Rig) -> None:
    comes_in(rig)
    rig.happen(end(ENTRY, code=3))
    ask(rig, matched_request())

    start, ended = rig.wait(40.0)

    assert starts([start]) == [("alice", UID, "late", ["requestUID", "user"])]
    assert (ended.phase, ended.user, ended.exit and ended.exit.code) == ("end", "alice", 3)
    assert rig.reported == [("start", UID), ("end", UID)]


def test_who_runs_the_same_a_moment_before_a_request_does_not_get_it(rig: Rig) -> None:
    comes_in(rig, INTRUDER, after_ms=-1_500)
    ask(rig, matched_request())
    rig.happen(at_request(rig, execute(ENTRY, "sh", "-c", "id")))

    own = rig.wait(2.0)

    assert starts(own) == [("alice", UID, None, ["requestUID", "user"])]
    assert rig.wait(60.0) == []


def test_of_two_that_one_request_can_have_made_none_is_chosen(rig: Rig) -> None:
    comes_in(rig)
    comes_in(rig, INTRUDER)
    ask(rig, matched_request())
    rig.wait(40.0)

    after = rig.happen(execute(ENTRY, "id"), execute(INTRUDER, "id"), now=40.0)

    assert [(each.user, each.candidates) for each in after] == [(None, [UID]), (None, [UID])]


def test_of_two_requests_that_show_late_none_is_chosen(rig: Rig) -> None:
    comes_in(rig)
    ask(rig, matched_request(), matched_request(OTHER_UID, "bob"))
    rig.wait(40.0)

    (after,) = rig.happen(execute(ENTRY, "id"), now=40.0)

    assert (after.user, after.candidates) == (None, [OTHER_UID, UID])
    assert rig.reported == [("ambiguous", OTHER_UID), ("ambiguous", UID)]


def test_an_entry_is_looked_for_ten_minutes(rig: Rig) -> None:
    comes_in(rig)
    rig.wait(600.0)
    rig.wait(606.0)
    ask(rig, matched_request())

    assert rig.wait(700.0) == []


def test_the_oldest_stays_as_it_is_where_too_many_wait(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enricher.emit.late_matches._MOST", 1)
    comes_in(rig)
    rig.happen(at_request(rig, execute(INTRUDER, "other")))
    rig.wait(1.0)
    ask(rig, matched_request(), matched_request(OTHER_UID, "bob", ("other",)))

    assert starts(rig.wait(40.0)) == [("bob", OTHER_UID, "late", ["requestUID", "user"])]


def test_an_ephemeral_container_whose_request_shows_late_is_found_by_its_name() -> None:
    spec = PodSpec([Container("app", "shop:1")], ephemeral_containers=[Container("debugger", "tools")])
    status = PodStatus(container_statuses=[ContainerStatus("app", "containerd://other")])
    rig = Rig({"exectrail.io/record": "true"}, pod(spec=spec, status=status))
    rig.happen(execute(INIT, "sh"))
    (ran,) = rig.wait(0.5)
    ask(rig, debug_request("debugger", tag="match"))

    assert (ran.origin, ran.user) == ("container", None)
    assert starts(rig.wait(40.0)) == [("alice", UID, "late", ["requestUID", "user"])]


@pytest.mark.parametrize("borrowed", [True, False])
def test_a_variable_with_another_uid_in_it_does_not_take_the_name_away(*, borrowed: bool) -> None:
    env = [EnvVar("SPO_EXEC_REQUEST_UID", OTHER_UID)]
    spec = PodSpec([Container("app", "shop:1")], ephemeral_containers=[Container("debugger", "tools", env)])
    status = PodStatus(container_statuses=[ContainerStatus("app", "containerd://other")])
    rig = Rig({"exectrail.io/record": "true"}, pod(spec=spec, status=status))
    ask(rig, *([matched_request(OTHER_UID, "bob")] if borrowed else []))
    rig.happen(execute(INIT, "sh"))
    rig.wait(0.5)
    ask(rig, debug_request("debugger", tag="match"))

    assert starts(rig.wait(40.0)) == [("alice", UID, "late", ["requestUID", "user"])]
    (after,) = rig.happen(execute(INIT, "id"), now=41.0)
    assert (after.user, after.request_uid) == ("alice", UID)
    assert [session.request_uid for session in rig.emitter.open_sessions()] == [UID]


def test_a_tag_whose_request_shows_late_and_is_for_another_command_is_forged_with_the_reason(rig: Rig) -> None:
    tagged = ("env", f"SPO_EXEC_REQUEST_UID={UID}", "evil")
    rig.happen(at_request(rig, execute(ENTRY, *tagged)))
    rig.wait(0.5)
    ask(rig, replace(matched_request(), spec=replace(matched_request().spec, tag="env")))

    (start,) = rig.wait(1.0)

    assert (start.state, start.reason, start.user) == ("forged", "other-command", None)
