"""The container runtime on its way in: it may join a container's cgroup before it leaves the node's namespaces.

runc executes itself once more, as `runc init`, while its parent puts it into the cgroup: either may be first.
"""

import subprocess
from pathlib import Path

import pytest

from enricher.events import ExecEvent
from enricher.sensors.bpf.program import BpfProgram
from tests.kernel.conftest import Drain
from tests.kernel.fake_pods import JOIN_AND_EXEC, FakeContainer

# As runc does it: the container's init is in namespaces of its own.
INIT = "exec unshare --mount --pid --fork unshare --mount /bin/true 'of the container'"


@pytest.fixture
def runtime(tmp_path: Path) -> tuple[str, ...]:
    """Starts a program with the arguments `runc init`."""
    (tmp_path / "init").write_text(INIT)
    return ("bash", "-c", f"cd {tmp_path} && exec -a runc sh init")


def execs(drain: Drain) -> dict[bytes, bool]:
    """The last argument of each exec -> whether it is in its parent's mount namespace."""
    return {event.argv.split(b"\0")[-2]: event.mounts_of_parent for event in drain() if isinstance(event, ExecEvent)}


def test_the_runtimes_own_program_is_where_its_parent_is_and_the_containers_init_is_not(
    container: FakeContainer, runtime: tuple[str, ...], drain: Drain
) -> None:
    container.run(*runtime)

    found = execs(drain)
    assert found[b"init"]
    assert not found[b"of the container"]


def test_what_is_in_the_runtimes_mount_namespace_does_not_count_as_the_containers(
    container: FakeContainer, runtime: tuple[str, ...], program: BpfProgram, drain: Drain
) -> None:
    """As where containerd is a service with mounts of its own, or runs in a container as with kind."""
    program.decide(container.id, record=True)
    service = f"({JOIN_AND_EXEC}); /bin/true 'not of the container'; exit 0"
    subprocess.run(["unshare", "--mount", "/bin/sh", "-c", service, container.folder, *runtime], check=True)

    found = execs(drain)
    assert b"of the container" in found
    assert b"not of the container" not in found
