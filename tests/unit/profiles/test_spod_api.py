"""What the controller sends the API server about `spod`."""

import json
from collections.abc import Iterator

import pytest
from kubernetes import client

from exectrail.contracts import spo
from exectrail.k8s.client import ApiError
from profiles.controller.objects import Meta
from profiles.controller.requests import TimedClient
from profiles.controller.spod_api import SpodApi
from profiles.controller.spod_spec import Daemon, DaemonStatus
from tests.unit.exectrail.api_server import ApiServer

PATH = f"/apis/{spo.GROUP_VERSION}/namespaces/release/{spo.DAEMONS}"


@pytest.fixture
def server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def api(server: ApiServer) -> Iterator[SpodApi]:
    with TimedClient(client.Configuration(host=server.url)) as api_client:
        yield SpodApi(api_client, "release", "x-spod")
        api_client.rest_client.close()


def test_the_object_is_made_empty_and_may_be_there_already(server: ApiServer, api: SpodApi) -> None:
    api.create()
    api.create()
    made = server.asked[0]
    assert (made.method, made.path) == ("POST", PATH)
    body = json.loads(made.body)
    assert (body["metadata"], body["spec"]) == ({"name": "spod", "namespace": "release"}, {})


def test_any_other_refusal_is_an_error(server: ApiServer, api: SpodApi) -> None:
    server.canned.append((403, b'{"kind": "Status", "code": 403, "message": "no"}'))
    with pytest.raises(ApiError, match="no"):
        api.create()


def test_the_status_names_the_object_by_its_uid(server: ApiServer, api: SpodApi) -> None:
    api.write_status(Daemon(Meta(uid="u1")), DaemonStatus("Running"))
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("PATCH", f"{PATH}/spod/status")
    assert json.loads(asked.body) == {"metadata": {"uid": "u1"}, "status": {"state": "Running"}}


def test_the_config_map_is_changed_key_by_key(server: ApiServer, api: SpodApi) -> None:
    api.write_settings({"filters.json": "[]", "log-level": None})
    (asked,) = server.asked
    assert (asked.method, asked.path) == ("PATCH", "/api/v1/namespaces/release/configmaps/x-spod")
    assert asked.headers["Content-Type"] == "application/merge-patch+json"
    assert json.loads(asked.body) == {"data": {"filters.json": "[]", "log-level": None}}
