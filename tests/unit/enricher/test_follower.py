"""Each line of a log once, whatever happens to its file."""

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.audit import follower as module
from enricher.audit import rotation as rotation_module
from enricher.audit.follower import LONGEST, Follower, Position, end_of


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "audit.log"
    path.write_bytes(b"")
    return path


def append(path: Path, *lines: bytes) -> None:
    with path.open("ab") as file:
        file.write(b"".join(line + b"\n" for line in lines))


def numbered(first: int, number: int) -> list[bytes]:
    return [b"type=SECCOMP msg=audit(1795424943.092:%d): pid=1" % (first + each) for each in range(number)]


def read(follower: Follower) -> list[bytes]:
    """Everything that is there now."""
    found = follower.lines()
    while follower.behind:
        found += follower.lines()
    return found.splitlines()


def rename(path: Path) -> None:
    """As auditd rotates: the newest old file is number 1."""
    suffixes = [each.name[len(path.name) + 1 :] for each in path.parent.glob(f"{path.name}.*")]
    for number in sorted(map(int, filter(str.isdigit, suffixes)), reverse=True):
        Path(f"{path}.{number}").rename(f"{path}.{number + 1}")
    path.rename(f"{path}.1")


def rotate(path: Path) -> None:
    rename(path)
    path.write_bytes(b"")


def copy_and_truncate(path: Path) -> None:
    """As logrotate's `copytruncate`."""
    rename(path)
    shutil.copyfile(f"{path}.1", f"{path}.copy")
    Path(f"{path}.1").rename(path)  # the same file again
    Path(f"{path}.copy").rename(f"{path}.1")
    os.truncate(path, 0)


ROTATIONS: tuple[Callable[[Path], None], ...] = (rotate, copy_and_truncate)


@pytest.fixture(params=ROTATIONS, ids=lambda rotation: rotation.__name__)
def rotation(request: pytest.FixtureRequest) -> Callable[[Path], None]:
    found: Callable[[Path], None] = request.param
    return found


def test_lines_come_as_they_are_written(log: Path) -> None:
    follower = Follower.at_end(log)
    assert read(follower) == []
    append(log, b"one", b"two")
    assert read(follower) == [b"one", b"two"]
    append(log, b"three")
    assert read(follower) == [b"three"]


def test_what_was_there_before_is_not_read_from_the_end_on(log: Path) -> None:
    append(log, b"before")
    follower = Follower.at_end(log)
    append(log, b"after")
    assert read(follower) == [b"after"]


def test_half_a_line_waits_for_its_other_half(log: Path) -> None:
    follower = Follower.at_end(log)
    log.write_bytes(b"one\ntw")
    assert read(follower) == [b"one"]
    append(log, b"o")
    assert read(follower) == [b"two"]
    assert follower.cut == 0


def test_half_a_line_that_was_there_before_is_left_out(log: Path) -> None:
    log.write_bytes(b"one\ntw")
    follower = Follower.at_end(log)
    append(log, b"o", b"three")
    assert read(follower) == [b"three"]


def test_half_a_line_at_the_end_of_a_file_that_was_left_is_counted(log: Path) -> None:
    follower = Follower.at_end(log)
    log.write_bytes(b"one\ntw")
    rotate(log)
    append(log, b"three")
    assert read(follower) == [b"one", b"three"]
    assert follower.cut == 1


def test_a_line_that_never_ends_is_left_out_and_counted(log: Path) -> None:
    follower = Follower.at_end(log)
    append(log, b"one", b"x" * (1 << 20), b"two")
    assert read(follower) == [b"one", b"two"]
    assert follower.overlong == 1


def test_a_line_of_the_longest_length_is_read(log: Path) -> None:
    follower = Follower.at_end(log)
    longest = b"x" * (LONGEST - 1)
    append(log, longest, b"two")
    assert read(follower) == [longest, b"two"]


def test_a_log_that_comes_later_is_read_from_its_start(tmp_path: Path) -> None:
    follower = Follower.at_end(tmp_path / "audit.log")
    assert read(follower) == []
    append(tmp_path / "audit.log", b"one")
    assert read(follower) == [b"one"]


def test_the_old_file_is_read_to_its_end(log: Path, rotation: Callable[[Path], None]) -> None:
    follower = Follower.at_end(log)
    append(log, *numbered(1, 5))
    assert read(follower) == numbered(1, 5)
    append(log, *numbered(6, 3))
    rotation(log)
    append(log, *numbered(9, 2))
    assert read(follower) == numbered(6, 5)


def test_no_file_between_two_looks_is_left_out(log: Path, rotation: Callable[[Path], None]) -> None:
    append(log, *numbered(1, 5))
    follower = Follower.at_end(log)
    for first in (6, 9, 12):
        append(log, *numbered(first, 3))
        rotation(log)
    append(log, *numbered(15, 3))
    assert read(follower) == numbered(6, 12)


def test_what_is_still_written_to_the_old_file_after_the_rename_is_read(log: Path) -> None:
    follower = Follower.at_end(log)
    with log.open("ab", buffering=0) as writer:
        writer.write(b"one\n")
        rotate(log)
        assert read(follower) == [b"one"]
        writer.write(b"two\n")
        assert read(follower) == [b"two"]
        writer.write(b"three\n")
    append(log, b"four")
    assert read(follower) == [b"three", b"four"]


def test_a_truncated_file_that_has_grown_past_the_place_since_is_noticed(log: Path) -> None:
    append(log, b"short")
    follower = Follower.at_end(log)
    os.truncate(log, 0)
    append(log, *numbered(1, 9))
    assert read(follower) == numbered(1, 9)
    assert follower.truncated == 1


def test_dated_files_are_read_by_age(log: Path) -> None:
    append(log, b"one")
    follower = Follower.at_end(log)
    for age, name in ((3, "20261122"), (2, "20261123")):
        append(log, name.encode())
        log.rename(f"{log}-{name}")
        os.utime(f"{log}-{name}", ns=(0, log.parent.stat().st_mtime_ns - age * 10**9))
        log.write_bytes(b"")
    append(log, b"now")
    assert read(follower) == [b"20261122", b"20261123", b"now"]


@pytest.mark.parametrize(
    "names",
    [
        [".23092024", ".30092024", ".01102024"],
        [".20240923", ".20240930", ".20241001"],
        ["-20240923", "-20240930", "-20241001"],
        [".1727049600", ".1727654400", ".1727740800"],
        [".24-9-23", ".24-9-30", ".24-10-1"],
    ],
)
def test_what_a_date_says_does_not_matter_and_nothing_is_read_again(log: Path, names: list[str]) -> None:
    """Not the order of the names, and not the time of the last write, which a copy does not keep."""
    follower = Follower.at_end(log)
    for number, name in enumerate(names):
        append(log, *numbered(10 * number, 3))
        found = read(follower)
        log.rename(f"{log}{name}")
        os.utime(f"{log}{name}", ns=(0, 10**9 * (9 - number)))
        log.write_bytes(b"")
        append(log, *numbered(10 * number + 5, 1))
        assert found + read(follower) == numbered(10 * number, 3) + numbered(10 * number + 5, 1)


def test_a_place_in_one_of_many_dated_files_is_gone_on_from(log: Path) -> None:
    append(log, *numbered(0, 3))
    place = at(Follower.at_end(log))
    for number, name in enumerate([".30092024", ".01102024", ".02102024"], 1):
        log.rename(f"{log}{name}")
        log.write_bytes(b"")
        append(log, *numbered(10 * number, 3))

    resumed = Follower.resume(log, place)

    assert resumed
    assert read(resumed) == numbered(10, 3) + numbered(20, 3) + numbered(30, 3)


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo])
def test_what_is_no_file_beside_the_log_is_passed_over(log: Path, make: Callable[[Path], None]) -> None:
    append(log, *numbered(1, 2))
    follower = Follower.at_end(log)
    make(Path(f"{log}.archive"))
    rotate(log)
    append(log, *numbered(3, 1))

    assert read(follower) == numbered(3, 1)


def test_compressed_files_are_passed_over(log: Path) -> None:
    append(log, b"one")
    follower = Follower.at_end(log)
    Path(f"{log}.2.gz").write_bytes(b"not a log\n")
    rotate(log)
    append(log, b"two")
    assert read(follower) == [b"two"]


def at(follower: Follower) -> Position:
    position = follower.position()
    assert position
    return position


def test_a_place_is_found_again_after_a_rotation(log: Path, rotation: Callable[[Path], None]) -> None:
    before = Follower.at_end(log)
    append(log, *numbered(1, 5))
    read(before)
    place = at(before)
    append(log, *numbered(6, 2))
    rotation(log)
    append(log, *numbered(8, 2))

    resumed = Follower.resume(log, place)

    assert resumed
    assert read(resumed) == numbered(6, 4)


def test_a_place_whose_file_is_gone_is_not_found(log: Path) -> None:
    append(log, *numbered(1, 5))
    place = at(Follower.at_end(log))
    log.write_bytes(b"")
    append(log, *numbered(11, 50))
    assert Follower.resume(log, place) is None


def test_what_is_left_of_a_time_is_read_where_the_place_is_gone(log: Path) -> None:
    append(log, *numbered(1, 3))
    os.utime(log, ns=(0, 1_000_000_000))
    rotate(log)
    append(log, *numbered(4, 2))
    rotate(log)
    append(log, *numbered(6, 2))
    assert read(Follower.since(log, 2_000)) == numbered(4, 4)


def test_the_end_of_a_log_is_a_place(log: Path) -> None:
    append(log, b"one")
    place = end_of(log)
    assert place == at(Follower.at_end(log))
    assert end_of(log.with_name("none.log")) is None


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", 256)
    monkeypatch.setattr(module, "LONGEST", 200)
    for each in (module, rotation_module):
        monkeypatch.setattr(each, "TAIL", 100)


STEPS = st.lists(
    st.one_of(
        st.integers(1, 12),  # write so many lines
        st.sampled_from(["half", "look", "step", "restart", rotate, copy_and_truncate]),
    ),
    max_size=30,
)


@pytest.mark.usefixtures("small_chunks")
@settings(max_examples=300)
@given(steps=STEPS)
def test_each_line_comes_once_in_order_however_it_is_written_rotated_and_read(
    steps: list[int | str | Callable[[Path], None]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "audit.log"
        append(log, *numbered(0, 1))
        follower = Follower.at_end(log)
        next_, half, found = 1, b"", list[bytes]()
        for step in steps:
            if isinstance(step, int):
                text = b"".join(line + b"\n" for line in numbered(next_, step))
                next_ += step
                with log.open("ab") as file:
                    file.write(text[len(half) :])
                half = b""
            elif step == "half":
                half = half or numbered(next_, 1)[0][:-3]  # with its serial
                with log.open("ab") as file:
                    file.write(half if log.stat().st_size == 0 or log.read_bytes().endswith(b"\n") else b"")
            elif step == "look":
                found += read(follower)
            elif step == "step":
                found += follower.lines().splitlines()
            elif step == "restart" and at(follower).offset:  # the start of a file has nothing to be known by
                resumed = Follower.resume(log, at(follower))
                assert resumed
                follower.close()
                follower = resumed
            elif callable(step) and not half:  # auditd rotates between lines
                step(log)
        if half:
            append(log, numbered(next_, 1)[0][len(half) :])
            next_ += 1
        found += read(follower)
        assert found == numbered(1, next_ - 1)
        follower.close()
