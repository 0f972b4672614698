"""An AuditSession has the label of its node where that is certain, and else none, so that no agent misses it."""

import json
from collections.abc import Iterator
from typing import Any, Literal

import msgspec
import pytest

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.node_label import NO_SHARD, SHARD_LABEL, labels
from exectrail.contracts.session import AuditSession, SessionSpec, Target, User
from exectrail.k8s.client import Client
from tests.unit.exectrail.api_server import ApiServer
from webhook.cluster.env_reports import EnvReports
from webhook.cluster.places import Places
from webhook.cluster.session_labels import SessionLabels

MADE = "2026-11-23T12:00:00Z"
ASKED = "2026-11-23T12:10:00.000000Z"


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        for name, node in {"web": {"nodeName": "n1"}, "waits": {}}.items():
            pod = {"metadata": {"creationTimestamp": MADE}, "spec": node}
            server.created[f"/api/v1/namespaces/shop/pods/{name}"] = json.dumps(pod).encode()
        yield server


def session(
    resource: str = "pods/exec",
    pod: str = "web",
    name: str = "",
    time: str = ASKED,
    verb: Literal["exec", "debug", "console"] = "exec",
) -> AuditSession:
    spec = SessionSpec(User("alice"), verb, resource, Target("shop", pod, name=name), time, ["id"])
    return AuditSession(ObjectMeta(name="s1", namespace="exectrail"), spec)


def labelled(api: ApiServer, of: AuditSession, seconds: float | None = None) -> dict[str, Any]:
    body = SessionLabels(Places(Client(api.url), EnvReports())).added(msgspec.json.encode(of), seconds)
    found = msgspec.json.decode(body, type=AuditSession)
    assert (found.spec, found.metadata.name, found.metadata.namespace) == (of.spec, "s1", "exectrail")
    return found.metadata.labels


@pytest.mark.parametrize("resource", ["pods/exec", "pods/attach", "pods/portforward", "pods/ephemeralcontainers"])
def test_a_session_of_a_pod_has_its_nodes_labels(api: ApiServer, resource: str) -> None:
    assert labelled(api, session(resource)) == labels("n1")


def test_a_session_of_a_node_has_its_labels(api: ApiServer) -> None:
    assert labelled(api, session("nodes/proxy", pod="", name="n7", verb="console")) == labels("n7")


@pytest.mark.parametrize("resource", ["services/proxy", "virtualmachineinstances.subresources.kubevirt.io/console"])
def test_what_no_agent_has_a_part_in_reaches_none(api: ApiServer, resource: str) -> None:
    assert labelled(api, session(resource, pod="", name="x", verb="console")) == {SHARD_LABEL: NO_SHARD}


@pytest.mark.parametrize(
    ("of", "why"),
    [
        (session(pod="waits", verb="debug"), "not scheduled"),
        (session(pod="gone"), "deleted before it was asked for"),
        (session("pods", verb="debug"), "being made"),
        (session(time="2026-11-23T11:59:00.000000Z"), "of a pod of this name before"),
        (session(time="2026-11-23T12:00:04.000000Z"), "too young to be sure of that"),
        (session(time="now"), "no time"),
    ],
)
def test_in_doubt_all_agents_watch(api: ApiServer, of: AuditSession, why: str) -> None:
    assert labelled(api, of) == {}, why


@pytest.mark.parametrize(("status", "body"), [(403, b"{}"), (500, b"{}"), (200, b"no json")])
def test_a_pod_that_cannot_be_read_leaves_the_session_to_all_agents(api: ApiServer, status: int, body: bytes) -> None:
    api.canned.append((status, body))
    assert labelled(api, session()) == {}


def test_without_an_api_server_a_session_is_left_to_all_agents() -> None:
    with ApiServer() as api:
        api.stop()
        assert labelled(api, session()) == {}
        api.start()


def test_a_fault_leaves_the_session_to_all_agents(api: ApiServer, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("a surprise")

    monkeypatch.setattr(Places, "ask", fails)
    assert labelled(api, session()) == {}


def test_a_write_that_a_request_waits_for_gives_the_pod_a_moment(
    api: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[float | None] = []
    get = Client.get

    def noted(self: Client, path: str, kind: type[Any], seconds: float | None = None) -> object:
        asked.append(seconds)
        return get(self, path, kind, seconds)

    monkeypatch.setattr(Client, "get", noted)
    for seconds in (1.5, 0.4, None):
        assert labelled(api, session(), seconds) == labels("n1")
    assert asked == [0.2, 0.1, 2.0]
