import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher import clock, procfs
from enricher.argv import ARGV_LIMIT
from enricher.clock import boot_to_wall_ns
from enricher.events import Process
from enricher.procfs import Proc, ProcessInfo, Stat, parse_stat
from enricher.sensors import proc_snapshot

BOOT_ID = "669e1086-5202-4f39-9d22-343bd64c61a9"


def write_process(
    root: Path, pid: int, *, start: int = 500, comm: str = "sh", argv: bytes = b"sh\0", status: str = ""
) -> None:
    folder = root / str(pid)
    folder.mkdir(parents=True)
    after_comm = ["S", "1", *["0"] * 17, str(start), *["0"] * 30]
    (folder / "stat").write_text(f"{pid} ({comm}) {' '.join(after_comm)}\n")
    (folder / "status").write_text(
        status
        or f"Name:\t{comm}\nTgid:\t{pid}\nPPid:\t1\nUid:\t1000\t0\t0\t0\nGid:\t100\t0\t0\t0\n"
        f"NSpid:\t{pid}\t17\t3\nSeccomp:\t2\nSeccomp_filters:\t1\n"
    )
    (folder / "cmdline").write_bytes(argv)
    (folder / "cgroup").write_text("0::/kubepods/a\n")


def test_a_process_is_described_by_identity_parent_owner_arguments_and_cgroup(tmp_path: Path) -> None:
    write_process(tmp_path, 4242, start=777, argv=b"sh\0-c\0echo hi\0")
    assert Proc(tmp_path).process(4242) == ProcessInfo(
        process=Process(4242, 777),
        parent=1,
        uid=1000,
        gid=100,
        ns_pid=3,
        seccomp=True,
        argv=b"sh\0-c\0echo hi\0",
        truncated=False,
        cgroup="0::/kubepods/a\n",
    )


@pytest.mark.parametrize(
    "comm", ["a b", ") S 9 9 9", "((", "))", "a\nb", "a) R 7 (b", "", "\x0bTgid:\t1", "\x1cUid:\t0"]
)
def test_a_process_cannot_choose_a_name_that_poses_as_other_fields(tmp_path: Path, comm: str) -> None:
    escaped = comm.replace("\n", "\\n")
    status = f"Name:\t{escaped}\nTgid:\t7\nUid:\t5\t5\t5\t5\nGid:\t6\t6\t6\t6\nSeccomp:\t0\n"
    write_process(tmp_path, 7, start=31, comm=comm, status=status)
    info = Proc(tmp_path).process(7)
    assert info is not None
    assert (info.process, info.parent, info.uid, info.gid, info.seccomp) == (Process(7, 31), 1, 5, 6, False)


def test_the_pid_is_its_own_namespace_pid_on_a_kernel_without_pid_namespaces(tmp_path: Path) -> None:
    write_process(tmp_path, 7, status="Name:\tx\nTgid:\t7\nUid:\t0\t0\t0\t0\nGid:\t0\t0\t0\t0\n")
    info = Proc(tmp_path).process(7)
    assert info is not None
    assert info.ns_pid == 7


@pytest.mark.parametrize(("length", "truncated"), [(ARGV_LIMIT, False), (ARGV_LIMIT + 1, True)])
def test_a_command_line_is_read_up_to_its_limit(tmp_path: Path, length: int, truncated: bool) -> None:
    write_process(tmp_path, 7, argv=b"a" * length)
    info = Proc(tmp_path).process(7)
    assert info is not None
    assert (len(info.argv), info.truncated) == (ARGV_LIMIT, truncated)


@pytest.mark.parametrize("missing", ["stat", "status", "cmdline", "cgroup"])
def test_a_process_that_vanishes_between_two_files_is_none(tmp_path: Path, missing: str) -> None:
    write_process(tmp_path, 7)
    (tmp_path / "7" / missing).unlink()
    assert Proc(tmp_path).process(7) is None


@pytest.mark.parametrize("cut", ["stat", "status"])
@pytest.mark.parametrize("text", ["", "7 (sh) S 1", "7 sh"])
def test_a_file_cut_short_is_a_process_that_is_gone(tmp_path: Path, cut: str, text: str) -> None:
    write_process(tmp_path, 7)
    (tmp_path / "7" / cut).write_text(text)
    assert Proc(tmp_path).process(7) is None


def test_a_reused_pid_never_mixes_two_processes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_process(tmp_path, 7, start=1, argv=b"old\0")
    read = procfs._read

    def reuse_after_the_first_read(folder: int, name: str, limit: int = 1 << 20) -> bytes:
        text = read(folder, name, limit)
        if not (tmp_path / "ended").exists():
            (tmp_path / "7").rename(tmp_path / "ended")
            write_process(tmp_path, 7, start=2, argv=b"new\0")
        return text

    monkeypatch.setattr("enricher.procfs._read", reuse_after_the_first_read)
    old = Proc(tmp_path).process(7)
    new = Proc(tmp_path).process(7)
    assert old is not None
    assert new is not None
    assert (old.process.start, old.argv) == (1, b"old\0")
    assert (new.process.start, new.argv) == (2, b"new\0")


def test_an_unrelated_process_with_the_leaders_reused_pid_is_not_a_threads_process(tmp_path: Path) -> None:
    write_process(tmp_path, 8, status="Name:\tx\nTgid:\t7\n")
    write_process(tmp_path, 7)
    assert Proc(tmp_path).process(8) is None
    (tmp_path / "7/task/8").mkdir(parents=True)
    assert Proc(tmp_path).process(8) == Proc(tmp_path).process(7)


def test_all_processes_are_listed_and_what_is_no_process_is_left_out(tmp_path: Path) -> None:
    write_process(tmp_path, 7)
    write_process(tmp_path, 8)
    (tmp_path / "9").mkdir()
    (tmp_path / "sys").mkdir()
    (tmp_path / "uptime").write_text("1 1\n")
    assert {info.process.pid for info in Proc(tmp_path).processes()} == {7, 8}


def test_the_boot_id_is_the_kernels(tmp_path: Path) -> None:
    file = tmp_path / "sys/kernel/random/boot_id"
    file.parent.mkdir(parents=True)
    file.write_text(f"{BOOT_ID}\n")
    assert Proc(tmp_path).boot_id() == BOOT_ID


def test_the_real_proc_knows_this_process() -> None:
    info = Proc().process(os.getpid())
    assert info is not None
    assert (info.parent, info.uid, info.gid) == (os.getppid(), os.getuid(), os.getgid())
    assert sys.executable.encode() in info.argv or b"pytest" in info.argv
    assert info.process in {each.process for each in Proc().processes()}


def test_the_real_proc_leads_from_a_thread_to_its_process() -> None:
    found: list[ProcessInfo | None] = []
    thread = threading.Thread(target=lambda: found.append(Proc().process(threading.get_native_id())))
    thread.start()
    thread.join()
    (info,) = found
    assert info is not None
    assert info.process.pid == os.getpid()


def test_an_ended_process_is_none() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    assert Proc().process(child.pid) is None


def test_a_zombie_has_an_identity_and_no_arguments() -> None:
    with subprocess.Popen(["true"]) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        info = Proc().process(child.pid)
    assert info is not None
    assert (info.parent, info.argv) == (os.getpid(), b"")


@given(st.binary(), st.sampled_from(["S", "Z", "X"]), st.integers(1, 3))
def test_a_stat_file_is_read_whatever_the_name_of_the_process(comm: bytes, state: str, threads: int) -> None:
    fields = [state, "7", "8", "9", *["0"] * 13, str(threads), "0", "4711", *["0"] * 30]
    stat = b"42 (%s) %s\n" % (comm, " ".join(fields).encode())

    gone = state != "S" and threads == 1
    assert parse_stat(42, stat) == Stat(Process(42, 4711), comm, parent=7, leader=9, gone=gone)


@given(st.binary(max_size=64))
def test_what_is_no_stat_file_is_refused_and_nothing_else_happens(raw: bytes) -> None:
    with pytest.raises((ValueError, IndexError)):
        parse_stat(42, raw)


def test_a_look_at_one_process_and_a_listing_agree() -> None:
    snapshot, info = proc_snapshot.take(os.getpid()), Proc().process(os.getpid())
    assert snapshot is not None
    assert info is not None
    seen = (snapshot.stat.process, snapshot.stat.parent, snapshot.stat.leader, snapshot.argv)
    assert seen == (info.process, info.parent, info.leader, info.argv)


def test_a_start_in_ticks_lies_between_boot_and_now() -> None:
    info = Proc().process(os.getpid())
    assert info is not None
    boot = boot_to_wall_ns()
    assert boot < boot + info.process.start * 1_000_000_000 // os.sysconf("SC_CLK_TCK") < time.time_ns()


def test_the_wall_clock_is_right_though_the_processor_was_lost_between_two_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    since_boot = 5_000_000_000
    offset = 1_795_000_000_000_000_000
    passes = iter([100, 30_000_000, 100, 100, 100, 9_000_000])

    def look(clock: int) -> int:
        nonlocal since_boot
        since_boot += next(passes, 100)
        return since_boot + (offset if clock == time.CLOCK_REALTIME else 0)

    monkeypatch.setattr(time, "clock_gettime_ns", look)

    assert abs(clock.boot_to_wall_ns() - offset) < 1_000
