import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.bpf.decode import decode
from enricher.events import Exec, Exit, Fork, Process

NAME = b"cri-containerd-0123.scope"
MS = 1_000_000
FORK, EXEC, EXIT = 1, 2, 3


def head(kind: int) -> bytes:
    return struct.pack("=IIQQQ", kind, 42, 5_000 * MS, 12_345 * MS, 777)


def identity() -> bytes:
    return struct.pack("=QIIII", 9_999 * MS, 7, 1000, 100, len(NAME))


def fork_sample() -> bytes:
    return head(FORK) + identity() + NAME


def exec_sample() -> bytes:
    sizes = struct.pack("=IIIBB2x", 1, len(b"/bin/ls"), len(b"ls\0-l\0"), 1, 0)
    return head(EXEC) + identity() + sizes + NAME + b"/bin/ls" + b"ls\0-l\0"


def exit_sample(status: int = 0) -> bytes:
    return head(EXIT) + struct.pack("=I4x", status)


def test_a_fork_names_child_and_parent_by_pid_and_start_in_clock_ticks() -> None:
    assert decode(fork_sample()) == Fork(5_000 * MS, 777, NAME.decode(), Process(7, 999), Process(42, 1234), 1000, 100)


def test_an_exec_carries_the_new_program() -> None:
    assert decode(exec_sample()) == Exec(
        time=5_000 * MS,
        cgroup=777,
        cgroup_name=NAME.decode(),
        process=Process(42, 1234),
        parent=Process(7, 999),
        uid=1000,
        gid=100,
        ns_pid=1,
        seccomp=True,
        filename=b"/bin/ls",
        argv=b"ls\0-l\0",
        truncated=False,
    )


@pytest.mark.parametrize(
    ("status", "code", "signal"),
    [(0, 0, None), (3 << 8, 3, None), (255 << 8, 255, None), (9, None, 9), (11 | 0x80, None, 11)],
)
def test_an_exit_has_a_code_or_a_signal_as_wait_tells_it(status: int, code: int | None, signal: int | None) -> None:
    assert decode(exit_sample(status)) == Exit(5_000 * MS, 777, Process(42, 1234), code, signal)


def test_a_cgroup_name_that_is_not_utf_8_is_kept_readable() -> None:
    event = decode(fork_sample().replace(b"0123", b"\xff123"))
    assert isinstance(event, Fork)
    assert event.cgroup_name == "cri-containerd-\ufffd123.scope"


@pytest.mark.parametrize("sample", [fork_sample(), exec_sample(), exit_sample()], ids=["fork", "exec", "exit"])
def test_a_sample_of_any_other_length_is_no_event(sample: bytes) -> None:
    assert [decode(sample[:length]) for length in range(len(sample))] == [None] * len(sample)
    assert decode(sample + b"\0") is None


@pytest.mark.parametrize("kind", [0, 4, 0xFFFFFFFF])
def test_a_sample_of_an_unknown_kind_is_no_event(kind: int) -> None:
    assert decode(head(kind) + struct.pack("=I4x", 0)) is None


@given(st.binary(max_size=256) | st.builds(lambda kind, rest: head(kind) + rest, st.integers(0, 4), st.binary()))
def test_no_sample_raises(sample: bytes) -> None:
    assert decode(sample) is None or isinstance(decode(sample), Fork | Exec | Exit)
