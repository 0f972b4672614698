"""The audit multicast group of the running kernel. Needs root in the initial namespaces."""

import errno
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from enricher import syscalls
from enricher.audit.netlink_socket import AUDIT_SECCOMP, AuditSource, SourceUnavailable
from enricher.events import SeccompEvent

AUDIT_USER_AVC = 1107  # what the kernel relays from user space even with audit_enabled=0
NLM_F_REQUEST, NLM_F_ACK = 1, 4

FORGED = 4000000001  # a serial that no kernel of a test reaches
TEXT = (
    b"audit(1795424943.092:4000000001): auid=4294967295 uid=0 gid=0 ses=4294967295 pid=26255 "
    b'comm="env" exe="/bin/busybox" sig=0 arch=c000003e syscall=59 compat=0 ip=0x461857 code=0x7ffc0000'
)

# Puts a filter on itself that logs each getppid, sent by its number here, then does as it is told.
UNDER_FILTER = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
number, calls, program = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
code = b"".join(struct.pack("=HBBI", *each) for each in (
    (0x20, 0, 0, 0),           # the system call's number
    (0x15, 0, 1, number),
    (0x06, 0, 0, 0x7FFC0000),  # SECCOMP_RET_LOG
    (0x06, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
))
buffer = ctypes.create_string_buffer(code)
class Fprog(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]
fprog = Fprog(4, ctypes.addressof(buffer))
assert libc.prctl(38, 1, 0, 0, 0) == 0, "PR_SET_NO_NEW_PRIVS"
assert libc.prctl(22, 2, ctypes.byref(fprog), 0, 0) == 0, "PR_SET_SECCOMP"
for _ in range(calls):
    os.getppid()
if program:
    os.execv(program[0], program)
"""
NUMBERS = {"x86_64": {"execve": 59, "getppid": 110}, "aarch64": {"execve": 221, "getppid": 173}}[os.uname().machine]


def run_under_filter(call: str, *program: str, calls: int = 0) -> int:
    """Run Python, then the program, under a filter that logs the call; the process's pid."""
    command = [sys.executable, "-c", UNDER_FILTER, str(NUMBERS[call]), str(calls), *program]
    with subprocess.Popen(command) as child:
        assert child.wait(timeout=60) == 0
    return child.pid


def read_until(source: AuditSource, enough: Callable[[list[SeccompEvent]], bool]) -> list[SeccompEvent]:
    """What arrives until it is enough, or for five seconds."""
    records: list[SeccompEvent] = []
    end = time.monotonic() + 5
    while not enough(records) and time.monotonic() < end:
        if select.select([source], [], [], 0.1)[0]:
            records += source.read()
    return records


def records_of(source: AuditSource, pid: int) -> list[SeccompEvent]:
    arrived = read_until(source, lambda records: any(record.pid == pid for record in records))
    return [record for record in arrived if record.pid == pid]


def message(kind: int, text: bytes, flags: int = 0) -> bytes:
    return struct.pack("=IHHII", 16 + len(text), kind, flags, 1, 0) + text


@pytest.fixture
def source() -> Iterator[AuditSource]:
    with AuditSource.open(1 << 20) as audit:
        yield audit


@pytest.fixture
def user() -> Iterator[socket.socket]:
    """Root's own audit socket."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9) as audit:
        audit.settimeout(5)
        yield audit


def test_an_execve_under_a_log_filter_arrives_as_a_record_of_its_caller(source: AuditSource) -> None:
    before = time.time_ns() // 1_000_000
    pid = run_under_filter("execve", "/bin/true")
    (record,) = records_of(source, pid)
    assert syscalls.name(record.arch, record.syscall) == "execve"
    assert syscalls.action(record.code) == "log"
    assert record.exe == os.fsencode(Path(sys.executable).resolve())
    assert (record.uid, record.gid, record.signal) == (os.getuid(), os.getgid(), 0)
    # The kernel stamps with its coarse clock, one tick behind at most.
    assert before - 20 <= record.time <= time.time_ns() // 1_000_000


def test_a_program_cannot_hide_behind_a_path_that_needs_quoting(source: AuditSource, tmp_path: Path) -> None:
    shell = tmp_path / 'my "shell" é'
    shell.write_bytes(Path("/bin/sh").read_bytes())
    shell.chmod(0o755)
    pid = run_under_filter("execve", str(shell), "-c", "exec /bin/true")
    records = read_until(source, lambda arrived: sum(record.pid == pid for record in arrived) == 2)
    assert [record.exe for record in records if record.pid == pid][1] == os.fsencode(shell)


def test_a_message_that_a_process_sends_to_the_group_is_refused(source: AuditSource, user: socket.socket) -> None:
    user.sendto(message(AUDIT_SECCOMP, TEXT), (0, 1))
    arrived = read_until(source, lambda _: source.forged == 1)
    assert source.forged == 1
    assert FORGED not in {record.serial for record in arrived}


def test_a_message_that_a_process_sends_to_the_socket_is_refused(source: AuditSource, user: socket.socket) -> None:
    with socket.socket(fileno=os.dup(source.fileno())) as same:
        port, _ = same.getsockname()
    user.sendto(message(AUDIT_SECCOMP, TEXT), (port, 0))
    arrived = read_until(source, lambda _: source.forged == 1)
    assert source.forged == 1
    assert FORGED not in {record.serial for record in arrived}


def test_the_kernel_takes_no_seccomp_record_from_a_process(source: AuditSource, user: socket.socket) -> None:
    user.sendto(message(AUDIT_SECCOMP, TEXT, NLM_F_REQUEST | NLM_F_ACK), (0, 0))
    (error,) = struct.unpack_from("=i", user.recv(8192), 16)
    assert error == -errno.EINVAL
    pid = run_under_filter("execve", "/bin/true")
    arrived = read_until(source, lambda records: any(record.pid == pid for record in records))
    assert arrived
    assert FORGED not in {record.serial for record in arrived}


def test_a_users_message_with_a_records_text_does_not_even_arrive(source: AuditSource, user: socket.socket) -> None:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 9) as unfiltered:
        unfiltered.bind((0, 1))
        unfiltered.settimeout(5)
        user.sendto(message(AUDIT_USER_AVC, TEXT + b"\0", NLM_F_REQUEST | NLM_F_ACK), (0, 0))
        relayed = unfiltered.recv(8192)
    assert struct.unpack_from("=IH", relayed)[1] == AUDIT_USER_AVC
    assert TEXT in relayed
    assert FORGED not in {record.serial for record in source.read()}
    assert source.foreign == 0


def test_records_that_the_buffer_cannot_hold_are_counted_to_the_last_one(
    source: AuditSource, user: socket.socket
) -> None:
    calls = 300
    for _ in range(10):
        kept, overruns, dropped, all_records = in_a_small_buffer(source, user, calls)
        # What others of this machine have logged may have come before the one socket, or after the last look at it.
        if len({record.pid for record in all_records}) == 1:
            break
    else:
        raise AssertionError("others were logged in each of ten runs")
    assert 0 < kept < calls
    assert overruns == 1
    assert kept + dropped == len(all_records)


def in_a_small_buffer(source: AuditSource, user: socket.socket, calls: int) -> tuple[int, int, int, list[SeccompEvent]]:
    """Of so many records: how many were kept, how often it overran, how many it dropped, and all that there were."""
    with AuditSource.open(16384) as small:
        pid = run_under_filter("getppid", calls=calls)
        all_records = read_until(source, lambda records: sum(record.pid == pid for record in records) == calls)
        for _ in range(20):  # other types neither fill the buffer nor count as dropped
            user.sendto(message(AUDIT_USER_AVC, b"busy\0", NLM_F_REQUEST), (0, 0))
        return len(small.read()), small.overruns, small.dropped(), all_records + source.read()


def test_the_receive_buffer_is_as_large_as_the_kernel_allows() -> None:
    largest = int(Path("/proc/sys/net/core/rmem_max").read_text())
    with AuditSource.open(largest * 2) as source:
        assert source.receive_buffer() == largest * 2
    with AuditSource.open(65536) as source:
        assert source.receive_buffer() == 65536 * 2


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_without_the_capability_the_remedy_is_named() -> None:
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        try:
            AuditSource.open(65536)
        except SourceUnavailable as error:
            os._exit(0 if "CAP_AUDIT_READ" in str(error) else 1)
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
