"""The real node with the product on it, and namespaces of each kind to enter.

A node that was up before stays up; one that the tests brought up goes with them.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from .cluster import Cluster
from .node.alone import alone
from .node.down import down
from .node.paths import STATE
from .node.up import up_with_product
from .product import Release, looked_into, may_enter, namespace, pod
from .sessions import Person

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put tests that want the same values one after another: each upgrade takes ten seconds."""
    places = [place for place, item in enumerate(items) if item.path.is_relative_to(_HERE)]
    for place, item in zip(places, sorted((items[place] for place in places), key=_turn), strict=True):
        items[place] = item


def _turn(item: pytest.Item) -> tuple[bool, str]:
    """The defaults first, the uninstalled release last."""
    values = _values(item)
    return values is None, " ".join(values or ())


def _values(item: pytest.Item) -> tuple[str, ...] | None:
    """What a test wants the chart to be installed with; None for not at all."""
    marker = item.get_closest_marker("values")
    if marker is None:
        return ()
    return None if marker.args == (None,) else marker.args


@pytest.fixture(scope="session")
def node() -> Iterator[None]:
    """The node and the image of this checkout."""
    assert os.geteuid() == 0, "the cluster tests need root: the node runs containers"
    with alone():  # not while the tests run: other commands would wait for all of them
        was_up = STATE.exists()
        up_with_product()
    yield
    if not was_up:
        with alone():
            down()


@pytest.fixture(scope="session")
def release(node: None) -> Release:
    """The release; its values are what a test is marked with. Nothing is left of what was there before."""
    release = Release(Cluster())
    release.forget()
    return release


@pytest.fixture
def admin(release: Release, request: pytest.FixtureRequest) -> Cluster:
    """The cluster's admin, with the chart installed as the test wants it."""
    values = _values(request.node)
    if values is None:
        release.uninstall()
    else:
        release.with_values(*values)
    return Cluster()


def _made(release: Release, name: str, *containers: str, **labels: str) -> str:
    release.with_any_values()
    admin = Cluster()
    admin.kubectl("delete", "namespace", name, "--ignore-not-found")
    admin.apply(namespace(name, **labels), *may_enter(name))
    admin.kubectl("wait", "-n", name, "--for=create", "serviceaccount/default", "--timeout=120s")
    admin.apply(pod(name, "web", *containers))
    admin.kubectl("wait", "-n", name, "pod/web", "--for=condition=Ready", "--timeout=60s")
    if labels:
        looked_into(*[f"{name}/web/{container}" for container in containers])
    return name


@pytest.fixture(scope="session")
def recorded(release: Release) -> str:
    """A namespace with `record=true` alone; its pod `web` has the containers `app` and `sidecar`."""
    return _made(release, "recorded", "app", "sidecar", record="true")


@pytest.fixture(scope="session")
def profiled(release: Release) -> str:
    """A namespace with the profile; its pod `web` has one container, `app`."""
    return _made(release, "profiled", "app", profile="process-audit")


@pytest.fixture(scope="session")
def plain(release: Release) -> str:
    """A namespace that did not opt in."""
    return _made(release, "plain", "app")


@pytest.fixture(scope="session")
def required(release: Release) -> str:
    """A namespace that is recorded and requires a record of each request; its pod `web` has one container, `app`."""
    return _made(release, "required", "app", record="true", **{"require-audit": "true"})


@pytest.fixture
def alice(admin: Cluster) -> Person:
    """A user who may enter the pods of those namespaces, and nothing else."""
    return Person(admin, Cluster("alice"))


@pytest.fixture
def space(release: Release, admin: Cluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace whose bindings apply; it goes with all that a test made of these kinds."""
    name = f"bound-{abs(hash(request.node.name)) % 10**6}"
    made = namespace(name)
    made["metadata"]["labels"]["spo.x-k8s.io/enable-binding"] = ""
    admin.apply(made, *may_enter(name))
    admin.kubectl("wait", "-n", name, "--for=create", "serviceaccount/default", "--timeout=120s")
    yield name
    admin.kubectl("delete", "namespace", name, "--wait=false")
    admin.kubectl("delete", "pod", "--all", "-n", name, "--now")
    admin.kubectl("delete", "sp", "--all", "--timeout=60s")
