"""`exectrail untracked` and `exectrail summary`: what stands out in trails."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from exectrail import cli
from exectrail.cli import summary
from exectrail.cli.arguments import ORIGINS
from exectrail.contracts.record import EnteredFrom, Exit, Node, Record, Request, Resource, encode
from exectrail.reading import counts as counts_module
from exectrail.reading import entries
from exectrail.reading.choice import Choice
from exectrail.reading.counts import count
from exectrail.reading.entries import untracked

Run = Callable[..., tuple[int, str, str]]
LOGIN = EnteredFrom("/user.slice/user-1000.slice/session-3.scope", 1000, 3, ["nsenter", "-t", "4711", "-a", "sh"])


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*argv: object) -> tuple[int, str, str]:
        code = cli.run(list(map(str, argv)))
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


def record(seq: int, **fields: Any) -> Record:
    common: dict[str, Any] = {
        "version": "spo/v1_alpha",
        "kind": "exec",
        "audit_id": str(seq),
        "timestamp": f"2026-11-23T14:{seq:02}:00.000Z",
        "node": Node("node-1"),
        "resource": Resource("shop", "web-0", "app"),
        "seq": seq,
        "prev": "0" * 64,
    }
    return Record(**common | fields)


def entry(seq: int, key: str = "b-7-1", **fields: Any) -> Record:
    mine = {"origin": "untracked", "process_key": key, "entry_key": "b-7-1", "container_id": "4f2a"}
    return record(seq, **mine | fields)


NSENTER = [
    entry(1, argv=["sh"], uid=0, entered_from=LOGIN),
    entry(2, "b-8-2", kind="clone", parent_key="b-7-1"),
    entry(3, "b-8-2", argv=["cat", "/etc/shadow\x1b[2J"]),
    entry(4, "b-8-2", argv=["nosuch"], errno="ENOENT"),
    entry(5, "b-8-2", kind="exit", exit=Exit(0)),
    entry(6, kind="exit", exit=Exit(3)),
]
OTHERS = [record(0, argv=["id"], origin="session", user="alice"), record(7, argv=["x"], origin="container")]


@pytest.fixture
def trail(tmp_path: Path) -> Path:
    path = tmp_path / "trail.jsonl"
    path.write_bytes(b"".join(map(encode, sorted([*NSENTER, *OTHERS], key=lambda it: it.seq))))
    return path


def test_an_entry_is_told_with_its_time_its_login_and_what_it_ran(trail: Path, run: Run) -> None:
    code, out, err = run("untracked", trail, "--utc")

    assert (code, err) == (1, "")
    assert out == (
        "2026-11-23 14:01:00 UTC  shop/web-0/app  on node-1\n"
        "  login of uid 1000 (session 3), uid 0, in /user.slice/user-1000.slice/session-3.scope,"
        " started by nsenter -t 4711 -a sh\n"
        "  $ sh\n"
        "  $ cat $'/etc/shadow\\x1b[2J'\n"
        "  $ nosuch '[failed: ENOENT]'\n"
        "  processes 2, exit 3\n"
    )


def test_of_an_entry_without_a_login_that_is_said(tmp_path: Path, run: Run) -> None:
    (tmp_path / "trail.jsonl").write_bytes(encode(entry(1, argv=["sh"], uid=0)))

    assert run("untracked", tmp_path)[1].splitlines()[1] == "  login unknown, uid 0"


def test_an_entry_is_json_for_scripts(trail: Path, run: Run) -> None:
    (found,) = json.loads(run("untracked", trail, "-o", "json")[1])

    assert json.loads(run("untracked", trail, "-o", "jsonl")[1]) == found
    assert found["enteredFrom"]["auid"] == 1000
    assert found["execs"] == 3


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--since", "2026-11-23T14:00Z"], 1),
        (["--since", "2026-11-23T14:02Z"], 0),
        (["--until", "2026-11-23T14:01Z"], 0),
        (["-n", "shop"], 1),
        (["-n", "prod"], 0),
        (["--node", "node-2"], 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_choose_entries(options: list[str], code: int, trail: Path, run: Run) -> None:
    assert run("untracked", trail, *options)[0] == code


@pytest.mark.parametrize("user", ["alice", "*"])
def test_no_user_is_said_to_have_no_untracked_entries_as_none_has_a_user(
    user: str, trail: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.run(["untracked", str(trail), "--user", user])

    assert ended.value.code == 2
    assert "untracked entries have no user; use --pod, --node or --since" in capsys.readouterr().err


@pytest.fixture
def segments(tmp_path: Path) -> Path:
    """Somebody entered in a segment that is closed, and goes on in the next, in which another one enters."""
    folder = tmp_path / "segments"
    folder.mkdir()
    closed = folder / "trail-2026-11-23T14-03-00.000.jsonl"
    closed.write_bytes(b"".join(map(encode, NSENTER[:3])))
    time = datetime(2026, 11, 23, 14, 3, tzinfo=UTC).timestamp()
    os.utime(closed, (time, time))
    other = entry(7, "b-9-9", entry_key="b-9-9", argv=["sh"])
    (folder / "trail.jsonl").write_bytes(b"".join(map(encode, [*NSENTER[3:], other])))
    return folder


@pytest.mark.parametrize(
    ("since", "entered"), [("14:00", ["b-7-1", "b-9-9"]), ("14:02", ["b-9-9"]), ("14:05", ["b-9-9"]), ("14:08", [])]
)
def test_an_entry_counts_by_its_beginning_also_where_that_is_in_a_segment_closed_before(
    since: str, entered: list[str], segments: Path, run: Run
) -> None:
    code, out, err = run("untracked", segments, "--since", f"2026-11-23T{since}Z", "-o", "json")

    assert [it["entryKey"] for it in json.loads(out)] == entered
    assert (code, err) == ((1, "") if entered else (0, "exectrail: no untracked entries\n"))


def test_none_is_a_sentence_and_exit_code_0(alice_file: Path, run: Run) -> None:
    assert run("untracked", alice_file) == (0, "", "exectrail: no untracked entries\n")


def test_none_in_a_damaged_trail_is_not_exit_code_0(alice_file: Path, run: Run) -> None:
    with alice_file.open("ab") as file:
        file.write(b"half a line\n")

    code, _, err = run("untracked", alice_file)

    assert code == 3
    assert "no untracked entries" not in err


def test_records_without_a_key_stand_for_themselves() -> None:
    keyless = [entry(seq, argv=["x"]) for seq in (1, 2)]
    for each in keyless:
        each.process_key = each.entry_key = None

    assert len(untracked(keyless)) == 2


def test_of_very_many_programs_the_first_are_kept_and_all_are_counted() -> None:
    many = [entry(seq % 60, argv=[str(seq)]) for seq in range(entries.MOST_PROGRAMS + 5)]

    (found,) = untracked(many)

    assert (len(found.programs), found.execs) == (entries.MOST_PROGRAMS, entries.MOST_PROGRAMS + 5)


# ---- summary ----

RECORDS = [
    record(0, kind="session", phase="start", user="alice", request=Request("exec", "pods/exec"), origin="session"),
    record(1, user="alice", program="/usr/bin/dash", origin="session"),
    record(2, user="alice", program="/usr/bin/id", origin="session"),
    record(3, user="alice", program="nosuch", errno="ENOENT", origin="session"),
    record(4, kind="session", phase="end", user="alice", origin="session"),
    record(5, kind="clone"),
    record(6, program="/usr/bin/id", origin="container", resource=Resource("shop", "db-0", "pg")),
    record(7, kind="session", phase="start", user="bob\x1b[2J", timestamp="2026-11-23T15:00:00.000Z"),
]


def test_sessions_and_programs_are_counted_by_what_an_auditor_asks_for() -> None:
    assert summary.document(count(RECORDS), 10) == {
        "sessions": 2,
        "execs": 4,
        "failedExecs": 1,
        "users": [
            {"user": "alice", "sessions": 1, "execs": 3},
            {"user": "bob\x1b[2J", "sessions": 1, "execs": 0},
            {"user": "(no user)", "sessions": 0, "execs": 1},
        ],
        "targets": [
            {"target": "shop/web-0/app", "sessions": 2, "execs": 3},
            {"target": "shop/db-0/pg", "sessions": 0, "execs": 1},
        ],
        "programs": [{"program": "/usr/bin/id", "execs": 2}, {"program": "/usr/bin/dash", "execs": 1}],
        "failed": [{"program": "nosuch", "errno": "ENOENT", "execs": 1}],
        "hours": [
            {"hour": "2026-11-23T14", "sessions": 1, "execs": 4},
            {"hour": "2026-11-23T15", "sessions": 1, "execs": 0},
        ],
    }


@pytest.fixture
def counted(tmp_path: Path) -> Path:
    path = tmp_path / "trail.jsonl"
    path.write_bytes(b"".join(map(encode, RECORDS)))
    return path


def test_a_summary_reads_as_the_golden_text(counted: Path, golden: Callable[[str, str], None], run: Run) -> None:
    code, out, err = run("summary", counted, "--utc")

    assert (code, err) == (0, "")
    assert out.translate({9: None, 10: None}).isprintable()  # but for tabs and line ends
    golden("summary.txt", out)


def test_a_process_that_forged_a_uid_is_no_session() -> None:
    forged = {"state": "forged", "request_uid": "uid-1", "process_key": "other"}
    start = record(8, kind="session", phase="start", reason="uid-used", **forged)

    counts = count([*RECORDS, start, record(9, program="/usr/bin/id", **forged)])

    assert (counts.sessions, counts.execs, counts.execs_by_user["(no user)"]) == (2, 5, 2)
    assert counts.sessions_by_user == {"alice": 1, "bob\x1b[2J": 1}


UNCONFIRMED = record(8, kind="session", phase="start", state="unconfirmed", request_uid="uid-1", process_key="k")


@pytest.mark.parametrize(
    ("starts", "users"),
    [
        ([UNCONFIRMED], {"(no user)": 1}),
        ([UNCONFIRMED, replace(UNCONFIRMED, state="confirmed", user="carol", reason="late")], {"carol": 1}),
        ([replace(UNCONFIRMED, state="confirmed", user="carol", reason="late")], {"carol": 1}),
        ([UNCONFIRMED, replace(UNCONFIRMED, state="forged", reason="other-command")], {}),
    ],
    ids=["not confirmed", "confirmed late", "found late", "forged, as it turned out"],
)
def test_a_session_counts_once_as_what_is_known_of_it_last(starts: list[Record], users: dict[str, int]) -> None:
    counts = count(starts)

    assert counts.sessions == sum(users.values())
    assert counts.sessions_by_user == users
    assert counts.sessions_by_hour == ({"2026-11-23T14": 1} if users else {})


LATE_GOLDEN = Path(__file__).parents[1] / "enricher" / "golden" / "request-that-shows-late.jsonl"


@pytest.mark.parametrize(
    ("options", "users"),
    [
        ([], [("alice", 1, 2), ("(no user)", 0, 1)]),
        (["--user", "alice"], [("alice", 1, 2)]),
        (["--origin", "session"], [("alice", 1, 2)]),
        (["--user", "bob"], []),
    ],
    ids=lambda value: " ".join(value) if value and isinstance(value[0], str) else "",
)
def test_what_ran_before_a_request_showed_late_counts_for_its_user(
    options: list[str], users: list[tuple[str, int, int]], run: Run
) -> None:
    made = json.loads(run("summary", LATE_GOLDEN, "-o", "json", *options)[1])

    assert [(each["user"], each["sessions"], each["execs"]) for each in made["users"]] == users
    assert (made["sessions"], made["execs"]) == (sum(each[1] for each in users), sum(each[2] for each in users))


@pytest.mark.parametrize("since", ["2026-11-23T14:08Z", "2026-11-23T14:08:30Z"], ids=["with", "without its start"])
@pytest.mark.parametrize("before", ["untracked", "session"])
@pytest.mark.parametrize("order", [1, -1], ids=["in order", "in files of the wrong order"])
def test_the_late_record_holds_for_what_is_chosen_whatever_it_was_before(
    since: str, before: str, order: int, tmp_path: Path, run: Run
) -> None:
    entry_of = {"process_key": "k", "entry_key": "k"}
    ran = [record(9, program="/usr/bin/id", origin=before, **entry_of), record(10, program="x", errno="E", **entry_of)]
    ran[1].origin = ran[0].origin
    asked = {"request_uid": "uid-1", "state": "confirmed", "user": "carol", "origin": "session", "reason": "late"}
    late = replace(record(11, kind="session", phase="start", **entry_of | asked), timestamp="2026-11-23T14:08:10.000Z")
    names = [str(tmp_path / "1.jsonl"), str(tmp_path / "2.jsonl")][::order]
    Path(names[0] if order == 1 else names[1]).write_bytes(b"".join(map(encode, ran)))
    Path(names[1] if order == 1 else names[0]).write_bytes(encode(late))

    made = json.loads(run("summary", *names, "--user", "carol", "--since", since, "-o", "json")[1])

    assert (made["sessions"], made["execs"], made["failedExecs"]) == (int(since.endswith("08Z")), 2, 1)


def test_a_uid_that_is_forged_first_counts_once_its_own_request_shows() -> None:
    forged = replace(UNCONFIRMED, state="forged", reason="other-command")
    ran = record(9, program="/usr/bin/id", state="forged", origin="session", request_uid="uid-1", process_key="k")
    late = replace(UNCONFIRMED, request_uid="uid-2", state="confirmed", user="carol", reason="late", seq=10)

    counts = count([UNCONFIRMED, forged, ran, late])

    assert (counts.sessions_by_user, counts.execs_by_user) == ({"carol": 1}, {"carol": 1})


def test_only_so_much_waits_for_a_user_and_all_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts_module, "MOST_HELD", 10)
    many = [entry(seq % 60, f"b-{seq}-1", entry_key=f"b-{seq}-1", program=f"/bin/{seq % 7}") for seq in range(100)]
    counting = counts_module._Counting(Choice())

    for each in many:
        counting.run(each)
        assert counting._size <= 10
    counting.close()

    assert (counting.counts.execs, counting.counts.execs_by_user, counting._size) == (100, {"(no user)": 100}, 0)


def test_a_request_without_a_container_counts_for_its_pod() -> None:
    forward = record(0, kind="session", phase="start", user="alice", resource=Resource("shop", "db-0", ""))

    assert count([forward]).sessions_by_target == {"shop/db-0": 1}


@pytest.mark.parametrize("command", ["summary", "summary -o json", "untracked -o json", "untracked -o jsonl"])
def test_of_what_cannot_be_read_nothing_is_said_to_be_none(command: str, tmp_path: Path, run: Run) -> None:
    missing = tmp_path / "missing"

    assert run(*command.split(), missing) == (2, "", f"exectrail: {missing}: No such file or directory\n")


def test_one_of_a_kind_is_not_several(tmp_path: Path, run: Run) -> None:
    (tmp_path / "trail.jsonl").write_bytes(b"".join(map(encode, RECORDS[:2])))

    assert run("summary", tmp_path)[1].startswith("1 session, 1 exec, of which 0 failed\n")


@pytest.mark.parametrize(
    ("options", "execs"),
    [
        ([], 4),
        (["--user", "alice"], 3),
        (["--origin", "container"], 1),
        (["--pod", "db-*"], 1),
        (["--since", "2026-11-23T14:02Z"], 3),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_choose_what_is_counted(options: list[str], execs: int, counted: Path, run: Run) -> None:
    assert json.loads(run("summary", counted, "-o", "json", *options)[1])["execs"] == execs


@pytest.mark.parametrize("command", ["summary", "follow"])
@pytest.mark.parametrize("origins", [[each] for each in ORIGINS if each != "session"] + [["probe", "hook"]], ids=str)
def test_a_user_is_not_asked_for_where_no_process_has_one(
    command: str, origins: list[str], counted: Path, run: Run
) -> None:
    options = [word for each in origins for word in ("--origin", each)]

    code, out, err = run(command, counted, "--user", "alice", *options)

    assert (code, out) == (2, "")
    assert f"processes of origin {' or '.join(origins)} have no user: leave out --user" in err


def test_a_user_is_asked_for_where_processes_of_sessions_are(counted: Path, run: Run) -> None:
    options = ["--origin", "session", "--origin", "probe", "--user", "alice", "-o", "json"]

    assert json.loads(run("summary", counted, *options)[1])["execs"] == 3


@pytest.mark.parametrize("command", ["summary", "untracked"])
def test_a_copy_of_a_trail_is_said_to_count_twice(command: str, trail: Path, tmp_path: Path, run: Run) -> None:
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(b"".join(trail.read_bytes().splitlines(keepends=True)[:3]))

    alone, beside = run(command, trail), run(command, trail, copy)

    assert alone[2] == ""
    assert beside[0] == alone[0]
    assert beside[2] == (
        "exectrail: node node-1: 3 records have a number (seq) that was read before: either a copy of the trail,"
        " whose records count twice, or the trail began anew at 0\n"
    )


@pytest.mark.parametrize("command", ["sessions", "show uid-1"])
def test_what_counts_a_record_once_says_nothing_of_a_copy(command: str, tmp_path: Path, run: Run) -> None:
    mine = {"request_uid": "uid-1", "user": "alice"}
    trail, copy = tmp_path / "trail.jsonl", tmp_path / "copy.jsonl"
    for path in (trail, copy):
        path.write_bytes(b"".join(map(encode, [record(0, **mine | {"kind": "session", "phase": "start"})])))

    assert run(*command.split(), trail, copy) == run(*command.split(), trail)


def test_top_bounds_each_table(counted: Path, run: Run) -> None:
    found = json.loads(run("summary", counted, "-o", "json", "--top", "1")[1])

    assert [len(found[name]) for name in ("users", "targets", "programs", "failed", "hours")] == [1] * 5
