"""The trail's file and its segments; and standard output."""

import errno
import gzip
import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from enricher.trail.file_sink import FileSink
from enricher.trail.folder import Occupied
from enricher.trail.retention import Removed, Rotation
from enricher.trail.syncer import Policy, Syncer
from exectrail.reading.segments import Names
from tests.unit.waiting import until

LINE = b"x" * 9 + b"\n"
Open = Callable[..., FileSink]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "trail.jsonl"


@pytest.fixture
def open_sink(file: Path) -> Iterator[Open]:
    opened: list[FileSink] = []

    def open_(rotation: Rotation | None = None, sync: Policy = "interval", path: Path = file) -> FileSink:
        opened.append(FileSink(path, rotation, sync, wait=0))
        return opened[-1]

    yield open_
    for sink in opened:
        sink.close()


def write(sink: FileSink, lines: bytes) -> None:
    left = bytearray(lines)
    while left:
        del left[: sink.write(left)]


def closed(file: Path) -> list[Path]:
    return sorted(each for each in file.parent.iterdir() if re.match(r"trail-.*\.jsonl(\.gz)?$", each.name))


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


# ---- the file ----


def test_only_the_group_may_read_what_is_written(file: Path, open_sink: Open) -> None:
    sink = open_sink(Rotation(max_size=20))
    write(sink, LINE * 3)
    until(lambda: any(each.suffix == ".gz" for each in closed(file)))

    assert mode(file.parent) == 0o750
    assert {mode(each) for each in file.parent.iterdir()} == {0o640}


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_symbolic_link_is_not_followed(file: Path, tmp_path: Path, open_sink: Open, what: str) -> None:
    target = tmp_path / "target"
    if what == "folder":
        target.mkdir()
        file.parent.symlink_to(target)
    else:
        target.write_bytes(b"")
        file.parent.mkdir()
        file.symlink_to(target)

    with pytest.raises(OSError, match=r"symbolic link|Not a directory"):
        open_sink()


def test_a_fifo_in_the_files_place_is_refused_and_does_not_stop_us(file: Path, open_sink: Open) -> None:
    file.parent.mkdir()
    os.mkfifo(file)

    with pytest.raises(OSError, match=r"No such device or address|no regular file"):
        open_sink()


@pytest.mark.parametrize(
    "refused", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS, errno.EPERM], ids=errno.errorcode.get
)
@pytest.mark.parametrize("call", ["fchown", "fchmod"])
def test_a_file_system_without_owners_or_modes_is_warned_about_once_and_written_to(
    file: Path,
    open_sink: Open,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    refused: int,
    call: str,
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(refused, os.strerror(refused))

    file.parent.mkdir(mode=0o700)
    monkeypatch.setattr(os, call, refuse)
    monkeypatch.setattr(os, "getegid", lambda: os.getgid() + 1 if call == "fchown" else os.getgid())
    sink = open_sink()
    write(sink, LINE)
    file.parent.rename(file.parent.with_name("moved"))
    file.parent.mkdir(mode=0o700)
    sink.maintain()
    write(sink, LINE)

    assert file.read_bytes() == LINE
    (warning,) = [each.getMessage() for each in caplog.records if "group and mode" in each.getMessage()]
    assert f"group and mode stay {os.getgid()} and 0700: {os.strerror(refused)}, expected" in warning


def _sticky(folder: Path) -> None:
    folder.chmod(0o1777)


def _with_a_folder(folder: Path) -> None:
    (folder / "journal").mkdir()


@pytest.mark.parametrize(
    ("use", "said"),
    [(_sticky, "anyone may write into it"), (_with_a_folder, "it has other folders, such as 'journal'")],
)
def test_a_folder_that_others_use_stays_as_it_is(
    file: Path,
    open_sink: Open,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    use: Callable[[Path], None],
    said: str,
) -> None:
    file.parent.mkdir(mode=0o755)
    use(file.parent)
    before = file.parent.stat().st_mode
    monkeypatch.setattr(os, "getegid", lambda: os.getgid() + 1)

    write(open_sink(), LINE)

    assert file.read_bytes() == LINE
    assert file.parent.stat().st_mode == before
    (warning,) = [each.getMessage() for each in caplog.records if "group and mode" in each.getMessage()]
    assert said in warning


def test_files_of_another_user_are_a_sign_of_others(
    file: Path, open_sink: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file.parent.mkdir(mode=0o755)
    (file.parent / "syslog").touch()
    monkeypatch.setattr(os, "getegid", lambda: os.getgid() + 1)
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)

    write(open_sink(), LINE)

    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o755
    assert f"it has files of others, such as 'syslog' of uid {os.getuid()}" in caplog.text


def test_another_error_of_the_folder_is_still_one(file: Path, open_sink: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.ENOMEM, "no memory")

    file.parent.mkdir(mode=0o700)
    monkeypatch.setattr(os, "fchmod", fail)

    with pytest.raises(OSError, match="no memory"):
        open_sink()


def test_a_folder_that_is_swapped_for_a_link_does_not_redirect_what_is_written(
    file: Path, tmp_path: Path, open_sink: Open
) -> None:
    sink = open_sink(Rotation(max_size=10, compress=False))
    write(sink, LINE)
    moved, elsewhere = tmp_path / "moved", tmp_path / "elsewhere"
    elsewhere.mkdir()
    file.parent.rename(moved)
    file.parent.symlink_to(elsewhere)

    write(sink, LINE)  # a rotation, and a new file

    assert list(elsewhere.iterdir()) == []
    assert (moved / file.name).read_bytes() == LINE


def test_a_line_that_a_crash_cut_does_not_swallow_the_next(file: Path, open_sink: Open) -> None:
    file.parent.mkdir()
    file.write_bytes(LINE + b"half")

    write(open_sink(), LINE)

    assert file.read_bytes() == LINE + b"half\n" + LINE


@pytest.mark.parametrize("how", ["renamed", "removed", "emptied"])
def test_it_goes_on_where_the_file_was_moved_away(file: Path, open_sink: Open, how: str) -> None:
    sink = open_sink()
    write(sink, LINE)
    match how:
        case "renamed":
            file.rename(file.with_suffix(".1"))
        case "removed":
            file.unlink()
        case _:
            os.truncate(file, 0)
    sink.maintain()
    write(sink, LINE)

    assert file.read_bytes() == LINE


def test_it_goes_on_in_the_folder_that_took_the_place_of_the_former(file: Path, open_sink: Open) -> None:
    sink = open_sink()
    file.parent.rename(file.parent.with_name("unmounted"))
    sink.maintain()
    write(sink, LINE)

    assert file.read_bytes() == LINE


@pytest.mark.parametrize("meanwhile", ["nothing", "the file is opened anew", "the file is moved away"])
def test_a_line_that_did_not_fit_goes_on_where_it_was_cut_or_starts_anew_in_another_file(
    file: Path, open_sink: Open, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    sink, whole = open_sink(), os.write
    with monkeypatch.context() as patch:
        patch.setattr("enricher.trail.file_sink.os.write", lambda fd, data: whole(fd, data[:13]))
        assert sink.write(bytearray(LINE * 2)) == len(LINE)
    if meanwhile == "the file is opened anew":
        sink._give_up()
    if meanwhile == "the file is moved away":
        file.rename(file.with_suffix(".1"))
        sink.maintain()
    write(sink, LINE)

    assert file.read_bytes() == (LINE if meanwhile == "the file is moved away" else LINE * 2)


# ---- one writer ----


def test_a_second_writer_is_refused_with_the_name_of_the_file_and_of_the_first(file: Path, open_sink: Open) -> None:
    open_sink()

    with pytest.raises(Occupied, match=rf"{file.parent}/\.trail\.jsonl\.lock is held by process {os.getpid()} on "):
        open_sink()


def test_two_nodes_share_a_folder(file: Path, open_sink: Open) -> None:
    paths = [file.with_name(f"trail-{node}.jsonl") for node in ("a", "a-b")]
    sinks = [open_sink(Rotation(max_size=10, compress=False), path=path) for path in paths]
    for number in range(3):
        for name, sink in zip(b"ab", sinks, strict=True):
            write(sink, b"%c%07d\n" % (name, number))

    for name, path in zip(b"ab", paths, strict=True):
        segments = [each.name for each in Names(path.name).among(os.listdir(file.parent))]
        assert [(file.parent / each).read_bytes() for each in [*segments, path.name]] == [
            b"%c%07d\n" % (name, number) for number in range(3)
        ]


def test_the_lock_is_free_once_the_first_has_ended(file: Path, open_sink: Open) -> None:
    FileSink(file).close()

    write(open_sink(), LINE)

    assert file.read_bytes() == LINE


# ---- segments ----


def test_a_segment_is_closed_before_it_grows_beyond_its_size(file: Path, open_sink: Open) -> None:
    sink = open_sink(Rotation(max_size=35, compress=False))
    write(sink, LINE * 8)

    assert [each.read_bytes() for each in [*closed(file), file]] == [LINE * 3, LINE * 3, LINE * 2]


def test_a_line_larger_than_a_segment_is_one_of_its_own(file: Path, open_sink: Open) -> None:
    sink = open_sink(Rotation(max_size=5, compress=False))
    write(sink, LINE * 2)

    assert [each.read_bytes() for each in [*closed(file), file]] == [LINE, LINE]


@pytest.mark.parametrize(("hours", "segments"), [(25, 1), (23, 0)])
def test_with_an_age_bound_a_file_is_closed_a_day_after_its_first_record(
    file: Path, open_sink: Open, hours: int, segments: int
) -> None:
    first = (datetime.now(UTC) - timedelta(hours=hours)).isoformat(timespec="milliseconds")
    file.parent.mkdir()
    file.write_bytes(b'{"timestamp":"%s"}\n' % first.encode())
    sink = open_sink(Rotation(max_age=timedelta(days=7)))

    sink.maintain()

    assert len(closed(file)) == segments


def test_closed_segments_are_compressed(file: Path, open_sink: Open) -> None:
    sink = open_sink(Rotation(max_size=20))
    write(sink, LINE * 5)
    until(lambda: all(each.suffix == ".gz" for each in closed(file)))

    assert [gzip.decompress(each.read_bytes()) for each in closed(file)] == [LINE * 2, LINE * 2]


def test_what_a_crash_left_half_compressed_is_compressed_anew(file: Path, open_sink: Open) -> None:
    file.parent.mkdir()
    plain, whole = (file.with_name(f"trail-2026-11-23T14-58-0{n}.000.jsonl") for n in (1, 2))
    for segment in (plain, whole):
        segment.write_bytes(LINE)
    plain.with_suffix(".jsonl.gz.part").write_bytes(b"half")
    whole.with_suffix(".jsonl.gz").write_bytes(gzip.compress(LINE))
    whole.with_name("trail-2026-11-22T14-58-02.000.jsonl.gz.part").write_bytes(b"of one that is gone")
    open_sink()
    until(lambda: not list(file.parent.glob("*.part")) and all(each.suffix == ".gz" for each in closed(file)))

    assert [gzip.decompress(each.read_bytes()) for each in closed(file)] == [LINE, LINE]


@pytest.mark.parametrize("compress", [True, False])
def test_what_the_size_cap_removes_is_reported_with_its_records(file: Path, open_sink: Open, compress: bool) -> None:
    file.parent.mkdir()
    for second in range(5):
        name = file.with_name(f"trail-2026-11-23T14-58-0{second}.000.jsonl")
        name.write_bytes(os.urandom(2000).replace(b"\n", b"") + b"\n" * (second + 1))
    sink = open_sink(Rotation(max_size=100, max_total=6500, compress=compress))
    removed: list[Removed] = []

    def all_removed() -> bool:
        removed.extend(sink.removed())
        return len(removed) == 2

    until(all_removed)

    assert [(each.name, each.reason, each.records) for each in removed] == [
        ("trail-2026-11-23T14-58-00.000.jsonl", "removed-by-size-cap", 1),
        ("trail-2026-11-23T14-58-01.000.jsonl", "removed-by-size-cap", 2),
    ]
    assert len(closed(file)) == 3
    assert sink.removed() == []


def test_where_a_segment_cannot_be_closed_the_file_grows_and_nothing_is_lost(
    file: Path, open_sink: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = open_sink(Rotation(max_size=10, compress=False))
    write(sink, LINE)
    with monkeypatch.context() as patch:
        patch.setattr("enricher.trail.folder.Folder.rename", refuse)
        write(sink, LINE)

    assert file.read_bytes() == LINE * 2
    assert sink.wrong() == f"{file} grows beyond its bounds: Permission denied"
    assert sink.failures == 1


def refuse(*_: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_the_last_lines_go_back_over_all_segments(file: Path, open_sink: Open) -> None:
    sink = open_sink(Rotation(max_size=5))
    assert list(sink.last_lines()) == []
    write(sink, b"1\n2\n3\n4\n")
    assert list(sink.last_lines())[:2] == [b"4", b"3"]
    write(sink, b"5\n")
    os.truncate(file, 0)
    until(lambda: all(each.suffix == ".gz" for each in closed(file)))

    assert list(sink.last_lines()) == [b"4", b"3", b"2", b"1"]


# ---- the disk ----


@pytest.mark.parametrize(("policy", "syncs"), [("always", 3), ("interval", 0), ("never", 0)])
def test_only_always_waits_for_the_disk_at_each_write(
    file: Path, open_sink: Open, policy: Policy, syncs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = open_sink(sync=policy)
    by: list[threading.Thread] = []
    monkeypatch.setattr("enricher.trail.syncer.Syncer._sync", lambda *_: by.append(threading.current_thread()))
    for _ in range(3):
        write(sink, LINE)

    assert by.count(threading.current_thread()) == syncs


@pytest.mark.parametrize(("policy", "syncs"), [("interval", 1), ("never", 0)])
def test_a_finished_segment_is_handed_to_the_disk_and_closed(
    tmp_path: Path, policy: Policy, syncs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    monkeypatch.setattr("enricher.trail.syncer.os.fsync", synced.append)
    fd = os.open(tmp_path, os.O_RDONLY)
    syncer = Syncer(policy)
    syncer.finish(fd)
    syncer.close()

    assert synced == [fd] * syncs
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)


def test_what_the_disk_does_not_take_is_reported_until_it_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncer = Syncer("always")
    with monkeypatch.context() as patch:
        patch.setattr("enricher.trail.syncer.os.fsync", lambda _: refuse())
        syncer.written(0)
    wrong, failures = syncer.wrong(), syncer.failures
    monkeypatch.setattr("enricher.trail.syncer.os.fsync", lambda _: None)
    syncer.written(0)
    syncer.close()

    assert (wrong, failures) == ("the disk did not take what was written to the trail: Permission denied", 1)
    assert syncer.wrong() is None


# ---- standard output ----

PROGRAM = """
import sys
from enricher.trail.sink import StdoutSink
sink = StdoutSink()
print("a stray word")
lines = bytearray(b"%07d\\n" * 50000 % tuple(range(50000)))
while lines:
    del lines[:sink.write(lines)]
sink.close()
"""


def test_standard_output_carries_whole_lines_in_order_and_nothing_else() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, check=True)

    assert done.stdout.splitlines() == [b"%07d" % number for number in range(50000)]
    assert done.stderr == b"a stray word\n"
