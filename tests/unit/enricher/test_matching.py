"""Requests without a tag, and many at once: whose a process is, or whose it can be."""

import pytest
from msgspec.structs import replace

from enricher.events import Process
from exectrail.contracts.command_hash import command_hash
from tests.unit.enricher.rig import (
    ENTRY,
    OTHER_UID,
    UID,
    Rig,
    ask,
    at_request,
    end,
    execute,
    matched_request,
    request,
    script,
)


def test_an_entry_without_a_tag_belongs_to_the_only_request_that_can_be_meant(rig: Rig) -> None:
    ask(rig, matched_request())
    rig.happen(at_request(rig, execute(ENTRY, "sh", "-c", "id")), now=0.0)

    start, entry = rig.wait(0.5)

    assert (start.kind, entry.user, entry.request_uid, entry.origin) == ("session", "alice", UID, "session")
    assert start.weak == ["requestUID", "user"]


def test_of_two_requests_that_can_be_meant_none_is_chosen_and_both_are_named(rig: Rig) -> None:
    ask(rig, matched_request(), matched_request(OTHER_UID, "bob"))
    rig.happen(at_request(rig, execute(ENTRY, "sh", "-c", "id")), now=0.0)

    (entry,) = rig.wait(0.5)

    assert (entry.origin, entry.user, entry.request_uid) == ("session", None, None)
    assert entry.candidates == [OTHER_UID, UID]


@pytest.mark.parametrize("key", [None, b"k" * 32], ids=["by its words", "by its hash"])
@pytest.mark.parametrize("asked", ["/usr/bin/run.sh", "run.sh"])
def test_a_script_belongs_to_the_request_for_it_without_its_interpreter(
    rig: Rig, asked: str, key: bytes | None
) -> None:
    made, rig.asked.key = matched_request(command=(asked, "x")), key
    hashed = command_hash(key, [asked.encode(), b"x"]) if key else ""
    ask(rig, replace(made, spec=replace(made.spec, command_hash=hashed)))
    rig.happen(at_request(rig, script(ENTRY, "/usr/bin/run.sh", "x")), now=0.0)

    _, entry = rig.wait(0.5)

    assert (entry.user, entry.request_uid, entry.weak) == ("alice", UID, ["requestUID", "user"])


@pytest.mark.parametrize(
    ("argv", "after_ms"), [(("sh", "-c", "ls"), 500), (("sh", "-c", "id"), 31_000), (("sh", "-c", "id"), -5_000)]
)
def test_another_command_or_another_time_is_no_match(rig: Rig, argv: tuple[str, ...], after_ms: int) -> None:
    ask(rig, matched_request())
    rig.happen(at_request(rig, execute(ENTRY, *argv), after_ms), now=0.0)

    (entry,) = rig.wait(0.5)

    assert (entry.origin, entry.request_uid) == ("untracked", None)


def test_a_request_is_matched_once(rig: Rig) -> None:
    ask(rig, matched_request())
    rig.happen(at_request(rig, execute(ENTRY, "sh", "-c", "id")), now=0.0)
    rig.wait(0.5)

    rig.happen(at_request(rig, execute(Process(400, 4000), "sh", "-c", "id")), now=1.0)

    assert [record.origin for record in rig.wait(1.5)] == ["untracked"]


def test_a_tagged_request_is_not_matched_by_its_command(rig: Rig) -> None:
    ask(rig, request())
    rig.happen(at_request(rig, execute(ENTRY, "sh", "-c", "id")), now=0.0)

    assert [record.origin for record in rig.wait(0.5)] == ["untracked"]


def test_two_hundred_identical_execs_at_once_are_each_bound_to_their_own_request(rig: Rig) -> None:
    uids = [f"{number:08x}-188c-4596-a2a0-b64f75a1b8e4" for number in range(200)]
    rig.requests |= {uid: request(uid) for uid in uids}
    entries = [Process(1000 + number, 5000) for number in range(200)]

    for uid, entry in zip(uids, entries, strict=True):
        rig.happen(execute(entry, "env", f"SPO_EXEC_REQUEST_UID={uid}", "sh", "-c", "id"), end(entry))

    starts = [record for record in rig.records if record.phase == "start"]
    assert sorted(record.request_uid or "" for record in starts) == uids
    assert {record.state for record in starts} == {"confirmed"}
    assert len({record.entry_key for record in starts}) == 200


def test_two_hundred_identical_execs_without_a_tag_are_given_to_nobody(rig: Rig) -> None:
    uids = [f"{number:08x}-188c-4596-a2a0-b64f75a1b8e4" for number in range(200)]
    ask(rig, *[matched_request(uid) for uid in uids])
    for number in range(200):
        rig.happen(at_request(rig, execute(Process(1000 + number, 5000), "sh", "-c", "id")), now=0.0)

    records = rig.wait(0.5)

    assert len(records) == 200
    assert {(record.origin, record.request_uid, record.user) for record in records} == {("session", None, None)}
    assert all(record.candidates == uids for record in records)


def test_requests_that_cannot_be_distinguished_are_reported_as_ambiguous(rig: Rig) -> None:
    ask(rig, matched_request(), matched_request(OTHER_UID, "bob"))

    rig.happen(at_request(rig, execute(ENTRY, "sh", "-c", "id")), now=0.0)
    rig.wait(0.5)

    assert rig.reported == [("ambiguous", OTHER_UID), ("ambiguous", UID)]
