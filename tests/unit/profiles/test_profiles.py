"""The controller keeps the status of profiles and bindings, through their whole life, in a cluster in memory."""

import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from exectrail.contracts import spo
from exectrail.k8s.client import ApiError, Client
from profiles.controller import profiles as module
from profiles.controller import work_queue
from profiles.controller.profiles import Profiles
from tests.unit.profiles.fake_cluster import BINDINGS, NODES, PODS, PROFILES, STATUSES, FakeCluster
from tests.unit.waiting import until


class Running:
    """A controller at work in a cluster."""

    def __init__(self, cluster: FakeCluster) -> None:
        self.cluster, self.leads = cluster, True
        self._stop = threading.Event()
        client = cast("Client", cluster)
        profiles = Profiles(client, cluster, "release", "exectrail-node", lambda: self.leads)
        self._thread = threading.Thread(target=profiles.run, args=(self._stop,))

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._stop.set()
        self.cluster.end()
        self._thread.join(10)
        assert not self._thread.is_alive()


@pytest.fixture
def cluster() -> FakeCluster:
    return FakeCluster()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE", 0.001)
    monkeypatch.setattr(work_queue, "_BACKOFF_FIRST", 0.01)


@pytest.fixture
def running(cluster: FakeCluster) -> Iterator[Running]:
    running = Running(cluster)
    yield running
    running.end()


def add_node(cluster: FakeCluster, name: str) -> None:
    cluster.put(NODES, name)
    owner = {"kind": "DaemonSet", "name": "exectrail-node"}
    cluster.put(PODS, f"node-{name}", "release", metadata={"ownerReferences": [owner]}, spec={"nodeName": name})


def say(cluster: FakeCluster, node: str, state: str = "Installed", profile: str = "audit", **annotations: str) -> None:
    labels = {
        spo.PROFILE_ID_LABEL: spo.profile_id("SeccompProfile", profile),
        spo.PROFILE_KIND_LABEL: "SeccompProfile",
    }
    meta = {"labels": labels, "ownerReferences": [{"kind": "SeccompProfile", "name": profile}]}
    meta["annotations"] = {f"exectrail.io/{key}": text for key, text in annotations.items()}
    name = spo.node_status_name(profile, node)
    cluster.put(STATUSES, name, metadata=meta, spec={"nodeName": node}, status={"status": state})


def add_pod(cluster: FakeCluster, name: str, profile: str = "audit", where: str = "containers") -> None:
    context = {"seccompProfile": {"type": "Localhost", "localhostProfile": f"operator/{profile}.json"}}
    cluster.put(PODS, name, "shop", spec={"nodeName": "a", where: [{"image": "nginx", "securityContext": context}]})


def profile(cluster: FakeCluster, name: str = "audit") -> dict[str, Any]:
    return cluster.get(PROFILES, name) or {"metadata": {}}


def state(cluster: FakeCluster, name: str = "audit") -> str | None:
    status: str | None = profile(cluster, name).get("status", {}).get("status")
    return status


def held(cluster: FakeCluster) -> bool:
    return spo.IN_USE_FINALIZER in profile(cluster)["metadata"].get("finalizers", [])


def test_a_profile_becomes_ready_when_its_nodes_have_it(cluster: FakeCluster, running: Running) -> None:
    add_node(cluster, "a")
    cluster.put(PROFILES, "audit", spec={"defaultAction": "SCMP_ACT_LOG"})
    running.start()
    until(lambda: state(cluster) == "Pending")
    say(cluster, "a")
    until(lambda: state(cluster) == "Installed")
    status = profile(cluster)["status"]
    assert status["localhostProfile"] == "operator/audit.json"
    assert {(each["type"], each["status"], each["reason"]) for each in status["conditions"]} == {
        ("Ready", "True", "Available"),
        ("Available", "True", "FileInPlace"),
    }
    assert profile(cluster)["metadata"]["labels"] == {spo.PROFILE_ID_LABEL: "SeccompProfile-audit"}


def test_what_is_as_it_should_be_is_not_written_again(cluster: FakeCluster, running: Running) -> None:
    add_node(cluster, "a")
    cluster.put(PROFILES, "audit")
    say(cluster, "a")
    running.start()
    until(lambda: state(cluster) == "Installed")
    writes = cluster.writes
    say(cluster, "a")
    cluster.put(PROFILES, "marker")
    until(lambda: state(cluster, "marker"))
    assert cluster.writes == writes + 2  # the marker's own


@pytest.mark.parametrize("where", ["containers", "initContainers", "ephemeralContainers"])
def test_a_deletion_waits_for_the_pods_and_not_longer(cluster: FakeCluster, running: Running, where: str) -> None:
    add_node(cluster, "a")
    cluster.put(PROFILES, "audit")
    say(cluster, "a")
    add_pod(cluster, "web", where=where)
    running.start()
    until(lambda: held(cluster))
    until(lambda: profile(cluster).get("status", {}).get("activeWorkloads") == ["shop/web"])
    cluster.delete(PROFILES, "audit")
    until(lambda: state(cluster) == "Terminating")
    until(lambda: [event.reason for event in cluster.events] == ["InUse"])
    assert "shop/web" in cluster.events[0].message
    cluster.delete(PODS, "shop/web")
    until(lambda: cluster.get(PROFILES, "audit") is None)


def test_a_pod_that_has_ended_holds_nothing(cluster: FakeCluster, running: Running) -> None:
    cluster.put(PROFILES, "audit")
    add_pod(cluster, "job")
    running.start()
    until(lambda: held(cluster))
    cluster.put(PODS, "job", "shop", status={"phase": "Succeeded"})
    until(lambda: not held(cluster))


def test_the_operators_finalizers_never_hold_up_a_deletion(cluster: FakeCluster, running: Running) -> None:
    cluster.put(PROFILES, "audit", metadata={"finalizers": ["gone-deleted", spo.IN_USE_FINALIZER]})
    spec = {"profileRef": {"kind": "SeccompProfile", "name": "audit"}, "image": "*"}
    cluster.put(BINDINGS, "all", "shop", metadata={"finalizers": ["active-workload-lock"]}, spec=spec)
    cluster.delete(PROFILES, "audit")
    cluster.delete(BINDINGS, "shop/all")
    running.start()
    until(lambda: cluster.get(PROFILES, "audit") is None)
    until(lambda: cluster.get(BINDINGS, "shop/all") is None)


def test_a_node_that_goes_neither_blocks_nor_is_remembered(cluster: FakeCluster, running: Running) -> None:
    for node in "ab":
        add_node(cluster, node)
    cluster.put(PROFILES, "audit")
    say(cluster, "a")
    say(cluster, "b", "Error", reason="DiskFull", message="no space left")
    running.start()
    until(lambda: state(cluster) == "Error")
    cluster.delete(NODES, "b")
    until(lambda: state(cluster) == "Installed")
    until(lambda: cluster.get(STATUSES, "audit-b") is None)
    assert cluster.get(STATUSES, "audit-a")
    assert [event.reason for event in cluster.events] == ["DiskFull"]


def test_a_profile_stays_available_while_the_only_installer_is_replaced(cluster: FakeCluster, running: Running) -> None:
    def available() -> object:
        conditions = profile(cluster).get("status", {}).get("conditions", [])
        return next((each["status"] for each in conditions if each["type"] == "Available"), None)

    add_node(cluster, "a")
    cluster.put(PROFILES, "audit")
    say(cluster, "a")
    running.start()
    until(lambda: state(cluster) == "Installed")
    cluster.delete(PODS, "release/node-a")
    until(lambda: state(cluster) == "Pending")
    assert available() == "True"
    cluster.delete(NODES, "a")
    until(lambda: available() == "False")


def test_a_binding_lists_its_pods(cluster: FakeCluster, running: Running) -> None:
    spec = {"profileRef": {"kind": "SeccompProfile", "name": "audit"}, "image": "nginx"}
    cluster.put(BINDINGS, "web", "shop", spec=spec)
    running.start()

    def active() -> object:
        return (cluster.get(BINDINGS, "shop/web") or {}).get("status", {}).get("activeWorkloads")

    add_pod(cluster, "one")
    until(lambda: active() == ["shop/one"])
    add_pod(cluster, "two")
    until(lambda: active() == ["shop/one", "shop/two"])
    cluster.delete(PODS, "shop/one")
    until(lambda: active() == ["shop/two"])


def test_a_binding_without_its_profile_has_an_event_once_and_again_when_that_changes(
    cluster: FakeCluster, running: Running
) -> None:
    def told() -> list[tuple[str, str]]:
        return [(event.type, event.reason) for event in cluster.binding_events]

    spec = {"profileRef": {"kind": "SeccompProfile", "name": "audit"}, "image": "nginx"}
    cluster.put(BINDINGS, "web", "shop", spec=spec)
    running.start()
    missing, waits = ("Warning", "ProfileMissing"), ("Normal", "ProfileNotReady")
    until(lambda: told() == [missing])
    add_pod(cluster, "one")
    until(lambda: (cluster.get(BINDINGS, "shop/web") or {}).get("status", {}).get("activeWorkloads"))
    assert told() == [missing]

    add_node(cluster, "a")
    cluster.put(PROFILES, "audit")
    until(lambda: told() == [missing, waits])
    say(cluster, "a")
    until(lambda: state(cluster) == "Installed")
    add_node(cluster, "b")
    say(cluster, "b", "Error")
    until(lambda: state(cluster) == "Error")
    assert told() == [missing, waits], "the other node still has the file"
    say(cluster, "a", "Error")
    until(lambda: told() == [missing, waits, ("Warning", "ProfileNotReady")])

    cluster.delete(BINDINGS, "shop/web")
    cluster.put(BINDINGS, "web", "shop", spec=spec)
    until(lambda: len(told()) == 4)


def test_a_problem_that_lasts_is_told_again_when_its_event_is_gone(
    cluster: FakeCluster, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SAY_AGAIN", 0.05)
    monkeypatch.setattr(module, "_LOOK_AGAIN", 0.01)
    spec = {"profileRef": {"kind": "SeccompProfile", "name": "gone"}, "image": "*"}
    cluster.put(BINDINGS, "web", "shop", spec=spec)
    running.start()
    until(lambda: len(cluster.binding_events) > 2)


@pytest.mark.parametrize("status", [0, 500])
def test_an_event_about_a_binding_that_cannot_be_sent_is_tried_again(
    cluster: FakeCluster, running: Running, status: int
) -> None:
    spec = {"profileRef": {"kind": "SeccompProfile", "name": "gone"}, "image": "*"}
    cluster.put(BINDINGS, "web", "shop", spec=spec)
    cluster.refusals = [ApiError(status, "", "fails on demand")] * 3
    running.start()
    until(lambda: [event.reason for event in cluster.binding_events] == ["ProfileMissing"])


@pytest.mark.parametrize("status", [0, 409, 422, 500])
def test_a_write_that_fails_is_tried_again(cluster: FakeCluster, running: Running, status: int) -> None:
    cluster.refusals = [ApiError(status, "", "fails on demand")] * 3
    add_node(cluster, "a")
    cluster.put(PROFILES, "audit")
    say(cluster, "a")
    running.start()
    until(lambda: state(cluster) == "Installed")


def test_a_replica_that_does_not_lead_writes_nothing_and_misses_nothing(cluster: FakeCluster, running: Running) -> None:
    running.leads = False
    add_node(cluster, "a")
    cluster.put(PROFILES, "audit")
    say(cluster, "a")
    running.start()
    other = Running(cluster)
    other.start()
    until(lambda: state(cluster) == "Installed")  # by the one that leads
    other.leads = False
    writes = cluster.writes
    say(cluster, "a", "Error")
    add_pod(cluster, "web")
    running.leads = True
    until(lambda: state(cluster) == "Error")
    until(lambda: held(cluster))
    assert cluster.writes > writes
    other.end()


def test_it_waits_for_the_definitions_to_be_there(
    cluster: FakeCluster, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SERVED_AGAIN", 0.01)
    cluster.served = False
    running.start()
    cluster.put(PROFILES, "audit")
    cluster.served = True
    until(lambda: state(cluster) == "Pending")
