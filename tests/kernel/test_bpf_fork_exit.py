"""What the sensor tells about processes that begin and end."""

import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from enricher.events import ExecEvent, ExitEvent, ForkEvent, ProcessEvent
from tests.kernel.conftest import Drain
from tests.kernel.fake_pods import FakeContainer

PYTHON = (sys.executable, "-I", "-S", "-c")


def forks(events: list[ProcessEvent]) -> list[ForkEvent]:
    return [event for event in events if isinstance(event, ForkEvent)]


def exits(events: list[ProcessEvent]) -> list[ExitEvent]:
    return [event for event in events if isinstance(event, ExitEvent)]


@pytest.mark.parametrize(
    ("ending", "code", "by_signal"),
    [
        ("exit 0", 0, None),
        ("exit 3", 3, None),
        ("exit 255", 255, None),
        ("kill -TERM $$", None, signal.SIGTERM),
        ("kill -KILL $$", None, signal.SIGKILL),
        ("ulimit -c unlimited; cd /proc; kill -SEGV $$", None, signal.SIGSEGV),
    ],
)
def test_an_exit_has_its_code_or_its_signal(
    container: FakeContainer, drain: Drain, ending: str, code: int | None, by_signal: int | None
) -> None:
    pid = container.run("/bin/sh", "-c", ending)

    (event,) = exits(drain())
    assert (event.process.pid, event.code, event.signal) == (pid, code, by_signal)
    assert event.cgroup == container.id


def test_a_child_is_told_from_fork_to_exit_in_order(container: FakeContainer, drain: Drain) -> None:
    pid = container.run("/bin/sh", "-c", "/bin/true; exit 0")

    begin, fork, execed, child_end, end = drain()
    assert isinstance(begin, ExecEvent)
    assert isinstance(fork, ForkEvent)
    assert isinstance(execed, ExecEvent)
    assert isinstance(child_end, ExitEvent)
    assert isinstance(end, ExitEvent)
    assert begin.process == fork.parent == execed.parent == end.process
    assert fork.child == execed.process == child_end.process
    assert fork.child.pid != pid
    assert (fork.cgroup, fork.cgroup_name) == (container.id, container.folder.name)


def test_a_vforked_child_is_a_fork_like_any_other(container: FakeContainer, drain: Drain) -> None:
    container.run(*PYTHON, "import os; os.waitpid(os.posix_spawn('/bin/true', ['spawned'], {}), 0)")

    events = drain()
    (fork,) = forks(events)
    assert [event.argv for event in events if isinstance(event, ExecEvent) and event.process == fork.child] == [
        b"spawned\0"
    ]


def test_a_double_fork_can_be_followed_from_child_to_parent(container: FakeContainer, drain: Drain) -> None:
    code = "import os, time; os.fork() or (os.setsid(), os.fork() and os._exit(0), time.sleep(0.3)); os._exit(0)"
    pid = container.run(*PYTHON, code)
    events = drain()
    deadline = time.monotonic() + 10
    while len(exits(events)) < 3 and time.monotonic() < deadline:
        events += drain()

    first, second = forks(events)
    assert first.parent.pid == pid
    assert second.parent == first.child
    assert {event.process for event in exits(events)} == {first.parent, first.child, second.child}


def test_a_child_made_as_a_sibling_still_belongs_to_its_creator(container: FakeContainer, drain: Drain) -> None:
    clone = {"x86_64": 56, "aarch64": 220}[platform.machine()]
    clone_parent_and_sigchld = 0x8000 | 17
    code = f"import ctypes, os; ctypes.CDLL(None).syscall({clone}, {clone_parent_and_sigchld}, 0, 0, 0, 0); os._exit(0)"
    pid = container.run(*PYTHON, code)

    (fork,) = forks(drain())
    assert fork.parent.pid == pid
    os.waitpid(fork.child.pid, 0)  # it is our child now


# In a process of its own: after a bare clone3 the child of a process with threads would wait for a lock for ever.
BORN_INSIDE = """
import ctypes, os, signal, struct, sys
folder = os.open(sys.argv[1], os.O_RDONLY | os.O_DIRECTORY)
clone_into_cgroup = 0x2_0000_0000
arguments = struct.pack("=11Q", clone_into_cgroup, 0, 0, 0, signal.SIGCHLD, 0, 0, 0, 0, 0, folder)
child = ctypes.CDLL(None).syscall(435, arguments, len(arguments))  # clone3, the same on every machine
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
print(os.getpid(), child)
"""


def test_a_child_born_into_a_container_from_outside_is_seen(container: FakeContainer, drain: Drain) -> None:
    said = subprocess.run([*PYTHON, BORN_INSIDE, container.folder], capture_output=True, check=True, timeout=60)
    parent, child = map(int, said.stdout.split())

    fork, end = drain()
    assert isinstance(fork, ForkEvent)
    assert isinstance(end, ExitEvent)
    assert (fork.child.pid, fork.parent.pid, fork.cgroup) == (child, parent, container.id)


def test_threads_are_no_processes(container: FakeContainer, drain: Drain) -> None:
    code = "import threading\nfor _ in range(50): threading.Thread(target=lambda: None).start()"
    container.run(*PYTHON, code)

    events = drain()
    assert forks(events) == []
    assert len(exits(events)) == 1


def test_an_exec_from_a_second_thread_ends_nothing(container: FakeContainer, drain: Drain) -> None:
    code = (
        "import os, threading, time\n"
        "threading.Thread(target=os.execv, args=('/bin/sh', ['sh', '-c', 'exit 5'])).start(); time.sleep(9)"
    )
    pid = container.run(*PYTHON, code)

    (end,) = exits(drain())
    assert (end.process.pid, end.code) == (pid, 5)


def test_a_process_whose_first_thread_ends_early_ends_with_its_last_thread(
    container: FakeContainer, drain: Drain
) -> None:
    thread_exit = {"x86_64": 60, "aarch64": 93}[platform.machine()]
    code = (
        "import ctypes, os, threading, time\n"
        "threading.Thread(target=lambda: (time.sleep(0.3), os._exit(9))).start()\n"
        f"ctypes.CDLL(None).syscall({thread_exit}, 1)"
    )
    container.run(*PYTHON, code)

    (end,) = exits(drain())
    assert end.code == 9


# Two threads per process, each of which leaves at the same moment as the other.
LEAVE_TOGETHER = r"""
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
static volatile int ready;
static void *leave(void *unused) {
  __sync_fetch_and_add(&ready, 1);
  while (ready < 2);
  syscall(SYS_exit, 7);
  return unused;
}
int main(void) {
  for (int i = 0; i < 2000; i++) {
    pthread_t thread;
    if (fork() == 0) { pthread_create(&thread, 0, leave, 0); leave(0); }
    wait(0);
  }
}
"""


def test_threads_that_end_at_once_make_one_exit_of_each_process(
    container: FakeContainer, drain: Drain, tmp_path: Path
) -> None:
    program = tmp_path / "leave-together"
    subprocess.run(["clang", "-O1", "-pthread", "-xc", "-", "-o", program], input=LEAVE_TOGETHER.encode(), check=True)
    container.run(program)

    events = drain()
    children = [fork.child for fork in forks(events)]
    assert len(children) == 2000
    assert [event.process for event in exits(events) if event.code == 7] == children
