"""Processes of a container that are not in its cgroup: they came in by a namespace, or left it."""

import msgspec

from enricher.events import Process
from exectrail.contracts.record import EnteredFrom
from tests.unit.enricher.rig import (
    ENTRY,
    INIT,
    OTHER_UID,
    UID,
    Rig,
    ask,
    at_request,
    by_namespace,
    end,
    entering,
    execute,
    matched_request,
    probed,
    request,
)


def test_who_enters_by_a_namespace_is_reported_with_where_they_come_from(rig: Rig) -> None:
    login = EnteredFrom("/user.slice/session-3.scope", 1000, 3, ["nsenter", "-t", "100", "-a"])
    (record,) = rig.happen(msgspec.structs.replace(by_namespace(execute(ENTRY, "sh")), entered_from=login))

    assert (record.origin, record.outside, record.entered_from) == ("untracked", "namespace", login)


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
