"""The Events about profiles and bindings, as an API server receives them."""

import json
from collections.abc import Iterator

import pytest
from kubernetes import client

from profiles.controller.objects import Binding, BindingSpec, Meta, Profile, ProfileRef
from profiles.controller.profile_api import ProfileApi
from profiles.controller.profile_status import Event
from profiles.controller.requests import TimedClient
from tests.unit.exectrail.api_server import ApiServer

GROUP_VERSION = "security-profiles-operator.x-k8s.io/v1"


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.mark.parametrize(
    ("about", "namespace", "involved"),
    [
        (
            Profile(Meta(name="audit", uid="u1", resource_version="7")),
            "default",
            {"kind": "SeccompProfile", "name": "audit", "uid": "u1", "resourceVersion": "7"},
        ),
        (
            Binding(
                Meta(name="web", namespace="shop", uid="u2", resource_version="8"),
                BindingSpec(ProfileRef("SeccompProfile", "audit"), "*"),
            ),
            "shop",
            {"kind": "ProfileBinding", "name": "web", "namespace": "shop", "uid": "u2", "resourceVersion": "8"},
        ),
    ],
    ids=["a profile", "a binding"],
)
def test_an_event_is_where_kubectl_describe_looks_for_it(
    api: ApiServer, about: Profile | Binding, namespace: str, involved: dict[str, str]
) -> None:
    with TimedClient(client.Configuration(host=api.url)) as api_client:
        writes = ProfileApi(api_client, "exectrail-controller-1")
        writes.send_event(about, Event("Warning", "ProfileMissing", "m" * 2000))
        api_client.rest_client.close()

    (asked,) = api.asked
    assert (asked.method, asked.path) == ("POST", f"/api/v1/namespaces/{namespace}/events")
    sent = json.loads(asked.body)
    assert sent["involvedObject"] == {"apiVersion": GROUP_VERSION} | involved
    assert (sent["type"], sent["reason"], len(sent["message"])) == ("Warning", "ProfileMissing", 1024)
    assert sent["metadata"] == {"generateName": f"{about.metadata.name}-", "namespace": namespace}
