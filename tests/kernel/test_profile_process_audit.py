"""The built-in profile `process-audit` in a real kernel: what it logs, and what it refuses.

Compiled as a runtime does it (libseccomp, unknown names skipped) and loaded into a forked child. Needs root and the
initial network namespace, where the audit multicast arrives (audit(7), AUDIT_NLGRP_READLOG).
"""

import ctypes
import errno
import json
import os
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import profiles

# The child only makes system calls and ends: locks of threads that it does not have cannot matter to it.
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")

PROFILE = Path(profiles.__file__).parent / "builtin" / "process-audit.json"

libc = ctypes.CDLL(None, use_errno=True)
seccomp = ctypes.CDLL("libseccomp.so.2", use_errno=True)
seccomp.seccomp_init.restype = ctypes.c_void_p

# seccomp(3): actions, comparison operators (enum scmp_compare) and architecture tokens (AUDIT_ARCH_*).
ACTIONS = {"SCMP_ACT_ALLOW": 0x7FFF0000, "SCMP_ACT_LOG": 0x7FFC0000, "SCMP_ACT_ERRNO": 0x00050000}
OPERATORS = {"SCMP_CMP_LT": 2, "SCMP_CMP_EQ": 4, "SCMP_CMP_MASKED_EQ": 7}
ARCHITECTURES = {
    "SCMP_ARCH_X86_64": 0xC000003E,
    "SCMP_ARCH_X86": 0x40000003,
    "SCMP_ARCH_X32": 0x4000003E,
    "SCMP_ARCH_AARCH64": 0xC00000B7,
    "SCMP_ARCH_ARM": 0x40000028,
}
UNKNOWN = -1
NETLINK_AUDIT, READLOG = 9, 1
AUDIT_SECCOMP = 1326
SO_RCVBUFFORCE = 33  # socket(7); other tests on the node make records too
CLONE_NEWUSER = 0x10000000


class Comparison(ctypes.Structure):
    """`struct scmp_arg_cmp` of seccomp_rule_add_array(3)."""

    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("datum_a", ctypes.c_uint64),
        ("datum_b", ctypes.c_uint64),
    )


def number(name: str) -> int:
    found: int = seccomp.seccomp_syscall_resolve_name(name.encode())
    return found


def load(profile: dict[str, Any]) -> None:
    """Put the calling thread under the profile, for good."""
    refuse = ACTIONS["SCMP_ACT_ERRNO"] | errno.EPERM
    context = ctypes.c_void_p(seccomp.seccomp_init(refuse))
    native = seccomp.seccomp_arch_native()
    for architecture in profile["architectures"]:
        if ARCHITECTURES[architecture] != native & 0xFFFFFFFF:
            check(seccomp.seccomp_arch_add(context, ARCHITECTURES[architecture]), architecture)
    for rule in profile["syscalls"]:
        for name in rule["names"]:
            add(context, rule, name)
    check(seccomp.seccomp_load(context), "seccomp_load")


def add(context: ctypes.c_void_p, rule: dict[str, Any], name: str) -> None:
    if number(name) == UNKNOWN:
        return
    args = [
        Comparison(arg["index"], OPERATORS[arg["op"]], arg["value"], arg.get("valueTwo", 0))
        for arg in rule.get("args", [])
    ]
    action = ACTIONS[rule["action"]] | rule.get("errnoRet", 0)
    array = (Comparison * len(args))(*args)
    check(seccomp.seccomp_rule_add_array(context, action, number(name), len(args), array), name)


def check(result: int, what: str) -> None:
    if result:
        raise OSError(-result, what)


class Child:
    """A forked child under the profile; `value` is what its function returned."""

    def __init__(self, act: Callable[[], Any]) -> None:
        reading, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            report(act, writing)
        os.close(writing)
        with os.fdopen(reading) as pipe:
            text = pipe.read()
        self.exit_code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self.value = json.loads(text) if text else None


def report(act: Callable[[], Any], writing: int) -> None:
    try:
        load(json.loads(PROFILE.read_text()))
        os.write(writing, json.dumps(act()).encode())
    except BaseException as error:  # noqa: BLE001 - the forked child must never return into pytest
        os.write(writing, json.dumps(repr(error)).encode())
        os._exit(1)
    os._exit(0)


@pytest.fixture
def audit() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_AUDIT) as multicast:
        multicast.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        multicast.bind((0, READLOG))
        multicast.settimeout(0.5)
        yield multicast


def logged(audit: socket.socket, pid: int, quiet: float = 1.5) -> list[int]:
    """System calls that were logged for `pid`, read until it has been quiet for a while."""
    found: list[int] = []
    end = time.monotonic() + quiet
    while time.monotonic() < end:
        try:
            message = audit.recv(16384)
        except TimeoutError:
            continue
        if int.from_bytes(message[4:6], "little") != AUDIT_SECCOMP:
            continue
        fields = dict(re.findall(rb"(\w+)=(\S+)", message[16:]))
        if int(fields[b"pid"]) == pid:
            found.append(int(fields[b"syscall"]))
            end = time.monotonic() + quiet
    return found


def test_a_program_starts_and_its_start_is_logged_once(audit: socket.socket) -> None:
    child = Child(lambda: os.execv("/bin/true", ["true"]))  # noqa: S606 - the exec itself is under test
    assert (child.exit_code, child.value) == (0, None)
    assert logged(audit, child.pid) == [number("execve")]


def start_twenty_threads_and_one_process() -> int:
    threads = [threading.Thread(target=time.sleep, args=(0.01,)) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pid = os.fork()
    if pid == 0:
        os._exit(7)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_twenty_threads_and_one_process_are_one_record(audit: socket.socket) -> None:
    child = Child(start_twenty_threads_and_one_process)
    assert child.value == 7
    assert [call for call in logged(audit, child.pid) if call in {number("clone"), number("fork")}] == [number("clone")]


def failure(*call: int) -> Callable[[], str | None]:
    def act() -> str | None:
        ctypes.set_errno(0)
        result = libc.syscall(*(ctypes.c_long(value) for value in call))
        return errno.errorcode[ctypes.get_errno()] if result == -1 else None

    return act


@pytest.mark.parametrize(
    ("what", "call", "error"),
    [
        ("clone3, so that the C library falls back to clone", ("clone3", 0, 0), "ENOSYS"),
        ("mount", ("mount", 0, 0, 0, 0, 0), "EPERM"),
        ("a new user namespace by unshare", ("unshare", CLONE_NEWUSER), "EPERM"),
        ("a new user namespace by clone", ("clone", CLONE_NEWUSER | 0x11, 0, 0, 0, 0), "EPERM"),
        ("the kernel's crypto sockets", ("socket", socket.AF_ALG, socket.SOCK_SEQPACKET, 0), "EPERM"),
        ("io_uring", ("io_uring_setup", 1, 0), "EPERM"),
        ("the kernel's keyring", ("keyctl", 0, 0, 0), "EPERM"),
    ],
)
def test_it_refuses_what_the_runtime_refuses(what: str, call: tuple[str, int], error: str) -> None:
    name, *args = call
    act = failure(number(name), *args)
    # Root without the profile gets another answer, so the refusal is the profile's.
    assert Child(act).value == error != without_profile(act)


def without_profile(act: Callable[[], str | None]) -> str | None:
    """What the call answers when only its own checks stand in the way, in a child that may change its namespaces."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, str(act()).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        return pipe.read()


FAMILIES = ("AF_INET", "AF_INET6", "AF_UNIX", "AF_NETLINK", "AF_PACKET")


def open_sockets() -> list[str]:
    opened = []
    for family in FAMILIES:
        with socket.socket(getattr(socket, family), socket.SOCK_DGRAM):
            opened.append(family)
    return opened


def test_it_allows_sockets_of_the_ordinary_families() -> None:
    assert Child(open_sockets).value == list(FAMILIES)


@pytest.mark.parametrize(
    ("names", "elsewhere"),
    [
        (["arch_prctl", "modify_ldt"], ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]),
        (
            ["arm_fadvise64_64", "arm_sync_file_range", "breakpoint", "cacheflush", "set_tls", "sync_file_range2"],
            ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        ),
    ],
)
def test_one_machines_own_calls_do_not_exist_on_the_other(names: list[str], elsewhere: list[str]) -> None:
    # So one file for both machines allows no more on either than two files would.
    for architecture in elsewhere:
        for name in names:
            token = ctypes.c_uint32(ARCHITECTURES[architecture])
            assert seccomp.seccomp_syscall_resolve_name_arch(token, name.encode()) < 0, (architecture, name)
