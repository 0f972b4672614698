"""A trail in several files: their names, and reading them as one."""

import gzip
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exectrail import cli
from exectrail.contracts.record import Record, encode
from exectrail.reading import segments
from exectrail.reading.segments import Names

NOW = datetime(2026, 11, 23, 14, 58, 3, 120_999, tzinfo=UTC)


def closed(second: int, name: str = "trail") -> str:
    return f"{name}-2026-11-23T14-58-{second:02}.000.jsonl"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / closed(1)).with_suffix(".jsonl.gz").write_bytes(gzip.compress(b"1\n2\n"))
    (tmp_path / closed(2)).write_bytes(b"3\n4\n")
    (tmp_path / "trail.jsonl").write_bytes(b"5\n6")
    return tmp_path


def read(file: Path) -> list[bytes]:
    return [line for stream in segments.read(file) for line in stream.read().splitlines()]


@pytest.mark.parametrize(
    ("file", "segment"),
    [
        ("trail.jsonl", "trail-2026-11-23T14-58-03.120.jsonl"),
        ("audit1.log", "audit1-2026-11-23T14-58-03.120.log"),
        ("trail-node.a.jsonl", "trail-node.a-2026-11-23T14-58-03.120.jsonl"),
        ("audit", "audit-2026-11-23T14-58-03.120"),
    ],
)
def test_a_closed_segment_is_named_as_spo_names_it(file: str, segment: str) -> None:
    names = Names(file)

    assert names.following([], NOW).name == segment
    assert [each.name for each in names.among([segment, f"{segment}.gz", file])] == [segment]


def test_no_name_is_given_twice_or_goes_back_when_the_clock_does() -> None:
    names = Names("trail.jsonl")
    first = names.following([], NOW)
    second = names.following([first], NOW)
    third = names.following([first, second], NOW - timedelta(days=400))

    assert first < second < third
    assert third.name == "trail-2026-11-23T14-58-03.122.jsonl"


def test_what_belongs_to_another_trail_or_is_no_segment_is_left_alone() -> None:
    others = ["trail-b.jsonl", closed(1, "trail-b"), f"{closed(1)}.gz.part", ".trail.jsonl.lock", f"x{closed(1)}"]

    assert Names("trail.jsonl").among(others) == []
    assert [each.name for each in Names("trail-b.jsonl").among(others)] == [closed(1, "trail-b")]


def test_a_trail_is_read_oldest_first_whether_compressed_or_not(folder: Path) -> None:
    assert read(folder / "trail.jsonl") == b"1\n2\n3\n4\n5\n6".split()


def test_a_segment_that_is_there_in_both_forms_is_read_once(folder: Path) -> None:
    (folder / closed(1)).write_bytes(b"1\n2\n")

    assert read(folder / "trail.jsonl") == b"1\n2\n3\n4\n5\n6".split()


def test_between_two_segments_the_closed_ones_are_read(folder: Path) -> None:
    (folder / "trail.jsonl").unlink()

    assert read(folder / "trail.jsonl") == b"1\n2\n3\n4\n".split()


def test_a_cut_line_does_not_swallow_the_first_of_the_next_segment(folder: Path) -> None:
    (folder / closed(2)).write_bytes(b"3\nhal")

    assert read(folder / "trail.jsonl") == b"1\n2\n3\nhal\n5\n6".split()


def test_a_damaged_segment_costs_only_itself_and_says_so(folder: Path) -> None:
    packed = folder / (closed(1) + ".gz")
    packed.write_bytes(packed.read_bytes()[:-4])

    lines = read(folder / "trail.jsonl")

    assert lines[:2] == [b"1", b"2"]
    assert any(line.startswith(b"unreadable from here on: ") for line in lines)
    assert lines[-4:] == [b"3", b"4", b"5", b"6"]


def test_a_segment_that_is_compressed_or_removed_while_the_trail_is_read_is_no_trouble(folder: Path) -> None:
    stream = segments.read(folder / "trail.jsonl")
    assert next(stream).read() == b"1\n2\n"
    (folder / (closed(2) + ".gz")).write_bytes(gzip.compress(b"3\n4\n"))
    (folder / closed(2)).unlink()
    (folder / "trail.jsonl").rename(folder / closed(3))
    (folder / "trail.jsonl").write_bytes(b"7\n")

    assert [each.read() for each in stream] == [b"3\n4\n", b"5\n6"]


# ---- what was closed before a time ----


def at(minute: float) -> datetime:
    return datetime(2026, 11, 23, 14, tzinfo=UTC) + timedelta(minutes=minute)


def rotated(minute: int, name: str = "trail") -> str:
    return f"{name}-2026-11-23T14-{minute:02}-00.000.jsonl"


@pytest.fixture
def closed_ones(tmp_path: Path) -> Path:
    for minute in (10, 20, 30):
        write(tmp_path / rotated(minute), minute)
    write(tmp_path / "trail.jsonl", 0)
    return tmp_path


def write(file: Path, minute: float, content: bytes = b"") -> None:
    """A file that was last written to then."""
    file.write_bytes(content or file.name.encode() + b"\n")
    os.utime(file, (at(minute).timestamp(), at(minute).timestamp()))


def minutes_left_out(folder: Path, since: float) -> list[int]:
    left_out = segments.closed_before(at(since), folder, [each.name for each in folder.iterdir()])
    return sorted(int(name.split("-")[-2]) for name in left_out)


@pytest.mark.parametrize(
    ("since", "left_out"),
    [(9, []), (10, []), (10.9, []), (11, [10]), (20.9, [10]), (21, [10, 20]), (31, [10, 20, 30]), (9000, [10, 20, 30])],
)
def test_segments_that_were_closed_a_minute_before_need_not_be_read(
    closed_ones: Path, since: float, left_out: list[int]
) -> None:
    assert minutes_left_out(closed_ones, since) == left_out
    lines = [line.decode() for stream in segments.read(closed_ones / "trail.jsonl", at(since)) for line in stream]
    assert [line.strip() for line in lines] == [
        *(rotated(minute) for minute in (10, 20, 30) if minute not in left_out),
        "trail.jsonl",
    ]


def test_without_a_time_all_is_read(closed_ones: Path) -> None:
    assert segments.closed_before(None, closed_ones, [each.name for each in closed_ones.iterdir()]) == set()


def test_a_copy_that_has_a_later_time_is_read(closed_ones: Path) -> None:
    for minute in (10, 20, 30):
        write(closed_ones / rotated(minute), 50)

    assert minutes_left_out(closed_ones, 49) == []


def test_a_segment_whose_name_says_a_later_time_is_read(closed_ones: Path) -> None:
    """As after the clock was set back: the name is that of the last segment, and a millisecond."""
    write(closed_ones / rotated(40), 5)

    assert minutes_left_out(closed_ones, 39) == [10, 20, 30]


def test_from_the_first_segment_that_is_needed_on_none_is_left_out(closed_ones: Path) -> None:
    write(closed_ones / rotated(10), 50)

    assert minutes_left_out(closed_ones, 45) == []


def test_a_compressed_segment_counts_by_when_it_was_compressed(closed_ones: Path) -> None:
    (closed_ones / rotated(10)).unlink()
    write(closed_ones / f"{rotated(10)}.gz", 12)

    assert minutes_left_out(closed_ones, 12.5) == []
    assert minutes_left_out(closed_ones, 13) == [10]


def test_each_trail_of_a_folder_counts_by_itself(closed_ones: Path) -> None:
    write(closed_ones / rotated(5, "trail-b"), 50)
    write(closed_ones / rotated(6, "trail-b"), 6)

    assert minutes_left_out(closed_ones, 25) == [10, 20]


@pytest.mark.parametrize("name", ["trail.jsonl.gz", "copy-of-trail"])
def test_the_command_reads_a_compressed_file_whatever_its_name(
    tmp_path: Path, name: str, alice_trail: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / name
    file.write_bytes(gzip.compress(b"".join(map(encode, alice_trail))))

    assert cli.run(["sessions", str(file)]) == 0
    assert "alice" in capsys.readouterr().out


def test_the_command_counts_the_cut_end_of_a_compressed_file_as_damage(
    tmp_path: Path, alice_trail: list[Record], capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "trail.jsonl.gz"
    file.write_bytes(gzip.compress(b"".join(map(encode, alice_trail)))[:-8])

    assert cli.run(["sessions", str(file)]) == 3
    printed = capsys.readouterr()
    assert "alice" in printed.out
    assert "no record" in printed.err
