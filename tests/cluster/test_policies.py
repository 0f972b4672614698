"""What the API server itself refuses, where RBAC cannot tell one node's agent or one container from another."""

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from . import subresources
from .cluster import Cluster, eventually
from .node import pki
from .node.config import API_SERVER
from .product import NAMESPACE, may_enter, namespace
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
    pods = [f"{component}-on-{node}" for component in ("enricher", "node") for node in (ELSEWHERE, pki.NODE_NAME)]
    options = ("--ignore-not-found", "--force", "--grace-period=0", "--wait=false")
    admin.kubectl("delete", "pod", "-n", NAMESPACE, *pods, *options)


def ask(token: str, method: str, path: str, body: dict[str, Any]) -> str:
    """Send a request with a token alone; returns what the API server has against it, nothing where it obeys."""
    kind = "merge-patch+json" if method == "PATCH" else "json"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": f"application/{kind}"}
    sent = json.dumps(body).encode()
    request = urllib.request.Request(API_SERVER + path, sent, headers, method=method)  # noqa: S310 - the test's own
    https = urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(pki.CA)))
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({}), https).open(request, timeout=10):
            return ""
    except urllib.error.HTTPError as error:
        with error:
            return str(json.load(error)["message"])


def patch(token: str, status: dict[str, Any]) -> str:
    """Write the status of this node's NodeTrail."""
    return ask(token, "PATCH", f"/apis/exectrail.io/v1alpha1/nodetrails/{pki.NODE_NAME}/status", {"status": status})


def test_an_enricher_writes_only_its_own_nodes_trail(elsewhere: Cluster) -> None:
    stranger, own = (agent(elsewhere, "enricher", node) for node in (ELSEWHERE, pki.NODE_NAME))

    assert "an enricher writes only the NodeTrail of its own node" in patch(stranger, {"lagMs": 1})
    assert patch(own, {"lagMs": 1}) == ""


def test_the_number_of_a_nodes_last_record_never_falls(elsewhere: Cluster) -> None:
    own = agent(elsewhere, "enricher", pki.NODE_NAME)

    assert "seq of a NodeTrail cannot fall" in patch(own, {"seq": -1})


def test_an_installer_writes_only_what_its_own_node_says_of_profiles(elsewhere: Cluster) -> None:
    stranger, own = (agent(elsewhere, "node", node) for node in (ELSEWHERE, pki.NODE_NAME))
    name = f"tried-{pki.NODE_NAME}"
    path = "/apis/security-profiles-operator.x-k8s.io/v1/securityprofilenodestatuses"
    status = {
        "apiVersion": "security-profiles-operator.x-k8s.io/v1",
        "kind": "SecurityProfileNodeStatus",
        "metadata": {"name": name},
        "spec": {"nodeName": pki.NODE_NAME},
    }

    refused, made = (ask(token, "POST", path, status) for token in (stranger, own))

    elsewhere.kubectl("delete", "spns", name, "--ignore-not-found")
    assert "only the SecurityProfileNodeStatus objects of its own node" in refused
    assert made == ""


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

    assert "only the webhook of exectrail in namespace" in made.stderr
    assert "only the controller of exectrail deletes AuditSessions" in deleted.stderr


def test_an_exec_into_the_release_goes_only_into_the_reader(alice: Person) -> None:
    alice.admin.apply(*may_enter(NAMESPACE))
    try:
        pods = alice.admin.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=node")["items"]
        name = pods[0]["metadata"]["name"]
        into = ("exec", "-n", NAMESPACE, name, "-c")

        def refused() -> bool:
            said = alice.cluster.kubectl(*into, "installer", "--", "true", check=False).stderr
            assert "an exec goes only into the container reader" in said, said
            return True

        eventually(refused)  # her right to exec at all takes a moment to be known
        read = alice.cluster.kubectl(*into, "reader", "--", "true", check=False)
    finally:
        alice.admin.kubectl("delete", "role,rolebinding", "alice-may-enter", "-n", NAMESPACE)

    assert read.returncode == 0, read.stderr


_NAMED = pytest.mark.values("policies.namespaceLabels.users[0]=carol", "policies.namespaceLabels.groups[0]=platform")
_REFUSED = "only those named in policies.namespaceLabels"


@_NAMED
@pytest.mark.parametrize(
    ("who", "may"),
    [
        (("--as=mallory", "--as-group=system:masters"), False),
        (("--as=carol", "--as-group=system:masters"), True),
        (("--as=dave", "--as-group=platform", "--as-group=system:masters"), True),
    ],
    ids=["any user", "a user who is named", "a group that is named"],
)
def test_who_opts_namespaces_in_and_out_is_whom_the_values_name(
    admin: Cluster, plain: str, who: tuple[str, ...], may: bool
) -> None:
    def label(*changes: str) -> str:
        return admin.kubectl("label", "namespace", plain, *changes, *who, check=False).stderr

    eventually(lambda: (_REFUSED in label("exectrail.io/tag=match")) is not may)
    assert label("team=a", "--overwrite") == ""
    if may:
        assert label("exectrail.io/tag-") == ""
    assert "exectrail.io/tag" not in admin.get("namespace", plain)["metadata"]["labels"]


@_NAMED
@pytest.mark.parametrize("sub", subresources.OF_NAMESPACE)
def test_a_subresource_of_the_namespace_is_no_way_around_that(admin: Cluster, plain: str, sub: str) -> None:
    def change(key: str, *who: str) -> str:
        metadata = {"labels": {key: f"by-{sub}"}}
        return subresources.change(admin, plain, sub, metadata, *who, "--as-group=system:masters").stderr

    eventually(lambda: _REFUSED in change("exectrail.io/tag", "--as=mallory"))
    assert "exectrail.io/tag" not in admin.get("namespace", plain)["metadata"]["labels"]
    assert _REFUSED not in change("team", "--as=mallory")
    assert admin.get("namespace", plain)["metadata"]["labels"]["team"] == f"by-{sub}"


@_NAMED
def test_kubernetes_deletes_a_namespace_with_labels_that_few_may_change(admin: Cluster) -> None:
    made = namespace("labelled", record="true")
    carol = ("--as=carol", "--as-group=system:masters")
    admin.kubectl("create", "-f", "-", *carol, stdin=json.dumps(made))

    admin.kubectl("delete", "namespace", "labelled", "--timeout=120s")

    assert admin.kubectl("get", "namespace", "labelled", check=False).returncode != 0
