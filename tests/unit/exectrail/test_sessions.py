"""`exectrail sessions`: which sessions are listed, in which order, in which form, and what never is cut."""

import csv
import gzip
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from exectrail import cli
from exectrail.cli import arguments, files, session_forms
from exectrail.cli.session_table import Table
from exectrail.cli.text import Clock
from exectrail.contracts.record import Exit, Node, Record, Request, Resource, encode
from exectrail.reading import session_list
from exectrail.reading.blocks import BLOCK
from exectrail.reading.choice import Choice, pattern
from exectrail.reading.report import Report
from exectrail.reading.summary import Summary, from_records

from .terminals import on_terminal

Run = Callable[..., tuple[int, str, str]]
UID = "0b5e7c1e-6f1d-4a53-9d0c-{:012x}"


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def command(*argv: object) -> tuple[int, str, str]:
        code = cli.run(["sessions", *map(str, argv)])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return command


def users(output: str) -> list[str]:
    return [line.split("\t")[1] for line in output.splitlines()[1:]]


class Node1:
    """Writes the `session` records of a node, numbered."""

    def __init__(self, node: str = "node-1") -> None:
        self.node, self.records = node, list[Record]()

    def write(self, uid: str, phase: str | None, minute: float, **fields: Any) -> "Node1":
        at = datetime(2026, 11, 23, 14, tzinfo=UTC) + timedelta(minutes=minute)
        common: dict[str, Any] = {
            "version": "spo/v1_alpha",
            "kind": "session",
            "audit_id": f"{len(self.records)}",
            "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "node": Node(self.node),
            "resource": Resource("shop", "web-0", "app"),
            "user": "alice",
            "request_uid": uid,
            "state": "confirmed",
            "origin": "session",
            "phase": phase,
            "prev": "0" * 64,
        }
        if phase == "start":
            common["request"] = Request("exec", "pods/exec", ["id"])
        if phase == "end":
            common |= {"outcome": "completed", "exit": Exit(0)}
        self.records.append(Record(**common | {"seq": len(self.records)} | fields))
        return self

    @property
    def content(self) -> bytes:
        return b"".join(map(encode, self.records))


def summaries(*records: Record) -> list[Summary]:
    return list(session_list.in_order(records))


# ---- widths ----

NAMES = [
    Summary(
        request_uid=UID.format(n),
        user=user,
        verb=verb,
        command=command,
        namespace=namespace,
        pod=pod,
        container=container,
        start_time="2026-11-23T14:58:03.120Z",
        duration_ms=duration,
        outcome="completed" if how else None,
        exit=how,
    )
    for n, (user, verb, command, namespace, pod, container, how, duration) in enumerate(
        [
            ("alice", "exec", ["sh", "-c", "id; ls / | head -2"], "shop", "web-0", "app", Exit(0), 126),
            (
                "system:serviceaccount:ci-runners:deployer",
                "exec",
                ["kubectl", "rollout", "status", "deployment/checkout-service", "--timeout=120s"],
                "ci-runners",
                "deploy-runner-7d9c5b8f6d-x2x7q",
                "runner",
                Exit(1),
                185_000,
            ),
            (
                "oidc:zoë.müller@example.com",
                "debug",
                ["bash"],
                "payments-production",
                "ledger-worker-55c7d6b7c9-8kq4v",
                "debugger-4xk2p",
                Exit(signal="SIGKILL"),
                7_800_000,
            ),
            ("開発者・田中太郎", "attach", None, "shop", "web-0", "app", None, None),
            (
                "arn:aws:iam::123456789012:role/OrganizationAccountAccessRole",
                "portforward",
                None,
                "db",
                "pg-0",
                "",
                None,
                None,
            ),
        ]
    )
]


SHORT = [NAMES[0], NAMES[3]]


def table(width: int | None, *, wide: bool = False, names: list[Summary] = NAMES) -> str:
    made = Table(Clock(utc=True), wide=wide, width=width, coloured=False)
    return "".join(f"{line}\n" for line in made.lines(names, headers=True))


@pytest.mark.parametrize("width", [60, 80, 120, 200, None])
def test_sessions_read_as_the_golden_table_of_this_width(width: int | None, golden: Callable[[str, str], None]) -> None:
    golden(f"sessions-{width or 'piped'}.txt", table(width))


def test_short_names_have_a_line_each(golden: Callable[[str, str], None]) -> None:
    golden("sessions-short-160.txt", table(160, names=SHORT))


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 120, 160, 200, 300, None])
def test_no_user_target_or_uid_is_cut_at_any_width(width: int | None) -> None:
    # What is wrapped goes on in the next line, after the indentation.
    text = re.sub(r"\n  ", "", table(width))

    for it in NAMES:
        target = "/".join(filter(None, (it.namespace, it.pod, it.container)))
        for whole in (it.user, target, it.request_uid):
            assert whole and whole in text


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    from exectrail.cli.terminal import cells  # noqa: PLC0415 - beside its use

    assert max(map(cells, table(width).splitlines())) <= width


def test_wide_shows_commands_in_full_whatever_the_width() -> None:
    assert "deployment/checkout-service --timeout=120s" in table(60, wide=True)


def test_a_wider_name_that_comes_late_is_not_cut() -> None:
    many = [NAMES[0]] * 300 + [NAMES[1]]
    made = Table(Clock(utc=True), wide=False, width=120, coloured=False)

    assert "system:serviceaccount:ci-runners:deployer" in list(made.lines(many, headers=True))[-1]


def test_piped_lines_have_tabs_and_no_padding(alice_file: Path, run: Run) -> None:
    code, out, _ = run(alice_file)

    lines = [line.split("\t") for line in out.splitlines()]
    assert code == 0
    assert lines[0][1:] == ["USER", "VERB", "TARGET", "RESULT", "DURATION", "UID", "COMMAND"]
    assert [cell for line in lines for cell in line if cell != cell.strip()] == []


def on_a_terminal(*argv: str, columns: int, **env: str) -> str:
    with on_terminal(*argv, env={"COLUMNS": str(columns)} | env) as terminal:
        shown = terminal.rest()
        assert terminal.process.wait() == 0
    return shown


def test_a_narrow_terminal_shows_whole_names_and_uids(alice_file: Path, alice_uid: str) -> None:
    out = on_a_terminal("sessions", str(alice_file), columns=80)

    assert "alice" in out
    assert alice_uid in out


def test_colours_are_for_terminals_and_no_color_ends_them(alice_file: Path, alice_uid: str) -> None:
    for command in (["sessions"], ["show", alice_uid]):
        assert "\x1b[" in on_a_terminal(*command, str(alice_file), columns=200)
        assert "\x1b[" not in on_a_terminal(*command, str(alice_file), columns=200, NO_COLOR="1")


def test_a_tree_is_wrapped_at_the_terminals_width(alice_file: Path, alice_uid: str) -> None:
    out = on_a_terminal("show", alice_uid, str(alice_file), columns=60, NO_COLOR="1")

    assert max(map(len, out.splitlines())) <= 60


# ---- forms ----


def test_json_is_one_array_and_jsonl_an_object_a_line(alice_file: Path, run: Run) -> None:
    array = json.loads(run(alice_file, "-o", "json")[1])
    lines = [json.loads(line) for line in run(alice_file, "-o", "jsonl")[1].splitlines()]

    assert array == lines
    assert [each["user"] for each in array] == ["alice", "bob"]


def test_csv_has_a_header_unless_it_is_not_wanted(alice_file: Path, alice_uid: str, run: Run) -> None:
    rows = list(csv.DictReader(io.StringIO(run(alice_file, "-o", "csv")[1])))

    assert rows[0]["requestUID"] == alice_uid
    assert rows[0]["exitCode"] == "3"
    assert not run(alice_file, "-o", "csv", "--no-headers")[1].startswith("startTime")


def test_names_are_uids_that_show_takes(alice_file: Path, alice_uid: str, run: Run) -> None:
    assert run(alice_file, "-o", "name")[1].splitlines()[0] == alice_uid


def test_a_table_without_headers_has_only_sessions(alice_file: Path, run: Run) -> None:
    assert len(run(alice_file, "--no-headers")[1].splitlines()) == 2


_TEXT = st.text(max_size=20)
_SUMMARIES = st.builds(
    Summary,
    request_uid=_TEXT,
    user=st.none() | _TEXT,
    groups=st.lists(_TEXT),
    extra=st.dictionaries(_TEXT, st.lists(_TEXT)),
    command=st.none() | st.lists(_TEXT),
    tty=st.none() | st.booleans(),
    exit=st.none() | st.builds(Exit, st.integers(0, 255)),
    duration_ms=st.none() | st.integers(0),
)


@given(st.lists(_SUMMARIES, max_size=3))
def test_json_and_yaml_say_the_same_and_nothing_that_a_terminal_obeys(found: list[Summary]) -> None:
    forms = [list(session_forms.as_json(found)), list(session_forms.as_yaml(found))]

    assert json.loads("\n".join(forms[0])) == yaml.safe_load("\n".join(forms[1]))
    for line in [*forms[0], *forms[1], *session_forms.as_names(found)]:
        assert line.isprintable()


@given(st.lists(_SUMMARIES, min_size=1, max_size=3))
def test_csv_is_read_back_as_it_was(found: list[Summary]) -> None:
    text = "\n".join(session_forms.as_csv(found, headers=True))

    assert text.replace("\n", "").isprintable()
    assert len(list(csv.reader(io.StringIO(text)))) == len(found) + 1


# ---- which ----


def test_local_time_is_shown_with_its_offset(alice_file: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    import time  # noqa: PLC0415 - for its zone

    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert run(alice_file)[1].splitlines()[1].startswith("2026-11-23 20:28:03+05:30\t")
        assert run(alice_file, "--utc")[1].splitlines()[1].startswith("2026-11-23 14:58:03\t")
        assert users(run(alice_file, "--since", "2026-11-23 20:00")[1]) == ["alice", "bob"]
        assert run(alice_file, "--since", "2026-11-23 20:00", "--utc")[1] == ""
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], ["alice", "bob"]),
        (["--user", "bob"], ["bob"]),
        (["--user", "bob", "--user", "alice"], ["alice", "bob"]),
        (["--user", "a*"], ["alice"]),
        (["-n", "shop"], ["alice", "bob"]),
        (["--namespace", "shop", "--user", "eve"], []),
        (["--pod", "web-*"], ["alice"]),
        (["--container", "app"], ["alice"]),
        (["--node", "node-2"], []),
        (["--verb", "portforward"], ["bob"]),
        (["--outcome", "completed"], ["alice"]),
        (["--outcome", "failed"], ["alice"]),
        (["--outcome", "open"], ["bob"]),
        (["--since", "2026-11-23T14:58:03.130Z"], ["bob"]),
        (["--until", "2026-11-23T14:58:03.130Z"], ["alice"]),
        (["--until", "1w"], ["alice", "bob"]),
        (["--limit", "1"], ["bob"]),
    ],
    ids=" ".join,
)
def test_options_choose_sessions(
    options: list[str], expected: list[str], alice_file: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock2027(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Clock2027":
            return cls(2027, 1, 1, tzinfo=tz)

    monkeypatch.setattr("exectrail.cli.outcome.datetime", Clock2027)
    code, out, err = run(*options, "--utc", alice_file)

    assert code == 0
    assert users(out) == expected
    assert ("no sessions" in err) == (not expected)


def test_since_keeps_what_has_no_time() -> None:
    keeps = Choice(since=datetime(2026, 11, 23, 14, tzinfo=UTC)).keeps
    times = {"old": "2026-11-23T13:59:59Z", "new": "2026-11-23T14:00:00.5Z", "none": None, "odd": "yesterday"}

    assert [uid for uid, time in times.items() if keeps(Summary(request_uid=uid, start_time=time))] == [
        "new",
        "none",
        "odd",
    ]


def test_a_session_without_its_beginning_began_as_long_before_its_end_as_it_took() -> None:
    ends = (
        Node1()
        .write("1", "end", 30, duration_ms=90_500)
        .write("2", "end", 31)
        .write("3", "end", 32, duration_ms=1 << 62)
    )

    assert [it.start_time for it in summaries(*ends.records)] == ["2026-11-23T14:28:29.500Z", None, None]


@given(st.text())
def test_a_pattern_without_a_star_means_itself(text: str) -> None:
    name = text.replace("*", "")
    assert pattern(name).fullmatch(name)
    assert not pattern(name).fullmatch(f"{name}x")


NOW = datetime(2026, 11, 23, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "utc"),
    [
        ("90s", "2026-11-23T15:28:30"),
        ("1h30m", "2026-11-23T14:00:00"),
        ("2026-11-23", "2026-11-23T00:00:00"),
        ("2026-11-23 14:58", "2026-11-23T14:58:00"),
        ("2026-11-23T14:58:03+02:00", "2026-11-23T12:58:03"),
        ("14:58:03", "2026-11-23T14:58:03"),
        ("9:05", "2026-11-23T09:05:00"),
        ("99999w", "1970-01-01T00:00:00"),
    ],
)
def test_a_time_is_a_span_before_now_or_absolute(text: str, utc: str) -> None:
    at = arguments.resolved(arguments.moment(text), NOW, utc=True)

    assert at is not None and at.strftime("%Y-%m-%dT%H:%M:%S") == utc


# ---- streaming ----


def test_the_first_sessions_are_printed_while_the_rest_is_still_to_come() -> None:
    node = Node1()
    for n in range(200):
        node.write(UID.format(n), "start", n).write(UID.format(n), "end", n)
    with subprocess.Popen(
        [sys.executable, "-m", "exectrail", "sessions", "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin and process.stdout
        process.stdin.write(node.content)
        process.stdin.flush()

        assert process.stdout.readline().startswith(b"TIME")
        assert UID.format(0).encode() in process.stdout.readline()
        process.stdin.close()
        process.stdout.read()
        assert process.wait() == 0


def test_a_session_that_goes_on_does_not_hold_up_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_list, "MOST_WAITING", 3)
    node = Node1().write("long", "start", 0)
    for n in range(5):
        node.write(f"short-{n}", "start", n).write(f"short-{n}", "end", n)

    found = [it.request_uid for it in session_list.in_order(iter(node.records))]

    assert found[0] == "short-0"
    assert sorted(found) == ["long", *(f"short-{n}" for n in range(5))]


def test_a_late_record_corrects_an_unconfirmed_session() -> None:
    node = (
        Node1()
        .write("a", "start", 0, state="unconfirmed", user=None, request=None)
        .write("a", "end", 1, state="unconfirmed", user=None)
        .write("b", "start", 2)
        .write("b", "end", 3)
        .write("a", "start", 0, reason="late")
    )

    assert [(it.request_uid, it.user, it.state) for it in summaries(*node.records)] == [
        ("a", "alice", "confirmed"),
        ("b", "alice", "confirmed"),
    ]


def test_a_forged_session_is_listed_as_forged(run: Run, tmp_path: Path) -> None:
    trail = tmp_path / "trail.jsonl"
    trail.write_bytes(Node1().write("a", None, 0, state="forged", user=None, reason="uid-used").content)

    assert "\tforged, no end recorded\t" in run(trail)[1]


_FORGED: dict[str, Any] = {"state": "forged", "user": None, "process_key": "other"}


@pytest.mark.parametrize("limit", [[], ["--limit", "5"]], ids=["oldest first", "newest first"])
@pytest.mark.parametrize("ends", [1, 9], ids=["forged after", "forged during"])
def test_a_forged_uid_neither_hides_nor_cuts_the_session(ends: int, limit: list[str], run: Run, tmp_path: Path) -> None:
    steps: list[tuple[str, float, dict[str, Any]]] = [
        ("start", 0, {"process_key": "own"}),
        ("start", 2, _FORGED | {"reason": "uid-used"}),
        ("end", 3, _FORGED | {"exit": Exit(0)}),
        ("end", ends, {"process_key": "own", "exit": Exit(7)}),
    ]
    node = Node1()
    for phase, minute, fields in sorted(steps, key=lambda step: step[1]):
        node.write("a", phase, minute, **fields)
    trail = tmp_path / "trail.jsonl"
    trail.write_bytes(node.content)

    listed = [line.split("\t") for line in run(trail, "--no-headers", *limit)[1].splitlines()]

    assert sorted((user, verb, result, command) for _, user, verb, _, result, _, _, command in listed) == [
        ("", "exec", "forged, exit 0", "id"),
        ("alice", "exec", "exit 7", "id"),
    ]


@pytest.mark.parametrize("limit", [[], ["--limit", "5"]], ids=["oldest first", "newest first"])
def test_a_session_that_turns_out_forged_is_listed_once(limit: list[str], run: Run, tmp_path: Path) -> None:
    node = Node1().write("a", "start", 0, state="unconfirmed", user=None, process_key="other")
    node.write("a", "start", 1, **_FORGED, reason="other-command").write("a", "end", 2, **_FORGED, exit=Exit(0))
    trail = tmp_path / "trail.jsonl"
    trail.write_bytes(node.content)

    (listed,) = run(trail, "--no-headers", *limit)[1].splitlines()

    assert "\tforged, exit 0\t" in listed
    assert from_records("a", node.records).state == "forged"


def test_a_forged_claim_does_not_hold_up_the_list() -> None:
    records = iter(Node1().write("a", None, 0, **_FORGED).write("b", "start", 1).write("b", "end", 2).records)

    assert next(session_list.in_order(records)).request_uid == "a"
    assert [record.request_uid for record in records] == ["b", "b"]


# ---- sources ----


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A node's segments, of which one is packed, with a session that goes over the cut; and another node's file."""
    folder = tmp_path / "trails"
    folder.mkdir()
    one = Node1().write("a", "start", 0).write("a", "end", 1).write("b", "start", 2)
    closed, rest = one.content, one.write("b", "end", 4).write("d", "start", 6).write("d", "end", 7).content
    (folder / "trail-2026-11-23T14-03-00.000.jsonl.gz").write_bytes(gzip.compress(closed))
    (folder / "trail.jsonl").write_bytes(rest[len(closed) :])
    two = Node1("node-2").write("c", "start", 3).write("c", "end", 5)
    (folder / "other.jsonl").write_bytes(two.content)
    (folder / "notes.txt").write_text("no trail")
    return folder


def test_a_folder_is_read_as_the_trails_in_it(folder: Path, run: Run) -> None:
    code, out, err = run(folder, "-o", "jsonl")
    found = [json.loads(line) for line in out.splitlines()]

    assert (code, err) == (0, "")
    assert [it["requestUID"] for it in found] == ["a", "b", "c", "d"]
    assert all(it["outcome"] == "completed" for it in found)


def test_a_segment_that_is_there_packed_and_plain_counts_once(folder: Path, run: Run) -> None:
    packed = folder / "trail-2026-11-23T14-03-00.000.jsonl.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))

    assert [source.name for source in files.sources([str(folder), str(folder / "trail.jsonl")])] == [
        str(folder / name) for name in ("other.jsonl", packed.with_suffix("").name, "trail.jsonl")
    ]


def test_files_in_any_order_make_the_same_list(folder: Path, run: Run) -> None:
    files = sorted(folder.glob("*.jsonl*"))

    assert run(*files)[1] == run(*reversed(files))[1] == run(folder)[1]


@pytest.fixture
def segments(tmp_path: Path) -> Path:
    """A trail in three segments, closed as they are named; each session goes on in the next one."""
    folder = tmp_path / "segments"
    folder.mkdir()
    node = Node1()
    for number, minute in enumerate((10, 20, 30)):
        before = len(node.content)
        node.write(f"{number}", "start", minute - 1)
        if number:
            node.write(f"{number - 1}", "end", minute - 0.5, duration_ms=630_000)
        closed = datetime(2026, 11, 23, 14, minute, tzinfo=UTC)
        file = folder / ("trail.jsonl" if minute == 30 else f"trail-2026-11-23T14-{minute}-00.000.jsonl")
        file.write_bytes(node.content[before:])
        os.utime(file, (closed.timestamp(), closed.timestamp()))
    return folder


@pytest.mark.parametrize("options", [(), ("--limit", 9)], ids=["oldest first", "newest first"])
def test_since_chooses_the_same_whether_old_segments_are_read_or_not(
    segments: Path, options: tuple[object, ...], run: Run
) -> None:
    """Files that are named are read; of a folder's only those that are needed."""
    chosen = []
    for minute in range(40):
        since = ("--since", f"2026-11-23T14:{minute:02}Z", "-o", "jsonl", *options)
        chosen.append(run(segments, *since))
        assert chosen[-1] == run(*sorted(segments.iterdir()), *since)
    assert [out.count("\n") for _, out, _ in chosen] == [3] * 10 + [2] * 10 + [1] * 10 + [0] * 10


def test_segments_closed_before_since_are_not_read_and_not_missed(segments: Path, run: Run) -> None:
    for file in sorted(segments.iterdir())[:2]:
        times = file.stat().st_atime, file.stat().st_mtime
        file.write_bytes(b"damaged\n")
        os.utime(file, times)

    assert run(segments, "--since", "2026-11-23T14:29Z", "-o", "name") == (0, "2\n", "")
    assert run(segments, "--since", "2026-11-23T14:19Z", "-o", "name")[0] == 3


def test_nothing_since_in_a_folder_of_closed_segments_is_no_failure(segments: Path, run: Run) -> None:
    (segments / "trail.jsonl").unlink()

    assert run(segments, "--since", "2026-11-23T15:00Z") == (0, "", "exectrail: no sessions\n")


def test_the_latest_come_first_with_a_limit_and_over_segments(folder: Path, run: Run) -> None:
    assert run(folder, "--limit", 3, "-o", "name")[1].split() == ["d", "c", "b"]
    assert run(folder, "--limit", 9, "-o", "name")[1].split() == ["d", "c", "b", "a"]


def test_the_latest_of_standard_input_come_first_too(folder: Path, monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    packed = (folder / "trail-2026-11-23T14-03-00.000.jsonl.gz").read_bytes()
    stdin = io.TextIOWrapper(io.BufferedReader(io.BytesIO(packed)))
    monkeypatch.setattr(sys, "stdin", stdin)

    assert run("-", "--limit", 1, "-o", "name")[1] == "b\n"


def test_a_file_given_twice_changes_nothing(folder: Path, run: Run) -> None:
    assert run(folder, folder)[1] == run(folder)[1]


def test_the_latest_are_read_from_the_end_of_a_file(tmp_path: Path) -> None:
    node = Node1()
    for n in range(3000):
        node.write(UID.format(n), "start", n).write(UID.format(n), "end", n)
    trail = tmp_path / "trail.jsonl"
    trail.write_bytes(node.content)
    report = Report()

    found = session_list.newest_first(files.sources([str(trail)]), 1, lambda _: True, report)

    assert [it.request_uid for it in found] == [UID.format(2999)]
    assert trail.stat().st_size > 4 * BLOCK
    assert report.records < 2000


@pytest.mark.parametrize("limit", [[], ["--limit", "5"]], ids=["oldest first", "newest first"])
def test_a_session_in_two_files_of_a_container_runtime_is_listed_once(
    limit: list[str], tmp_path: Path, run: Run
) -> None:
    """Rotated files whose names do not sort by age: only the records say which is the older one."""
    start, end = Node1().write("a", "start", 0).write("a", "end", 1).content.splitlines(keepends=True)
    time = b"2026-11-23T14:00:00.000000000Z stdout F "
    (tmp_path / "0.log").write_bytes(time + end)
    (tmp_path / "1.log").write_bytes(time + start)

    code, out, err = run(tmp_path, "-o", "jsonl", *limit)

    assert (code, err) == (0, "")
    assert [json.loads(line)["outcome"] for line in out.splitlines()] == ["completed"]


@pytest.mark.parametrize("limit", [[], ["--limit", "5"]], ids=["oldest first", "newest first"])
def test_a_file_that_is_no_trail_cannot_be_looked_at(limit: list[str], tmp_path: Path, run: Run) -> None:
    other = tmp_path / "other.txt"
    other.write_text("root:x:0:0\n")

    assert run(other, *limit)[0] == 2


@pytest.mark.parametrize("limit", [[], ["--limit", "1"]], ids=["oldest first", "newest first"])
def test_a_missing_file_among_many_is_named_and_the_rest_is_shown(limit: list[str], folder: Path, run: Run) -> None:
    code, out, err = run(folder / "trail.jsonl", folder / "gone.jsonl", *limit)

    assert code == 3
    assert "d\t" in out
    assert "gone.jsonl: No such file or directory" in err


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user whom permissions of files hold back."""
    me = os.geteuid()
    os.seteuid(me or 65534)
    try:
        yield
    finally:
        os.seteuid(me)


@pytest.mark.parametrize("name", ["", "trail.jsonl"], ids=["folder", "file in it"])
def test_a_folder_that_may_not_be_read_is_a_trail_that_cannot_be(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)  # the folders above it may not be read either
    folder.parent.chmod(0o755)
    folder.chmod(0)
    with unprivileged():
        (source,) = files.sources([str(Path(folder.name) / name)])

        with pytest.raises(PermissionError):
            source.open()
    folder.chmod(0o700)


def test_a_file_that_cannot_be_looked_for_is_named_and_the_rest_is_shown(folder: Path, run: Run) -> None:
    name = "x" * 300

    code, out, err = run(folder, name, "-o", "name")

    assert (code, out.split()) == (3, ["a", "b", "c", "d"])
    assert err == f"exectrail: {name}: File name too long\n"


def test_standard_input_that_is_closed_is_not_an_empty_one(monkeypatch: pytest.MonkeyPatch, run: Run) -> None:
    monkeypatch.setattr(sys, "stdin", None)

    assert run("-") == (2, "", "exectrail: standard input: it is closed\n")


def test_records_that_are_missing_in_between_are_counted(tmp_path: Path, run: Run) -> None:
    node = Node1().write("a", "start", 0).write("a", "end", 1).write("b", "start", 2).write("b", "end", 3)
    trail = tmp_path / "trail.jsonl"
    trail.write_bytes(b"".join(map(encode, [node.records[0], node.records[3]])))

    code, _, err = run(trail)

    assert code == 3
    assert "node node-1: 2 records are missing in what was read (seq 1-2)" in err


def test_what_retention_removed_at_the_beginning_is_no_gap(tmp_path: Path, run: Run) -> None:
    node = Node1().write("a", "start", 0).write("a", "end", 1).write("b", "start", 2).write("b", "end", 3)
    trail = tmp_path / "trail.jsonl"
    trail.write_bytes(b"".join(map(encode, node.records[2:])))

    assert run(trail)[0] == 0


@pytest.mark.parametrize("limit", [[], ["--limit", "5"]], ids=["forwards", "backwards"])
def test_a_byte_order_mark_costs_no_record(limit: list[str], tmp_path: Path, run: Run) -> None:
    trail = tmp_path / "trail.jsonl"
    trail.write_bytes(b"\xef\xbb\xbf" + Node1().write("a", "start", 0).write("a", "end", 1).content)

    assert run(trail, "-o", "name", *limit) == (0, "a\n", "")


_UNCONFIRMED: dict[str, Any] = {"state": "unconfirmed", "user": None, "request": None}
_LATE: dict[str, Any] = {"reason": "late"}
_COURSES: list[list[tuple[str | None, dict[str, Any]]]] = [
    [("start", {}), ("end", {"duration_ms": 1000, "processes": 3})],
    [("start", {})],
    [("end", {"duration_ms": 1000})],
    [("start", _UNCONFIRMED), ("start", _LATE), ("end", {})],
    [("start", _UNCONFIRMED), ("end", _UNCONFIRMED), ("start", _LATE)],
    [("start", {"request": Request("attach", "pods/attach")})],
]
"""What a trail has of a session."""
_FORGERIES: list[list[str | None]] = [["start", "end"], ["start"], ["end"], [None]]
"""What it has of a process that only claims the UID."""


@st.composite
def interleaved(draw: st.DrawFn) -> list[Record]:
    """Records of sessions and of processes with their UIDs, those of each in their order."""
    forged = {"request": Request("exec", "pods/exec", ["forged"]), "outcome": "lost", "reason": "uid-used"}
    courses: list[list[tuple[str, str | None, dict[str, Any]]]] = []
    for uid in "abc":
        course = draw(st.sampled_from([[], *_COURSES]))
        courses.append([(uid, phase, {"process_key": f"own-{uid}"} | fields) for phase, fields in course])
        for number, phases in enumerate(draw(st.lists(st.sampled_from(_FORGERIES), max_size=2))):
            fields = _FORGED | forged | {"process_key": f"forged-{number}"}
            courses.append([(uid, phase, fields) for phase in phases])
    turns = draw(st.permutations([at for at, course in enumerate(courses) for _ in course]))
    node = Node1()
    for minute, at in enumerate(turns):
        uid, phase, fields = courses[at].pop(0)
        node.write(uid, phase, minute, **fields)
    return node.records


@given(interleaved(), st.sampled_from([0, 10_000]))
def test_whatever_is_forged_each_session_is_listed_once_and_whole(records: list[Record], waiting: int) -> None:
    uids = {it.request_uid or "": None for it in records if it.state != "forged"}
    forged = {(it.request_uid, it.process_key) for it in records if it.state == "forged"}
    whole = [from_records(uid, [it for it in records if it.request_uid == uid]) for uid in sorted(uids)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session_list, "MOST_WAITING", waiting)
        forwards = list(session_list.in_order(iter(records)))
    backwards = list(session_list.in_reverse_order(reversed(records)))

    for found in (forwards, backwards):
        assert sorted((it for it in found if it.state != "forged"), key=lambda it: it.request_uid) == whole
        assert len(found) == len(whole) + len(forged)
