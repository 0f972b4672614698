"""There is always a `spod` to patch, and its status follows what is patched."""

import json
import threading
from collections.abc import Iterator

import pytest
from kubernetes import client

from exectrail.contracts import spo
from exectrail.k8s.client import Client
from profiles.controller.requests import TimedClient
from profiles.controller.spod import Spod
from tests.unit.exectrail.api_server import ApiServer, Asked
from tests.unit.waiting import until

PATH = f"/apis/{spo.GROUP_VERSION}/namespaces/release/{spo.DAEMONS}"


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def leads() -> bool:
    """Whether the replica leads."""
    return True


@pytest.fixture
def replica(server: ApiServer, leads: bool) -> Iterator[None]:
    """A replica at work."""
    stop = threading.Event()
    with TimedClient(client.Configuration(host=server.url)) as api_client:
        spod = Spod(Client(server.url), api_client, "release", {"logLevel": "info"}, lambda: leads)
        thread = threading.Thread(target=spod.run, args=(stop,))
        thread.start()
        yield
        stop.set()
        server.end_watches()
        thread.join(10)
        assert not thread.is_alive()
        api_client.rest_client.close()


def writes(server: ApiServer, method: str) -> list[Asked]:
    return [asked for asked in server.asked if asked.method == method]


@pytest.mark.usefixtures("replica")
def test_it_is_made_where_there_is_none(server: ApiServer) -> None:
    until(lambda: writes(server, "POST"))
    (made, *_) = writes(server, "POST")
    assert made.path == PATH
    assert json.loads(made.body)["metadata"] == {"name": "spod", "namespace": "release"}


@pytest.mark.usefixtures("replica")
def test_what_is_patched_gets_an_answer(server: ApiServer) -> None:
    meta = {"name": "spod", "namespace": "release", "uid": "u1"}
    server.put({"metadata": meta, "spec": {"verbosity": 1}})
    until(lambda: writes(server, "PATCH"))
    (answer, *_) = writes(server, "PATCH")
    assert answer.path == f"{PATH}/spod/status"
    body = json.loads(answer.body)
    assert body["metadata"] == {"uid": "u1"}
    assert body["status"]["state"] == "Running"
    assert [each["type"] for each in body["status"]["conditions"]] == ["Ready", "spec.verbosity"]


@pytest.mark.usefixtures("replica")
@pytest.mark.parametrize("leads", [False])
def test_a_replica_that_does_not_lead_makes_none(server: ApiServer) -> None:
    server.wait_until_watched()
    server.set("other", "release")
    server.end_watches()
    until(lambda: server.counts()["watch"] > 1)
    assert writes(server, "POST") == []
