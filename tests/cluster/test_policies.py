"""What the API server itself refuses, where RBAC cannot tell one node's agent or one container from another."""

import json
import tempfile
from collections.abc import Iterator
from subprocess import CompletedProcess
from typing import Any

import pytest

from .cluster import Cluster, eventually
from .node.pki import NODE_NAME
from .product import NAMESPACE, may_enter
from .sessions import Person

ELSEWHERE = "elsewhere"


def agent(admin: Cluster, component: str, node: str) -> str:
    """The token that an agent's pod has on a node; the node need not be there."""
    name = f"{component}-on-{node}"
    spec = {
        "nodeName": node,
        "serviceAccountName": f"exectrail-{component}",
        "containers": [{"name": "none", "image": "none", "imagePullPolicy": "Never"}],
    }
    admin.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": NAMESPACE}, "spec": spec})
    bound = ("--bound-object-kind=Pod", f"--bound-object-name={name}")
    return admin.kubectl("create", "token", "-n", NAMESPACE, f"exectrail-{component}", *bound).stdout.strip()


@pytest.fixture
def elsewhere(admin: Cluster) -> Iterator[Cluster]:
    yield admin
    pods = [f"{component}-on-{node}" for component in ("enricher", "node") for node in (ELSEWHERE, NODE_NAME)]
    options = ("--ignore-not-found", "--force", "--grace-period=0", "--wait=false")
    admin.kubectl("delete", "pod", "-n", NAMESPACE, *pods, *options)


def as_agent(admin: Cluster, token: str, *args: str, stdin: str | None = None) -> CompletedProcess[str]:
    """Run kubectl with a token alone: the certificate of the admin's kubeconfig would count first."""
    config: dict[str, Any] = json.loads(admin.kubectl("config", "view", "--raw", "--minify", "-o", "json").stdout)
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(config, file)
        file.flush()
        return admin.kubectl("--kubeconfig", file.name, *args, stdin=stdin, check=False)


def patch(token: str, admin: Cluster, kind: str, name: str, status: dict[str, Any]) -> CompletedProcess[str]:
    body = json.dumps({"status": status})
    return as_agent(admin, token, "patch", kind, name, "--subresource=status", "--type=merge", "-p", body)


def test_an_enricher_writes_only_its_own_nodes_trail(elsewhere: Cluster) -> None:
    stranger, own = (agent(elsewhere, "enricher", node) for node in (ELSEWHERE, NODE_NAME))

    refused = patch(stranger, elsewhere, "nodetrail", NODE_NAME, {"lagMs": 1})
    assert "an enricher writes only the NodeTrail of its own node" in refused.stderr
    assert patch(own, elsewhere, "nodetrail", NODE_NAME, {"lagMs": 1}).returncode == 0


def test_the_number_of_a_nodes_last_record_never_falls(elsewhere: Cluster) -> None:
    own = agent(elsewhere, "enricher", NODE_NAME)

    refused = patch(own, elsewhere, "nodetrail", NODE_NAME, {"seq": -1})

    assert "seq of a NodeTrail cannot fall" in refused.stderr


def test_an_installer_writes_only_what_its_own_node_says_of_profiles(elsewhere: Cluster) -> None:
    stranger, own = (agent(elsewhere, "node", node) for node in (ELSEWHERE, NODE_NAME))
    status = {
        "apiVersion": "security-profiles-operator.x-k8s.io/v1",
        "kind": "SecurityProfileNodeStatus",
        "metadata": {"name": f"tried-{NODE_NAME}"},
        "spec": {"nodeName": NODE_NAME},
    }

    refused = as_agent(elsewhere, stranger, "create", "-f", "-", stdin=json.dumps(status))
    assert "only the SecurityProfileNodeStatus objects of its own node" in refused.stderr
    made = as_agent(elsewhere, own, "create", "-f", "-", stdin=json.dumps(status))
    elsewhere.kubectl("delete", "spns", f"tried-{NODE_NAME}", "--ignore-not-found")
    assert made.returncode == 0, made.stderr


def test_only_the_webhook_makes_sessions(alice: Person, plain: str) -> None:
    admin = alice.admin
    rights = ("--verb=create,delete", "--resource=auditsessions.exectrail.io", "-n", NAMESPACE)
    admin.kubectl("create", "role", "forger", *rights)
    admin.kubectl("create", "rolebinding", "forger", "--role=forger", "--user=alice", "-n", NAMESPACE)
    try:
        alice.does("exec", "-n", plain, "web", "--", "true", check=False)
        session = admin.get("auditsessions", "-n", NAMESPACE)["items"][0]
        forged = {**session, "metadata": {"name": "forged", "namespace": NAMESPACE}}

        made = alice.cluster.kubectl("create", "-f", "-", stdin=json.dumps(forged), check=False)
        deleted = alice.cluster.kubectl(
            "delete", "auditsession", session["metadata"]["name"], "-n", NAMESPACE, check=False
        )
    finally:
        admin.kubectl("delete", "role,rolebinding", "forger", "-n", NAMESPACE)

    assert "only the webhook of exectrail makes AuditSessions" in made.stderr
    assert "only the controller of exectrail deletes AuditSessions" in deleted.stderr


def test_an_exec_into_the_release_goes_only_into_the_reader(alice: Person) -> None:
    alice.admin.apply(*may_enter(NAMESPACE))
    try:
        pods = alice.admin.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=node")["items"]
        name = pods[0]["metadata"]["name"]
        into = ("exec", "-n", NAMESPACE, name, "-c")

        refused = eventually(lambda: alice.cluster.kubectl(*into, "installer", "--", "true", check=False))
        read = alice.cluster.kubectl(*into, "reader", "--", "true", check=False)
    finally:
        alice.admin.kubectl("delete", "role,rolebinding", "alice-may-enter", "-n", NAMESPACE)

    assert "an exec goes only into the container reader" in refused.stderr
    assert read.returncode == 0, read.stderr
