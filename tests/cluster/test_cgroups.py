"""Pods are found where they are."""

from collections.abc import Iterator

import pytest

from .cluster import Cluster
from .node.cgroups import kubepods
from .product import NAMESPACE
from .sessions import Person

_STALE = "a-kubepods.slice"
"""Sorts before the node's own `kubepods`."""


@pytest.fixture
def stale_tree(admin: Cluster) -> Iterator[None]:
    """What another cgroup driver has left, empty, and an enricher that started since."""
    made = [top.with_name(_STALE) for top in kubepods()]
    for folder in made:
        folder.mkdir()
    try:
        _restart(admin)
        yield
    finally:
        for folder in made:
            folder.rmdir()
        _restart(admin)


def _restart(admin: Cluster) -> None:
    admin.kubectl("rollout", "restart", "-n", NAMESPACE, "ds/exectrail-enricher")
    admin.kubectl("rollout", "status", "-n", NAMESPACE, "ds/exectrail-enricher", "--timeout=60s")


@pytest.mark.usefixtures("stale_tree")
def test_an_exec_is_recorded_beside_the_empty_tree_of_another_driver(alice: Person, recorded: str) -> None:
    _, records = alice.executes(recorded, "sh", "-c", "/bin/true found; exit 3", code=3)

    assert [each.argv for each in records if each.kind == "exec"][-1] == ["/bin/true", "found"]
    assert {each.user for each in records} == {"alice"}
