"""The node's own processes: told while somebody debugs the node, and only then."""

import subprocess
import sys
from pathlib import Path

import pytest

from enricher.events import ExecEvent, ExecFailedEvent, ExitEvent, ForkEvent, ProcessEvent
from enricher.sensors.bpf.program import BpfProgram
from tests.kernel.conftest import Drain
from tests.kernel.fake_pods import FakeContainer, FakePods

MARK = b"told-on-the-node"
RUN = ("/bin/sh", "-c", f"/nothing {MARK.decode()}; /bin/true {MARK.decode()}; exit 3", MARK.decode())


def ours(events: list[ProcessEvent]) -> list[ProcessEvent]:
    """Those of the processes that these tests start: others run on this machine as well."""
    marked = {
        event.process for event in events if isinstance(event, ExecEvent | ExecFailedEvent) and MARK in event.argv
    }
    return [event for event in events if not isinstance(event, ForkEvent) and event.process in marked]


def test_what_runs_outside_of_all_pods_is_told_with_its_result(program: BpfProgram, drain: Drain) -> None:
    program.report_node(report=True)
    subprocess.run(RUN, check=False, stderr=subprocess.DEVNULL)

    events = ours(drain())
    assert [type(event) for event in events] == [ExecEvent, ExecFailedEvent, ExitEvent, ExecEvent, ExitEvent, ExitEvent]
    assert {(event.cgroup, getattr(event, "on_node", None)) for event in events} == {(0, True)}
    last = events[-1]
    assert isinstance(last, ExitEvent)
    assert last.code == 3


def test_no_process_that_is_born_on_the_node_is_told(program: BpfProgram, drain: Drain) -> None:
    program.report_node(report=True)
    subprocess.run(RUN, check=False, stderr=subprocess.DEVNULL)

    assert [event for event in drain() if isinstance(event, ForkEvent)] == []


def test_a_container_that_the_node_runs_beside_the_pods_is_told(program: BpfProgram, drain: Drain) -> None:
    """As `ctr run` makes one: namespaces of its own, and a cgroup that is no pod's."""
    program.report_node(report=True)
    subprocess.run(["unshare", "--pid", "--mount", "--fork", "/bin/true", MARK], check=True)

    ran = [event.argv for event in ours(drain()) if isinstance(event, ExecEvent)]
    assert ran[-1] == b"/bin/true\0" + MARK + b"\0"


@pytest.mark.parametrize("before", [(), (True, False)], ids=["never", "no longer"])
def test_nothing_of_the_node_is_told_while_nobody_debugs_it(
    program: BpfProgram, drain: Drain, before: tuple[bool, ...]
) -> None:
    for told in before:
        program.report_node(report=told)
    subprocess.run(RUN, check=False, stderr=subprocess.DEVNULL)

    assert ours(drain()) == []


def test_pods_that_are_not_recorded_are_no_part_of_the_node(
    container: FakeContainer, program: BpfProgram, drain: Drain
) -> None:
    program.decide(container.id, record=False)
    program.report_node(report=True)
    container.run("/bin/sh", "-c", f"/bin/true {MARK.decode()}; exit 0")

    # The shell that joins the container's cgroup runs on the node before; what comes after is the pod's.
    told = [event.argv.split(b"\0")[1] for event in ours(drain()) if isinstance(event, ExecEvent)]
    assert told == [b"-c"]


def test_who_goes_from_the_node_into_a_recorded_container_is_the_containers(
    container: FakeContainer, program: BpfProgram, drain: Drain
) -> None:
    program.decide(container.id, record=True)
    program.report_node(report=True)
    container.run("/bin/sh", "-c", "/bin/true; exit 0")

    in_container = [event for event in drain() if event.cgroup == container.id]
    assert [type(event) for event in in_container] == [ExecEvent, ForkEvent, ExecEvent, ExitEvent, ExitEvent]
    assert not any(event.outside or event.entered_by_namespace for event in in_container)


# As an agent in a node that is a container of the machine (kind), whose pid namespace is not the machine's.
IN_A_CONTAINER = """
import subprocess, sys
from pathlib import Path
from enricher.cgroup import Cgroup
from enricher.sensors.bpf.program import BpfProgram
root = Path(sys.argv[1])
program = BpfProgram.open(Cgroup(root.stat().st_ino, root), object_path=Path(sys.argv[2]))
program.report_node(report=True)
print("ready", flush=True)
sys.stdin.readline()
own = subprocess.Popen(["/bin/true", "of-the-node"])
own.wait()
execs = [each for each in program.events() if hasattr(each, "argv")]
print([(each.argv, each.process.pid == own.pid, each.on_node) for each in execs])
program.close()
"""


def test_processes_that_the_node_cannot_see_are_not_its_own(pods: FakePods, bpf_object: Path) -> None:
    node = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", sys.executable, "-c", IN_A_CONTAINER)
    with subprocess.Popen(
        [*node, pods.root, bpf_object], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        subprocess.run(RUN, check=False, stderr=subprocess.DEVNULL)
        said, _ = process.communicate("\n", timeout=30)

    assert said == str([(b"/bin/true\0of-the-node\0", True, True)]) + "\n"
