"""The controller's looks at the webhook: what it asks, what it keeps, and whom it tells."""

import json
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from exectrail.k8s.client import Client
from profiles.controller.reachability import Reachability, WebhookNames
from tests.unit.exectrail.api_server import ApiServer, Asked
from tests.unit.profiles.test_canary import answering, failed
from tests.unit.waiting import until

OUTAGES = "/api/v1/namespaces/audit/configmaps/exectrail-webhook-outages"
CONFIGURATION = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/exectrail"
NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
ENTRY = {"name": "canary.exectrail.io", "clientConfig": {"service": {"name": "hook"}}, "failurePolicy": "Fail"}


@dataclass
class World:
    """The cluster, and a replica that looks at it."""

    server: ApiServer
    leads: bool = True

    def __post_init__(self) -> None:
        self.put(OUTAGES, {"metadata": {"uid": "u1", "resourceVersion": "7"}})
        self.configure(ENTRY)
        self.replica()

    def replica(self) -> None:
        """A replica that has seen nothing yet."""
        names = WebhookNames("audit", "exectrail", "exectrail-webhook-outages", "replica-1")
        self.looks = Reachability(lambda: Client(self.server.url), names, [ENTRY], lambda: self.leads)

    def put(self, path: str, obj: dict[str, Any]) -> None:
        self.server.created[path] = json.dumps(obj).encode()

    def configure(self, *entries: dict[str, Any]) -> None:
        shown = [{**each, "clientConfig": {**each["clientConfig"], "caBundle": "b3Vycw=="}} for each in entries]
        self.put(CONFIGURATION, {"webhooks": shown})

    def look(self, seconds: int) -> list[Asked]:
        """What a look writes; the ConfigMap is as it leaves it."""
        before = len(self.server.asked)
        self.looks.look(NOON + timedelta(seconds=seconds))
        asked = self.server.asked[before:]
        for each in asked:
            if each.method == "PATCH":
                self.put(OUTAGES, json.loads(each.body) | {"metadata": {"uid": "u1", "resourceVersion": "8"}})
        return [each for each in asked if each.method != "GET"][1:]  # without the canary

    def kept(self) -> list[dict[str, str]]:
        data = json.loads(self.server.created[OUTAGES]).get("data", {})
        return [json.loads(line) for line in data.get("outages", "").splitlines()]


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    with ApiServer() as server:
        monkeypatch.setattr(server, "answering", answering)
        yield World(server)


def metric(name: str, **labels: str) -> float:
    found = REGISTRY.get_sample_value(f"exectrail_controller_webhook_{name}", labels)
    return 0 if found is None else found


def events(asked: list[Asked]) -> list[dict[str, Any]]:
    return [json.loads(each.body) for each in asked if each.path == "/api/v1/namespaces/audit/events"]


def gone(world: World) -> None:
    world.server.canned.append((500, failed('no endpoints available for service "hook"')))


def test_a_good_look_keeps_its_time_and_tells_nobody(world: World) -> None:
    (patch,) = world.look(0)

    assert json.loads(patch.body) == {
        "metadata": {"resourceVersion": "7"},
        "data": {"outages": "", "reached": "2026-11-23T12:00:00Z"},
    }
    assert (metric("reachable"), metric("configuration_intact")) == (1, 1)
    assert metric("last_reached_timestamp_seconds") == NOON.timestamp()


def test_an_outage_is_kept_counted_and_told_at_its_beginning_and_its_end(world: World) -> None:
    world.look(0)
    counted = metric("failures_total", reason="no-replica")
    gone(world)
    (began,) = events(world.look(30))
    assert metric("reachable") == 0
    assert metric("failures_total", reason="no-replica") == counted + 1
    assert metric("last_reached_timestamp_seconds") == NOON.timestamp()
    gone(world)
    assert events(world.look(60)) == []
    (ended,) = events(world.look(90))

    (outage,) = world.kept()
    assert (outage["from"], outage["until"]) == ("2026-11-23T12:00:00Z", "2026-11-23T12:01:30Z")
    assert (began["type"], began["reason"]) == ("Warning", "WebhookNotReached")
    assert "since 2026-11-23T12:00:00Z: no-replica: " in began["message"]
    assert began["involvedObject"]["uid"] == "u1"
    assert (ended["type"], ended["reason"]) == ("Normal", "WebhookReached")
    assert "from 2026-11-23T12:00:00Z to 2026-11-23T12:01:30Z" in ended["message"]


def test_a_new_leader_goes_on_with_the_outage_that_it_finds(world: World) -> None:
    world.look(0)
    gone(world)
    world.look(30)
    world.replica()
    gone(world)
    assert events(world.look(60)) == []
    world.look(90)

    assert [each["from"] for each in world.kept()] == ["2026-11-23T12:00:00Z"]


def test_a_changed_configuration_counts_at_the_second_sight_and_from_before_the_first(world: World) -> None:
    world.look(0)
    world.configure({**ENTRY, "failurePolicy": "Ignore"})
    assert world.look(30) == []
    (began,) = events(world.look(60))
    assert (metric("reachable"), metric("configuration_intact")) == (1, 0)
    world.configure(ENTRY)
    world.look(90)

    (outage,) = world.kept()
    assert (outage["from"], outage["until"]) == ("2026-11-23T12:00:00Z", "2026-11-23T12:01:30Z")
    assert outage["reason"] == "configuration"
    assert "canary.exectrail.io has another failurePolicy" in began["message"]


def test_an_upgrade_that_changes_the_configuration_is_no_outage(world: World) -> None:
    world.look(0)
    world.configure({**ENTRY, "failurePolicy": "Ignore"})
    world.look(30)
    world.configure(ENTRY)
    world.look(45)

    assert world.kept() == []


@pytest.mark.parametrize("refused", [(403, b"{}"), (503, b"{}")])
def test_an_api_server_that_cannot_be_asked_makes_no_outage_but_a_time_that_is_not_known(
    world: World, refused: tuple[int, bytes]
) -> None:
    world.look(0)
    counted = metric("failures_total", reason="not-asked")
    for seconds in range(30, 240, 30):
        world.server.canned.append(refused)
        assert world.look(seconds) == []
    assert metric("failures_total", reason="not-asked") == counted + 7
    assert math.isnan(metric("reachable"))
    world.look(240)

    (unknown,) = world.kept()
    assert (unknown["from"], unknown["until"], unknown["reason"]) == (
        "2026-11-23T12:00:00Z",
        "2026-11-23T12:04:00Z",
        "not-watched",
    )


def test_a_configmap_that_is_gone_does_not_end_the_looks(world: World, caplog: pytest.LogCaptureFixture) -> None:
    del world.server.created[OUTAGES]
    gone(world)
    world.look(0)
    assert metric("reachable") == 0
    assert "cannot keep outages in ConfigMap exectrail-webhook-outages" in caplog.text


def test_a_replica_that_lost_the_lead_meanwhile_writes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(body: bytes) -> bytes:
        world.leads = False
        return answering(body)

    monkeypatch.setattr(world.server, "answering", lost)
    assert world.look(0) == []


def run(world: World) -> tuple[threading.Thread, Callable[[], None]]:
    stop = threading.Event()
    thread = threading.Thread(target=world.looks.run, args=(0.01, stop))
    thread.start()

    def end() -> None:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()

    return thread, end


def test_it_looks_again_and_again_each_time_on_a_connection_of_its_own(world: World) -> None:
    _, end = run(world)
    until(lambda: sum(each.method == "POST" for each in world.server.asked) >= 3)
    end()
    until(lambda: not world.server.sockets)


def test_a_replica_that_does_not_lead_asks_nothing_and_knows_nothing(world: World) -> None:
    world.look(0)
    asked = len(world.server.asked)
    world.leads = False
    _, end = run(world)
    until(lambda: math.isnan(metric("reachable")))
    end()
    assert len(world.server.asked) == asked
