"""Nobody gets another user's name by a tag, and nobody loses their own."""

from datetime import UTC, datetime

import msgspec
import pytest
from msgspec.structs import replace

from enricher.containers.pods import (
    Container,
    ContainerState,
    ContainerStatus,
    EnvVar,
    ExecAction,
    Handler,
    PodSpec,
    PodStatus,
    Started,
)
from enricher.correlate.process_tree import Entry, Node
from enricher.correlate.sessions import Session
from enricher.events import ExecEvent, Process
from exectrail.contracts.command_hash import command_hash
from exectrail.contracts.record import Record
from exectrail.contracts.session import AuditSession
from tests.unit.enricher.rig import (
    APP,
    ENTRY,
    INIT,
    OTHER_UID,
    REQUESTED_MS,
    SECOND,
    UID,
    Rig,
    ask,
    at_request,
    container_starts,
    debug_request,
    end,
    entering,
    execute,
    matched_request,
    pod,
    request,
)

KEY = b"k" * 32
INTRUDER = Process(400, 4000)
OWN = ("env", f"SPO_EXEC_REQUEST_UID={UID}", "sh", "-c", "id")
"""What the request's own process runs."""
BORROWED = ("env", f"SPO_EXEC_REQUEST_UID={UID}", "sh", "-c", "evil")


def who(records: list[Record], argv: tuple[str, ...] = BORROWED) -> tuple[str | None, str | None, str | None]:
    """Of the one record of this exec: the user, the request, and how sure that is."""
    (found,) = [record for record in records if record.kind == "exec" and record.argv == list(argv)]
    return found.user, found.request_uid, found.state


def claims(records: list[Record]) -> list[tuple[str | None, str | None, str | None, str | None]]:
    """What was reported of tags that are not their carrier's: UID, state, reason, user."""
    reported = [record for record in records if record.kind == "session" and not record.phase]
    return [(record.request_uid, record.state, record.reason, record.user) for record in reported]


def comes_in(rig: Rig, *argv: str, entry: Process = INTRUDER, after_ms: int = 500) -> list[Record]:
    """Somebody comes in with these arguments; returns the records once nothing more is waited for."""
    before = len(rig.records)
    rig.happen(at_request(rig, execute(entry, *argv), after_ms))
    rig.wait(0.5)
    return rig.records[before:]


def with_tag(audit: AuditSession, tag: str) -> AuditSession:
    spec = msgspec.convert({**msgspec.to_builtins(audit.spec), "tag": tag}, type(audit.spec))
    return replace(audit, spec=spec)


@pytest.mark.parametrize(
    ("asked", "argv", "reason"),
    [
        (with_tag(request(), "match"), ("sh", "-c", "id"), "not-tagged"),
        (with_tag(request(), "none"), ("sh", "-c", "id"), "not-tagged"),
        (request(), ("sh", "-c", "evil"), "other-command"),
        (request(), ("sh", "-c"), "other-command"),
        (request(), ("sh", "-c", "id", ""), "other-command"),
        (request(), (), "other-command"),
        (request(container="sidecar"), ("sh", "-c", "id"), "other-container"),
        (debug_request("app"), ("sh", "-c", "id"), "not-tagged"),
    ],
    ids=["of a request with match", "of one with none", "another command", "a word less", "a word more", "no command",
         "another container", "of an ephemeral container"],
)  # fmt: skip
def test_a_tag_counts_only_where_its_request_was_tagged_and_for_its_command(
    rig: Rig, asked: AuditSession, argv: tuple[str, ...], reason: str
) -> None:
    ask(rig, asked)
    tagged = ("env", f"SPO_EXEC_REQUEST_UID={UID}", *argv)

    records = comes_in(rig, *tagged)

    assert who(records, tagged) == (None, UID, "forged")
    (start,) = [record for record in records if record.phase == "start"]
    assert (start.reason, start.user, start.user_info) == (reason, None, None)
    assert start.request and start.request.verb == asked.spec.verb
    assert rig.reported == []


def test_who_comes_with_anothers_tag_before_its_process_does_not_take_it_away(rig: Rig) -> None:
    ask(rig, request())
    assert who(comes_in(rig, *BORROWED)) == (None, UID, "forged")

    rig.happen(*entering())

    assert who(rig.records[-1:], ("env", f"SPO_EXEC_REQUEST_UID={UID}", "sh", "-c", "id")) == (
        "alice",
        UID,
        "confirmed",
    )


@pytest.mark.parametrize("tag", ["match", "none", "env"])
def test_who_borrows_a_name_by_an_exec_without_prefix_stands_there_with_their_own(rig: Rig, tag: str) -> None:
    mallory = matched_request(OTHER_UID, "mallory", BORROWED)
    ask(rig, with_tag(request(), tag), mallory)

    records = comes_in(rig, *BORROWED)

    assert who(records) == ("mallory", OTHER_UID, "confirmed")
    assert claims(records) == [(UID, "forged", "other-command" if tag == "env" else "not-tagged", None)]
    (start,) = [record for record in records if record.phase == "start"]
    assert (start.request_uid, start.weak) == (OTHER_UID, ["requestUID", "user"])
    assert rig.reported == [("start", OTHER_UID)]


def test_a_used_uid_does_not_hide_who_comes_with_it(rig: Rig) -> None:
    ask(rig, request(), matched_request(OTHER_UID, "mallory", BORROWED))
    rig.happen(*entering())

    records = comes_in(rig, *BORROWED)

    assert who(records) == ("mallory", OTHER_UID, "confirmed")
    assert claims(records) == [(UID, "forged", "uid-used", None)]


def test_who_makes_a_uid_up_does_not_lose_their_own_name(rig: Rig) -> None:
    mallory = matched_request(OTHER_UID, "mallory", BORROWED)
    ask(rig, mallory)

    records = comes_in(rig, *BORROWED)
    ended = rig.happen(end(INTRUDER, code=3))

    assert who(records) == ("mallory", OTHER_UID, "confirmed")
    assert claims(records) == [(UID, "forged", "other-command", None)]
    assert [(each.request_uid, each.user, each.exit and each.exit.code) for each in ended] == [
        (OTHER_UID, "mallory", 3),
        (OTHER_UID, "mallory", 3),
    ]
    assert rig.reported == [("start", OTHER_UID), ("end", OTHER_UID)]


def test_a_made_up_uid_past_the_api_server_is_nobodys(rig: Rig) -> None:
    assert who(comes_in(rig, *BORROWED)) == (None, UID, "unconfirmed")
    assert claims(rig.records) == []


def test_what_descends_from_a_borrower_is_the_borrowers(rig: Rig) -> None:
    ask(rig, request(), matched_request(OTHER_UID, "mallory", BORROWED))
    comes_in(rig, *BORROWED)

    (record,) = rig.happen(execute(INTRUDER, "sh", "-c", "evil"))

    assert (record.user, record.request_uid, record.state) == ("mallory", OTHER_UID, "confirmed")


def test_two_requests_that_can_be_meant_are_both_candidates_also_of_a_borrower(rig: Rig) -> None:
    third = "11111111-188c-4596-a2a0-b64f75a1b8e4"
    ask(rig, request(), matched_request(OTHER_UID, "mallory", BORROWED), matched_request(third, "bob", BORROWED))

    records = comes_in(rig, *BORROWED)

    (made,) = [record for record in records if record.kind == "exec"]
    assert (made.origin, made.user, made.candidates) == ("session", None, sorted([OTHER_UID, third]))
    assert [claim[:2] for claim in claims(records)] == [(UID, "forged")]


def test_a_probe_that_carries_a_uid_is_a_probe() -> None:
    spec = PodSpec(containers=[Container("app", "shop:1", readiness_probe=Handler(ExecAction(list(BORROWED))))])
    rig = Rig({"exectrail.io/record": "true"}, pod(spec=spec))
    container_starts(rig)
    ask(rig, request())

    records = comes_in(rig, *BORROWED)

    (made,) = [record for record in records if record.kind == "exec"]
    assert (made.origin, made.user, made.request_uid) == ("probe", None, None)
    assert claims(records) == [(UID, "forged", "other-command", None)]


def test_a_containers_own_init_that_carries_a_uid_is_the_containers() -> None:
    rig = Rig({"exectrail.io/record": "true"}, pod())
    ask(rig, request())

    records = comes_in(rig, *BORROWED, entry=INIT)

    (made,) = [record for record in records if record.kind == "exec"]
    assert (made.origin, made.user, made.request_uid) == ("container", None, None)
    assert claims(records) == [(UID, "forged", "other-command", None)]


def test_an_exec_that_is_taken_for_the_containers_init_keeps_its_uid_until_its_request_shows() -> None:
    rig = Rig({"exectrail.io/record": "true"}, pod(status=started(before_ms=10_000)))

    comes_in(rig, *OWN, entry=INIT)
    ask(rig, request())
    rig.emitter.tick(1.0, 0)

    states = [(record.state, record.user, record.reason) for record in rig.records if record.phase]
    assert states == [("unconfirmed", None, None), ("confirmed", "alice", "late")]


@pytest.mark.parametrize("asks_first", [True, False], ids=["before", "after"])
def test_a_pod_whose_command_has_the_tag_of_a_request_gets_no_name_by_it(*, asks_first: bool) -> None:
    rig = Rig({"exectrail.io/record": "true"}, pod(status=started(before_ms=0)))
    ask(rig, *([request()] if asks_first else []))

    records = comes_in(rig, *OWN, entry=INIT)
    ask(rig, request())
    rig.emitter.tick(1.0, 0)

    assert who(records, OWN) == (None, None, None)
    assert claims(rig.records) == [(UID, "forged", "container-init", None)]
    assert {record.user for record in rig.records} == {None}
    rig.happen(*entering())
    assert who(rig.records[-1:], OWN) == ("alice", UID, "confirmed")


def started(before_ms: int) -> PodStatus:
    """The container runs, and began so long before what comes in half a second after the request."""
    at = datetime.fromtimestamp((REQUESTED_MS + 500 - before_ms) // 1000, UTC)
    state = ContainerState(Started(f"{at:%Y-%m-%dT%H:%M:%SZ}"))
    return PodStatus(container_statuses=[ContainerStatus("app", f"containerd://{APP}", state)])


@pytest.mark.parametrize(("created", "named"), [("2026-11-23T12:00:02Z", True), ("2026-11-23T12:00:03Z", False)])
@pytest.mark.parametrize("tag", ["env", "match"])
def test_a_request_for_an_earlier_pod_of_the_same_name_names_nothing_in_this_one(
    created: str, tag: str, *, named: bool
) -> None:
    young = pod()
    rig = Rig(
        {"exectrail.io/record": "true"}, replace(young, metadata=replace(young.metadata, creation_timestamp=created))
    )
    container_starts(rig)
    ask(rig, with_tag(request(), tag))

    records = comes_in(rig, *(OWN if tag == "env" else OWN[2:]), after_ms=4_000)

    assert {record.user for record in records} == ({"alice"} if named else {None})
    if tag == "env" and not named:
        assert [record.reason for record in records if record.kind == "session"] == ["other-pod"]


def test_a_process_that_is_older_than_a_request_cannot_take_its_name_by_running_its_command(rig: Rig) -> None:
    """After a restart of the enricher, how a process came in is not known of those that were there."""
    rig.started_ms = rig.wall_ms
    born = (REQUESTED_MS - 10_000 - rig.wall_ms(0)) // 10
    old, fresh = Process(400, born), Process(401, born + 1_050)
    for process in (old, fresh):
        rig.correlator.tree.backfill(Node(process, INIT, APP, process.born, Entry(process, None)))
    ask(rig, request())

    taken = comes_in(rig, *OWN, entry=old)
    own = comes_in(rig, *OWN, entry=fresh, after_ms=600)

    assert who(taken, OWN) == (None, UID, "forged")
    assert who(own, OWN) == ("alice", UID, "confirmed")
    assert {tuple(record.weak or ()) for record in own} == {("requestUID", "user", "origin")}


def test_of_two_that_come_with_the_uid_and_the_command_of_one_request_it_is_said_that_either_may_have_borrowed(
    rig: Rig,
) -> None:
    ask(rig, request())
    first = comes_in(rig, *OWN)
    second = comes_in(rig, *OWN, entry=ENTRY)
    (later,) = rig.happen(execute(INTRUDER, "id"))

    assert who(first, OWN) == ("alice", UID, "confirmed")
    assert who(second, OWN) == (None, UID, "forged")
    assert [record.reason for record in second if record.kind == "session"] == ["uid-contested"]
    assert (later.user, later.weak) == ("alice", ["requestUID", "user"])


def test_that_either_may_have_borrowed_is_said_also_of_a_session_that_was_open_before_a_restart(rig: Rig) -> None:
    ask(rig, request())
    before = Session(UID, INTRUDER, started=10 * SECOND, audit=request(), checked=True, start_seq=3)
    entry = Entry(INTRUDER, "session", before)
    rig.correlator.tree.backfill(Node(INTRUDER, INIT, APP, 10 * SECOND, entry))
    rig.sessions.restore({UID: INTRUDER}, [before])

    comes_in(rig, *OWN, entry=ENTRY)
    (later,) = rig.happen(execute(INTRUDER, "id"))

    assert (later.user, later.weak) == ("alice", ["requestUID", "user"])


def test_that_either_may_have_borrowed_is_said_also_where_the_request_shows_later(rig: Rig) -> None:
    comes_in(rig, *OWN)
    comes_in(rig, *OWN, entry=ENTRY)
    ask(rig, request())
    rig.emitter.tick(1.0, 0)

    (late,) = [record for record in rig.records if record.reason == "late"]
    assert (late.user, late.weak) == ("alice", ["requestUID", "user"])


def test_who_borrows_a_uid_in_the_same_moment_does_not_take_it_away(rig: Rig) -> None:
    ask(rig, request())

    rig.happen(execute(INTRUDER, *BORROWED), *entering())
    rig.wait(0.5)

    assert who(rig.records, OWN) == ("alice", UID, "confirmed")
    assert who(rig.records) == (None, UID, "forged")


def test_who_borrows_a_uid_before_its_request_shows_does_not_take_it_away(rig: Rig) -> None:
    comes_in(rig, *BORROWED)
    comes_in(rig, *OWN, entry=ENTRY)
    ask(rig, request())
    rig.emitter.tick(1.0, 0)

    assert who(rig.records, OWN) == (None, UID, "unconfirmed")
    shown = [(each.pid, each.state, each.reason) for each in rig.records if each.kind == "session"][2:]
    assert shown == [(INTRUDER.pid, "forged", "other-command"), (ENTRY.pid, "confirmed", "late")]
    (later,) = rig.happen(execute(ENTRY, "ls"))
    assert (later.user, later.state, later.weak) == ("alice", "confirmed", None)


def test_the_first_that_came_before_its_request_shows_goes_before_one_that_comes_then(rig: Rig) -> None:
    comes_in(rig, *OWN, entry=ENTRY)
    ask(rig, request())
    records = comes_in(rig, *OWN)
    rig.emitter.tick(1.0, 0)

    assert who(records, OWN) == (None, UID, "forged")
    (late,) = [each for each in rig.records if each.reason == "late"]
    assert (late.pid, late.user, late.weak) == (ENTRY.pid, "alice", ["requestUID", "user"])


def test_a_process_whose_container_is_not_known_has_no_name_yet() -> None:
    several = PodSpec(containers=[Container("app", "shop:1"), Container("sidecar", "shop:1")])
    rig = Rig({"exectrail.io/record": "true"}, pod(spec=several, status=PodStatus()))
    container_starts(rig)
    ask(rig, request(container="sidecar"))

    rig.happen(*entering())
    rig.wait(10.0)

    assert who(rig.records, OWN) == (None, UID, "unconfirmed")


# ---- by the pod's spec ----


def ephemeral(variable: str | None) -> Rig:
    """A pod with an ephemeral container that has this UID for its variable."""
    env = [EnvVar("SPO_EXEC_REQUEST_UID", variable)] if variable else []
    spec = PodSpec(containers=[Container("app", "shop:1")], ephemeral_containers=[Container("debugger", "tools", env)])
    status = PodStatus(container_statuses=[ContainerStatus("app", "containerd://other")])
    return Rig({"exectrail.io/record": "true"}, pod(spec=spec, status=status))


def test_a_variable_that_the_webhook_did_not_put_there_gives_no_name_and_takes_none_away() -> None:
    rig = ephemeral(UID)
    ask(rig, request(container=""), debug_request("debugger", OTHER_UID, "mallory", tag="match"))

    records = comes_in(rig, "sh", entry=INIT)

    assert who(records, ("sh",)) == ("mallory", OTHER_UID, "confirmed")
    assert claims(records) == [(UID, "forged", "not-tagged", None)]


def test_a_variable_with_the_uid_of_an_exec_gives_no_name() -> None:
    rig = ephemeral(UID)
    ask(rig, request(container=""))

    assert who(comes_in(rig, "sh", entry=INIT), ("sh",)) == (None, UID, "forged")


# ---- how commands are compared ----


def long(words: int) -> tuple[str, ...]:
    return ("echo", *(f"word-{number}" for number in range(words)))


def cut(audit: AuditSession, hashed: tuple[str, ...] | None) -> AuditSession:
    """A request of which only the beginning of the command is kept; with its hash, where there is one."""
    command = ["echo", "word-0", "wo[cut: 4711 bytes in 98 words]"]
    text = command_hash(KEY, [word.encode() for word in hashed]) if hashed else ""
    return replace(audit, spec=replace(audit.spec, command=command, command_hash=text))


@pytest.mark.parametrize(
    ("hashed", "key", "argv", "truncated", "state", "weak"),
    [
        (long(100), KEY, long(100), False, "confirmed", None),
        (long(100), KEY, long(99), False, "forged", None),
        (long(100), KEY, ("echo", "word-0", "wo[cut: 4711 bytes in 98 words]"), False, "forged", None),
        (None, None, long(100), False, "confirmed", ["requestUID", "user"]),
        (None, None, ("echo", "word-1"), False, "forged", None),
        (long(100), None, long(100), False, "confirmed", ["requestUID", "user"]),
        (long(100), KEY, long(50), True, "confirmed", ["requestUID", "user"]),
        (long(100), KEY, ("echo", "other"), True, "forged", None),
    ],
    ids=["hash", "other hash", "the mark itself", "no key, beginning", "no key, other", "key not known here",
         "arguments cut", "arguments cut, other"],
)  # fmt: skip
def test_the_hash_decides_and_without_it_the_words_that_are_there(
    rig: Rig,
    hashed: tuple[str, ...] | None,
    key: bytes | None,
    argv: tuple[str, ...],
    truncated: bool,
    state: str,
    weak: list[str] | None,
) -> None:
    rig.asked.key = key
    ask(rig, cut(request(), hashed))
    event = at_request(rig, execute(ENTRY, "env", f"SPO_EXEC_REQUEST_UID={UID}", *argv))

    rig.happen(replace(event, truncated=truncated))
    rig.wait(0.5)

    (start,) = [record for record in rig.records if record.phase == "start"]
    assert (start.state, start.weak) == (state, weak)


def test_a_request_that_was_hashed_with_another_key_is_known_by_its_words(rig: Rig) -> None:
    rig.asked.key = KEY
    asked = request()
    other = command_hash(b"o" * 32, [b"sh", b"-c", b"id"])
    ask(rig, replace(asked, spec=replace(asked.spec, command_hash=other)))

    rig.happen(*entering())

    assert {record.state for record in rig.records} == {"confirmed"}


def test_an_exec_of_arguments_that_are_cut_is_found_without_a_tag_as_well(rig: Rig) -> None:
    rig.asked.key = KEY
    ask(rig, cut(matched_request(), long(100)))
    event: ExecEvent = at_request(rig, execute(ENTRY, *long(50)))

    rig.happen(replace(event, truncated=True))

    assert {record.user for record in rig.wait(0.5)} == {"alice"}
