"""The API server is away for a minute: what runs is recorded all the same, and every part finds it again by itself."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .cluster import Cluster, eventually
from .node import services
from .node.up import up
from .product import NAMESPACE
from .sessions import Person, programs, trail

_MINUTE = 60
# Kubernetes' own parts look for it again after up to half a minute more; started anew, they do at once.
_KUBERNETES = ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")


@contextmanager
def _api_server_away() -> Iterator[None]:
    services.kill("kube-apiserver")
    try:
        yield
    finally:
        for name in _KUBERNETES:
            services.kill(name)
        up()


def _containers(admin: Cluster) -> dict[str, Any]:
    """How often each of the product's containers was restarted, and whether it is ready."""
    return {
        f"{each['metadata']['name']}/{status['name']}": (status["restartCount"], status["ready"])
        for each in admin.get("pods", "-n", NAMESPACE)["items"]
        for status in each["status"]["containerStatuses"]
    }


def test_recording_goes_on_without_the_api_server_and_enrichment_catches_up(alice: Person, recorded: str) -> None:
    before = _containers(alice.admin)
    loop = f"for i in $(seq {_MINUTE + 10}); do sleep 1; id --real; done"
    process = alice.cluster.start("kubectl", "exec", "-n", recorded, "web", "-c", "app", "--", "sh", "-c", loop)
    eventually(lambda: any(record.argv == ["id", "--real"] for record in trail()))
    try:
        with _api_server_away():
            time.sleep(_MINUTE)
            during = [record for record in trail() if record.argv == ["id", "--real"]]
    finally:
        process.kill()
        process.communicate(timeout=30)

    assert len(during) >= _MINUTE - 2
    assert {(record.user, record.origin) for record in during} == {("alice", "session")}

    def explained() -> bool:
        _, records = alice.executes(recorded, "id")
        return {record.user for record in records} == {"alice"} and programs(records) == ["env", "id"]

    eventually(explained, 60)
    eventually(lambda: _containers(alice.admin) == before, 60)
