import struct
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enricher.events import ExecEvent, ExecFailedEvent, ExitEvent, ForkEvent, Process
from enricher.sensors.bpf.decode import decode

NAME = b"cri-containerd-0123.scope"
MS = 1_000_000
FORK, EXEC, EXIT, EXEC_FAILED = 1, 2, 3, 4
MOVED_OUT, BY_NAMESPACE, ON_NODE = 1, 2, 3
CUT, DELETED, UNREACHABLE = 1, 2, 4


def head(kind: int, how: int = 0) -> bytes:
    return struct.pack("=BB2xIQQQ", kind, how, 42, 5_000 * MS, 12_345 * MS, 777)


def identity() -> bytes:
    return struct.pack("=QIIII", 9_999 * MS, 7, 1000, 100, len(NAME))


def fork_sample(how: int = 0) -> bytes:
    return head(FORK, how) + identity() + NAME


def exec_sample(
    how: int = 0, path: bytes = b"ls\0bin\0usr\0", path_walked: int = 0, cwd: bytes = b"root\0", cwd_walked: int = 0
) -> bytes:
    sizes = struct.pack("=IIII", len(b"/bin/ls"), len(b"ls\0-l\0"), len(path), len(cwd))
    fixed = sizes + struct.pack("=BBBBB", 1, 1, 0, path_walked, cwd_walked)
    return head(EXEC, how) + identity() + fixed + NAME + b"/bin/ls" + b"ls\0-l\0" + path + cwd


def failed_sample(how: int = 0) -> bytes:
    fixed = struct.pack("=IIII", 2, len(b"/bin/ls"), len(b"ls\0-l\0"), 1)
    return head(EXEC_FAILED, how) + identity() + fixed + NAME + b"/bin/ls" + b"ls\0-l\0"


def exit_sample(status: int = 0, how: int = 0) -> bytes:
    return head(EXIT, how) + struct.pack("=I4x", status)


def test_a_fork_names_child_and_parent_by_pid_and_start_in_clock_ticks() -> None:
    assert decode(fork_sample()) == ForkEvent(
        5_000 * MS, 777, NAME.decode(), Process(7, 999), Process(42, 1234), 1000, 100
    )


def test_an_exec_carries_the_new_program() -> None:
    assert decode(exec_sample()) == ExecEvent(
        time=5_000 * MS,
        cgroup=777,
        cgroup_name=NAME.decode(),
        process=Process(42, 1234),
        parent=Process(7, 999),
        uid=1000,
        gid=100,
        seccomp=True,
        filename=b"/bin/ls",
        argv=b"ls\0-l\0",
        truncated=False,
        path=b"/usr/bin/ls",
        cwd=b"/root",
        mounts_of_parent=True,
    )


def test_a_failed_exec_carries_what_was_asked_for_and_the_error() -> None:
    assert decode(failed_sample()) == ExecFailedEvent(
        time=5_000 * MS,
        cgroup=777,
        cgroup_name=NAME.decode(),
        process=Process(42, 1234),
        parent=Process(7, 999),
        uid=1000,
        gid=100,
        errno=2,
        filename=b"/bin/ls",
        argv=b"ls\0-l\0",
        truncated=True,
    )


@pytest.mark.parametrize(
    ("names", "walked", "path"),
    [
        (b"", 0, b"/"),
        (b"bin\0", 0, b"/bin"),
        (b"b\0a\0", 0, b"/a/b"),
        (b"b\0a\0", CUT, b"a/b"),
        (b"b\0a\0", DELETED, b"/a/b (deleted)"),
        (b"memfd:x\0", DELETED, b"/memfd:x (deleted)"),
        (b"\xff\n\0a b\0", 0, b"/a b/\xff\n"),
    ],
)
def test_a_path_is_put_together_from_its_end(names: bytes, walked: int, path: bytes) -> None:
    event = decode(exec_sample(path=names, path_walked=walked, cwd=names, cwd_walked=walked))
    assert isinstance(event, ExecEvent)
    assert (event.path, event.cwd) == (path, path)
    assert (event.path_truncated, event.cwd_truncated) == (bool(walked & CUT),) * 2


def test_a_working_directory_that_the_root_does_not_reach_says_so() -> None:
    event = decode(exec_sample(path_walked=UNREACHABLE, cwd_walked=UNREACHABLE))
    assert isinstance(event, ExecEvent)
    assert (event.path, event.cwd) == (b"/usr/bin/ls", b"(unreachable)/root")


@pytest.mark.parametrize("sample", [exec_sample, exit_sample, failed_sample])
def test_the_node_s_own_process_is_distinguished_from_a_container_s(sample: Callable[..., bytes]) -> None:
    reported = [decode(sample(how=how)) for how in (ON_NODE, 0)]
    assert [isinstance(event, ExecEvent | ExecFailedEvent | ExitEvent) and event.on_node for event in reported] == [
        True,
        False,
    ]


@pytest.mark.parametrize("sample", [fork_sample, exec_sample, exit_sample, failed_sample])
@pytest.mark.parametrize(
    ("how", "outside", "entered"), [(0, False, False), (MOVED_OUT, True, False), (BY_NAMESPACE, False, True)]
)
def test_every_event_says_how_its_process_was_known(
    sample: Callable[..., bytes], how: int, outside: bool, entered: bool
) -> None:
    event = decode(sample(how=how))
    assert event is not None
    assert (event.outside, event.entered_by_namespace) == (outside, entered)


@pytest.mark.parametrize(
    ("status", "code", "signal"),
    [(0, 0, None), (3 << 8, 3, None), (255 << 8, 255, None), (9, None, 9), (11 | 0x80, None, 11)],
)
def test_an_exit_has_a_code_or_a_signal_as_wait_tells_it(status: int, code: int | None, signal: int | None) -> None:
    assert decode(exit_sample(status)) == ExitEvent(5_000 * MS, 777, Process(42, 1234), code, signal)


def test_a_cgroup_name_that_is_not_utf_8_is_kept_readable() -> None:
    event = decode(fork_sample().replace(b"0123", b"\xff123"))
    assert isinstance(event, ForkEvent)
    assert event.cgroup_name == "cri-containerd-\ufffd123.scope"


SAMPLES = [fork_sample(), exec_sample(), exit_sample(), failed_sample()]


@pytest.mark.parametrize("sample", SAMPLES, ids=["fork", "exec", "exit", "failed"])
def test_a_sample_of_any_other_length_is_no_event(sample: bytes) -> None:
    assert [decode(sample[:length]) for length in range(len(sample))] == [None] * len(sample)
    assert decode(sample + b"\0") is None


@pytest.mark.parametrize("kind", [0, 5, 0xFF])
def test_a_sample_of_an_unknown_kind_is_no_event(kind: int) -> None:
    assert decode(head(kind) + struct.pack("=I4x", 0)) is None


@given(st.binary(max_size=256) | st.builds(lambda kind, rest: head(kind) + rest, st.integers(0, 5), st.binary()))
def test_no_sample_raises(sample: bytes) -> None:
    assert decode(sample) is None or isinstance(decode(sample), ForkEvent | ExecEvent | ExitEvent | ExecFailedEvent)
