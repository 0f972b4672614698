"""Reading a trail that is large, damaged, cut, or none at all."""

import io
import json
import tracemalloc
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exectrail import cli
from exectrail.contracts.record import Record, encode
from exectrail.reading.blocks import LONGEST_LINE
from exectrail.reading.report import Report
from exectrail.reading.trail import SESSION, Source, Unreadable, read

LOG_LINE = b'{"time":"t","level":"info","logger":"enricher","message":"requestUID of kind session"}\n'


def source(content: bytes, *, pod_log: bool = False) -> Source:
    return Source("here", lambda: nullcontext(io.BytesIO(content)), pod_log)


@pytest.fixture
def line(alice_trail: list[Record]) -> bytes:
    return encode(alice_trail[0])


def test_lines_that_are_no_records_are_counted_and_the_rest_is_read(line: bytes) -> None:
    report = Report()
    content = line + b"half a li\n" + line[:100] + b"\n" + b"\n" + b'{"kind":"exec"}\n' + line

    assert len(list(read(source(content), None, report))) == 2
    assert list(report.sentences()) == ["3 lines were no records"]


def test_damage_is_seen_between_lines_that_are_not_wanted(line: bytes) -> None:
    report = Report()

    assert list(read(source(line + line[:50] + b"\n" + line), (b"nothing has this",), report)) == []
    assert list(report.sentences()) == ["1 line was no record"]


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda lines: lines[9], []),
        (lambda lines: lines[10].replace(b'"/usr/bin/ls"', b'"' + b"\0" * 11 + b'"'), ["1 line was no record"]),
        (lambda lines: lines[10][:60] + b"\0" * 200 + lines[10][-90:], ["1 line was no record"]),
        (lambda lines: lines[10][:200] + lines[10][-90:], ["1 line was no record"]),
        (lambda lines: lines[10].replace(b"node-1", b"node-2"), []),
        (lambda lines: lines[10].replace(b'"seq":10,', b'"seq":9,'), []),
    ],
    ids=[
        "a copy of its neighbour",
        "zeros in a value",
        "zeros in its middle",
        "cut in its middle",
        "another node's",
        "another number",
    ],
)
def test_a_line_that_stands_for_another_between_lines_that_are_not_wanted_is_missed(
    damage: Callable[[list[bytes]], bytes], said: list[str], alice_trail: list[Record]
) -> None:
    lines, report = [encode(record) for record in alice_trail], Report()
    lines[10] = damage(lines)

    assert list(read(source(b"".join(lines)), (b"nothing has this",), report)) == []
    assert list(report.sentences()) == said
    assert list(report.gaps()) == ["node node-1: 1 record is missing in what was read (seq 10)"]


def test_nothing_is_missed_whatever_an_argument_looks_like(alice_trail: list[Record]) -> None:
    report = Report()
    for record, argument in zip(
        alice_trail, [',"seq":7,"prev":"', '"}\n{"version":"', '"node":{"name":"b"}'], strict=False
    ):
        record.argv = [argument]

    assert len(list(read(source(b"".join(map(encode, alice_trail))), None, report))) == len(alice_trail)
    assert [*report.sentences(), *report.gaps()] == []


def test_a_line_too_long_to_be_a_record_is_one_damaged_line(line: bytes) -> None:
    report = Report()

    assert len(list(read(source(line + b"x" * (3 * LONGEST_LINE) + b"\n" + line), None, report))) == 2
    assert report.damaged == 1


@pytest.mark.parametrize("pod_log", [True, False], ids=["from a pod", "from a file"])
def test_an_agents_own_log_lines_are_passed_over_in_silence(line: bytes, pod_log: bool) -> None:
    report = Report()

    assert len(list(read(source(LOG_LINE + line + LOG_LINE, pod_log=pod_log), None, report))) == 1
    assert report.damaged == 0


def test_a_pods_log_without_any_record_is_an_empty_trail() -> None:
    assert list(read(source(LOG_LINE, pod_log=True), (SESSION,), Report())) == []


def test_a_file_without_any_record_is_refused_with_its_first_line() -> None:
    with pytest.raises(Unreadable, match=r"^here:2: not a record of a trail: "):
        list(read(source(b"\nroot:x:0:0\n[]\n"), None, Report()))


def test_an_empty_file_is_an_empty_trail() -> None:
    assert list(read(source(b""), None, Report())) == []


def test_a_session_line_is_recognised_however_its_json_is_spaced(line: bytes) -> None:
    spaced = json.dumps(json.loads(line)).encode() + b"\n"
    other = line.replace(b'"kind":"session"', b'"kind":"exec"')

    assert len(list(read(source(line + spaced + other), (SESSION,), Report()))) == 2


class Repeated(io.RawIOBase):
    """One line again and again, made while it is read."""

    def __init__(self, line: bytes, times: int) -> None:
        self._line, self._left = line, times

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override] # what BufferedReader passes
        view = memoryview(buffer)
        count = min(len(view) // len(self._line), self._left)
        self._left -= count
        view[: count * len(self._line)] = self._line * count
        return count * len(self._line)


def test_memory_does_not_grow_with_the_trail(line: bytes) -> None:
    megabytes = 50
    raw: io.RawIOBase = Repeated(line, megabytes * 1_000_000 // len(line))
    stream = io.BufferedReader(raw, 1 << 16)
    tracemalloc.start()
    try:
        found = list(read(Source("long", lambda: nullcontext(stream)), (b"bob",), Report()))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()

    assert found == []
    assert peak < 1_000_000


@given(st.binary() | st.lists(st.sampled_from([b"{", b'{"x":' * 99999, b'{"kind":"session"}', b"\n", b"\xff"])))
def test_whatever_the_bytes_a_file_is_read_or_refused(content: bytes | list[bytes]) -> None:
    whole = content if isinstance(content, bytes) else b"".join(content)
    for pod_log in (True, False):
        try:
            found = list(read(source(whole, pod_log=pod_log), None, Report()))
        except Unreadable as error:
            assert str(error).isprintable()  # noqa: PT017 - both outcomes are right
        else:
            assert found == []


@pytest.mark.parametrize("command", [["sessions"], ["show", "0b5e7c"]], ids=lambda words: str(words[0]))
@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (Path.exists, "No such file or directory"),
        (Path.mkdir, "a folder without a trail: names of trails end in .jsonl"),
        (lambda path: path.write_bytes(b"#!/bin/sh\n\x1b[2J"), ":1: not a record of a trail"),
    ],
    ids=["missing", "a folder", "a script"],
)
def test_a_file_that_cannot_be_a_trail_exits_with_2_and_its_name(
    command: list[str],
    make: Callable[[Path], object],
    complaint: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "file"
    make(path)

    assert cli.run([*command, str(path)]) == 2
    error = capsys.readouterr().err
    assert str(path) in error
    assert error.count("\n") == 1
    assert complaint in error


def test_a_damaged_trail_is_shown_and_its_damage_reported(
    alice_file: Path, alice_uid: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with alice_file.open("ab") as file:
        file.write(b'{"version":"spo/v1_alp\n')

    assert cli.run(["show", alice_uid, str(alice_file)]) == 3
    output = capsys.readouterr()
    assert "sleep 0.1" in output.out
    assert output.err == "exectrail: 1 line was no record\n"
