"""How a request is tied to its process: what labels ask for, and what the webhook does about it."""

import base64
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from exectrail.contracts.command_hash import command_hash
from exectrail.contracts.session import TAG_VARIABLE

from .cluster import Cluster, eventually
from .node.components import WORKLOAD_IMAGE
from .product import Release, may_enter, namespace, pod
from .sessions import Person, api_audit_event, auditsessions

SHOW_TAG = ("sh", "-c", f"echo ${TAG_VARIABLE}")
NODE_DEBUG_ANNOTATION = f"nodedebug.exectrail.io/{TAG_VARIABLE}"
PRIVILEGED = {"name": "app", "image": "tools", "securityContext": {"privileged": True}}
HOST = {"nodeName": "node1", "hostPID": True, "volumes": [{"name": "root", "hostPath": {"path": "/"}}]}


def labelled(namespace: str, name: str, mode: str) -> dict[str, Any]:
    """A pod with a tag mode of its own."""
    made = pod(namespace, name)
    made["metadata"]["labels"] = {"exectrail.io/tag": mode}
    return made


@pytest.fixture(scope="module")
def matched(release: Release, recorded: str) -> str:
    """A recorded namespace with tag mode `match`; pod `web` goes by it, pod `own` has mode `env`.

    In the recorded namespace without a mode, `own` has mode `match`, and `mistyped` one that there is none of.
    """
    release.with_any_values()
    name, admin = "matched", Cluster()
    admin.kubectl("delete", "namespace", name, "--ignore-not-found")
    admin.apply(namespace(name, record="true", tag="match"), *may_enter(name))
    admin.kubectl("wait", "-n", name, "--for=create", "serviceaccount/default", "--timeout=120s")
    own, mistyped = labelled(recorded, "own", "match"), labelled(recorded, "mistyped", "mtach")
    admin.apply(pod(name), labelled(name, "own", "env"), own, mistyped)
    admin.kubectl("wait", "-n", name, "pod", "--all", "--for=condition=Ready", "--timeout=60s")
    admin.kubectl("wait", "-n", recorded, "pod/own", "pod/mistyped", "--for=condition=Ready", "--timeout=60s")
    return name


@pytest.fixture
def key(admin: Cluster) -> bytes:
    """The key of command hashes."""
    data = admin.get("secret", "exectrail-command-key", "-n", "exectrail")["data"]
    return base64.b64decode(data["key"])


def test_in_mode_match_a_command_runs_unchanged_and_its_session_has_its_hash(
    alice: Person, matched: str, key: bytes
) -> None:
    done, session = alice.does("exec", "-n", matched, "web", "--", *SHOW_TAG)

    assert done.stdout == "\n"
    spec = session["spec"]
    assert (spec["tag"], spec["recorded"], spec["command"]) == ("match", True, list(SHOW_TAG))
    assert spec["commandHash"] == command_hash(key, [word.encode() for word in SHOW_TAG])


def test_in_mode_match_an_ephemeral_container_gets_no_variable(alice: Person, matched: str) -> None:
    image = (f"--image={WORKLOAD_IMAGE}", "--image-pull-policy=Never")
    _, session = alice.does("debug", "-n", matched, "web", "-c", "debugger", *image, "--", "true")

    (debugger,) = alice.admin.get("pod", "web", "-n", matched)["spec"]["ephemeralContainers"]
    assert "env" not in debugger
    assert session["spec"]["tag"] == "match"


def test_the_label_of_a_pod_wins_over_its_namespaces(alice: Person, matched: str, recorded: str) -> None:
    tagged, its_session = alice.does("exec", "-n", matched, "own", "--", *SHOW_TAG)
    untagged, other_session = alice.does("exec", "-n", recorded, "own", "--", *SHOW_TAG)

    assert (its_session["spec"]["tag"], tagged.stdout) == ("env", its_session["metadata"]["name"] + "\n")
    assert (other_session["spec"]["tag"], untagged.stdout) == ("match", "\n")


def test_an_unknown_mode_gives_a_warning(alice: Person, matched: str, recorded: str) -> None:
    image = (f"--image={WORKLOAD_IMAGE}", "--image-pull-policy=Never")
    done, session = alice.does("debug", "-n", recorded, "mistyped", *image, "--", "true")

    assert "no mode 'mtach'; allowed: auto, env, match" in done.stderr
    assert session["spec"]["tag"] == "env"


@pytest.fixture
def other_node(admin: Cluster, recorded: str) -> Iterator[str]:
    """A node's word on its pods. No such node runs, but admission comes before a node is asked."""
    trail = {
        "apiVersion": "exectrail.io/v1alpha1",
        "kind": "NodeTrail",
        "metadata": {"name": "elsewhere"},
    }
    admin.apply(trail, *(pod(recorded, name, nodeName="elsewhere") for name in ("bare", "full")))
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    status = {"heartbeat": now, "env": {f"{recorded}/bare/app": False, f"{recorded}/full/app": True}}
    patch = json.dumps({"status": status})
    admin.kubectl("patch", "nodetrail", "elsewhere", "--subresource=status", "--type=merge", "-p", patch)
    yield recorded
    admin.kubectl("delete", "nodetrail", "elsewhere")
    gone = ("--force", "--grace-period=0", "--ignore-not-found")
    admin.kubectl("delete", "pod", "-n", recorded, "bare", "full", *gone)


@pytest.mark.parametrize(("name", "tag"), [("bare", "match"), ("full", "env")])
def test_a_command_carries_its_tag_where_the_node_has_found_env(
    admin: Cluster, other_node: str, name: str, tag: str
) -> None:
    proxy = f"/api/v1/namespaces/{other_node}/pods/{name}/exec?container=app&command=id&stdout=true"

    def tags() -> list[str]:
        admin.kubectl("create", "--raw", proxy, "-f", "/dev/null", check=False)
        sessions = auditsessions()
        of_pod = [each["spec"] for each in sessions if each["spec"]["target"]["pod"] == name]
        found = [str(each["tag"]) for each in of_pod]
        assert tag in found, found
        return found

    eventually(tags)


def test_debugging_a_node_has_a_session_in_every_namespace(admin: Cluster, plain: str) -> None:
    image = (f"--image={WORKLOAD_IMAGE}", "--image-pull-policy=Never")
    before = {each["metadata"]["name"] for each in node_debugs(admin)}
    said = admin.kubectl("debug", "node/node1", "-n", plain, *image, "--", "id").stdout
    name = next(word for word in said.split() if word.startswith("node-debugger-"))
    try:
        session = eventually(lambda: [each for each in node_debugs(admin) if each["metadata"]["name"] not in before])[0]

        uid, spec = session["metadata"]["name"], session["spec"]
        target = {"namespace": plain, "pod": name, "container": "debugger", "node": "node1"}
        assert (spec["resource"], spec["target"], spec["command"]) == ("pods", target, ["id"])
        assert (spec["tag"], spec["recorded"]) == ("env", True)
        (container,) = admin.get("pod", name, "-n", plain)["spec"]["containers"]
        assert container["env"] == [{"name": TAG_VARIABLE, "value": uid}]
        assert api_audit_event(admin, uid, NODE_DEBUG_ANNOTATION)["objectRef"]["name"] == name
    finally:
        admin.kubectl("delete", "pod", name, "-n", plain, "--now")


def node_debugs(admin: Cluster) -> list[dict[str, Any]]:
    every = auditsessions()
    return [each for each in every if "node" in each["spec"]["target"]]


@pytest.mark.parametrize(
    ("name", "spec", "labels", "tagged"),
    [
        ("node-debugger-x", HOST, {}, True),
        ("node-debugger-x", HOST | {"hostPID": False, "hostNetwork": True}, {}, True),
        ("node-debugger-x", HOST | {"hostPID": False, "hostIPC": True}, {}, True),
        ("any", {"nodeName": "node1"}, {"app.kubernetes.io/managed-by": "kubectl-debug"}, True),
        ("any", {"nodeName": "node1"}, {"debug.openshift.io/managed-by": "oc-debug"}, True),
        ("any", HOST, {}, False),
        ("node-debugger-x", HOST | {"hostPID": False}, {}, False),
        ("node-debugger-x", HOST | {"volumes": []}, {}, True),
        ("any", HOST | {"containers": [PRIVILEGED]}, {}, True),
        ("any", HOST | {"hostPID": False, "containers": [PRIVILEGED]}, {}, False),
        ("node-debugger-x", {"nodeName": "node1"}, {}, False),
        ("node-debugger-x", {"hostPID": True, "volumes": HOST["volumes"]}, {}, False),
        ("any", {}, {"app.kubernetes.io/managed-by": "kubectl-debug"}, False),
    ],
)
def test_the_api_server_asks_only_about_pods_that_debug_a_node(
    admin: Cluster, plain: str, name: str, spec: dict[str, Any], labels: dict[str, str], tagged: bool
) -> None:
    made = pod(plain, name, **spec)
    made["metadata"]["labels"] = labels

    shown = admin.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(made)).stdout

    (container,) = json.loads(shown)["spec"]["containers"]
    assert [variable["name"] for variable in container.get("env", [])] == ([TAG_VARIABLE] if tagged else [])


def test_the_key_in_the_secret_cannot_be_replaced(admin: Cluster, key: bytes) -> None:
    assert len(key) == 32
    patch = json.dumps({"data": {"key": base64.b64encode(b"x" * 32).decode()}})
    done = admin.kubectl("patch", "secret", "exectrail-command-key", "-n", "exectrail", "-p", patch, check=False)

    assert done.returncode != 0
    assert "immutable" in done.stderr
