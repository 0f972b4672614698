"""What the cluster's reader prints: a trail or what is in it of one session, and a mark at its end."""

import gzip
import io
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exectrail.contracts.record import Record, decode, encode
from exectrail.reading import report as report_module
from exectrail.reading.blocks import LONGEST_LINE
from exectrail.reading.reader import MODULE
from exectrail.reading.report import Chain, Numbers, Report
from exectrail.reading.trail import END, End, Source, end_marks, read


@pytest.fixture
def folder(alice_trail: list[Record], tmp_path: Path) -> Path:
    (tmp_path / "trail-2026-11-23T14-58-03.000.jsonl.gz").write_bytes(
        gzip.compress(b"".join(map(encode, alice_trail[:9])))
    )
    (tmp_path / "trail.jsonl").write_bytes(b"".join(map(encode, alice_trail[9:])))
    return tmp_path


def printed(*arguments: object) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([sys.executable, "-m", MODULE, *map(str, arguments)], capture_output=True, check=False)


def whole(records: list[Record]) -> Chain:
    first, last = records[0], records[-1]
    return Chain("node-1", [(0, last.seq)], first.audit_id, first.timestamp, last.timestamp)


def test_a_whole_trail_ends_with_a_mark_that_has_its_numbers(folder: Path, alice_trail: list[Record]) -> None:
    *lines, mark = printed(folder / "trail.jsonl").stdout.splitlines()

    assert list(map(decode, lines)) == alice_trail
    assert mark.startswith(END)
    assert msgspec.json.decode(mark, type=End) == End([whole(alice_trail)], 0)


def test_of_one_session_come_its_records_and_all_gaps(folder: Path, alice_trail: list[Record], alice_uid: str) -> None:
    *lines, mark = printed(folder / "trail.jsonl", "--about", alice_uid).stdout.splitlines()

    assert list(map(decode, lines)) == [
        record for record in alice_trail if record.request_uid == alice_uid or record.kind == "gap"
    ]
    assert msgspec.json.decode(mark, type=End) == End([whole(alice_trail)], 0)


def test_of_segments_closed_before_a_time_neither_lines_nor_numbers_come(
    folder: Path, alice_trail: list[Record]
) -> None:
    (segment,) = folder.glob("*.gz")
    os.utime(segment, (0, 0))

    for since, first in (
        ("2026-11-23T14:58:30+00:00", 0),
        ("2026-11-23T16:58:30.000001+02:00", 0),
        ("2026-11-24T00:00:00+00:00", 9),
    ):
        *lines, mark = printed(folder / "trail.jsonl", f"--since={since}").stdout.splitlines()

        assert list(map(decode, lines)) == alice_trail[first:]
        (chain,) = msgspec.json.decode(mark, type=End).chains
        assert chain.ranges == [(first, len(alice_trail) - 1)]


def test_a_line_that_is_still_being_written_is_no_damage(folder: Path) -> None:
    with (folder / "trail.jsonl").open("ab") as file:
        file.write(b'{"version":"spo/v1_al')

    mark = printed(folder / "trail.jsonl").stdout.splitlines()[-1]

    assert msgspec.json.decode(mark, type=End).damaged == 0


def test_a_missing_trail_is_named_and_has_no_mark(folder: Path) -> None:
    missing = printed(folder / "other.jsonl")

    assert (missing.returncode, missing.stdout) == (1, b"")
    assert missing.stderr.decode() == f"{folder}/other.jsonl: No such file or directory\n"


DAMAGED = {
    "zeros": (b"\0" * 500 + b"\n", "not a record of a trail: JSON is malformed: invalid character (byte 0)"),
    "another program's": (b'{"a":1}\n', "not a record of a trail: Object missing required field `version`"),
    "compressed by a method that is none": (b"\x1f\x8b\0" + b"x" * 40, "its compressed data is cut or damaged"),
    "cut in its first bytes": (b"\x1f\x8b\x08", "its compressed data is cut or damaged"),
    "half a record": (b'{"version":"spo/v1_al', "not a record of a trail: Input data was truncated"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_a_damaged_segment_is_named_and_the_others_are_read(what: str, folder: Path, alice_trail: list[Record]) -> None:
    (segment,) = folder.glob("*.gz")
    content, why = DAMAGED[what]
    segment.write_bytes(content)

    answer = printed(folder / "trail.jsonl")

    assert list(map(decode, answer.stdout.splitlines()[:-1])) == alice_trail[9:]
    (said,) = received(answer.stdout).sentences()
    assert said.startswith(f"node-1: {segment}:")
    assert why in said


def test_a_segment_that_cannot_be_opened_is_named_and_the_others_are_read(
    folder: Path, alice_trail: list[Record]
) -> None:
    (segment,) = folder.glob("*.gz")
    segment.unlink()
    segment.symlink_to(segment)

    answer = printed(folder / "trail.jsonl")

    assert list(map(decode, answer.stdout.splitlines()[:-1])) == alice_trail[9:]
    assert list(received(answer.stdout).sentences()) == [f"node-1: {segment}: Too many levels of symbolic links"]


def test_where_no_segment_is_a_trail_the_first_is_named_and_there_is_no_mark(folder: Path) -> None:
    (segment,) = folder.glob("*.gz")
    segment.write_bytes(b"hello\n")
    (folder / "trail.jsonl").write_bytes(b"hello\n")

    answer = printed(folder / "trail.jsonl")

    assert (answer.returncode, answer.stdout) == (1, b"")
    assert answer.stderr.decode().startswith(f"{segment}:1: not a record of a trail: ")


def received(content: bytes) -> Report:
    report = Report()
    list(read(Source("node-1", lambda: nullcontext(io.BytesIO(content)), marked=True), None, report))
    return report


def test_a_stream_that_is_cut_at_the_end_of_a_line_is_noticed(folder: Path, alice_uid: str) -> None:
    lines = printed(folder / "trail.jsonl", "--about", alice_uid).stdout.splitlines(keepends=True)

    assert list(received(b"".join(lines)).sentences()) == []
    for cut in (0, 1, len(lines) - 1):
        assert list(received(b"".join(lines[:cut])).sentences()) == [
            "node-1: the connection ended before the trail did; try again"
        ]


def test_a_stream_that_is_cut_within_a_line_is_noticed_whichever_line_that_is(folder: Path, alice_uid: str) -> None:
    content = printed(folder / "trail.jsonl", "--about", alice_uid).stdout

    for cut in range(1, 200):
        assert list(received(content[:-cut]).sentences()) == [
            "node-1: the connection ended before the trail did; try again"
        ]


def test_a_mark_with_very_many_ranges_comes_whole(folder: Path) -> None:
    numbers = {f"node-{node}": [(n, n) for n in range(10**18, 10**18 + 120_000, 4)] for node in (1, 2)}
    read_ = Report(damaged=3)
    for node, ranges in numbers.items():
        read_.add_chain(Chain(node, ranges, "9c7d0000", "2026-11-23", "2026-11-24"))

    marks = end_marks(read_)
    report = received(marks)

    assert max(map(len, marks.splitlines())) < LONGEST_LINE
    assert {node: each.ranges() for node, each in report.numbers.items()} == numbers
    assert len(report.chains()) == 2
    assert list(report.sentences()) == ["3 lines were no records"]
    assert list(received(marks[: marks.index(b"\n") + 1]).sentences()) == [
        "node-1: the connection ended before the trail did; try again"
    ]


def test_what_is_missing_or_damaged_on_the_node_is_said_where_it_is_read(
    folder: Path, alice_trail: list[Record], alice_uid: str
) -> None:
    (folder / "trail.jsonl").write_bytes(b"half a li\n" + b"".join(map(encode, alice_trail[12:])))

    report = received(printed(folder / "trail.jsonl", "--about", alice_uid).stdout)

    assert list(report.gaps()) == ["node node-1: 3 records are missing in what was read (seq 9-11)"]
    assert report.damaged == 1


@given(st.lists(st.integers(0, 40), max_size=60))
def test_what_is_missing_is_what_was_not_read_in_between(read_: list[int]) -> None:
    numbers = Numbers()
    for number in read_:
        numbers.add(number, number)

    missing = {number for first, last in numbers.missing() for number in range(first, last + 1)}

    assert missing == set(range(min(read_, default=0), max(read_, default=0))) - set(read_)
    assert numbers.count == len(read_)
    assert numbers.repeated() == len(read_) - len(set(read_))


def test_a_selection_with_gaps_everywhere_is_said_to_be_one_without_holding_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(report_module, "_MOST_RANGES", 10)
    report = Report()
    for number in range(0, 100, 2):
        report.add_numbers("n", number, number)

    assert list(report.gaps()) == ["node n: most records are missing: what was read is a selection of a trail"]


def test_a_segment_goes_on_with_the_chain_before_it_also_where_the_clock_was_set_back(
    folder: Path, alice_trail: list[Record]
) -> None:
    later = b"".join(map(encode, alice_trail[12:])).replace(b"2026-11-23", b"2026-11-22")
    (folder / "trail.jsonl").write_bytes(later)

    report = received(printed(folder / "trail.jsonl").stdout)

    assert list(report.gaps()) == ["node node-1: 3 records are missing in what was read (seq 9-11)"]
