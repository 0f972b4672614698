"""Pods that debug a node: what they run, and what the node itself runs meanwhile."""

import msgspec
import pytest

from enricher.containers.containers import NODE, CgroupRef
from enricher.containers.pods import (
    Container,
    EnvVar,
    Pod,
    PodSpec,
    PodStatus,
)
from enricher.events import Process, ProcessEvent
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.session import Target
from tests.unit.enricher.rig import (
    APP,
    ENTRY,
    INIT,
    OTHER_UID,
    STAGE_0,
    STAGE_1,
    UID,
    Rig,
    end,
    entering,
    execute,
    failed,
    fork,
    request,
)


def test_a_node_debug_pod_is_recorded_in_every_namespace_as_who_made_it() -> None:
    spec = PodSpec(
        containers=[Container("debugger", "tools", [EnvVar("SPO_EXEC_REQUEST_UID", UID)], command=["sh", "-c", "id"])],
        node_name="node1",
        host_pid=True,
    )
    debugger = Pod(ObjectMeta(name="node-debugger-node1-abcde", namespace="shop", uid="pod-1"), spec)
    rig = Rig({}, debugger)
    asked = request()
    target = Target("shop", "node-debugger-node1-abcde", "debugger", node="node1")
    rig.requests[UID] = msgspec.structs.replace(
        asked, spec=msgspec.structs.replace(asked.spec, verb="debug", target=target)
    )

    records = rig.happen(execute(INIT, "sh"), end(INIT))

    assert [(r.kind, r.origin, r.user) for r in records] == [
        ("session", "session", "alice"),
        ("exec", "session", "alice"),
        ("exit", "session", "alice"),
        ("session", "session", "alice"),
    ]


def node_debugger(tag: str = UID, phase: str = "Running") -> Pod:
    spec = PodSpec(
        containers=[Container("debugger", "tools", [EnvVar("SPO_EXEC_REQUEST_UID", tag)])],
        host_pid=True,
    )
    meta = ObjectMeta(name=f"node-debugger-node1-{tag[:5]}", namespace="desk", uid=f"pod-of-{tag}")
    return Pod(meta, spec, PodStatus(phase=phase))


DAEMON = Process(50, 500)


def ran_on_node(process: Process, *argv: str) -> list[ProcessEvent]:
    """A daemon of the node runs a program and that ends: the kernel tells of no fork."""
    run = msgspec.structs.replace(execute(process, *argv, parent=DAEMON), cgroup=0, on_node=True)
    return [run, msgspec.structs.replace(end(process), cgroup=0, on_node=True)]


@pytest.fixture
def debugged(rig: Rig) -> Rig:
    """A node whose own processes are reported, because two pods to debug it are open."""
    rig.cgroups.place = NODE
    for tag in (UID, OTHER_UID):
        rig.containers.pod_changed(None, node_debugger(tag))
    return rig


def test_what_a_debugged_node_runs_names_the_requests_that_may_be_behind_it(debugged: Rig) -> None:
    run, ended = debugged.happen(*ran_on_node(ENTRY, "systemctl", "stop", "auditd"))

    assert (run.kind, run.argv, run.origin, run.parent_key) == (
        "exec",
        ["systemctl", "stop", "auditd"],
        "node",
        "01234567-50-500",
    )
    assert (run.resource, run.reason, run.container_id, run.user, run.request_uid) == (None, "node-debug", *[None] * 3)
    assert (ended.kind, ended.duration_ms) == ("exit", 2000)
    assert {tuple(each.candidates or ()) for each in (run, ended)} == {(OTHER_UID, UID)}


def test_a_tag_in_what_the_node_runs_is_nobodys(debugged: Rig) -> None:
    debugged.requests[UID] = request()

    (run, _) = debugged.happen(*ran_on_node(ENTRY, "env", f"SPO_EXEC_REQUEST_UID={UID}", "sh"))

    assert (run.origin, run.request_uid, debugged.reported) == ("node", None, [])


def test_a_runtimes_helper_does_not_take_the_nodes_origin_into_a_container(debugged: Rig) -> None:
    """`runc init` runs on the node, then joins the container's cgroup and becomes what was asked for."""
    debugged.requests[UID] = request()
    helper, _ = ran_on_node(STAGE_0, "runc", "init")
    debugged.happen(helper)
    debugged.cgroups.place = CgroupRef(APP, "pod-1")

    records = debugged.happen(fork(STAGE_0, STAGE_1), fork(STAGE_1, ENTRY), entering()[-1])

    assert {(record.origin, record.user, record.candidates) for record in records} == {("session", "alice", None)}


@pytest.mark.parametrize("gone", ["deleted", "Succeeded", "Failed"])
def test_once_nobody_debugs_the_node_nothing_of_it_is_recorded(debugged: Rig, gone: str) -> None:
    for tag in (UID, OTHER_UID):
        after = None if gone == "deleted" else node_debugger(tag, gone)
        debugged.containers.pod_changed(node_debugger(tag), after)

    assert debugged.happen(*ran_on_node(ENTRY, "id")) == []
    assert debugged.correlator.tally.filtered["not-recorded"] == 2


def test_while_one_of_two_debuggers_is_left_only_that_one_is_named(debugged: Rig) -> None:
    debugged.containers.pod_changed(node_debugger(OTHER_UID), None)

    run, _ = debugged.happen(*ran_on_node(ENTRY, "id"))

    assert run.candidates == [UID]


def test_the_end_of_what_ran_before_the_node_was_debugged_leaves_no_record(debugged: Rig) -> None:
    assert debugged.happen(ran_on_node(ENTRY, "id")[1]) == []


def test_what_a_debugged_node_runs_has_a_quota_of_its_own(debugged: Rig) -> None:
    for start in range(30):
        debugged.happen(ran_on_node(Process(500, start), "id")[0])

    (gap,) = [record for record in debugged.records if record.kind == "gap"]
    assert (gap.reason, gap.container_id, len(debugged.records)) == ("throttle-start", None, 20 + 1)
    debugged.cgroups.place = CgroupRef(APP, "pod-1")
    assert [record.kind for record in debugged.happen(fork(INIT, Process(600, 6000)))] == ["clone"]


def test_a_failed_exec_on_a_debugged_node_is_reported_also_of_a_daemon_that_was_there_before(debugged: Rig) -> None:
    event = msgspec.structs.replace(failed(DAEMON, "/root/x", "x", errno=13), cgroup=0, on_node=True)

    (record,) = debugged.happen(event)

    assert (record.errno, record.origin, record.program) == ("EACCES", "node", "/root/x")
