"""Where somebody comes from who enters a container by its namespaces: of real processes, by /proc."""

import subprocess
from pathlib import Path

import pytest

from enricher.events import ExecEvent, Process, ProcessEvent
from enricher.sensors.bpf.program import BpfProgram
from enricher.sensors.entered_from import Entering, entered_from
from tests.kernel.conftest import Drain
from tests.kernel.fake_pods import FakeContainer
from tests.kernel.test_bpf_evasion import Isolated

LOGIN = 'echo 4711 > /proc/self/loginuid; exec "$@"'


@pytest.fixture
def isolated(container: FakeContainer, program: BpfProgram, drain: Drain) -> Isolated:
    made = Isolated(container, drain)
    program.decide(container.id, record=True)
    drain()
    return made


def first_exec(events: list[ProcessEvent]) -> ExecEvent:
    return next(event for event in events if isinstance(event, ExecEvent))


def test_who_enters_is_known_by_login_cgroup_and_parent(isolated: Isolated, drain: Drain) -> None:
    enter = ("nsenter", "-t", str(isolated.pid), "--mount", "--pid", "/bin/sleep", "30")
    with subprocess.Popen(["/bin/sh", "-c", LOGIN, "login", *enter]) as intruder:
        events: list[ProcessEvent] = []
        while not any(isinstance(event, ExecEvent) for event in events):
            events += drain()
        event = first_exec(events)
        found = entered_from(event)
        subprocess.run(["kill", str(event.process.pid)], check=True)
        intruder.wait(10)

    assert found is not None
    assert found.argv == list(enter)
    assert found.auid == 4711
    assert found.ses is not None
    own = [line.split(":", 2)[2] for line in Path("/proc/self/cgroup").read_text().splitlines()]
    assert found.cgroup in own


def test_of_who_is_gone_already_nothing_is_made_up(isolated: Isolated, drain: Drain) -> None:
    isolated.enter("--mount", "--pid")

    assert entered_from(first_exec(drain())) is None


def test_only_the_first_exec_of_who_enters_by_a_namespace_is_looked_at(isolated: Isolated, drain: Drain) -> None:
    isolated.enter("--mount", "--pid")
    entering = Entering()
    seen = [(event, entering.is_first(event)) for event in drain()]
    looked_at = [is_first for event, is_first in seen if isinstance(event, ExecEvent)]

    assert looked_at[0]
    assert not any(looked_at[1:])


def test_a_container_s_own_process_does_not_enter_it(container: FakeContainer, drain: Drain) -> None:
    container.run("/bin/true")

    entering = Entering()
    assert not any(entering.is_first(event) for event in drain())


def test_a_pid_that_is_somebody_elses_by_now_is_not_believed() -> None:
    own = Process(1, 10**9)
    event = ExecEvent(0, 0, "", own, own, 0, 0, False, b"", b"", False, entered_by_namespace=True)

    assert Path("/proc/1").exists()
    assert entered_from(event) is None
