"""Following trails: what is added comes once, over rotation, lost connections and restarts of pods."""

import errno
import gzip
import io
import json
import os
import resource
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exectrail import cli
from exectrail.cli import files, follow, live_lines
from exectrail.cli.command_line import commands
from exectrail.cli.text import Clock
from exectrail.contracts.record import Exit, Node, Record, Request, Resource, encode
from exectrail.contracts.seal import GENESIS
from exectrail.reading import live as live_module
from exectrail.reading import tail
from exectrail.reading.blocks import LONGEST_LINE, Lines
from exectrail.reading.choice import Choice
from exectrail.reading.cluster import Cluster
from exectrail.reading.kubectl import Kubectl
from exectrail.reading.live import Live, Notice
from exectrail.reading.reader import MODULE
from exectrail.reading.report import Report
from exectrail.reading.tail import Cursor

from .fake_cluster import FakeCluster

REPO = Path(__file__).parents[3]


def record(seq: int, **fields: Any) -> Record:
    common: dict[str, Any] = {
        "version": "spo/v1_alpha",
        "kind": "exec",
        "audit_id": str(seq),
        "timestamp": f"2026-11-23T14:{seq // 60:02}:{seq % 60:02}.000Z",
        "node": Node("node-1"),
        "resource": Resource("shop", "web-0", "app"),
        "argv": ["id", str(seq)],
        "user": "alice",
        "origin": "session",
        "seq": seq,
        "prev": "1" * 64,
    }
    return Record(**common | fields)


def line(seq: int, **fields: Any) -> bytes:
    return encode(record(seq, **fields))


class Trail:
    """A trail that is written and rotated as the enricher does it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.file, self.closed = folder, folder / "trail.jsonl", 0
        self.file.touch()

    def write(self, *numbers: int) -> None:
        with self.file.open("ab") as file:
            file.write(b"".join(map(line, numbers)))

    def rotate(self, *, pack: bool = False) -> None:
        self.closed += 1
        closed = self.folder / f"trail-2026-11-23T14-58-{self.closed:02}.000.jsonl"
        self.file.rename(closed)
        self.file.touch()
        if pack:
            closed.with_name(f"{closed.name}.gz").write_bytes(gzip.compress(closed.read_bytes()))
            closed.unlink()


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    return Trail(tmp_path)


def numbers(lines: Iterator[bytes]) -> list[int]:
    """Those that come until nothing is added."""
    return [json.loads(each)["seq"] for each in iter(lambda: next(lines), tail.IDLE)]


# ---- files ----


def test_what_is_added_comes_once_and_what_was_there_does_not(trail: Trail) -> None:
    trail.write(0, 1)
    lines = tail.added(trail.file)

    assert numbers(lines) == []
    trail.write(2, 3)
    assert numbers(lines) == [2, 3]
    assert numbers(lines) == []


def test_a_line_comes_when_it_is_whole(trail: Trail) -> None:
    trail.write(0)
    half = line(1)
    with trail.file.open("ab") as file:
        file.write(half[:50])
    lines = tail.added(trail.file)
    assert numbers(lines) == []
    with trail.file.open("ab") as file:
        file.write(half[50:])

    assert numbers(lines) == [1]


def test_a_line_that_never_ends_takes_bounded_memory(trail: Trail) -> None:
    trail.write(0)
    with trail.file.open("ab") as file:
        file.write(b"x" * (16 * LONGEST_LINE))
    lines = tail.added(trail.file, tail.ALL)
    tracemalloc.start()
    try:
        assert numbers(lines) == [0]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    with trail.file.open("ab") as file:
        file.write(b"\n" + line(1))

    assert peak < 5 * LONGEST_LINE
    assert len(next(lines)) == LONGEST_LINE
    assert numbers(lines) == [1]


@given(st.lists(st.sampled_from([b"", b"a", b"bc\n", b"\n", b"d\n\ne"])))
def test_lines_are_the_same_whatever_pieces_they_come_in(pieces: list[bytes]) -> None:
    lines = Lines()

    assert [each for piece in pieces for each in lines.of(piece)] == b"".join(pieces).split(b"\n")[:-1]


@pytest.mark.parametrize("pack", [False, True], ids=["plain", "packed"])
@pytest.mark.parametrize("rotations", [1, 2, 3])
def test_rotation_loses_and_repeats_nothing(rotations: int, pack: bool, trail: Trail) -> None:
    trail.write(0, 1)
    lines = tail.added(trail.file)
    assert numbers(lines) == []
    expected = []
    for rotation in range(rotations):
        new = [2 + 2 * rotation, 3 + 2 * rotation]
        trail.write(*new)
        trail.rotate(pack=pack)
        expected += new
    trail.write(100)

    assert [*numbers(lines), *numbers(lines)] == [*expected, 100]


def test_a_reader_begins_after_a_number_also_in_closed_segments(trail: Trail) -> None:
    trail.write(0, 1)
    trail.rotate()
    trail.write(2, 3)
    trail.rotate(pack=True)
    trail.write(4, 5)

    assert numbers(tail.added(trail.file, 0)) == [1, 2, 3, 4, 5]
    assert numbers(tail.added(trail.file, 3)) == [4, 5]
    assert numbers(tail.added(trail.file, 5)) == []
    assert numbers(tail.added(trail.file, tail.ALL)) == [0, 1, 2, 3, 4, 5]


def test_segments_closed_before_since_are_not_followed_from(trail: Trail) -> None:
    trail.write(0, 1)
    trail.rotate()
    trail.write(2, 3)
    trail.rotate()
    trail.write(4)
    old, new = sorted(set(trail.folder.iterdir()) - {trail.file})
    os.utime(old, (0, 0))
    closed = datetime.fromtimestamp(new.stat().st_mtime, UTC)

    lines = tail.added(trail.file, tail.ALL, closed)

    assert numbers(lines) == [2, 3, 4]
    trail.write(5)
    trail.rotate()
    assert [*numbers(lines), *numbers(lines)] == [5]


def test_nothing_older_than_since_comes_with_the_first_rotation(trail: Trail) -> None:
    trail.write(0, 1)
    trail.rotate()
    trail.file.touch()
    for each in trail.folder.iterdir():
        os.utime(each, (0, 0))
    lines = tail.added(trail.file, tail.ALL, datetime.now(UTC))
    assert numbers(lines) == []

    trail.rotate()
    trail.write(2)

    assert [*numbers(lines), *numbers(lines)] == [2]


@pytest.mark.parametrize(
    ("mode", "asked"),
    [
        ("file", "exec --follow --after=-1 --since=2026-11-23T14:00:00+00:00"),
        ("stdout", "logs --follow --since-time=2026-11-23T13:59:00+00:00"),
    ],
)
def test_a_node_is_followed_from_since_on(mode: str, asked: str, cluster: FakeCluster, live: Live) -> None:
    cluster.has_pods(mode, "/trail/trail.jsonl", "node-1")
    cluster.answers(asked, out=line(1))
    live.follow_cluster(Cluster(Kubectl()), {}, since=datetime(2026, 11, 23, 14, tzinfo=UTC), node=None)

    assert next(live.lines()) == line(1).rstrip(b"\n")


def test_each_of_several_nodes_in_one_file_has_numbers_of_its_own(trail: Trail) -> None:
    """As a log shipper may write them."""
    trail.write(700)
    lines = tail.added(trail.file)
    assert numbers(lines) == []
    with trail.file.open("ab") as file:
        file.write(line(3, node=Node("node-2")) + line(701) + line(4, node=Node("node-2")))

    assert numbers(lines) == [3, 701, 4]


def test_a_chain_that_begins_anew_is_followed_on(trail: Trail) -> None:
    trail.write(7)
    lines = tail.added(trail.file)
    assert numbers(lines) == []
    with trail.file.open("ab") as file:
        file.write(line(0, prev=GENESIS, timestamp="2026-11-24T00:00:00.000Z"))
        file.write(line(1, timestamp="2026-11-24T00:00:01.000Z"))

    assert numbers(lines) == [0, 1]


def test_the_cluster_reader_says_where_it_begins_and_ends_with_its_caller(trail: Trail) -> None:
    trail.write(0, 1)
    command = [sys.executable, "-m", MODULE, str(trail.file), "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout
        assert process.stdout.readline() == b'{"kind":"follows","after":1,"time":"2026-11-23T14:00:01.000Z"}\n'
        trail.write(2)
        assert json.loads(process.stdout.readline())["seq"] == 2
        process.stdout.close()
        trail.write(3)
        assert process.wait() == 0


@pytest.mark.parametrize(("after", "said"), [(1, 1), (2, 2), (5, tail.ALL)], ids=["in it", "its last", "begun anew"])
def test_the_cluster_reader_says_if_the_trail_has_begun_anew(after: int, said: int, trail: Trail) -> None:
    """Its caller must not wait for higher numbers than it knows."""
    trail.write(*range(max(3, said)))
    command = [sys.executable, "-m", MODULE, str(trail.file), "--follow", f"--after={after}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout
        assert process.stdout.readline() == begins(said)
        process.terminate()


def test_the_beginning_of_a_young_trail_does_not_come_again(trail: Trail) -> None:
    with trail.file.open("ab") as file:
        file.write(line(0, prev=GENESIS) + line(1) + line(2) + line(3))

    assert numbers(tail.added(trail.file, 1, time=record(1).timestamp)) == [2, 3]


def test_a_trail_that_began_anew_after_a_number_was_read_comes_from_its_beginning(trail: Trail) -> None:
    with trail.file.open("ab") as file:
        file.write(line(9) + line(0, prev=GENESIS) + line(1))

    assert numbers(tail.added(trail.file, 9, time=record(1).timestamp)) == [0, 1]


# ---- the command ----


def test_standard_input_is_followed_to_its_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = line(0) + line(1, kind="clone") + line(2, user="bob") + line(4)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    assert cli.run(["follow", "-", "--utc", "--user", "alice"]) == 3
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "2026-11-23 14:00:00  shop/web-0/app  alice  exec  id 0",
        "2026-11-23 14:00:04  shop/web-0/app  alice  exec  id 4",
    ]
    assert printed.err == "exectrail: node node-1: 1 record is missing in what was read (seq 3)\n"


LOG_LINE = b'{"time":"2026-11-23T14:00:00Z","level":"info","logger":"enricher","message":"started"}\n'
TIME = b"2026-11-23T14:00:00.000000000Z"
FORMS: dict[str, Callable[[bytes], bytes]] = {
    "CRI": lambda line: TIME + b" stdout P " + line[:50] + b"\n" + TIME + b" stdout F " + line[50:],
    "Docker": lambda line: json.dumps({"log": line.decode(), "stream": "stdout"}).encode() + b"\n",
    "kubectl logs --timestamps": lambda line: TIME + b" " + line,
    "an enricher's log": lambda line: LOG_LINE + line,
    "Windows": lambda line: line.decode().encode("utf-16"),
    "a byte order mark": lambda line: b"\xef\xbb\xbf" + line,
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["-", "trail.jsonl"])
def test_what_is_read_in_a_frame_is_followed_in_it(
    name: str, form: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = FORMS[form](line(0))
    file = tmp_path / "trail.jsonl"
    file.write_bytes(content)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    monkeypatch.setattr(follow, "LATE", 0.3)
    until = [] if name == "-" else ["--since", "2026-11-23", "--until", "2026-11-24"]

    assert cli.run(["follow", "-" if name == "-" else str(file), "--utc", *until]) == 0
    printed = capsys.readouterr()
    assert printed.out == "2026-11-23 14:00:00  shop/web-0/app  alice  exec  id 0\n"
    assert printed.err == ""


def test_an_enrichers_own_log_in_a_cluster_is_no_damage(cluster: FakeCluster, live: Live) -> None:
    cluster.has_pods("stdout", "", "node-1")
    cluster.answers("logs --follow", out=LOG_LINE + line(1))
    live.follow_cluster(Cluster(Kubectl()), {}, since=None, node=None)

    assert next(live.lines()) == line(1).rstrip(b"\n")


def test_what_cannot_be_read_on_is_named_and_exits_with_3(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stdin = io.BytesIO(line(0))
    lines = iter([line(0)[:3], line(0)[3:]])
    monkeypatch.setattr(stdin, "read1", lambda _: next(lines, None) or fail(), raising=False)
    monkeypatch.setattr(files, "unpacked", lambda _: stdin)

    assert cli.run(["follow", "-", "--utc"]) == 3
    printed = capsys.readouterr()
    assert "id 0" in printed.out
    assert printed.err == "exectrail: standard input: Input/output error\n"


def fail() -> bytes:
    raise OSError(errno.EIO, os.strerror(errno.EIO))


def test_a_file_that_is_no_trail_is_named_at_once(trail: Trail, capsys: pytest.CaptureFixture[str]) -> None:
    trail.file.write_bytes(b"[\n" * 3)
    live = Live()
    live.follow_file(trail.file, Cursor())
    found = live.lines()

    refused = f"{trail.file}: not a record of a trail: a JSON array: jq -c '.[]' FILE | exectrail COMMAND -"
    assert next(found) == Notice(refused)
    assert [next(found), next(found), next(found)] == [b"["] * 3
    live.end()


@pytest.mark.parametrize("given", ["file", "folder", "-", "compressed"])
def test_what_is_no_trail_cannot_be_followed(
    given: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    content = b"node-1.example.com\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    file = tmp_path / "host.log"
    file.write_bytes(gzip.compress(content) if given == "compressed" else content)

    assert cli.run(["follow", {"-": "-", "folder": str(tmp_path)}.get(given, str(file))]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "not a record of a trail" in printed.err


def test_a_trail_that_has_no_whole_line_yet_is_followed(trail: Trail, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "LATE", 0.3)
    trail.file.write_bytes(line(0)[:50])

    assert cli.run(["follow", str(trail.file), "--until", "2026-11-23"]) == 0


def test_a_missing_file_cannot_be_followed(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["follow", "/nonexistent.jsonl"]) == 2
    assert "/nonexistent.jsonl: No such file or directory" in capsys.readouterr().err


def test_a_line_is_printed_as_soon_as_it_is_written(trail: Trail) -> None:
    trail.write(0)
    command = [sys.executable, "-m", "exectrail", "follow", str(trail.file), "--since", "2000-01-01", "-o", "jsonl"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout
        assert json.loads(process.stdout.readline())["seq"] == 0
        trail.write(1)
        assert json.loads(process.stdout.readline())["seq"] == 1
        trail.rotate()
        trail.write(2)
        assert json.loads(process.stdout.readline())["seq"] == 2
        process.terminate()


def test_of_a_folder_only_what_is_being_written_is_followed(trail: Trail) -> None:
    trail.write(0)
    trail.rotate(pack=True)
    trail.rotate()

    assert [source.name for source in files.sources([str(trail.folder)], closed=False)] == [str(trail.file)]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "alice  exec  id 1"),
        ({"errno": "ENOENT"}, "alice  exec  id 1  failed: ENOENT"),
        ({"kind": "exit", "pid": 7, "exit": Exit(3)}, "alice  exit  pid 7  exit 3"),
        ({"kind": "clone", "pid": 7}, "alice  clone  pid 7"),
        ({"kind": "syscall", "syscalls": ["ptrace"]}, "alice  called ptrace  id 1"),
        ({"origin": "untracked", "user": None}, "untracked  exec  id 1"),
        ({"state": "forged"}, "forged  exec  id 1"),
        (
            {"kind": "session", "phase": "start", "request": Request("exec", "x", ["sh"]), "request_uid": "u"},
            "alice  session started  exec  sh  u",
        ),
        (
            {"kind": "session", "phase": "end", "exit": Exit(3), "duration_ms": 7, "request_uid": "u"},
            "alice  session ended  exit 3  7 ms  u",
        ),
        ({"kind": "session", "reason": "uid-used", "request_uid": "u"}, "alice  session claimed (uid-used)  u"),
        ({"kind": "gap", "user": None, "origin": None, "lost": {"ring": 3}}, "app  gap  3 ring"),
        ({"argv": ["\x1b[2J"]}, r"$'\x1b[2J'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_record_is_a_line_for_people(fields: dict[str, Any], said: str) -> None:
    shown = live_lines.line(record(1, **fields), Clock(utc=True), coloured=False)

    assert shown.endswith(said)
    assert shown.isprintable()


def test_what_was_and_what_is_to_be_followed_is_chosen(trail: Trail) -> None:
    live = Live()
    trail.write(0)
    live.follow_file(trail.file, Cursor())
    with trail.file.open("ab") as file:
        file.write(line(1, kind="session", phase="start") + line(2, kind="exit"))
    found = follow.records(live, Report(), {"session"}, Choice())

    assert next(found).seq == 1
    live.end()


@pytest.mark.parametrize(
    ("until", "found"),
    [("2026-11-23T14:00:02Z", [0, 1]), ("2100-01-01", [0, 1, 2])],
    ids=["a time that has been", "a time to come"],
)
def test_it_ends_when_no_more_can_come_from_before_until(
    until: str, found: list[int], trail: Trail, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trail.write(0, 1, 2)
    monkeypatch.setattr(follow, "LATE", 0.3)
    monkeypatch.setattr(follow, "datetime", _LaterEachTime)

    arguments = ["follow", str(trail.file), "--since", "2026-11-23", "--until", until, "--utc", "-o", "jsonl"]
    assert cli.run(arguments) == 0

    assert [json.loads(each)["seq"] for each in capsys.readouterr().out.splitlines()] == found


class _LaterEachTime(datetime):
    """A clock that comes to the year 2100 after some looks at it."""

    _looks = count()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> "_LaterEachTime":
        return cls(2026 if next(cls._looks) < 5 else 2101, 11, 24, tzinfo=tz)


# ---- a cluster ----


def test_the_cluster_reader_shows_that_it_lives_while_it_looks_for_its_place(
    trail: Trail,
) -> None:
    """A segment that is large, on a node that is busy: else its caller takes it for dead, and it begins anew."""
    arguments = [str(trail.file), "--follow", "--after=5"]
    program = (
        f"import sys; from exectrail.reading import reader; reader._SPEAK = 0.05; sys.exit(reader.main({arguments}))"
    )
    packed = trail.folder / "trail-2026-11-23T14-58-01.000.jsonl"
    os.mkfifo(packed)  # which gives nothing for as long as it is held
    trail.write(9)
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as process, packed.open("wb") as segment:
        assert process.stdout
        assert process.stdout.readline() == begins(5)
        assert process.stdout.readline() == process.stdout.readline() == b"\n"
        segment.write(line(6))
        segment.flush()
        process.terminate()


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> Iterator[Live]:
    monkeypatch.setattr(live_module, "FIRST_WAIT", 0.01)
    made = Live()
    yield made
    made.end()


def begins(after: int) -> bytes:
    return b'{"kind":"follows","after":%d}\n' % after


def test_a_lost_connection_is_taken_up_where_it_ended(cluster: FakeCluster, live: Live) -> None:
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    cluster.answers("exec --follow --after=4", code=1, err="error: unable to upgrade connection\n")
    cluster.answers("exec --follow --after=2", out=begins(2) + line(2) + line(3) + line(4))
    cluster.answers("exec --follow --after=0", out=begins(0) + line(1) + line(2))
    cluster.answers("exec --follow", out=begins(0))
    live.follow_cluster(Cluster(Kubectl()), {}, since=None, node=None)

    items = list(islice(live.lines(), 8))

    lines = [item for item in items if not isinstance(item, Notice)]
    assert [json.loads(each)["seq"] for each in lines] == [1, 2, 3, 4]
    said = [item.text for item in items if isinstance(item, Notice)]
    assert said[0] == "trail of node node-1: the connection ended; trying again"
    assert said[-1].startswith("trail of node node-1: error: unable to upgrade connection")


def test_a_young_trail_does_not_come_again_with_a_new_connection(cluster: FakeCluster, live: Live) -> None:
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    beginning = line(0, prev=GENESIS) + line(1)
    cluster.answers("exec --follow --after=1", out=begins(1) + beginning + line(2))
    first = record(1).timestamp.encode()
    cluster.answers("exec --follow", out=b'{"kind":"follows","after":1,"time":"%s"}\n' % first)
    live.follow_cluster(Cluster(Kubectl()), {}, since=None, node=None)

    assert json.loads(next(item for item in live.lines() if isinstance(item, bytes)))["seq"] == 2


def test_while_no_reader_runs_the_enrichers_log_is_not_followed_instead(cluster: FakeCluster, live: Live) -> None:
    """It has no records, and no end either: nothing of the node would come any more."""
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    cluster.answers("exec --follow --after=1", out=begins(1) + line(2))
    cluster.answers("exec --follow", out=begins(0) + line(1))
    live.follow_cluster(Cluster(Kubectl()), {}, since=None, node=None)
    items = live.lines()
    assert isinstance(next(items), bytes)

    cluster.changes_pods(b"Running", b"Pending")
    assert any("no running pod" in item.text for item in items if isinstance(item, Notice))
    cluster.changes_pods(b"Pending", b"Running")

    assert json.loads(next(item for item in items if isinstance(item, bytes)))["seq"] == 2
    assert [call for call in cluster.calls if call[0] == "logs"] == []


def test_logs_are_followed_from_the_time_of_the_last_line(cluster: FakeCluster, live: Live) -> None:
    cluster.has_pods("stdout", "", "node-1")
    cluster.answers("logs --follow --since-time=2026-11-23T14:00:01.000Z", out=line(1) + line(2))
    cluster.answers("logs --follow --tail=0", out=line(0) + line(1))
    cluster.answers("logs --follow --since-time=2026-11-23T14:00:02.000Z", out=line(2))
    live.follow_cluster(Cluster(Kubectl()), {}, since=None, node=None)

    found = (item for item in live.lines() if not isinstance(item, Notice))

    assert [json.loads(each)["seq"] for each in islice(found, 3)] == [0, 1, 2]


def now(minutes: int = 0) -> str:
    """The time, or what it was so many minutes ago, as a record has it."""
    return (datetime.now(UTC) - timedelta(minutes=minutes)).isoformat()


def test_a_node_that_comes_later_is_followed_from_when_the_command_began(
    cluster: FakeCluster, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one whose reader did not run; of what was there before, a minute may come: clocks differ."""
    monkeypatch.setattr(live_module, "NEW_NODES", 0.05)
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1", "node-2", pending=["node-node-2"])
    cluster.answers("exec node-node-1", out=begins(0))
    times = [now(3), now(2), now(), now(2)]
    lines = [line(seq, node=Node("node-2"), timestamp=time) for seq, time in enumerate(times)]
    cluster.answers("exec node-node-2 --after=-1 --since=", out=begins(-1) + b"".join(lines))
    live.follow_cluster(Cluster(Kubectl()), {}, since=None, node=None)
    found = live.lines()
    why = "pod audit/node-node-2 does not run: it is Pending"
    assert next(found) == Notice(f"trail of node node-2: {why}; followed as soon as it runs")

    cluster.changes_pods(b"Pending", b"Running")

    came = (item for item in found if isinstance(item, bytes))
    assert [json.loads(each)["seq"] for each in islice(came, 2)] == [2, 3]


def test_that_a_pod_does_not_run_is_said_once(
    cluster: FakeCluster, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "NEW_NODES", 0.01)
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1", "node-2", pending=["node-node-2"])
    cluster.answers("exec node-node-1", out=begins(0))
    live.follow_cluster(Cluster(Kubectl()), {}, since=None, node=None)

    said = [item.text for item in islice(live.lines(), 8) if isinstance(item, Notice)]

    assert [each for each in said if "does not run" in each] == said[:1]


@pytest.mark.parametrize("mode", ["file", "stdout"])
def test_what_comes_before_the_first_connection_is_not_lost(mode: str, cluster: FakeCluster, live: Live) -> None:
    cluster.has_pods(mode, "/trail/trail.jsonl", "node-1")
    cluster.answers("--follow --since", out=line(1, timestamp=now(2)) + line(2, timestamp=now()))
    cluster.answers("--follow", code=1, err="error: unable to upgrade connection\n")
    live.follow_cluster(Cluster(Kubectl()), {}, since=None, node=None)

    assert json.loads(next(item for item in live.lines() if isinstance(item, bytes)))["seq"] == 2


def test_a_node_that_has_gone_is_asked_for_no_more_and_taken_up_if_it_comes_back(
    cluster: FakeCluster, live: Live, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "NEW_NODES", 0.05)
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1", "node-2")
    cluster.answers("exec node-node-1", out=begins(0))
    cluster.answers("exec node-node-2 --after=7", out=begins(7) + line(8, node=Node("node-2")))
    cluster.answers("exec node-node-2", out=begins(6) + line(7, node=Node("node-2")))
    live.follow_cluster(Cluster(Kubectl()), {}, since=None, node=None)
    found = live.lines()
    assert json.loads(next(item for item in found if isinstance(item, bytes)))["seq"] == 7

    cluster.changes_pods(b'"node-2"', b'"node-3"')
    gone = Notice("trail of node node-2: no pod of exectrail is there now; followed on if one comes")
    assert gone in found
    assert not [item for item in islice(found, 6) if isinstance(item, Notice) and "node-2" in item.text]
    cluster.changes_pods(b'"node-3"', b'"node-2"')

    assert json.loads(next(item for item in found if isinstance(item, bytes)))["seq"] == 8


def test_a_line_of_the_reader_that_is_broken_does_not_lose_the_node(cluster: FakeCluster, live: Live) -> None:
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    cluster.answers("exec --follow --since", out=line(1, timestamp=now()))
    cluster.answers("exec --follow", out=b'{"kind":"follows"\n')
    live.follow_cluster(Cluster(Kubectl()), {}, since=None, node=None)
    found = live.lines()

    assert next(found) == Notice("trail of node node-1: Input data was truncated; trying again")
    assert json.loads(next(item for item in found if isinstance(item, bytes)))["seq"] == 1


def test_a_connection_whose_number_is_high_is_read(cluster: FakeCluster, live: Live) -> None:
    """Each node takes some open files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2048), hard))
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    cluster.answers("exec --follow", out=begins(0) + line(1))
    with ExitStack() as opened:
        opened.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        for _ in range(1100):
            opened.callback(os.close, os.open(os.devnull, os.O_RDONLY))
        live.follow_cluster(Cluster(Kubectl()), {}, since=None, node=None)
        assert isinstance(next(live.lines()), bytes)


def test_of_a_line_too_long_to_be_a_record_a_node_passes_on_the_beginning(cluster: FakeCluster, live: Live) -> None:
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1")
    cluster.answers("exec --follow", out=begins(0) + b"x" * (4 * LONGEST_LINE) + b"\n" + line(1))
    live.follow_cluster(Cluster(Kubectl()), {}, since=None, node=None)
    found = (item for item in live.lines() if isinstance(item, bytes))

    assert len(next(found)) == LONGEST_LINE
    assert json.loads(next(found))["seq"] == 1


def test_a_fault_in_a_thread_ends_the_command(live: Live) -> None:
    live._start(lambda: print(fail()))

    with pytest.raises(OSError, match="Input/output"):
        next(live.lines())


def test_of_one_node_only_its_pods_are_asked_for(cluster: FakeCluster, live: Live) -> None:
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1", "node-2")
    cluster.answers("exec node-node-1", out=begins(0) + line(1))
    live.follow_cluster(Cluster(Kubectl("mine"), "audit"), {}, since=None, node="node-1")
    assert isinstance(next(live.lines()), bytes)

    asked = [call[-1] for call in cluster.calls if call[:2] == ["--context=mine", "get"]]
    assert asked
    assert [each for each in asked if not each.endswith("&fieldSelector=spec.nodeName%3Dnode-1")] == []


def test_of_two_pods_of_a_node_one_is_followed_and_the_other_named(cluster: FakeCluster, live: Live) -> None:
    cluster.has_pods("file", "/trail/trail.jsonl", "node-1", "node-2")
    cluster.changes_pods(b'"nodeName": "node-2"', b'"nodeName": "node-1"')
    cluster.answers("exec node-node-1", out=begins(0) + line(1))
    live.follow_cluster(Cluster(Kubectl()), {}, since=None, node=None)

    notice, record = islice(live.lines(), 2)

    assert isinstance(record, bytes)
    assert notice == Notice(
        "trail of node node-1: pod audit/node-node-2 runs there beside audit/node-node-1, which alone is read"
    )


# ---- show --follow ----


def followed(trail: Trail, shown_first: bytes, *added: bytes, sources: Sequence[Path] = ()) -> bytes:
    """What `show --follow` prints of session `uid-1` after something, where lines are added then; it has to end."""
    command = [sys.executable, "-m", "exectrail", "show", "uid-1", *map(str, sources or [trail.file]), "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as process:
        assert process.stdout
        shown = iter(process.stdout.readline, b"")
        assert any(shown_first in each for each in shown)
        with trail.file.open("ab") as file:
            file.write(b"".join(added))
        rest = b"".join(shown)
        assert process.wait() == 0
    return rest


def test_a_session_is_shown_and_followed_to_its_end(trail: Trail) -> None:
    mine = {"request_uid": "uid-1", "process_key": "k"}
    with trail.file.open("ab") as file:
        file.write(line(0, kind="session", phase="start", **mine) + line(1, **mine))
    forged = mine | {"state": "forged", "user": None, "process_key": "other"}

    rest = followed(
        trail,
        b"id 1",
        line(2, argv=["other"]),
        line(3, kind="session", phase="end", **forged),
        line(4, argv=["ls"], **mine),
        line(5, kind="session", phase="end", outcome="completed", **mine),
    )

    assert b"exec  ls" in rest
    assert b"session ended  completed  uid-1" in rest
    assert b"other" not in rest


def test_a_session_of_a_young_trail_is_not_shown_again_when_it_is_followed(trail: Trail) -> None:
    mine = {"request_uid": "uid-1", "process_key": "k"}
    with trail.file.open("ab") as file:
        file.write(line(0, kind="session", phase="start", prev=GENESIS, **mine) + line(1, **mine))

    rest = followed(trail, b"id 1", line(2, argv=["ls"], **mine), line(3, kind="session", phase="end", **mine))

    assert b"exec  ls" in rest
    assert b"session started" not in rest


def test_of_a_closed_segment_that_is_given_as_well_nothing_is_shown_again(trail: Trail) -> None:
    mine = {"request_uid": "uid-1", "process_key": "k"}
    with trail.file.open("ab") as file:
        file.write(line(0, kind="session", phase="start", prev=GENESIS, **mine) + line(1, **mine))
    trail.rotate()
    trail.write(2, 3)
    end = line(4, kind="session", phase="end", **mine)

    rest = followed(trail, b"id 1", end, sources=sorted(trail.folder.iterdir()))

    assert b"session ended" in rest
    assert b"session started" not in rest


def test_a_session_is_followed_in_a_folder_with_the_trails_of_other_nodes(tmp_path: Path) -> None:
    """Each node has numbers of its own."""
    trail = Trail(tmp_path)
    mine = {"request_uid": "uid-1", "process_key": "k"}
    with trail.file.open("ab") as file:
        file.write(line(0, kind="session", phase="start", **mine) + line(1, **mine))
    (tmp_path / "another.jsonl").write_bytes(line(3000, node=Node("node-2")))

    added = line(2, argv=["ls"], **mine), line(3, kind="session", phase="end", **mine)
    rest = followed(trail, b"id 1", *added, sources=[tmp_path])

    assert b"exec  ls" in rest
    assert b"session ended" in rest


def test_a_process_that_alone_claims_a_uid_is_followed_to_its_end(trail: Trail) -> None:
    forged = {"kind": "session", "request_uid": "uid-1", "state": "forged", "user": None, "process_key": "k"}
    with trail.file.open("ab") as file:
        file.write(line(0, phase="start", **forged))

    assert b"session ended" in followed(trail, b"no end recorded", line(1, phase="end", **forged))


def test_a_session_that_has_ended_is_not_followed(trail: Trail) -> None:
    with trail.file.open("ab") as file:
        for seq, phase in enumerate(("start", "end")):
            file.write(line(seq, kind="session", phase=phase, request_uid="uid-1", outcome="completed"))

    assert cli.run(["show", "uid-1", str(trail.file), "--follow"]) == 0


def test_to_follow_loki_is_an_error_that_says_what_to_do_instead(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.run(["follow", "--loki", "https://loki.example.com", "--loki-org-id", "shop", "--sessions"])

    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert "follow does not read Loki: without it, follow reads the cluster's own trails" in said
    tail = """logcli query --tail --quiet -o raw '{app="exectrail"}'"""
    assert tail in said
    assert f"{tail} | exectrail follow -`" in (REPO / "docs/tasks/log-stores.md").read_text()


def test_what_follow_does_not_take_is_not_offered() -> None:
    (follow,) = [command for command in commands() if command.name == "follow"]

    assert "--loki" not in {name for option in follow.options for name in option.option_strings}
