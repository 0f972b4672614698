"""What the sensor tells about programs that processes run."""

import os
import sys
import time
from pathlib import Path

import pytest

from enricher.events import ExecEvent, Process
from enricher.sensors.bpf.program import BpfProgram
from tests.kernel.conftest import Drain
from tests.kernel.fake_pods import FakeContainer

TRUE = "/bin/true"
PYTHON = (sys.executable, "-I", "-S", "-c")


def execs(drain: Drain, pid: int | None = None) -> list[ExecEvent]:
    return [event for event in drain() if isinstance(event, ExecEvent) and pid in (None, event.process.pid)]


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param([b"plain", b"two words", b"--flag=1"], id="ordinary"),
        pytest.param([b"", b"", b"x", b""], id="empty arguments"),
        pytest.param([b"\xff\xfe", b"gr\xfc\xdfe", "grüße".encode()], id="not UTF-8"),
        pytest.param([b"line\nline", b"\x1d\x01\t", b"'\"\\"], id="control characters"),
        pytest.param([b"a" * 30_000, b"b" * 30_000], id="60 kB"),
        pytest.param([b"x"] * 5_000, id="many"),
    ],
)
def test_argv_comes_exactly_as_it_was_given(container: FakeContainer, drain: Drain, arguments: list[bytes]) -> None:
    pid = container.run(TRUE, *arguments)

    (event,) = execs(drain, pid)
    assert event.argv == b"".join(argument + b"\0" for argument in [TRUE.encode(), *arguments])
    assert (event.filename, event.truncated) == (TRUE.encode(), False)


def test_argv_of_128_kib_is_cut_at_64_kib_and_says_so(container: FakeContainer, drain: Drain) -> None:
    pid = container.run(TRUE, "a" * 65_536, "b" * 65_536)

    (event,) = execs(drain, pid)
    assert event.argv == (b"/bin/true\0" + b"a" * 65_536)[:65_535]
    assert event.truncated


def test_argv_that_just_fits_is_not_called_truncated(container: FakeContainer, drain: Drain) -> None:
    argument = "a" * (65_535 - len("/bin/true\0") - len("\0"))
    pid = container.run(TRUE, argument)

    (event,) = execs(drain, pid)
    assert (len(event.argv), event.truncated) == (65_535, False)


def test_an_exec_without_any_argument_has_the_empty_one_that_the_kernel_adds(
    container: FakeContainer, drain: Drain
) -> None:
    pid = container.run(*PYTHON, "import ctypes; ctypes.CDLL(None).execve(b'/bin/true', None, None)")

    event = execs(drain, pid)[-1]
    assert (event.filename, event.argv, event.truncated) == (b"/bin/true", b"\0", False)


def test_a_chain_of_execs_in_one_process_keeps_its_identity(container: FakeContainer, drain: Drain) -> None:
    pid = container.run("env", "A=1", "nice", "sh", "-c", "exec true last")

    chain = execs(drain, pid)
    assert [event.argv.split(b"\0")[0] for event in chain] == [b"env", b"nice", b"sh", b"true"]
    assert len({event.process for event in chain}) == 1
    assert sorted(event.time for event in chain) == [event.time for event in chain]


def test_an_exec_from_a_second_thread_is_the_process_s(container: FakeContainer, drain: Drain) -> None:
    code = (
        "import os, threading, time\n"
        "def run(): os.execv('/bin/true', [str(threading.get_native_id())])\n"
        "threading.Thread(target=run).start(); time.sleep(9)"
    )
    pid = container.run(*PYTHON, code)

    before, after = execs(drain, pid)
    assert after.argv != f"{pid}\0".encode()
    assert after.process == before.process
    assert after.process.pid == pid


def test_a_script_is_named_by_its_own_path_and_its_interpreter_by_argv(
    container: FakeContainer, drain: Drain, tmp_path: Path
) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh -e\nexit 0\n")
    script.chmod(0o755)
    pid = container.run(script, "one")

    (event,) = execs(drain, pid)
    assert event.filename == bytes(script)
    assert event.argv == b"/bin/sh\0-e\0" + bytes(script) + b"\0one\0"


def test_a_long_path_is_complete(container: FakeContainer, drain: Drain, tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 200) / ("e" * 200) / ("f" * 200)
    folder.mkdir(parents=True)
    program = folder / "true"
    program.symlink_to("/bin/true")
    pid = container.run(program)

    assert execs(drain, pid)[0].filename == bytes(program)


def test_a_program_that_does_not_exist_is_no_exec(container: FakeContainer, drain: Drain) -> None:
    container.run("/nonexistent")

    assert execs(drain) == []


def test_user_group_cgroup_and_parent_are_told(container: FakeContainer, drain: Drain) -> None:
    pid = container.run(TRUE, user=4242)

    event = execs(drain, pid)[-1]
    assert (event.uid, event.gid) == (4242, 4242)
    assert (event.cgroup, event.cgroup_name) == (container.id, container.folder.name)
    assert event.parent == Process(os.getpid(), start_ticks(os.getpid()))


def test_the_start_is_that_of_proc_stat_for_every_process(container: FakeContainer, drain: Drain) -> None:
    sleepers = [container.start("sleep", "30") for _ in range(20)]
    expected = {Process(sleeper.pid, start_ticks(sleeper.pid)) for sleeper in sleepers}
    seen: set[Process] = set()
    deadline = time.monotonic() + 10
    while len(seen) < len(sleepers) and time.monotonic() < deadline:
        seen |= {event.process for event in execs(drain)}
    for sleeper in sleepers:
        sleeper.kill()
        sleeper.wait()

    assert seen == expected


def test_a_seccomp_filter_on_the_process_is_told(container: FakeContainer, drain: Drain) -> None:
    code = (
        "import ctypes, struct, os; libc = ctypes.CDLL(None)\n"
        "allow = ctypes.create_string_buffer(struct.pack('=HBBI', 6, 0, 0, 0x7fff0000))\n"
        "program = struct.pack('@HP', 1, ctypes.addressof(allow))\n"
        "assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, program) == 0\n"
        "os.execv('/bin/true', ['true'])"
    )
    pid = container.run(*PYTHON, code)

    assert [event.seccomp for event in execs(drain, pid)] == [False, True]


def test_all_of_5000_execs_in_a_row_are_captured(container: FakeContainer, drain: Drain, program: BpfProgram) -> None:
    container.run("sh", "-c", "i=0; while [ $i -lt 5000 ]; do /bin/true arg$i; i=$((i+1)); done")

    captured = [event.argv for event in execs(drain) if event.filename == b"/bin/true"]
    assert captured == [f"/bin/true\0arg{i}\0".encode() for i in range(5000)]


def start_ticks(pid: int) -> int:
    """Field 22 of proc(5)'s /proc/PID/stat; the name in field 2 may hold spaces and brackets."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
