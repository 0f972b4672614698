"""Whose name, on the real node: every kind of request, and a user who brings another user's UID beside it.

What each process runs has a word that says whose it is, so that the whole trail can be asked: no line names a user
whose request did not cause it.
"""

import json
import re
import shlex
import tempfile
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from exectrail.contracts.record import Record
from exectrail.contracts.session import TAG_VARIABLE

from .cluster import Cluster, eventually
from .node.components import PAUSE_IMAGE, WORKLOAD_IMAGE
from .product import Release, container_id, may_enter, namespace, pod
from .sessions import Person, auditsessions, enter_by_nodes_proxy, enter_by_the_runtime, records_of, trail
from .test_node_debug import debugging

MODES = {"env": {"record": "true", "tag": "env"}, "match": {"record": "true", "tag": "match"}}
IMAGE = (f"--image={WORKLOAD_IMAGE}", "--image-pull-policy=Never")
WHOSE = re.compile(r"as-(alice|mallory|admin|nobody)-[0-9a-f-]{36}")


class Impersonated(Cluster):
    """The cluster as a user sees it who has no certificate: the admin asks in their name."""

    def __init__(self, user: str) -> None:
        super().__init__()
        self.user = user

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True) -> Any:
        """Run kubectl as that user."""
        return super().kubectl(f"--as={self.user}", *args, stdin=stdin, check=check)


@pytest.fixture(scope="module")
def namespaces(release: Release) -> dict[str, str]:
    """A recorded namespace of each tag mode, with a pod `web`; alice and mallory may enter it."""
    release.with_any_values()
    names, admin = {mode: f"whose-{mode}" for mode in MODES}, Cluster()
    admin.kubectl("delete", "namespace", *names.values(), "--ignore-not-found")
    for mode, name in names.items():
        admin.apply(namespace(name, **MODES[mode]), *may_enter(name), *may_enter(name, "mallory"))
    for name in names.values():
        admin.kubectl("wait", "-n", name, "--for=create", "serviceaccount/default", "--timeout=120s")
    shell = [pod(name, "shell") for name in names.values()]
    for each in shell:
        each["spec"]["containers"][0] |= {"command": ["sh"], "stdin": True}
    admin.apply(*map(pod, names.values()), *shell)
    for name in names.values():
        admin.kubectl("wait", "-n", name, "pod/web", "pod/shell", "--for=condition=Ready", "--timeout=60s")
    return names


@pytest.fixture(params=MODES)
def space(request: pytest.FixtureRequest, namespaces: dict[str, str]) -> str:
    """A namespace of a tag mode."""
    return namespaces[request.param]


@pytest.fixture
def mallory(admin: Cluster) -> Person:
    """A user who may enter the same pods."""
    return Person(admin, Impersonated("mallory"))


def word_of(user: str) -> str:
    return f"as-{user}-{uuid4()}"


def ran(word: str) -> list[Record]:
    """The execs that have this word for an argument, once they are in the trail."""

    def found() -> list[Record]:
        return [record for record in trail() if record.kind == "exec" and word in (record.argv or ())]

    eventually(found)
    return found()


def names(records: list[Record]) -> set[tuple[str | None, str | None]]:
    return {(record.user, record.request_uid) for record in records}


# ---- the table ----

Ask = Callable[[Person, str, str], str]
"""Makes a request of alice's in a namespace, whose process has this word; returns its UID."""


def exec_(alice: Person, space: str, word: str) -> str:
    _, session = alice.does("exec", "-n", space, "web", "--", "basename", word)
    return str(session["metadata"]["name"])


def exec_tty(alice: Person, space: str, word: str) -> str:
    command = shlex.join(["kubectl", "exec", "-it", "-n", space, "web", "--", "basename", word])
    session = new_session(alice, lambda: alice.cluster.run("script", "-qec", command, "/dev/null", stdin=""))
    assert session["spec"]["tty"]
    return str(session["metadata"]["name"])


def exec_in_vain(alice: Person, space: str, _word: str) -> str:
    """Of a program that does not exist; without a tag, no process comes of it, and its UID stays unbound."""
    _, session = alice.does("exec", "-n", space, "web", "--", "no-such-program", check=False)
    return str(session["metadata"]["name"])


def attach(alice: Person, space: str, _word: str) -> str:
    return of_background(alice, "attach", "-i", "-n", space, "shell")


def port_forward(alice: Person, space: str, _word: str) -> str:
    return of_background(alice, "port-forward", "-n", space, "pod/web", ":80")


def debug(alice: Person, space: str, word: str) -> str:
    name = f"debugger-{word[-12:]}"
    _, session = alice.does("debug", "-n", space, "web", "-c", name, *IMAGE, "--", "basename", word)
    return str(session["metadata"]["name"])


def debug_with_target(alice: Person, space: str, word: str) -> str:
    name = f"debugger-{word[-12:]}"
    target = ("-c", name, "--target=app")
    _, session = alice.does("debug", "-n", space, "web", *target, *IMAGE, "--", "basename", word)
    return str(session["metadata"]["name"])


def add_ephemeral(cluster: Cluster, space: str, container: dict[str, Any], query: str = "") -> None:
    """Add an ephemeral container to pod `web`, as it is written here."""
    web = json.loads(Cluster().kubectl("get", "--raw", f"/api/v1/namespaces/{space}/pods/web").stdout)
    del web["metadata"]["resourceVersion"]  # the kubelet may report other containers meanwhile
    web["spec"]["ephemeralContainers"] = [*web["spec"].get("ephemeralContainers", []), container]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(web, file)
        file.flush()
        path = f"/api/v1/namespaces/{space}/pods/web/ephemeralcontainers{query}"
        cluster.kubectl("replace", "--raw", path, "-f", file.name)


def new_session(person: Person, does: Callable[[], object]) -> dict[str, Any]:
    """The one session that a user's doing makes."""
    before = {each["metadata"]["name"] for each in auditsessions()}
    does()

    def fresh() -> list[dict[str, Any]]:
        every = [each for each in auditsessions() if each["metadata"]["name"] not in before]
        return [each for each in every if each["spec"]["user"]["username"] == person.cluster.user]

    (session,) = eventually(fresh)
    return session


def of_background(person: Person, *words: str) -> str:
    """The UID of the request of a kubectl that goes on until it is ended."""
    started = []
    try:
        session = new_session(person, lambda: started.append(person.cluster.start("kubectl", *words)))
    finally:
        for process in started:
            process.terminate()
            process.communicate(timeout=30)
    return str(session["metadata"]["name"])


KINDS: dict[str, Ask] = {
    "exec": exec_,
    "exec -it": exec_tty,
    "exec in vain": exec_in_vain,
    "attach": attach,
    "port-forward": port_forward,
    "debug": debug,
    "debug --target": debug_with_target,
}
WITH_PROCESS = ("exec", "exec -it", "debug", "debug --target")


@pytest.mark.parametrize("kind", KINDS)
def test_who_brings_the_uid_of_another_users_request_gets_no_other_name_than_their_own(
    admin: Cluster, alice: Person, mallory: Person, space: str, kind: str
) -> None:
    own = word_of("alice")
    uid = KINDS[kind](alice, space, own)
    tag = ("env", f"{TAG_VARIABLE}={uid}")

    mine, by_kubelet, by_runtime = word_of("mallory"), word_of("nobody"), word_of("nobody")
    _, session = mallory.does("exec", "-n", space, "web", "--", *tag, "basename", mine)
    enter_by_nodes_proxy(admin, space, *tag, "basename", by_kubelet)
    enter_by_the_runtime(admin, space, *tag, "basename", by_runtime)

    assert names(ran(mine)) == {("mallory", session["metadata"]["name"])}
    for word in (by_kubelet, by_runtime):
        assert {(each.user, each.state) for each in ran(word)} == {(None, "forged")}
    if kind in WITH_PROCESS:
        assert names(ran(own)) == {("alice", uid)}


# ---- a borrowed UID in a pod's own spec ----


def test_a_pod_whose_own_command_has_anothers_tag_is_the_containers(admin: Cluster, alice: Person, space: str) -> None:
    uid, word = exec_in_vain(alice, space, ""), word_of("nobody")
    made = pod(space, f"author-{word[-12:]}", restartPolicy="Never")
    made["spec"]["containers"][0]["command"] = ["env", f"{TAG_VARIABLE}={uid}", "basename", word]
    admin.apply(made)

    assert {(each.origin, each.user) for each in ran(word)} == {("container", None)}


def test_an_ephemeral_container_with_anothers_uid_in_its_spec_is_its_makers(
    alice: Person, mallory: Person, space: str
) -> None:
    uid, word = debug(alice, space, word_of("alice")), word_of("mallory")
    name = f"borrowed-{word[-12:]}"
    container = {
        "name": name,
        "image": WORKLOAD_IMAGE,
        "imagePullPolicy": "Never",
        "terminationMessagePolicy": "File",
        "command": ["basename", word],
        "env": [{"name": TAG_VARIABLE, "value": uid}],
    }

    session = new_session(mallory, lambda: add_ephemeral(mallory.cluster, space, container))

    assert names(ran(word)) == {("mallory", session["metadata"]["name"])}


@pytest.mark.parametrize("profile", ["legacy", "general", "netadmin", "sysadmin"])
def test_a_pod_to_debug_a_node_is_its_makers_in_each_profile_that_reaches_the_node(
    admin: Cluster, plain: str, profile: str
) -> None:
    word = word_of("admin")
    with debugging(admin, plain, profile, f"sleep 1; basename {word}; exit 5") as uid:
        assert names(ran(word)) == {("admin", uid)}
        (end,) = eventually(lambda: [each for each in records_of(uid) if each.phase == "end"])
    assert end.exit
    assert end.exit.code == 5


def test_a_pod_to_debug_a_node_with_anothers_uid_has_no_name_by_it(
    admin: Cluster, alice: Person, plain: str, space: str
) -> None:
    """By its label alone, where the scheduler chose the node: no webhook is asked."""
    uid, word = debug(alice, space, word_of("alice")), word_of("nobody")
    made = pod(plain, f"labelled-{word[-12:]}", restartPolicy="Never")
    made["metadata"]["labels"] = {"app.kubernetes.io/managed-by": "kubectl-debug"}
    made["spec"]["containers"][0] |= {
        "command": ["basename", word],
        "env": [{"name": TAG_VARIABLE, "value": uid}],
    }
    admin.apply(made)
    try:
        assert {each.user for each in ran(word)} == {None}
    finally:
        admin.kubectl("delete", "pod", made["metadata"]["name"], "-n", plain, "--now")


# ---- works as without us, and is the right user's ----


def test_a_copy_is_its_users_to_the_last_process(alice: Person, space: str, tmp_path_factory: Any) -> None:
    word = word_of("alice")
    file = tmp_path_factory.mktemp("copied") / word
    file.write_text("evidence")

    _, sessions = alice.does_all("cp", str(file), f"{space}/web:/tmp/{word}", "-c", "app", sessions=2)

    for session in sessions:
        uid, records = alice.trail_of(session)
        assert {each.user for each in records} == {"alice"}
        assert {each.request_uid for each in records} == {uid}
    done, _ = alice.does("exec", "-n", space, "web", "--", "cat", f"/tmp/{word}")
    assert done.stdout == "evidence"


@pytest.fixture(scope="module")
def owned(namespaces: dict[str, str]) -> Iterator[dict[str, str]]:
    """The pods of a StatefulSet and a Job in the namespace without tags."""
    space, admin = namespaces["match"], Cluster()
    template = {"metadata": {"labels": {"app": "owned"}}, "spec": pod(space)["spec"]}
    selector = {"matchLabels": {"app": "owned"}}
    stateful = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "stateful", "namespace": space},
        "spec": {"serviceName": "stateful", "replicas": 1, "selector": selector, "template": template},
    }
    job_template = {"spec": {**pod(space)["spec"], "restartPolicy": "Never"}}
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "batch", "namespace": space},
        "spec": {"template": job_template},
    }
    admin.apply(stateful, job)
    admin.kubectl("wait", "-n", space, "--for=create", "pod/stateful-0", "--timeout=60s")
    admin.kubectl("wait", "-n", space, "pod/stateful-0", "--for=condition=Ready", "--timeout=60s")
    by_job = ("-n", space, "-l", "batch.kubernetes.io/job-name=batch")
    eventually(lambda: admin.get("pods", *by_job)["items"])
    admin.kubectl("wait", *by_job, "pod", "--for=condition=Ready", "--timeout=60s")
    (of_job,) = admin.get("pods", *by_job)["items"]
    yield {"StatefulSet": "stateful-0", "Job": of_job["metadata"]["name"]}
    admin.kubectl("delete", "-n", space, "statefulset/stateful", "job/batch", "--wait=false")


@pytest.mark.parametrize("owner", ["StatefulSet", "Job"])
def test_an_exec_into_an_owned_pod_is_its_users(
    alice: Person, namespaces: dict[str, str], owned: dict[str, str], owner: str
) -> None:
    word = word_of("alice")
    _, session = alice.does("exec", "-n", namespaces["match"], owned[owner], "--", "basename", word)

    (run,) = ran(word)
    assert (run.user, run.request_uid) == ("alice", session["metadata"]["name"])
    assert run.resource
    assert (run.resource.pod, run.resource.container) == (owned[owner], "app")


def test_an_exec_into_the_next_pod_of_a_stateful_set_is_its_users_and_no_earlier_request_is(
    admin: Cluster, alice: Person, namespaces: dict[str, str], owned: dict[str, str]
) -> None:
    space, name = namespaces["match"], owned["StatefulSet"]
    word = word_of("alice")
    _, earlier = alice.does("exec", "-n", space, name, "--", "no-such-program", check=False)
    admin.kubectl("delete", "pod", name, "-n", space, "--now")
    admin.kubectl("wait", "-n", space, "--for=create", f"pod/{name}", "--timeout=60s")
    admin.kubectl("wait", "-n", space, f"pod/{name}", "--for=condition=Ready", "--timeout=60s")

    _, session = alice.does("exec", "-n", space, name, "--", "basename", word)

    assert names(ran(word)) == {("alice", session["metadata"]["name"])}
    assert [each for each in records_of(earlier["metadata"]["name"]) if each.user] == []


def test_in_a_container_whose_env_was_deleted_an_exec_without_a_tag_works_and_is_its_users(
    admin: Cluster, alice: Person, namespaces: dict[str, str]
) -> None:
    space, word = namespaces["match"], word_of("alice")
    admin.apply(pod(space, "no-env"))
    admin.kubectl("wait", "-n", space, "pod/no-env", "--for=condition=Ready", "--timeout=60s")
    task = container_id(space, pod="no-env")
    admin.run("ctr", "task", "exec", "--exec-id", "remover", task, "rm", "-f", "/usr/bin/env", "/bin/env")

    done, session = alice.does("exec", "-n", space, "no-env", "--", "basename", word)

    assert done.stdout == f"{word}\n"
    assert session["spec"]["tag"] == "match"
    assert names(ran(word)) == {("alice", session["metadata"]["name"])}


def test_in_an_image_that_never_had_env_an_exec_is_not_tagged_works_and_is_its_users(
    admin: Cluster, alice: Person, recorded: str
) -> None:
    name, word = f"bare-{uuid4().hex[:12]}", word_of("alice")
    bare = pod(recorded, name)
    bare["spec"]["containers"][0] |= {"image": PAUSE_IMAGE, "command": ["/bin/busybox", "sleep", "2147483647"]}
    admin.apply(bare)
    admin.kubectl("wait", "-n", recorded, f"pod/{name}", "--for=condition=Ready", "--timeout=60s")

    def has_env() -> list[bool]:
        found = [each.get("status", {}).get("env", {}) for each in admin.get("nodetrails")["items"]]
        return [each[key] for each in found if (key := f"{recorded}/{name}/app") in each]

    assert eventually(has_env) == [False]
    done, session = alice.does("exec", "-n", recorded, name, "--", "/bin/busybox", "basename", word)
    admin.kubectl("delete", "pod", name, "-n", recorded, "--now")

    assert done.stdout == f"{word}\n"
    assert session["spec"]["tag"] == "match"
    assert names(ran(word)) == {("alice", session["metadata"]["name"])}


def test_a_dry_run_makes_no_session_and_no_container(alice: Person, space: str) -> None:
    before = {each["metadata"]["name"] for each in auditsessions()}
    spec = alice.admin.get("pod", "web", "-n", space)["spec"]
    container = {
        "name": f"dry-{uuid4().hex[:12]}",
        "image": WORKLOAD_IMAGE,
        "imagePullPolicy": "Never",
        "terminationMessagePolicy": "File",
    }
    debugger = pod(space, "node-debugger-dry", nodeName="node1", hostPID=True)

    add_ephemeral(alice.cluster, space, container, "?dryRun=All")
    alice.admin.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(debugger))
    _, after = alice.does("exec", "-n", space, "web", "--", "true")

    made = {each["metadata"]["name"] for each in auditsessions()} - before
    assert made == {after["metadata"]["name"]}
    assert alice.admin.get("pod", "web", "-n", space)["spec"] == spec


def test_what_is_run_as_a_pod_of_its_own_is_the_containers_and_the_attach_is_its_users(
    admin: Cluster, space: str
) -> None:
    name, word = f"asked-{uuid4().hex[:12]}", word_of("nobody")
    run = (
        "run",
        "-n",
        space,
        name,
        "-i",
        "--rm",
        "--restart=Never",
        *IMAGE,
        "--",
        "sh",
        "-c",
        f"read l; basename {word}",
    )
    person = Person(admin, admin)

    session = new_session(person, lambda: admin.kubectl(*run, stdin="go\n"))

    assert (session["spec"]["verb"], session["spec"]["target"]["pod"]) == ("attach", name)
    assert {(each.origin, each.user) for each in ran(word)} == {("container", None)}


# ---- and in the end ----


def test_no_line_of_the_trail_names_a_user_whose_request_did_not_cause_it(namespaces: dict[str, str]) -> None:
    said = [(WHOSE.search(" ".join(record.argv or ())), record) for record in trail()]

    assert [(whose[0], record) for whose, record in said if whose and record.user not in (whose[1], None)] == []
