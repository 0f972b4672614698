"""The webhook knows namespaces and labelled pods by live copies, and is ready once it has them."""

from collections.abc import Iterator

import pytest

from exectrail.k8s.client import Client
from tests.unit.exectrail.api_server import ApiServer
from tests.unit.waiting import until
from webhook.cluster.view import View


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def view(api: ApiServer) -> Iterator[View]:
    """Not started yet; its threads end with the test."""
    view = View(Client(api.url))
    yield view
    for mirror in view.mirrors:
        mirror.stop()


def start(view: View) -> None:
    assert [holds() for holds in view.conditions().values()] == [False, False]
    view.start()
    until(lambda: all(holds() for holds in view.conditions().values()))


def test_what_is_known_is_what_the_api_server_has(api: ApiServer, view: View) -> None:
    api.set("shop", **{"exectrail.io/record": "true"})
    start(view)

    assert view.known("shop", "web").namespace == {"exectrail.io/record": "true"}
    assert view.known("desk", "web").namespace is None
    assert view.known("shop", "web").has_env("app") is None

    api.set("shop", **{"exectrail.io/record": "false"})
    until(lambda: view.known("shop", "web").namespace == {"exectrail.io/record": "false"})


def test_of_pods_only_those_with_a_tag_mode_are_asked_for(api: ApiServer, view: View) -> None:
    api.set("web", "shop", **{"exectrail.io/tag": "match"})
    start(view)

    assert view.known("shop", "web").pod == {"exectrail.io/tag": "match"}
    assert view.known("desk", "web").pod == {}
    asked = {asked.query.get("labelSelector") for asked in api.asked if asked.path == "/api/v1/pods"}
    assert asked == {"exectrail.io/tag"}
