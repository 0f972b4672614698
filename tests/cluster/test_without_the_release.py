"""What is left when the release is gone."""

import pytest

from .cluster import Cluster, eventually
from .product import Release, install, pod, restart
from .sessions import Person
from .test_profiles import FILES, NO_MKDIR, binding, chosen, profile, ready, runs

pytestmark = pytest.mark.values(None)


def test_after_an_uninstall_nothing_blocks_pods_and_running_ones_restart(alice: Person, profiled: str) -> None:
    left = alice.admin.kubectl(
        "get", "mutatingwebhookconfigurations,validatingwebhookconfigurations", "-o", "name"
    ).stdout
    assert "exectrail" not in left
    alice.admin.apply(pod(profiled, "later"))
    alice.admin.kubectl("wait", "-n", profiled, "pod/later", "--for=condition=Ready", "--timeout=60s")
    assert alice.cluster.kubectl("exec", "-n", profiled, "web", "--", "true").returncode == 0
    restart(alice.admin, profiled)


def test_a_container_with_a_users_profile_restarts_after_an_uninstall(
    release: Release, admin: Cluster, space: str
) -> None:
    release.with_values()
    admin.apply(profile("left", NO_MKDIR), binding(space, "left", "left"))
    ready(admin, "left")
    runs(admin, space)

    release.uninstall()
    restart(admin, space)

    assert chosen(admin, space) == {"operator/left.json"}
    refused = admin.kubectl("exec", "-n", space, "web", "--", "mkdir", "/tmp/made", check=False)
    assert "Operation not permitted" in refused.stderr
    # Installed again, it looks after what it finds: what the test made can go.
    release.with_values()
    admin.kubectl("delete", "pod", "-n", space, "web", "--now")
    admin.kubectl("delete", "sp", "left", "--timeout=60s")
    eventually(lambda: not (FILES / "left.json").exists())


def test_a_release_may_have_other_names(alice: Person, plain: str) -> None:
    install(alice.admin, "crds.enabled=false", release="other", namespace="second")

    done = alice.cluster.kubectl("exec", "-n", plain, "web", "--", "true")
    assert done.returncode == 0
    eventually(lambda: alice.admin.get("auditsessions", "-n", "second")["items"])
    alice.admin.helm("uninstall", "other", "-n", "second")
