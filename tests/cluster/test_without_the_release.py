"""What is left when the release is gone."""

import pytest

from .cluster import Cluster, eventually
from .product import install, pod
from .sessions import Person

pytestmark = pytest.mark.values(None)


def test_after_an_uninstall_nothing_blocks_pods_and_running_ones_restart(alice: Person, profiled: str) -> None:
    left = alice.admin.kubectl(
        "get", "mutatingwebhookconfigurations,validatingwebhookconfigurations", "-o", "name"
    ).stdout
    assert "exectrail" not in left
    alice.admin.apply(pod(profiled, "later"))
    alice.admin.kubectl("wait", "-n", profiled, "pod/later", "--for=condition=Ready", "--timeout=60s")
    assert alice.cluster.kubectl("exec", "-n", profiled, "web", "--", "true").returncode == 0
    _restart(alice.admin, profiled)


def _restart(admin: Cluster, where: str) -> None:
    """End the container's own process; the kubelet starts it again with the profile on the node."""

    def started() -> str:
        (status,) = admin.get("pod", "web", "-n", where)["status"]["containerStatuses"]
        return str(status["containerID"]) if status["ready"] else ""

    before = eventually(started)
    admin.run("ctr", "task", "kill", "-s", "SIGKILL", before.removeprefix("containerd://"))
    eventually(lambda: started() not in ("", before), 60)


def test_a_release_may_have_other_names(alice: Person, plain: str) -> None:
    install(alice.admin, "crds.enabled=false", release="other", namespace="second")

    done = alice.cluster.kubectl("exec", "-n", plain, "web", "--", "true")
    assert done.returncode == 0
    eventually(lambda: alice.admin.get("auditsessions", "-n", "second")["items"])
    alice.admin.helm("uninstall", "other", "-n", "second")
