"""Processes of a container that are not in its cgroup: they came in by a namespace, or left it."""

import msgspec
import pytest

from enricher.events import Process
from exectrail.contracts.record import EnteredFrom
from tests.unit.enricher.rig import (
    ENTRY,
    INIT,
    OTHER_UID,
    STAGE_0,
    UID,
    Rig,
    ask,
    at_request,
    by_namespace,
    end,
    entering,
    execute,
    fork,
    matched_request,
    pod,
    probed,
    request,
)


def test_who_enters_by_a_namespace_is_reported_with_where_they_come_from(rig: Rig) -> None:
    login = EnteredFrom("/user.slice/session-3.scope", 1000, 3, ["nsenter", "-t", "100", "-a"])
    (record,) = rig.happen(msgspec.structs.replace(by_namespace(execute(ENTRY, "sh")), entered_from=login))

    assert (record.origin, record.outside, record.entered_from) == ("untracked", "namespace", login)


@pytest.mark.parametrize("mounts_of_parent", [False, True])
def test_who_enters_by_a_namespace_before_the_containers_own_init_is_not_taken_for_it(mounts_of_parent: bool) -> None:
    rig = Rig({"exectrail.io/record": "true"}, pod())
    intruder, worker = Process(70, 700), Process(102, 1002)
    entering = msgspec.structs.replace(execute(intruder, "sh"), mounts_of_parent=mounts_of_parent)
    records = rig.happen(
        by_namespace(fork(STAGE_0, intruder)),
        by_namespace(entering),
        execute(INIT, "nginx", parent=Process(80, 800)),
        fork(INIT, worker),
        execute(worker, "nginx-worker", parent=INIT),
    )

    assert {(record.process_key, record.origin) for record in records} == {
        ("01234567-70-700", "untracked"),
        ("01234567-100-1000", "container"),
        ("01234567-102-1002", "container"),
    }
    assert list(rig.correlator.inits()) == [INIT]


def test_who_left_the_cgroup_is_marked_on_every_line(rig: Rig) -> None:
    moved = msgspec.structs.replace(execute(INIT, "nginx"), outside=True)
    ended = msgspec.structs.replace(end(INIT), outside=True)

    assert [(record.origin, record.outside) for record in rig.happen(moved, ended)] == [("container", "moved")] * 2


def test_by_a_namespace_nobody_comes_in_as_a_request_or_as_a_probe(rig: Rig) -> None:
    rig.requests[UID] = request()
    ask(rig, matched_request(OTHER_UID))
    untagged = at_request(rig, execute(Process(400, 4000), "sh", "-c", "id"))

    records = rig.happen(by_namespace(entering()[-1]), by_namespace(untagged))
    probe = probed()
    records += probe.happen(by_namespace(execute(ENTRY, "cat", "/ready")))

    assert {(record.origin, record.request_uid) for record in records} == {("untracked", None)}
    assert len(records) == 3
