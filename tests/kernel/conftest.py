import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import enricher.bpf
from enricher.bpf.ledger import BpfLedger
from enricher.events import ProcessEvent
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
    compiled = tmp_path_factory.mktemp("bpf") / "ledger.bpf.o"
    source = Path(enricher.bpf.__file__).parent
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
def ledger(pods: FakePods, bpf_object: Path) -> Iterator[BpfLedger]:
    ledger = BpfLedger.open(pods.cgroup, object_path=bpf_object)
    yield ledger
    ledger.close()


@pytest.fixture
def drain(ledger: BpfLedger) -> Drain:
    """Everything that waits in the ring; a process that was waited for has all its events there."""

    def read_all() -> list[ProcessEvent]:
        events: list[ProcessEvent] = []
        while batch := ledger.events():
            events += batch
        assert (ledger.lost(), ledger.undecodable) == (0, 0)
        return events

    return read_all
