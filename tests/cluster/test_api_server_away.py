"""The API server is away for a minute: what runs is recorded all the same, and every part finds it again by itself."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .cluster import Cluster, eventually
from .node import services
from .node.up import up
from .product import NAMESPACE
from .sessions import Person, check_equation, closed, programs, records_of, trail

_MINUTE = 60
_EXECS = 50
"""One a second: they end while it is away, also on a busy machine."""
# Kubernetes' own parts look for it again after up to half a minute more; started anew, they do at once.
_KUBERNETES = ("kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")


@contextmanager
def api_server_away() -> Iterator[None]:
    """Have no API server meanwhile; the rest of Kubernetes starts anew afterwards."""
    services.kill("kube-apiserver")
    try:
        yield
    finally:
        for name in _KUBERNETES:
            services.kill(name)
        up()


def containers(admin: Cluster) -> dict[str, Any]:
    """How often each of the product's containers was restarted, and whether it is ready; not of pods that are going."""
    return {
        f"{each['metadata']['name']}/{status['name']}": (status["restartCount"], status["ready"])
        for each in admin.get("pods", "-n", NAMESPACE)["items"]
        if "deletionTimestamp" not in each["metadata"]
        for status in each["status"]["containerStatuses"]
    }


def test_recording_goes_on_without_the_api_server_and_enrichment_catches_up(alice: Person, recorded: str) -> None:
    # Pods that were being deleted before are unknown by now: what they still did counts as lost once it was held.
    eventually(lambda: check_equation()["held"] == 0)
    before, lost = containers(alice.admin), check_equation()["lost"]
    loop = f"for i in $(seq {_EXECS}); do sleep 1; id --real; done; exit 7"
    process = alice.cluster.start("kubectl", "exec", "-n", recorded, "web", "-c", "app", "--", "sh", "-c", loop)
    (first, *_) = eventually(lambda: [record for record in trail() if record.argv == ["id", "--real"]])
    uid = str(first.request_uid)
    try:
        with api_server_away():
            time.sleep(_MINUTE)
            eventually(lambda: any(record.phase == "end" for record in records_of(uid)), 60)
            records, lost_by_now = records_of(uid), check_equation()["lost"]
    finally:
        process.kill()
        process.communicate(timeout=30)

    assert [record.argv for record in records].count(["id", "--real"]) == _EXECS
    assert {(record.user, record.origin, record.state) for record in records} == {("alice", "session", "confirmed")}
    end = records[-1]
    assert (end.phase, end.outcome, end.exit and end.exit.code, end.lost) == ("end", "completed", 7, None)
    assert lost_by_now == lost
    status = closed(uid, 60)
    assert (status["outcome"], status["exit"]) == ("completed", {"code": 7})

    def explained() -> bool:
        _, records = alice.executes(recorded, "id")
        return {record.user for record in records} == {"alice"} and programs(records) == ["env", "id"]

    eventually(explained, 60)
    eventually(lambda: containers(alice.admin) == before, 60)
