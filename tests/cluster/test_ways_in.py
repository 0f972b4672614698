"""Every way into a container through the API: the user, what ran, and how it ended."""

import json
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from exectrail import cli
from exectrail.contracts.record import Record

from .cluster import Cluster, eventually
from .node.components import WORKLOAD_IMAGE
from .product import TRAIL, pod
from .sessions import Person, api_audit_event, auditsessions, closed, programs, records_of, trail

DEMO = "id; ls / | head -2; (sleep 0.1; true) & wait; exit 3"


@pytest.fixture(scope="module", autouse=True)
def slow_starters(recorded: str) -> Iterator[None]:
    """Pods that take seconds until a test can look at them: all at once, and before the first test."""
    admin = Cluster()
    made = (crew(recorded), again(recorded), desk(recorded), pod(recorded, "job", restartPolicy="Never"))
    names = [f"pod/{each['metadata']['name']}" for each in made]
    admin.kubectl("delete", "-n", recorded, *names, "--ignore-not-found", "--now")
    admin.apply(*made)
    yield
    admin.kubectl("delete", "-n", recorded, *names, "--now", "--wait=false")


def crew(namespace: str) -> dict[str, Any]:
    """A pod with each kind of container; each runs a program again and again."""
    made = pod(namespace, "crew")
    (app,) = made["spec"]["containers"]
    app["command"] = ["sh", "-c", "while sleep 0.3; do :; done"]
    prepare = {**app, "name": "prepare", "command": ["sh", "-c", "for i in 1 2 3 4 5 6; do sleep 0.3; done"]}
    made["spec"]["initContainers"] = [prepare, {**app, "name": "helper", "restartPolicy": "Always"}]
    return made


def again(namespace: str) -> dict[str, Any]:
    """A pod whose init container fails at first: the kubelet runs it again, with another id."""
    made = pod(namespace, "again", volumes=[{"name": "once", "emptyDir": {}}])
    (app,) = made["spec"]["containers"]
    prepare = {**app, "name": "prepare", "volumeMounts": [{"name": "once", "mountPath": "/once"}]}
    prepare["command"] = ["sh", "-c", "mkdir /once/more && exit 1; for i in 1 2 3 4 5 6; do sleep 0.3; done"]
    made["spec"]["initContainers"] = [prepare]
    return made


def desk(namespace: str) -> dict[str, Any]:
    """A pod whose container is a shell that waits for what is typed."""
    made = pod(namespace, "desk")
    made["spec"]["containers"][0] |= {"command": ["sh"], "stdin": True}
    return made


def shape(document: dict[str, object]) -> object:
    """A session's tree without what differs from run to run: pids, keys, times."""
    processes = document["processes"]
    assert isinstance(processes, list)
    keys = {each["processKey"]: index for index, each in enumerate(processes)}
    return [(keys.get(each.get("parentKey")), each.get("argv"), each.get("exit")) for each in processes]


def test_an_exec_is_explained_from_the_request_to_each_processs_result(alice: Person, profiled: str) -> None:
    uid, records = alice.executes(profiled, "sh", "-c", DEMO, code=3)

    start, end = [record for record in records if record.kind == "session"]
    assert start.request is not None
    assert start.request.command == ["sh", "-c", DEMO]
    assert start.user_info is not None
    assert start.user_info.groups == ["dev", "oncall", "system:authenticated"]
    assert end.exit is not None
    assert (end.exit.code, end.outcome) == (3, "completed")
    assert sorted(programs(records)) == ["env", "head", "id", "ls", "sh", "sleep"]
    assert {record.user for record in records} == {"alice"}
    assert {record.request_uid for record in records} == {uid}
    assert {record.origin for record in records} == {"session"}
    ended = {record.process_key: record.exit for record in records if record.kind == "exit"}
    assert all(ended.get(record.process_key) for record in records if record.kind == "exec")
    assert closed(uid)["exit"] == {"code": 3}


def test_ten_execs_in_a_row_give_the_same_tree(
    alice: Person, profiled: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shapes = []
    for _ in range(10):
        uid, _ = alice.executes(profiled, "sh", "-c", DEMO, code=3)
        assert cli.run(["show", uid, TRAIL, "-o", "json"]) == 0
        shapes.append(shape(json.loads(capsys.readouterr().out)))

    assert all(each == shapes[0] for each in shapes), shapes
    assert str(shapes[0]).count("'sleep'") == 1


def test_the_requests_uid_leads_to_the_api_servers_own_audit_event(alice: Person, recorded: str) -> None:
    uid, _ = alice.executes(recorded, "true")

    event = api_audit_event(alice.admin, uid)
    assert event["user"]["username"] == "alice"
    assert event["objectRef"]["subresource"] == "exec"


def test_each_container_of_a_pod_is_distinguished(alice: Person, recorded: str) -> None:
    for container in ("app", "sidecar"):
        _, records = alice.executes(recorded, "id", container=container)
        assert {record.resource and record.resource.container for record in records} == {container}


def test_an_ephemeral_container_is_a_session_of_its_maker(alice: Person, recorded: str) -> None:
    image = ("--image=localhost/workload:dev", "--image-pull-policy=Never")
    _, session = alice.does("debug", "-n", recorded, "web", "-c", "debugger", *image, "--", "sh", "-c", "id; exit 4")

    _, records = alice.trail_of(session)

    assert session["spec"]["verb"] == "debug"
    assert programs(records) == ["sh", "id"]
    assert {(record.user, record.resource and record.resource.container) for record in records} == {
        ("alice", "debugger")
    }
    assert records[-1].exit
    assert records[-1].exit.code == 4


def test_each_of_three_ephemeral_containers_of_one_update_is_a_session(alice: Person, recorded: str) -> None:
    path = f"/api/v1/namespaces/{recorded}/pods/web/ephemeralcontainers"
    web = json.loads(alice.admin.kubectl("get", "--raw", f"/api/v1/namespaces/{recorded}/pods/web").stdout)
    del web["metadata"]["resourceVersion"]  # the kubelet may report the containers before these meanwhile
    image = {"image": WORKLOAD_IMAGE, "imagePullPolicy": "Never", "terminationMessagePolicy": "File"}
    names = ["first", "second", "third"]
    new = [{"name": name, **image, "command": ["sh", "-c", f"id; exit {code}"]} for code, name in enumerate(names)]
    web["spec"]["ephemeralContainers"] = [*web["spec"].get("ephemeralContainers", []), *new]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(web, file)
        file.flush()
        _, sessions = alice.does_all("replace", "--raw", path, "-f", file.name, sessions=3)

    by_name = {each["spec"]["target"]["container"]: each for each in sessions}
    assert sorted(by_name) == names
    request = by_name["first"]["metadata"]["name"]
    assert [by_name[name]["spec"].get("requestUID") for name in names] == [None, request, request]
    for code, name in enumerate(names):
        _, records = alice.trail_of(by_name[name])
        assert {(each.user, each.state, each.resource and each.resource.container) for each in records} == {
            ("alice", "confirmed", name)
        }
        assert records[-1].exit
        assert records[-1].exit.code == code


def test_a_port_forward_has_a_session_and_no_process(alice: Person, recorded: str) -> None:
    with started(alice, "portforward", "port-forward", "-n", recorded, "pod/web", ":80") as (_, uid):
        pass

    assert closed(uid)["outcome"] == "not-recorded"
    assert records_of(uid) == []


def test_what_is_typed_into_a_containers_own_shell_is_the_containers_and_the_attach_is_marked_on_it(
    alice: Person, recorded: str
) -> None:
    alice.admin.kubectl("wait", "-n", recorded, "pod/desk", "--for=condition=Ready", "--timeout=60s")

    with started(alice, "attach", "attach", "-i", "-n", recorded, "desk") as (attached, uid):
        assert attached.stdin
        attached.stdin.write("id --typed\n")
        attached.stdin.flush()
        (typed,) = eventually(lambda: [record for record in trail() if record.argv == ["id", "--typed"]])
        (mark,) = eventually(lambda: records_of(uid))

    assert (typed.resource and typed.resource.pod) == "desk"
    assert (typed.origin, typed.user, typed.request_uid) == ("container", None, None)
    assert (mark.kind, mark.phase, mark.user, mark.request and mark.request.verb) == (
        "session",
        "start",
        "alice",
        "attach",
    )
    assert (mark.resource, mark.entry_key) == (typed.resource, typed.entry_key)
    assert closed(uid)["outcome"] == "not-recorded"
    assert records_of(uid) == [mark]


@contextmanager
def started(alice: Person, verb: str, *words: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A kubectl of alice's that goes on until it is ended, and its request's UID."""
    before = {each["metadata"]["name"] for each in auditsessions()}
    process = alice.cluster.start("kubectl", *words)
    try:
        (uid,) = eventually(partial(_new, alice.admin, before, verb))
        (session,) = [each for each in auditsessions() if each["metadata"]["name"] == uid]
        assert session["spec"]["user"]["username"] == "alice"
        yield process, uid
    finally:
        process.terminate()
        process.communicate(timeout=30)


def _new(admin: Cluster, before: set[str], verb: str) -> list[str]:
    items = auditsessions()
    return [
        item["metadata"]["name"]
        for item in items
        if item["metadata"]["name"] not in before and item["spec"]["verb"] == verb
    ]


def test_kubectl_run_is_a_pod_like_any_other_whose_attach_has_a_session(admin: Cluster, recorded: str) -> None:
    image = (f"--image={WORKLOAD_IMAGE}", "--image-pull-policy=Never", "--restart=Never")
    before, lines = {each["metadata"]["name"] for each in auditsessions()}, len(trail())
    run = ("run", "-n", recorded, "asked", "-i", "--rm", *image, "--", "sh", "-c", "read line; id")
    admin.kubectl(*run, stdin="go\n")

    (uid,) = eventually(partial(_new, admin, before, "attach"))
    assert admin.get("auditsession", uid, "-n", "exectrail")["spec"]["target"]["pod"] == "asked"

    def of_pod() -> list[Record]:
        return [r for r in trail()[lines:] if r.kind == "exec" and r.resource and r.resource.pod == "asked"]

    own = eventually(of_pod)
    assert programs(own) == ["sh", "id"]
    assert {(record.origin, record.request_uid) for record in own} == {("container", None)}


def test_a_copy_shows_the_tar_that_carried_it(alice: Person, recorded: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("evidence")

    _, sessions = alice.does_all("cp", str(tmp_path / "file"), f"{recorded}/web:/tmp/file", "-c", "app", sessions=2)

    commands = [programs(alice.trail_of(session)[1]) for session in sessions]
    assert commands == [["env", "test"], ["env", "tar"]]


def test_an_exec_outside_opted_in_namespaces_has_a_session_and_is_not_changed(
    alice: Person, plain: str, recorded: str
) -> None:
    done, session = alice.does("exec", "-n", plain, "web", "--", "sh", "-c", "echo $SPO_EXEC_REQUEST_UID; exit 0")

    assert done.stdout == "\n"
    assert session["spec"]["command"] == ["sh", "-c", "echo $SPO_EXEC_REQUEST_UID; exit 0"]
    uid = session["metadata"]["name"]
    assert closed(uid)["outcome"] == "not-recorded"
    alice.executes(recorded, "true")  # records are written in the order of their events: none before it is pending
    own = [record for record in trail() if record.resource and record.resource.namespace == plain]
    assert [record for record in own if record.resource and record.resource.pod == "web"] == []
    assert api_audit_event(alice.admin, uid)["user"]["username"] == "alice"


def test_whatever_a_session_starts_stays_in_it(alice: Person, recorded: str) -> None:
    script = "env -i setsid sh -c 'unset PATH; /bin/ls /' >/dev/null; (setsid nohup sleep 1 >/dev/null 2>&1 &); exit 0"

    uid, _ = alice.executes(recorded, "sh", "-c", script)

    def background_ended() -> bool:
        slept = [record for record in records_of(uid) if record.argv == ["sleep", "1"]]
        return bool(slept) and any(r.kind == "exit" and r.process_key == slept[0].process_key for r in records_of(uid))

    eventually(background_ended)
    records = records_of(uid)
    assert {"setsid", "/bin/ls", "sleep"} <= set(programs(records))
    assert {record.user for record in records} == {"alice"}


def test_a_command_that_does_not_exist_still_ends_its_session(alice: Person, recorded: str) -> None:
    _, records = alice.executes(recorded, "no-such-command", code=127)

    assert records[-1].exit
    assert records[-1].exit.code == 127


def test_an_exec_without_a_container_name_is_recorded_in_the_default_one(alice: Person, recorded: str) -> None:
    _, session = alice.does("exec", "-n", recorded, "web", "--", "true")

    _, records = alice.trail_of(session)

    assert {record.resource and record.resource.container for record in records} == {"app"}
    assert {record.state for record in records} == {"confirmed"}


def test_processes_of_the_pod_itself_are_no_session(admin: Cluster, recorded: str) -> None:
    def started() -> bool:
        own = [r for r in trail() if r.kind == "exec" and r.resource and r.resource.pod == "job"]
        assert own
        return {(r.origin, r.user, r.request_uid) for r in own} == {("container", None, None)}

    eventually(started)


@pytest.mark.parametrize("name", ["crew", "again"])
def test_init_containers_and_sidecars_are_distinguished_before_the_kubelet_names_them(
    admin: Cluster, recorded: str, name: str
) -> None:
    """What is gone before it can be looked up may be written without a name, never with another's."""
    admin.kubectl("wait", "-n", recorded, f"pod/{name}", "--for=condition=Ready", "--timeout=60s")
    status = admin.get("pod", name, "-n", recorded)["status"]
    every = [*status["initContainerStatuses"], *status["containerStatuses"]]
    names = {each["containerID"].removeprefix("containerd://"): each["name"] for each in every}

    def named() -> list[Record]:
        records = [record for record in trail() if record.container_id in names]
        assert {each.resource.container for each in records if each.resource} >= set(names.values())
        return records

    for record in eventually(named):
        container = names[str(record.container_id)]
        known = record.resource and (record.resource.pod, record.resource.container)
        if container == "prepare" and known is None:
            assert record.reason == "container-unknown"
        else:
            assert known == (name, container)
