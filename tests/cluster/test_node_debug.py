"""`kubectl debug node/...`: what its pod does on the node, and what the node itself does meanwhile."""

import json
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from exectrail.contracts.record import Record

from .cluster import Cluster, eventually
from .node.components import WORKLOAD_IMAGE
from .product import pod
from .sessions import auditsessions, check_equation, trail


@contextmanager
def debugging(admin: Cluster, namespace: str, profile: str, script: str) -> Iterator[str]:
    """A pod to debug the node, in a namespace that did not opt in; gives the request's UID once it runs."""
    before = node_debugs(admin)
    image = (f"--image={WORKLOAD_IMAGE}", "--image-pull-policy=Never", f"--profile={profile}")
    said = admin.kubectl("debug", "node/node1", "-n", namespace, *image, "--", "sh", "-c", script).stdout
    name = next(word for word in said.split() if word.startswith("node-debugger-"))
    try:
        yield eventually(lambda: node_debugs(admin) - before).pop()
    finally:
        admin.kubectl("delete", "pod", name, "-n", namespace, "--now")


def node_debugs(admin: Cluster) -> set[str]:
    every = auditsessions()
    return {each["metadata"]["name"] for each in every if "node" in each["spec"]["target"]}


def with_word(word: str) -> list[Record]:
    return [record for record in trail() if record.kind == "exec" and word in (record.argv or [])]


def recorded_run(word: str) -> Record:
    """The record of a program that the node runs, again and again until the agent has seen that it is debugged."""

    def seen() -> list[Record]:
        run_on_node(word)
        return with_word(word)

    return eventually(seen)[0]


def run_on_node(word: str) -> None:
    """As a daemon of the node does for a user: these tests run on the node, outside of all pods."""
    subprocess.run(["/bin/true", word], check=True)


IN_THE_POD = "sleep 1; setsid -w /bin/true {word}; exit 5"
ON_THE_HOST = "sleep 1; chroot /host /bin/true {word}; exit 5"


@pytest.mark.parametrize(
    ("profile", "script"),
    [("general", IN_THE_POD), ("netadmin", IN_THE_POD), ("sysadmin", ON_THE_HOST)],
    ids=["unprivileged", "without the node's root", "privileged"],
)
def test_what_a_node_debug_pod_does_is_the_session_of_its_maker(
    admin: Cluster, plain: str, profile: str, script: str
) -> None:
    word = str(uuid.uuid4())
    with debugging(admin, plain, profile, script.format(word=word)) as uid:
        ran = eventually(lambda: with_word(word))
        (end,) = eventually(lambda: [each for each in trail() if each.request_uid == uid and each.phase == "end"])

    assert {(record.request_uid, record.user, record.state) for record in ran} == {(uid, "admin", "confirmed")}
    assert end.exit
    assert end.exit.code == 5


def test_while_a_node_is_debugged_its_own_execs_are_recorded_and_not_before_or_after(
    admin: Cluster, plain: str
) -> None:
    word = str(uuid.uuid4())
    run_on_node(f"before-{word}")
    with debugging(admin, plain, "general", "sleep 600") as uid:
        run = recorded_run(f"during-{word}")
        eventually(lambda: [each for each in trail() if each.kind == "exit" and each.process_key == run.process_key])

    def closed() -> bool:
        probe = f"closed-{uuid.uuid4()}"
        run_on_node(probe)
        try:
            eventually(lambda: with_word(probe), 1.5)
        except AssertionError:
            return True
        return False

    eventually(closed, 30)
    assert (run.origin, run.resource, run.reason, run.candidates) == ("node", None, "node-debug", [uid])
    assert (run.user, run.request_uid) == (None, None)
    assert with_word(f"before-{word}") == []
    check_equation()


def test_a_session_that_starts_while_the_node_is_debugged_is_its_own_users(
    admin: Cluster, recorded: str, plain: str
) -> None:
    """The runtime's helpers run on the node before they are what was asked for."""
    word = str(uuid.uuid4())
    with debugging(admin, plain, "general", "sleep 600") as uid:
        recorded_run(f"open-{word}")
        admin.kubectl("exec", "-n", recorded, "web", "-c", "app", "--", "/bin/true", word)
        # kubectl itself is a process of the node, too.
        ran = eventually(lambda: [record for record in with_word(word) if record.resource])[-1]

    assert (ran.origin, ran.state, ran.candidates) == ("session", "confirmed", None)
    assert ran.request_uid != uid


def test_a_pod_with_a_sandboxed_runtime_is_reported_as_uncovered(admin: Cluster, recorded: str) -> None:
    runtime = {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "secured"},
        "handler": "runsc",
    }
    admin.apply(runtime, pod(recorded, "sandboxed", runtimeClassName="secured"))
    try:

        def listed() -> bool:
            (status,) = [each["status"] for each in admin.get("nodetrails")["items"] if each["status"].get("sensor")]
            assert {"pod": f"{recorded}/sandboxed", "reason": "sandboxed", "runtime": "runsc"} in status["uncovered"]
            assert status["uncoveredPods"] == len(status["uncovered"]), json.dumps(status)
            return True

        eventually(listed, 45)
    finally:
        admin.kubectl("delete", "-n", recorded, "pod/sandboxed", "--now")
        admin.kubectl("delete", "runtimeclass", "secured")
