"""Who attaches to a container is in its trail, though no process comes of it."""

import sys
import threading

from msgspec.structs import replace

from enricher.containers.containers import Container
from enricher.correlate.attaches import Attach, Attached
from enricher.events import Process
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.record import Resource
from exectrail.contracts.session import AuditSession, SessionStatus
from tests.unit.enricher.rig import INIT, REQUESTED_MS, UID, Rig, container_starts, request

SINCE = "2026-11-23T11:59:59.000Z"
OTHER_INIT = Process(101, 1001)
APP = Container("a" * 64, Resource("shop", "web", "app"), "shop:1", "pod-1")
SIDECAR = Container("b" * 64, Resource("shop", "web", "sidecar"), "shop:1", "pod-1")


def attach(container: str = "app", **spec: object) -> AuditSession:
    made = request(container=container)
    asked = {"verb": "attach", "resource": "pods/attach", "command": [], "recorded": False}
    return replace(made, spec=replace(made.spec, **asked | spec))


def reported(attached: Attached, inits: dict[Process, Container], now: float = 0.0) -> list[Process]:
    return [each.init for each in attached.found(lambda: inits, now)]


def attached_by(*requests: AuditSession) -> Attached:
    attached = Attached(SINCE)
    for each in requests:
        attached.changed(None, each)
    return attached


def test_an_attach_is_reported_once_with_the_container_that_it_named() -> None:
    attached = attached_by(attach("sidecar"))

    assert reported(attached, {INIT: APP, OTHER_INIT: SIDECAR}) == [OTHER_INIT]
    assert reported(attached, {INIT: APP, OTHER_INIT: SIDECAR}) == []


def test_its_container_is_waited_for() -> None:
    attached = attached_by(attach())

    assert reported(attached, {}, 0.0) == []
    assert reported(attached, {INIT: APP}, 9.0) == [INIT]


def test_one_whose_container_does_not_come_is_given_up() -> None:
    attached = attached_by(attach())

    assert reported(attached, {}, 0.0) == []
    assert reported(attached, {}, 10.0) == []
    assert reported(attached, {INIT: APP}, 10.0) == []


def test_without_a_name_it_is_the_pods_only_regular_container_whatever_is_beside_it() -> None:
    only = replace(APP, sole=True)

    assert reported(attached_by(attach("")), {INIT: only, OTHER_INIT: SIDECAR}) == [INIT]
    assert reported(attached_by(attach("")), {OTHER_INIT: SIDECAR}) == []


def test_without_a_name_none_is_guessed_of_several_which_the_api_server_refuses() -> None:
    assert reported(attached_by(attach("")), {INIT: APP}) == []


def test_a_pod_of_the_same_name_that_came_after_the_request_is_not_what_was_attached_to() -> None:
    later = replace(APP, created_ms=REQUESTED_MS + 3_000)

    assert reported(attached_by(attach()), {INIT: later}) == []
    assert reported(attached_by(attach()), {INIT: replace(later, created_ms=REQUESTED_MS)}) == [INIT]


def test_neither_what_was_admitted_before_nor_what_changes_later_is_reported() -> None:
    attached = attached_by(attach(time="2026-11-23T11:00:00.000000Z"), request(), attach(verb="portforward"))
    attached.changed(attach(), replace(attach(), status=SessionStatus(phase="Closed")))
    attached.changed(attach(), None)

    assert reported(attached, {INIT: APP}) == []


def test_each_is_reported_once_however_the_threads_take_turns() -> None:
    attached, uids = Attached(SINCE), [f"{number:08d}" for number in range(900)]

    def mirror() -> None:
        for uid in uids:
            attached.changed(None, replace(attach(), metadata=ObjectMeta(name=uid)))

    thread = threading.Thread(target=mirror)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        thread.start()
        found = []
        while thread.is_alive():
            found += attached.found(lambda: {INIT: APP}, 0.0)
        found += attached.found(lambda: {INIT: APP}, 0.0)
    finally:
        sys.setswitchinterval(before)

    assert [each.audit.metadata.name for each in found] == uids


def test_the_trail_says_who_from_when_on_and_on_which_process(rig: Rig) -> None:
    container_starts(rig)
    ((init, container),) = rig.correlator.inits().items()

    rig.emitter.attached(Attach(attach(), init, container), rig.clock.boot_ns(1_795_435_200_000))

    start = rig.records[-1]
    assert (start.kind, start.phase, start.user, start.request_uid) == ("session", "start", "alice", UID)
    assert start.request
    assert (start.request.verb, start.timestamp) == ("attach", "2026-11-23T12:00:00.000Z")
    assert start.entry_key == start.process_key == "01234567-100-1000"
    assert rig.emitter.open_sessions() == []
    assert rig.reported == []
