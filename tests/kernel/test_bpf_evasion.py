"""Processes that leave their container's cgroup, and those that enter a container but not its cgroup."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from enricher.events import ExecEvent, ExecFailedEvent, ExitEvent, ForkEvent, Process, ProcessEvent
from enricher.sensors.bpf.program import BpfProgram
from tests.kernel.conftest import Drain
from tests.kernel.fake_pods import FakeContainer, FakePods, v2_tree
from tests.kernel.test_bpf_exec import start_ticks

MOVE_AND_RUN = 'echo 0 > "$0/cgroup.procs"; /bin/true child; /nothing; exec /bin/true last'
MOST_MARKS = 32_768


def programs(events: list[ProcessEvent]) -> list[bytes]:
    return [event.argv.split(b"\0")[-2] for event in events if isinstance(event, ExecEvent | ExecFailedEvent)]


def origins(events: list[ProcessEvent]) -> set[tuple[int, bool, bool]]:
    return {(event.cgroup, event.outside, event.entered_by_namespace) for event in events}


@pytest.fixture
def recorded(container: FakeContainer, program: BpfProgram) -> FakeContainer:
    program.decide(container.id, record=True)
    return container


def test_who_moves_out_of_the_cgroup_is_still_the_container_s(recorded: FakeContainer, drain: Drain) -> None:
    pid = recorded.run("/bin/sh", "-c", MOVE_AND_RUN, v2_tree())

    first, *moved = drain()
    assert origins([first]) == {(recorded.id, False, False)}
    assert origins(moved) == {(recorded.id, True, False)}
    assert programs(moved) == [b"child", b"/nothing", b"last"]
    assert {type(event) for event in moved} == {ForkEvent, ExecEvent, ExecFailedEvent, ExitEvent}
    assert {event.cgroup_name for event in moved if isinstance(event, ForkEvent | ExecEvent)} == {""}
    assert isinstance(moved[-1], ExitEvent)
    assert moved[-1].process.pid == pid


@pytest.mark.parametrize("record", [False, True], ids=["ignored", "recorded"])
def test_who_moves_into_another_container_is_still_the_first_one_s(
    pods: FakePods, recorded: FakeContainer, program: BpfProgram, drain: Drain, record: bool
) -> None:
    other = pods.container("pod2/container2")
    program.decide(other.id, record=record)
    recorded.run("/bin/sh", "-c", MOVE_AND_RUN, other.folder)

    assert origins(drain()[1:]) == {(recorded.id, True, False)}


def test_the_mark_is_inherited_and_outlives_the_process_that_moved(recorded: FakeContainer, drain: Drain) -> None:
    script = 'echo 0 > "$0/cgroup.procs"; (setsid env -i /bin/sh -c "(/bin/true grandchild)" &) ; /bin/sleep 0.5'
    recorded.run("/bin/sh", "-c", script, v2_tree())

    events, until = drain(), time.monotonic() + 10
    while b"grandchild" not in programs(events) and time.monotonic() < until:
        events += drain()
    assert b"grandchild" in programs(events)
    assert origins(events[1:]) == {(recorded.id, True, False)}


def test_a_process_that_was_there_before_the_decision_is_marked_by_it(
    container: FakeContainer, program: BpfProgram, drain: Drain, tmp_path: Path
) -> None:
    script = 'while [ ! -e "$1" ]; do :; done; echo 0 > "$0/cgroup.procs"; exec /bin/true last'
    process = container.start("/bin/sh", "-c", script, v2_tree(), tmp_path / "go")
    while not drain():
        time.sleep(0.01)
    program.decide(container.id, record=True)
    drain()
    (tmp_path / "go").touch()
    process.wait(10)

    events = drain()
    assert programs(events) == [b"last"]
    assert origins(events) == {(container.id, True, False)}


def test_a_container_that_is_no_longer_recorded_leaves_no_one_marked(
    recorded: FakeContainer, program: BpfProgram, drain: Drain, tmp_path: Path
) -> None:
    script = 'echo 0 > "$0/cgroup.procs"; while [ ! -e "$1" ]; do :; done; exec /bin/true'
    process = recorded.start("/bin/sh", "-c", script, v2_tree(), tmp_path / "go")
    while not drain():
        time.sleep(0.01)
    program.decide(recorded.id, record=False)
    (tmp_path / "go").touch()
    process.wait(10)

    assert drain() == []


@pytest.fixture
def outsider() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["/bin/sh", "-c", "read line; /bin/true child; exit 0"], stdin=subprocess.PIPE) as process:
        yield process


def test_user_space_can_mark_a_process(
    recorded: FakeContainer, program: BpfProgram, drain: Drain, outsider: subprocess.Popen[bytes]
) -> None:
    assert program.mark(Process(outsider.pid, start_ticks(outsider.pid)), recorded.id)
    outsider.communicate(b"\n")

    events = drain()
    assert origins(events) == {(recorded.id, True, False)}
    assert [type(event) for event in events] == [ForkEvent, ExecEvent, ExitEvent, ExitEvent]


def test_a_mark_for_an_earlier_process_with_the_same_id_counts_for_nothing(
    recorded: FakeContainer, program: BpfProgram, drain: Drain, outsider: subprocess.Popen[bytes]
) -> None:
    program.mark(Process(outsider.pid, start_ticks(outsider.pid) - 1), recorded.id)
    outsider.communicate(b"\n")

    assert drain() == []


def test_marks_end_with_their_processes_and_a_full_table_is_counted(
    recorded: FakeContainer, program: BpfProgram, drain: Drain
) -> None:
    taken = [program.mark(Process(2**30 + number, 1), recorded.id) for number in range(MOST_MARKS - 2)]
    recorded.run("/bin/sh", "-c", "i=0; while [ $i -lt 20 ]; do /bin/true; i=$((i+1)); done")
    before = program.unmarked()
    program.mark(Process(1, 1), recorded.id)
    program.mark(Process(2, 1), recorded.id)
    recorded.run("/bin/true")
    drain()

    assert all(taken)
    assert (before, program.unmarked()) == (0, 1)
    assert not program.mark(Process(3, 1), recorded.id)


class Isolated:
    """A container with namespaces of its own, and its init as the node sees it."""

    def __init__(self, container: FakeContainer, drain: Drain) -> None:
        self.id = container.id
        container.start("unshare", "--pid", "--mount", "--fork", "--mount-proc", "/bin/sleep", "60")
        events: list[ProcessEvent] = []
        while not (
            inits := [each for each in events if isinstance(each, ExecEvent) and each.argv == b"/bin/sleep\00060\0"]
        ):
            events += drain()
        self.pid = inits[0].process.pid

    def enter(self, *options: str, program: tuple[str, ...] = ("/bin/sh", "-c", "/bin/true child; exit 0")) -> None:
        """As root on the node does it: the cgroup stays the caller's."""
        subprocess.run(["nsenter", "-t", str(self.pid), *options, *program], check=True)


@pytest.fixture
def isolated(container: FakeContainer, drain: Drain) -> Isolated:
    return Isolated(container, drain)


ALL_NAMESPACES = ("--all",)
ENTRIES = [ALL_NAMESPACES, ("--mount", "--pid"), ("--mount",), ("--pid",)]


@pytest.mark.parametrize("options", ENTRIES, ids=" ".join)
def test_who_enters_by_namespace_is_told_with_all_that_it_starts(
    isolated: Isolated, program: BpfProgram, drain: Drain, options: tuple[str, ...]
) -> None:
    program.decide(isolated.id, record=True)
    drain()
    isolated.enter(*options)

    events = drain()
    assert origins(events) == {(isolated.id, False, True)}
    assert programs(events)[-1] == b"child"
    execs = {event.process for event in events if isinstance(event, ExecEvent)}
    assert execs <= {event.process for event in events if isinstance(event, ExitEvent)}


def test_who_entered_by_namespace_cannot_shake_it_off(isolated: Isolated, program: BpfProgram, drain: Drain) -> None:
    program.decide(isolated.id, record=True)
    drain()
    back_out = "exec nsenter -t 2 --mount /bin/true back"  # of the node's kernel threads, pid 2 is always there
    isolated.enter("--mount", program=("/bin/sh", "-c", f"mount -t proc proc /proc; {back_out}"))

    events = drain()
    assert programs(events)[-1] == b"back"
    assert origins(events) == {(isolated.id, False, True)}


@pytest.mark.parametrize("options", ENTRIES, ids=" ".join)
@pytest.mark.parametrize("ignored", [True, False], ids=["ignored", "undecided"])
def test_who_enters_a_container_that_is_not_recorded_is_silent(
    isolated: Isolated, program: BpfProgram, drain: Drain, options: tuple[str, ...], ignored: bool
) -> None:
    if ignored:
        program.decide(isolated.id, record=False)
    isolated.enter(*options)

    assert drain() == []


def test_a_container_in_the_node_s_namespaces_does_not_make_the_node_its_own(
    recorded: FakeContainer, program: BpfProgram, drain: Drain
) -> None:
    recorded.run("/bin/sh", "-c", "/bin/true; exit 0")
    program.decide(recorded.id, record=True)
    drain()
    subprocess.run(["/bin/sh", "-c", "/bin/true; exit 0"], check=True)

    assert (drain(), program.missing) == ([], ())


def test_a_container_that_enters_another_does_not_make_it_its_own(
    pods: FakePods, program: BpfProgram, drain: Drain
) -> None:
    other = Isolated(pods.container("pod1/ignored"), drain)
    program.decide(other.id, record=False)
    entering = pods.container("pod2/recorded")
    program.decide(entering.id, record=True)
    entering.run("/bin/sh", "-c", f"nsenter -t {other.pid} --mount /bin/true inside; exit 0")
    inside = drain()
    other.enter("--mount")

    assert (programs(inside)[-1], origins(inside)) == (b"inside", {(entering.id, False, False)})
    assert drain() == []
