"""What an enricher keeps over a restart comes back as it was, or is refused with a word; never with an exception."""

import os
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.clock import Clock
from enricher.containers.containers import Container
from enricher.correlate.process_tree import Entry, Node, Tree
from enricher.correlate.sessions import Command, Session
from enricher.emit.gap import Gap
from enricher.events import Process
from enricher.procfs import Proc
from enricher.state import checkpoint, progress_marker, trail_replay
from enricher.state.checkpoint import Checkpoint, KeptEntry, KeptProcess, KeptSession
from enricher.state.checkpoint_writer import CheckpointWriter, View
from enricher.state.previous_run import look_back
from enricher.state.progress_marker import Alive, Moment, Progress, between, forks
from enricher.state.restore import restore, session_of
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.record import Resource
from exectrail.contracts.session import AuditSession, SessionSpec, Target, User
from exectrail.service.atomic_file import Unusable

UID = "de193172-188c-4596-a2a0-b64f75a1b8e4"
BOOT = "669e1086-0000-4000-8000-000000000000"
APP = "a" * 64
SHELL = Process(50, 99)
AUDIT = AuditSession(
    ObjectMeta(name=UID), SessionSpec(User("alice"), "exec", "pods/exec", Target("shop", "web", "app"), time="t")
)

processes = st.builds(Process, st.integers(0, 2**22), st.integers(0, 2**50))
texts = st.text(max_size=20)
sessions = st.builds(
    KeptSession,
    request_uid=texts,
    entry=processes,
    started=st.integers(0, 2**60),
    rejected=st.sampled_from([None, "uid-used", "other-command"]),
    found_by=st.sampled_from(["argv", "spec", "request"]),
    command=st.none() | st.builds(Command, st.binary(max_size=20), st.booleans()),
    container=st.none() | st.builds(Container, texts, st.builds(Resource, texts, texts, texts), texts, texts),
    audit=st.none() | st.just(AUDIT),
    start_seq=st.none() | st.integers(0, 2**50),
    ended=st.booleans(),
)
entries = st.builds(KeptEntry, process=processes, origin=st.sampled_from([None, "session", "container", "untracked"]))


@st.composite
def checkpoints(draw: st.DrawFn) -> Checkpoint:
    made = Checkpoint(
        boot_id=draw(texts), seq=draw(st.integers(-1, 2**50)), bound=draw(st.dictionaries(texts, processes))
    )
    made.sessions, made.entries = draw(st.lists(sessions, max_size=3)), draw(st.lists(entries, max_size=3))
    made.containers = draw(st.lists(texts, max_size=3))
    for entry in made.entries if made.sessions else ():
        entry.session = draw(st.none() | st.integers(0, len(made.sessions) - 1))
    if made.entries and made.containers:
        at = st.integers(0, len(made.containers) - 1), st.integers(0, len(made.entries) - 1)
        number = st.integers(0, 2**50)
        made.processes = draw(st.lists(st.builds(KeptProcess, number, number, number, number, number, *at), max_size=4))
    return made


# ---- the format ----


@given(checkpoints())
def test_what_is_kept_comes_back(kept: Checkpoint) -> None:
    assert checkpoint.decode(checkpoint.encode(kept)) == kept


@given(checkpoints())
def test_a_checkpoint_that_is_cut_anywhere_is_refused(kept: Checkpoint) -> None:
    data = checkpoint.encode(kept)
    for size in range(len(data)):
        with pytest.raises(Unusable) as refused:
            checkpoint.decode(data[:size])
        assert refused.value.cause == "checkpoint-unreadable"


@given(st.binary())
def test_whatever_stands_in_the_files_is_read_or_refused(data: bytes) -> None:
    for decode in (checkpoint.decode, progress_marker.decode):
        with pytest.raises(Unusable):
            decode(data)


def kept_with(**fields: object) -> bytes:
    whole = msgspec.to_builtins(Checkpoint(boot_id=BOOT, containers=[APP], entries=[KeptEntry(SHELL)]))
    return msgspec.json.encode({**whole, **fields})


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (kept_with(format=2), "checkpoint-format"),
        (kept_with(format="1"), "checkpoint-unreadable"),
        (kept_with(processes=[[1, 2, 3, 4, 5, 0, 1]]), "checkpoint-unreadable"),
        (kept_with(processes=[[1, 2, 3, 4, 5, -1, 0]]), "checkpoint-unreadable"),
        (kept_with(entries=[{"process": {"pid": 1, "start": 2}, "session": 0}]), "checkpoint-unreadable"),
        (b"[" * 100_000, "checkpoint-unreadable"),
        (b'{"format":1}\xff', "checkpoint-unreadable"),
    ],
    ids=["newer", "no number", "no such entry", "no such container", "no such session", "deep", "no UTF-8"],
)
def test_what_cannot_be_used_says_why(data: bytes, cause: str) -> None:
    with pytest.raises(Unusable) as refused:
        checkpoint.decode(data)
    assert refused.value.cause == cause


# ---- what is taken ----


def node(process: Process, entry: Entry | None) -> Node:
    return Node(process, Process(1, 1), APP, 5, entry)


def test_an_entry_that_waits_for_its_explanation_is_not_kept_as_untracked() -> None:
    waiting, settled = Entry(SHELL, "untracked"), Entry(Process(60, 1), "untracked", settled=True)

    kept = checkpoint.take(BOOT, 7, [node(SHELL, waiting), node(Process(60, 1), settled)], [], {})

    assert [each.origin for each in kept.entries] == [None, "untracked"]


def test_processes_of_one_entry_share_it_and_the_runtimes_own_are_not_kept() -> None:
    session = Session(UID, SHELL, start_seq=3)
    entry = Entry(SHELL, "session", session)

    kept = checkpoint.take(
        BOOT, 7, [node(SHELL, entry), node(Process(51, 100), entry), node(Process(9, 9), None)], [session], {UID: SHELL}
    )

    assert [(each.pid, each.container, each.entry) for each in kept.processes] == [(50, 0, 0), (51, 0, 0)]
    assert [(each.process, each.session) for each in kept.entries] == [(SHELL, 0)]
    assert [(each.request_uid, each.start_seq) for each in kept.sessions] == [(UID, 3)]
    assert checkpoint.decode(checkpoint.encode(kept)) == kept


# ---- the trail as a journal ----


def line(kind: str, seq: int, pid: int = 50, **fields: object) -> bytes:
    of = {"processKey": f"669e1086-{pid}-99", "entryKey": "669e1086-50-99", "parentKey": "669e1086-1-1"}
    known = {"kind": kind, "seq": seq, "timestamp": "2026-11-23T12:00:00.000Z", "containerID": APP, **of}
    return msgspec.json.encode({**known, "origin": "session", "requestUID": UID, **fields})


def applied(kept: Checkpoint, *lines: bytes) -> Checkpoint:
    trail_replay.apply(trail_replay.since(kept.seq, lines[::-1], lambda _process: True), kept, lambda wall_ms: wall_ms)
    return kept


def replayed(lines: list[bytes], *alive: int) -> list[int]:
    """Numbers of the records that are kept."""
    return [each.seq for each in trail_replay.since(2, lines[::-1], lambda process: process.pid in alive)]


def test_what_the_dead_left_is_not_kept_however_much_it_is() -> None:
    of_dead_entry = [line("exec", seq, pid=60, entryKey="669e1086-60-99") for seq in range(3, 1000)]
    of_itself = [line("exec", seq) for seq in range(1000, 2000)]
    of_live_entry = [line("clone", seq, pid=seq) for seq in range(2000, 3000)]
    ends = [line("exit", seq, pid=seq - 1000) for seq in range(3000, 4000)]

    assert replayed(of_dead_entry + of_itself + of_live_entry + ends, 50) == [1000, 2999]


def test_sessions_are_kept_whoever_lives() -> None:
    assert replayed([line("session", 3, phase="start"), line("exec", 4), line("session", 5, phase="end")]) == [3, 5]


def test_a_live_process_was_born_with_its_first_record_and_its_entry_is_what_the_last_one_of_any_says() -> None:
    of = {"requestUID": None, "origin": "untracked"}
    lines = [
        line("clone", 3, pid=51, timestamp="2026-11-23T12:00:01.000Z", **of),
        line("exec", 4, pid=51, timestamp="2026-11-23T12:00:02.000Z", **of),
        line("exec", 5, pid=51, timestamp="2026-11-23T12:00:03.000Z", **of),
        line("clone", 6, pid=52, origin="session"),
    ]
    kept = Checkpoint(boot_id=BOOT, seq=2)

    found = trail_replay.since(2, lines[::-1], lambda process: process.pid in (50, 51))
    trail_replay.apply(found, kept, lambda wall_ms: wall_ms % 60_000)

    assert [each.born for each in kept.processes if each.pid == 51] == [1000]
    assert [(each.process, each.origin, each.session) for each in kept.entries] == [(SHELL, "session", 0)]


def test_what_the_trail_has_beyond_the_checkpoint_is_added_once() -> None:
    lines = [line("session", 3, phase="start"), line("exec", 4), line("clone", 5, pid=51), line("exec", 6, pid=51)]

    kept = applied(Checkpoint(boot_id=BOOT, seq=2), *lines)

    assert [(each.request_uid, each.start_seq, each.ended) for each in kept.sessions] == [(UID, 3, False)]
    assert [(each.process, each.origin, each.session) for each in kept.entries] == [(SHELL, "session", 0)]
    assert [(each.pid, each.parent_pid) for each in kept.processes] == [(50, 1), (51, 1)]
    again = msgspec.json.encode(kept)
    kept.seq = 2
    assert msgspec.json.encode(applied(kept, *lines)) == again


def test_whose_requests_an_entry_may_be_of_is_what_the_last_record_says() -> None:
    of_none = line("exec", 3, requestUID=None, origin="untracked")
    of_two = line("exec", 4, requestUID=None, candidates=["a", "b"])
    of_one = line("exec", 5)

    kept = applied(Checkpoint(boot_id=BOOT, seq=2), of_none, of_two)
    assert [(each.origin, each.candidates, each.session) for each in kept.entries] == [("session", ["a", "b"], None)]
    kept = applied(Checkpoint(boot_id=BOOT, seq=2), of_two, of_one)
    assert [(each.candidates, each.session) for each in kept.entries] == [([], 0)]


def test_an_entry_whose_request_showed_late_is_of_its_session_though_nothing_of_it_was_recorded_after() -> None:
    at_first = line("exec", 3, requestUID=None, origin="untracked")
    late = line("session", 4, phase="start", state="confirmed", reason="late")

    kept = applied(Checkpoint(boot_id=BOOT, seq=2), at_first, late)

    assert [(each.origin, each.candidates, each.session) for each in kept.entries] == [("session", [], 0)]


ASKED: dict[str, Any] = {
    "state": "confirmed",
    "user": "alice",
    "userInfo": {"groups": ["dev"]},
    "request": {"verb": "exec", "resource": "pods/exec", "command": ["sh"], "tty": True},
    "resource": {"namespace": "shop", "pod": "web", "container": "app"},
}


def test_who_asked_is_known_from_the_trail_where_the_checkpoint_does_not_have_it() -> None:
    kept = applied(Checkpoint(boot_id=BOOT, seq=2), line("session", 3, phase="start", **ASKED))

    (session,) = kept.sessions
    assert session.audit == AuditSession(
        ObjectMeta(name=UID),
        SessionSpec(
            User("alice", groups=["dev"]),
            "exec",
            "pods/exec",
            Target("shop", "web", "app"),
            "2026-11-23T12:00:00.000Z",
            ["sh"],
            tty=True,
        ),
    )
    assert checkpoint.decode(checkpoint.encode(kept)) == kept


def test_a_uid_is_bound_once_its_request_is_known() -> None:
    seen = line("session", 3, phase="start", state="unconfirmed")
    late = line("session", 4, phase="start", **ASKED)

    assert applied(Checkpoint(boot_id=BOOT, seq=2), seen).bound == {}
    assert applied(Checkpoint(boot_id=BOOT, seq=2), seen, late).bound == {UID: SHELL}


@pytest.mark.parametrize(("reason", "rejected"), [("other-command", "other-command"), (None, "uid-used")])
def test_what_the_trail_calls_forged_stays_so(reason: str | None, rejected: str) -> None:
    seen = line("session", 3, phase="start", state="unconfirmed")
    found_out = line("session", 4, phase="start", state="forged", reason=reason)
    later = line("exec", 5, state="forged")

    kept = applied(Checkpoint(boot_id=BOOT, seq=2), seen, found_out, later)

    assert [(each.rejected, each.audit) for each in kept.sessions] == [(rejected, None)]
    assert kept.bound == {}
    (session,) = map(session_of, kept.sessions)
    assert session.state == "forged"


def test_an_attach_is_no_session_that_could_go_on() -> None:
    attach = {"request": {"verb": "attach", "resource": "pods/attach"}}

    kept = applied(Checkpoint(boot_id=BOOT, seq=2), line("session", 3, phase="start", **{**ASKED, **attach}))

    assert kept.sessions == []


@pytest.mark.parametrize(
    "other",
    [
        {"state": "unconfirmed"},
        {"state": "forged"},
        {"user": None},
        {"resource": None},
        {"request": {"verb": "another", "resource": "pods/exec"}},
    ],
    ids=["unconfirmed", "forged", "nobody", "nowhere", "of a verb that is not known"],
)
def test_nobody_is_taken_for_who_asked_that_the_trail_does_not_vouch_for(other: dict[str, Any]) -> None:
    kept = applied(Checkpoint(boot_id=BOOT, seq=2), line("session", 3, phase="start", **{**ASKED, **other}))

    assert [(each.request_uid, each.audit) for each in kept.sessions] == [(UID, None)]


def test_a_session_whose_end_is_in_the_trail_is_over() -> None:
    kept = Checkpoint(boot_id=BOOT, seq=2, sessions=[KeptSession(UID, SHELL, start_seq=1)])

    assert applied(kept, line("session", 3, phase="end")).sessions == [KeptSession(UID, SHELL, start_seq=1, ended=True)]


@pytest.mark.parametrize(
    "other",
    [
        b'{"version":"spo/v1',
        b"",
        line("session", 2, phase="start"),
        line("exec", 3, processKey="00000000-50-99"),
        line("exec", 3, processKey="669e1086-x-99"),
        line("exec", 3, processKey=f"669e1086-{'9' * 5000}-99"),
        line("exec", 3, processKey=f"669e1086-50-{'9' * 20}"),
        line("exec", 3, timestamp="2026-31-23T12:00:00.000Z"),
        line("exec", 3, timestamp="0001-01-01T00:00:00.000"),
        line("exec", 3, timestamp="9999-12-31T23:59:59.999Z"),
        line("exec", 3, entryKey=None),
    ],
    ids=[
        "a torn line",
        "an empty one",
        "an older record",
        "another boot",
        "no process",
        "a pid of many digits",
        "a start that 64 bits do not hold",
        "no time",
        "the first time",
        "the last time",
        "no entry",
    ],
)
def test_lines_of_no_use_are_passed_over(other: bytes) -> None:
    assert applied(Checkpoint(boot_id=BOOT, seq=2), other) == Checkpoint(boot_id=BOOT, seq=2)


@given(
    st.from_regex(r"669e1086-[0-9]{1,25}-[0-9]{1,25}", fullmatch=True), st.datetimes().map(str) | st.text(max_size=9)
)
def test_whatever_a_damaged_line_says_a_checkpoint_can_be_written_with_it(key: str, timestamp: str) -> None:
    damaged = [line(kind, 3, phase="start", processKey=key, timestamp=timestamp) for kind in ("session", "clone")]
    kept = Checkpoint(boot_id=BOOT, seq=2)

    trail_replay.apply(trail_replay.since(2, damaged, lambda _process: True), kept, Clock().boot_ns)

    assert checkpoint.decode(checkpoint.encode(kept)) == kept


@pytest.mark.parametrize("timestamp", ["yesterday", "2026-31-23T12:00:00.000Z", "0001-01-01T00:00:00.000"])
def test_a_damaged_line_at_the_trails_end_stops_no_start(tmp_path: Path, timestamp: str) -> None:
    lines = [line("exec", 7, timestamp=timestamp), line("exec", 6)]

    found = look_back(CheckpointWriter(tmp_path, BOOT), lambda: lines, Clock(), BOOT, written=7)

    assert [(each.reason, each.since_ms) for each in found.gaps] == [("checkpoint-missing", 1_795_435_200_000)]


# ---- how far the trail is complete ----


def test_a_moment_is_complete_once_what_was_sealed_by_then_is_written() -> None:
    progress = Progress()

    assert progress.note(Moment(at=100, complete=100, seq=0, forks=10), written=0) == (100, 10)
    assert progress.note(Moment(at=200, complete=190, seq=5, forks=20), written=3) == (100, 10)
    assert progress.note(Moment(at=300, complete=290, seq=9, forks=30), written=5) == (190, 10)
    assert progress.note(Moment(at=400, complete=390, seq=9, forks=40), written=9) == (390, 30)


def test_a_storage_that_takes_nothing_for_hours_costs_no_memory_and_no_honesty() -> None:
    progress = Progress()
    progress.note(Moment(at=0, complete=0, seq=0, forks=1), written=0)
    for second in range(1, 10_000):
        assert progress.note(Moment(second, second, second, second), written=0) == (0, 1)

    assert len(progress._moments) < 1000
    assert progress.note(Moment(10_000, 10_000, 10_000, 10_000), written=10_000) == (10_000, 10_000)


def test_nothing_is_complete_until_what_was_sealed_at_the_start_is_written() -> None:
    progress = Progress()

    assert progress.note(Moment(at=100, complete=100, seq=4, forks=10), written=3) is None
    assert progress.note(Moment(at=200, complete=190, seq=5, forks=20), written=3) is None
    assert progress.note(Moment(at=300, complete=290, seq=5, forks=30), written=4) == (100, 10)


@pytest.mark.parametrize(
    ("boot", "expected"),
    [
        (BOOT, Gap("restart", 9_000, 7_000, {"processes": 5})),
        ("another", Gap("reboot", 9_000, 6_500, None, BOOT)),
    ],
    ids=["same boot, the clock was set", "another boot"],
)
def test_the_gap_reaches_from_the_last_word_to_now(boot: str, expected: Gap) -> None:
    before = Alive(BOOT, until=2_000_000_000, until_ms=6_500, forks=20)

    assert between(before, boot, offset_ns=5_000_000_000, now_ms=9_000, forks=25) == expected


# ---- the files ----


def view(at: int = 0, sealed: int = 7, version: int = 1, written: int | None = None) -> View:
    moment = Moment(at, at, sealed, forks())
    kept = Checkpoint(boot_id=BOOT, seq=sealed, bound={UID: SHELL})
    return View(moment, 0, sealed if written is None else written, version, kept)


def causes(folder: Path, written: int = 7) -> list[str]:
    found = look_back(CheckpointWriter(folder, BOOT), lambda: (), Clock(), BOOT, written=written)
    return [each.reason for each in found.gaps]


def kept_in(folder: Path) -> None:
    checkpoint_writer = CheckpointWriter(folder, BOOT)
    checkpoint_writer.start(view())
    checkpoint_writer.close(view())


def test_the_first_start_on_a_node_leaves_no_gap(tmp_path: Path) -> None:
    assert causes(tmp_path, written=-1) == []


def test_what_is_kept_is_found_by_the_next_one(tmp_path: Path) -> None:
    kept_in(tmp_path)

    found = look_back(CheckpointWriter(tmp_path, BOOT), lambda: (), Clock(), BOOT, written=7)

    assert [each.reason for each in found.gaps] == ["restart"]
    assert found.kept
    assert (found.kept.seq, found.kept.bound) == (7, {UID: SHELL})
    assert {file.stat().st_mode & 0o777 for file in tmp_path.glob("*.json")} == {0o600}


@pytest.mark.parametrize(
    ("name", "damage", "expected"),
    [
        ("checkpoint.json", b"", ["restart", "checkpoint-unreadable"]),
        ("checkpoint.json", b'{"format":2}', ["restart", "checkpoint-format"]),
        ("alive.json", b"{", ["checkpoint-unreadable"]),
        ("alive.json", b"", ["checkpoint-missing"]),
        ("checkpoint.json", None, ["restart", "checkpoint-missing"]),
    ],
)
def test_every_fault_of_what_was_kept_is_a_gap_with_its_name(
    tmp_path: Path, name: str, damage: bytes | None, expected: list[str]
) -> None:
    kept_in(tmp_path)
    (tmp_path / name).unlink() if damage is None else (tmp_path / name).write_bytes(damage)

    assert causes(tmp_path) == expected


def test_a_start_that_was_sealed_and_never_written_is_reported_again(tmp_path: Path) -> None:
    open_sessions = [Session(UID, SHELL, start_seq=9), Session("b", SHELL, start_seq=7)]
    kept = checkpoint.take(BOOT, 9, [], open_sessions, {})
    last = View(Moment(0, 0, 9, forks()), offset=0, written=7, version=1, checkpoint=kept)
    checkpoint_writer = CheckpointWriter(tmp_path, BOOT)
    checkpoint_writer.start(last)
    checkpoint_writer.close(last)

    found = look_back(CheckpointWriter(tmp_path, BOOT), lambda: (), Clock(), BOOT, written=7)

    assert found.kept
    assert [each.start_seq for each in found.kept.sessions] == [None, 7]


@pytest.mark.parametrize(("written", "until"), [(7, 100), (8, 900)], ids=["before", "after"])
def test_killed_before_its_gap_is_written_the_next_gap_begins_where_that_one_did(
    tmp_path: Path, written: int, until: int
) -> None:
    first = CheckpointWriter(tmp_path, BOOT)
    first.start(view(at=100))
    first.close(view(at=100))

    killed = CheckpointWriter(tmp_path, BOOT)
    killed.start(view(at=900, sealed=8, written=written))
    killed._folder.close()  # as the kernel does

    alive = CheckpointWriter(tmp_path, BOOT).load_alive()
    assert alive
    assert alive.until == until


def test_a_checkpoint_is_of_the_moment_in_which_it_was_taken() -> None:
    """It is written in another thread, while all of it goes on changing."""
    session = Session(UID, SHELL)
    entry = Entry(SHELL, "untracked", session, candidates=["a"], settled=True)
    node = Node(SHELL, Process(1, 1), APP, 5, entry)
    bound = {UID: SHELL}
    taken = checkpoint.take(BOOT, 7, [node], [session], bound)
    before = checkpoint.encode(taken)

    session.start_seq, session.ended, entry.processes = 9, True, 2
    entry.candidates.append("b")
    bound["b"] = SHELL

    assert checkpoint.encode(taken) == before


def test_a_checkpoint_is_due_where_something_changed_and_the_last_one_was_long_enough_ago(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint_writer = CheckpointWriter(tmp_path, BOOT)
    monkeypatch.setattr("enricher.state.checkpoint_writer._REST", 10**9)
    assert checkpoint_writer.is_due(7, 1)
    checkpoint_writer.start(view())
    assert not checkpoint_writer.is_due(7, 1)
    assert not checkpoint_writer.is_due(8, 2)
    checkpoint_writer.close(view())

    monkeypatch.setattr("enricher.state.checkpoint_writer._REST", 0)
    checkpoint_writer = CheckpointWriter(tmp_path, BOOT)
    assert checkpoint_writer.is_due(7, 1)
    checkpoint_writer.start(view())
    assert [checkpoint_writer.is_due(*each) for each in ((7, 1), (8, 1), (7, 2))] == [False, True, True]
    checkpoint_writer.close(view())


def test_only_what_changed_is_written_anew(tmp_path: Path) -> None:
    checkpoint_writer = CheckpointWriter(tmp_path, BOOT)
    checkpoint_writer.start(view())
    first = (tmp_path / "checkpoint.json").stat().st_ino
    checkpoint_writer._keep(view())
    same = (tmp_path / "checkpoint.json").stat().st_ino
    checkpoint_writer.close(view(version=2))

    assert same == first
    assert not (tmp_path / "checkpoint.json.part").exists()
    assert checkpoint.decode((tmp_path / "checkpoint.json").read_bytes()).seq == 7


def test_a_checkpoint_that_cannot_be_written_is_counted(tmp_path: Path) -> None:
    checkpoint_writer = CheckpointWriter(tmp_path, BOOT)
    (tmp_path / "checkpoint.json").mkdir()  # no file takes a folder's place

    checkpoint_writer.close(view())

    assert checkpoint_writer.failures == 1


def test_two_enrichers_do_not_share_a_state(tmp_path: Path) -> None:
    first = CheckpointWriter(tmp_path, BOOT)
    with pytest.raises(OSError, match="another enricher"):
        CheckpointWriter(tmp_path, BOOT, wait=0)
    first.start(view())
    first.close(view())

    CheckpointWriter(tmp_path, BOOT, wait=0)


def test_a_process_whose_pid_is_another_ones_by_now_is_not_restored(tmp_path: Path) -> None:
    mine = Proc().process(os.getpid())
    assert mine
    me = mine.process
    kept = Checkpoint(boot_id=BOOT, containers=[APP], entries=[KeptEntry(me, "session", 0)])
    kept.sessions = [KeptSession(UID, me, start_seq=1)]
    kept.processes = [
        KeptProcess(me.pid, me.start, 1, 1, 5, 0, 0),
        KeptProcess(me.pid, me.start - 1, 1, 1, 5, 0, 0),
        KeptProcess(2**22 + 1, 5, 1, 1, 5, 0, 0),
    ]
    tree = Tree()

    restored = restore(kept, tree, Proc())

    assert tree.processes() == [me]
    found = tree.get(me)
    assert found and found.entry and found.entry.session
    assert (found.entry.session.request_uid, found.entry.session.interrupted) == (UID, True)
    assert restored.outside == [(me, APP)]
