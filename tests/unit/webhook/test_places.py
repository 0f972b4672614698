"""Where a pod is: asked for pod by pod, never while a request waits, and kept only where its own node reports on it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.nodetrail import NodeTrail, NodeTrailStatus
from exectrail.k8s.client import ApiError, Client
from tests.unit.exectrail.api_server import ApiServer
from tests.unit.waiting import until
from webhook.cluster import places as places_module
from webhook.cluster.env_reports import EnvReports
from webhook.cluster.places import Place, Places


class Cluster:
    """Pods on an API server, the nodes' reports, and a clock that stands."""

    def __init__(self, api: ApiServer) -> None:
        self.api, self.now = api, 100.0
        self.reports = EnvReports()
        self.places = Places(Client(api.url), self.reports, lambda: self.now)
        self._trails: dict[str, NodeTrail] = {}

    def put(self, pod: str, node: str = "", created: str = "2026-11-23T12:00:00Z") -> None:
        obj: dict[str, Any] = {"metadata": {"creationTimestamp": created}, "spec": {"nodeName": node} if node else {}}
        self.api.created[f"/api/v1/namespaces/shop/pods/{pod}"] = json.dumps(obj).encode()

    def report(self, node: str, *pods: str) -> None:
        """What a node reports now: of each pod its container `app`."""
        env = {f"shop/{pod}/app": True for pod in pods}
        new = NodeTrail(ObjectMeta(name=node), NodeTrailStatus(env=env))
        old, self._trails[node] = self._trails.get(node), new
        self.reports.changed(old, new)
        self.places.changed(old, new)

    def asked(self) -> list[str]:
        return [each.path.rpartition("/")[2] for each in self.api.asked]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setattr(places_module, "_BACKOFF_FIRST", 0.001)
    with ApiServer() as api:
        cluster = Cluster(api)
        yield cluster
        cluster.places.stop()


def test_the_place_of_a_pod_is_its_node_and_when_it_was_made(cluster: Cluster) -> None:
    cluster.put("web", "n1")
    cluster.put("waits")

    assert cluster.places.ask("shop", "web", 5) == Place("n1", "2026-11-23T12:00:00Z")
    assert cluster.places.ask("shop", "waits", 5).node == ""
    assert cluster.places.ask("shop", "gone", 5) == Place()


def test_an_answer_is_used_again_for_a_second(cluster: Cluster) -> None:
    cluster.put("web", "n1")
    cluster.places.ask("shop", "web", 5)
    cluster.put("web", "n2")

    cluster.now += 0.9
    assert cluster.places.ask("shop", "web", 5).node == "n1"
    assert cluster.places.ask("shop", "web", 5, anew=True).node == "n2"
    cluster.put("web", "n3")
    cluster.now += 1.0
    assert cluster.places.ask("shop", "web", 5).node == "n3"
    assert cluster.asked() == ["web"] * 3


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "web?watch=1", "web%2Flog", "Web", "web\n", "web#"])
def test_what_is_no_name_is_not_asked_for(cluster: Cluster, name: str) -> None:
    assert cluster.places.ask("shop", name, 5) == cluster.places.ask(name, "web", 5) == Place()
    assert cluster.asked() == []


def test_a_refusal_is_passed_on_and_not_remembered(cluster: Cluster) -> None:
    cluster.put("web", "n1")
    cluster.api.canned.append((403, b'{"message": "may not"}'))

    with pytest.raises(ApiError, match="may not"):
        cluster.places.ask("shop", "web", 5)
    assert cluster.places.ask("shop", "web", 5).node == "n1"


def test_pods_are_asked_for_once_nodes_name_them(cluster: Cluster) -> None:
    for pod, node in {"web": "n1", "cart": "n2"}.items():
        cluster.put(pod, node)
    cluster.places.start()
    assert cluster.places.node("shop", "web") == ""

    cluster.report("n1", "web", "cart")
    cluster.report("n2", "cart")

    until(lambda: cluster.places.node("shop", "web") == "n1")
    until(lambda: cluster.places.node("shop", "cart") == "n2")


def test_a_node_that_names_a_pod_of_another_is_not_the_pods_node(cluster: Cluster) -> None:
    cluster.put("web", "n1")
    cluster.report("n2", "web")
    cluster.places.start()

    until(lambda: cluster.asked() == ["web"])
    cluster.put("other", "n2")
    cluster.report("n2", "web", "other")
    until(lambda: cluster.places.node("shop", "other") == "n2")  # after that, and nothing of `web` came of it
    assert cluster.places.node("shop", "web") == ""


def test_what_the_writer_learns_counts_at_once(cluster: Cluster) -> None:
    cluster.put("web", "n1")
    cluster.report("n1", "web")

    cluster.places.ask("shop", "web", 5)
    assert cluster.places.node("shop", "web") == "n1"

    cluster.put("web", "n2")  # deleted, and made anew on a node that has not reported on it yet
    cluster.places.ask("shop", "web", 5, anew=True)
    assert cluster.places.node("shop", "web") == ""


@pytest.mark.parametrize("order", ["new node first", "old node first"])
def test_a_pod_that_moves_under_its_name_is_its_new_nodes(cluster: Cluster, order: str) -> None:
    cluster.put("web", "n1")
    cluster.report("n1", "web")
    cluster.places.start()
    until(lambda: cluster.places.node("shop", "web") == "n1")

    cluster.put("web", "n2")
    steps = [("n2", ["web"]), ("n1", [])]
    for node, pods in steps if order == "new node first" else reversed(steps):
        cluster.report(node, *pods)

    until(lambda: cluster.places.node("shop", "web") == "n2")


def test_of_pods_that_no_node_reports_on_nothing_is_kept(cluster: Cluster) -> None:
    cluster.put("web", "n1")
    cluster.places.ask("shop", "web", 5)
    assert cluster.places.node("shop", "web") == ""

    cluster.report("n1", "web")
    cluster.places.ask("shop", "web", 5, anew=True)
    cluster.report("n1")
    assert cluster.places.node("shop", "web") == ""


def test_nodes_take_turns(cluster: Cluster) -> None:
    cluster.report("n1", *(f"many-{number}" for number in range(1000)))
    cluster.put("web", "n2")
    cluster.report("n2", "web")
    cluster.places.start()

    until(lambda: cluster.places.node("shop", "web") == "n2")
    assert len(cluster.asked()) < 10


def test_what_the_api_server_does_not_answer_is_asked_again(cluster: Cluster) -> None:
    cluster.put("web", "n1")
    cluster.api.canned += [(503, b"{}"), (429, b"{}")]
    cluster.report("n1", "web")
    cluster.places.start()

    until(lambda: cluster.places.node("shop", "web") == "n1")
