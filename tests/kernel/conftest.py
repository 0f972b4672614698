import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import enricher.sensors.bpf
from enricher.events import ProcessEvent
from enricher.sensors.bpf.program import BpfProgram
from tests.kernel.fake_pods import FakeContainer, FakePods

Drain = Callable[[], list[ProcessEvent]]


@pytest.fixture(scope="session", autouse=True)
def tracefs() -> Iterator[None]:
    """Mounted where distributions have it, as failed execs are told by a tracepoint; taken away again if we did it."""
    folder = Path("/sys/kernel/tracing")
    ours = not (folder / "events").exists()
    if ours:
        subprocess.run(["mount", "-t", "tracefs", "tracefs", folder], check=True)
    yield
    if ours:
        subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="session")
def bpf_object(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiled = tmp_path_factory.mktemp("bpf") / "sensor.bpf.o"
    source = Path(enricher.sensors.bpf.__file__).parent
    subprocess.run(["make", "--silent", "-C", source, f"OBJECT={compiled}"], check=True)
    return compiled


@pytest.fixture
def pods() -> Iterator[FakePods]:
    pods = FakePods()
    yield pods
    pods.remove()


@pytest.fixture
def container(pods: FakePods) -> FakeContainer:
    return pods.container()


@pytest.fixture
def program(pods: FakePods, bpf_object: Path) -> Iterator[BpfProgram]:
    program = BpfProgram.open(pods.cgroup, object_path=bpf_object)
    yield program
    program.close()


@pytest.fixture
def drain(program: BpfProgram) -> Drain:
    """Everything that waits in the ring; a process that was waited for has all its events there."""

    def read_all() -> list[ProcessEvent]:
        events: list[ProcessEvent] = []
        while batch := program.events():
            events += batch
        assert (program.lost(), program.undecodable) == (0, 0)
        return events

    return read_all
