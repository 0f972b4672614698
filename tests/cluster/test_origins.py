"""Where each process comes from: a request, the container itself, the kubelet, or none of them."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from exectrail.contracts.record import Record

from .cluster import Cluster, eventually
from .product import container_id, looked_into, pod
from .sessions import Person, check_equation, trail


def of_pod(name: str) -> list[Record]:
    return [record for record in trail() if record.resource and record.resource.pod == name]


@contextmanager
def busy_node() -> Iterator[None]:
    """More to do than it has processors.

    Each loop has a session of its own: in the test's, the kernel (`sched_autogroup`) would take its time from kubectl.
    """
    storm = ["sh", "-c", "while :; do sh -c :; done"]
    loops = [subprocess.Popen(storm, start_new_session=True) for _ in range(4)]
    try:
        yield
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def test_a_container_that_starts_on_a_busy_node_begins_with_its_own_program(admin: Cluster, recorded: str) -> None:
    """There the runtime may join a container's cgroup before it has left the node's namespaces."""
    names = [f"busy-{number}" for number in range(4)]
    with busy_node():
        admin.apply(*(pod(recorded, name) for name in names))
        pods = [f"pod/{name}" for name in names]
        admin.kubectl("wait", "-n", recorded, *pods, "--for=condition=Ready", "--timeout=120s")

    looked_into(*(f"{recorded}/{name}/app" for name in names))
    for name in names:  # the trail may be some seconds behind, where one event waits for what the kubelet reports
        eventually(partial(of_pod, name))
        execs = [(record.argv, record.origin) for record in of_pod(name) if record.kind == "exec"]
        assert execs == [(["sleep", "infinity"], "container")]


def test_probes_and_hooks_are_no_entries_and_written_once(admin: Cluster, recorded: str) -> None:
    probed = pod(recorded, "probed")
    container: dict[str, Any] = probed["spec"]["containers"][0]
    container["readinessProbe"] = {"exec": {"command": ["cat", "/etc/hostname"]}, "periodSeconds": 1}
    container["lifecycle"] = {"postStart": {"exec": {"command": ["sh", "-c", "touch /tmp/started"]}}}
    admin.apply(probed)
    admin.kubectl("wait", "-n", recorded, "pod/probed", "--for=condition=Ready", "--timeout=60s")
    before = check_equation()["suppressed"]
    eventually(lambda: check_equation()["suppressed"] >= before + 6)  # an exec and an exit each second

    own = container_id(recorded, pod="probed")
    execs = [record for record in of_pod("probed") if record.kind == "exec" and record.container_id == own]
    assert [(record.argv, record.origin) for record in execs if record.origin != "container"] == [
        (["sh", "-c", "touch /tmp/started"], "hook"),
        (["touch", "/tmp/started"], "hook"),
        (["cat", "/etc/hostname"], "probe"),
    ]


def test_a_probes_command_run_by_a_user_is_theirs(alice: Person, admin: Cluster, recorded: str) -> None:
    _, session = alice.does("exec", "-n", recorded, "probed", "--", "cat", "/etc/hostname")

    _, records = alice.trail_of(session)

    assert {record.user for record in records} == {"alice"}


def test_the_equation_holds_after_a_storm(alice: Person, recorded: str) -> None:
    uid, records = alice.executes(recorded, "sh", "-c", "for i in $(seq 2000); do /bin/true $i; done")

    assert [r.argv[1] for r in records if r.argv and r.argv[0] == "/bin/true"] == [str(i) for i in range(1, 2001)]
    # sh, seq and 2,000 times true.
    assert sum(record.kind == "exit" and record.exit is not None for record in records) == 2002
    assert records[-1].lost is None
    assert uid
    check_equation()
