"""What a namespace's label does to its pods, and what it leaves alone."""

import json
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from exectrail.contracts.record import Record

from .cluster import Cluster, eventually
from .node.paths import REPOSITORY
from .product import looked_into, may_enter, namespace, pod
from .sessions import Person, check_equation, closed, trail


def test_the_profile_label_puts_the_profile_into_the_pod_and_into_the_kernel(alice: Person, profiled: str) -> None:
    spec = alice.admin.get("pod", "web", "-n", profiled)["spec"]

    assert spec["securityContext"]["seccompProfile"] == {
        "type": "Localhost",
        "localhostProfile": "exectrail/process-audit.json",
    }
    status = alice.cluster.kubectl("exec", "-n", profiled, "web", "--", "cat", "/proc/1/status").stdout
    assert "Seccomp:\t2" in status


def test_under_the_profile_the_kernels_seccomp_events_join_the_sensors(alice: Person, profiled: str) -> None:
    _, records = alice.executes(profiled, "sh", "-c", "id; true")

    execs = [record for record in records if record.kind == "exec"]
    assert {record.source for record in execs} == {"bpf+netlink"}
    assert [(record.argv or [""])[0] for record in execs] == ["env", "sh", "id"]
    assert [record.executable for record in execs] == ["/", "/usr/bin/env", "/usr/bin/dash"]
    assert {tuple(record.syscalls or ()) for record in execs} == {("execve",)}


@pytest.fixture
def own_profile() -> Iterator[str]:
    """A profile put onto the node by others; it logs each exec."""
    folder = Path("/var/lib/kubelet/seccomp/somebodys")
    logs = {"names": ["execve", "execveat"], "action": "SCMP_ACT_LOG"}
    folder.mkdir(parents=True)
    try:
        (folder / "logged.json").write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [logs]}))
        yield "somebodys/logged.json"
    finally:
        shutil.rmtree(folder)


def test_under_a_profile_of_its_own_that_logs_execs_each_is_one_record_too(
    alice: Person, recorded: str, own_profile: str
) -> None:
    own = {"seccompProfile": {"type": "Localhost", "localhostProfile": own_profile}}
    logged = pod(recorded, "logged", securityContext=own)
    logged["metadata"]["labels"] = {"exectrail.io/tag": "env"}
    alice.admin.apply(logged)
    try:
        alice.admin.kubectl("wait", "-n", recorded, "pod/logged", "--for=condition=Ready", "--timeout=60s")
        _, session = alice.does("exec", "-n", recorded, "logged", "--", "sh", "-c", "id; true")
        _, records = alice.trail_of(session)
        eventually(lambda: check_equation()["held"] == 0)
    finally:
        alice.admin.kubectl("delete", "pod", "-n", recorded, "logged", "--now", "--wait=false")

    execs = [record for record in records if record.kind == "exec"]
    assert [((record.argv or [""])[0], record.source) for record in execs] == [
        ("env", "bpf+netlink"),
        ("sh", "bpf+netlink"),
        ("id", "bpf+netlink"),
    ]
    assert [
        each
        for each in of_namespace(recorded)
        if each.kind == "syscall" and each.resource and each.resource.pod == "logged"
    ] == []


def test_the_record_label_changes_no_pod(alice: Person, recorded: str) -> None:
    spec = alice.admin.get("pod", "web", "-n", recorded)["spec"]

    assert spec["securityContext"] == {}
    assert all("securityContext" not in container for container in spec["containers"])
    status = alice.cluster.kubectl("exec", "-n", recorded, "web", "--", "cat", "/proc/1/status").stdout
    assert "Seccomp:\t0" in status


def test_a_pod_that_chose_its_own_profile_keeps_it(admin: Cluster, profiled: str, own_profile: str) -> None:
    own = {"seccompProfile": {"type": "Localhost", "localhostProfile": own_profile}}
    admin.apply(pod(profiled, "own", securityContext=own))

    spec = admin.get("pod", "own", "-n", profiled)["spec"]
    assert spec["securityContext"] == own
    assert all("securityContext" not in container for container in spec["containers"])


def test_the_runtimes_default_gives_way_to_the_profile_which_protects_as_much(admin: Cluster, profiled: str) -> None:
    default = {"seccompProfile": {"type": "RuntimeDefault"}}
    admin.apply(pod(profiled, "default", securityContext=default))
    admin.kubectl("wait", "-n", profiled, "pod/default", "--for=condition=Ready", "--timeout=60s")

    (app,) = admin.get("pod", "default", "-n", profiled)["spec"]["containers"]
    assert app["securityContext"]["seccompProfile"]["localhostProfile"] == "exectrail/process-audit.json"


def test_a_container_that_adds_a_capability_keeps_its_system_calls_under_the_variant_for_it(
    alice: Person, profiled: str
) -> None:
    strong = pod(profiled, "strong")
    strong["spec"]["containers"][0]["securityContext"] = {"capabilities": {"add": ["SYS_ADMIN"]}}
    alice.admin.apply(strong)
    alice.admin.kubectl("wait", "-n", profiled, "pod/strong", "--for=condition=Ready", "--timeout=60s")
    try:
        spec = alice.admin.get("pod", "strong", "-n", profiled)["spec"]
        chosen = (spec["containers"][0].get("securityContext") or {}).get("seccompProfile") or spec["securityContext"][
            "seccompProfile"
        ]
        assert chosen["localhostProfile"] == "exectrail/process-audit-sys-admin.json"
        into = ("exec", "-n", profiled, "strong", "--")
        assert "Seccomp:\t2" in alice.cluster.kubectl(*into, "cat", "/proc/1/status").stdout
        # setns(2) is what the default set of capabilities does not allow.
        moved = alice.cluster.kubectl(*into, "nsenter", "--uts=/proc/1/ns/uts", "true", check=False)
        refused = alice.cluster.kubectl(
            "exec", "-n", profiled, "web", "--", "nsenter", "--uts=/proc/1/ns/uts", "true", check=False
        )
    finally:
        alice.admin.kubectl("delete", "pod", "-n", profiled, "strong", "--now", "--wait=false")
    assert moved.returncode == 0, moved.stderr
    assert "Operation not permitted" in refused.stderr


@pytest.mark.parametrize(
    ("context", "why"),
    [
        ({"capabilities": {"add": ["SYS_ADMIN", "SYS_TIME"]}}, "it adds SYS_ADMIN, SYS_TIME"),
        ({"privileged": True}, "it is privileged"),
        ({"seccompProfile": {"type": "Unconfined"}}, "it is Unconfined"),
    ],
    ids=["capabilities", "privileged", "Unconfined"],
)
def test_a_container_that_may_do_more_than_the_profile_allows_stays_without_it(
    admin: Cluster, profiled: str, context: dict[str, Any], why: str
) -> None:
    made = pod(profiled, "beyond", "app", "strong")
    made["spec"]["containers"][1]["securityContext"] = context

    done = admin.kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", stdin=json.dumps(made))

    spec = json.loads(done.stdout)["spec"]
    app, strong = spec["containers"]
    assert strong["securityContext"] == context
    of_app = (app.get("securityContext") or spec["securityContext"])["seccompProfile"]
    assert of_app == {"type": "Localhost", "localhostProfile": "exectrail/process-audit.json"}
    assert f"container 'strong' runs without the audit profile: {why}" in done.stderr


def test_what_runs_already_is_recorded_from_when_its_namespace_opts_in(alice: Person, admin: Cluster) -> None:
    name = f"joining-{uuid.uuid4().hex[:8]}"
    admin.apply(namespace(name), *may_enter(name))
    admin.kubectl("wait", "-n", name, "--for=create", "serviceaccount/default", "--timeout=120s")
    busy = pod(name)
    busy["spec"]["containers"][0]["command"] = ["sh", "-c", "while sleep 0.2; do :; done"]
    admin.apply(busy)
    admin.kubectl("wait", "-n", name, "pod/web", "--for=condition=Ready", "--timeout=60s")
    within = ("exec", "-n", name, "web", "--", "sh", "-c", "echo in; while sleep 0.3; do :; done")
    session = alice.cluster.start("kubectl", *within)
    try:
        assert session.stdout
        assert session.stdout.readline() == "in\n"
        assert of_namespace(name) == []

        admin.kubectl("label", "namespace", name, "exectrail.io/record=true")

        of_container = eventually(lambda: whole(name, "0.2"))
        of_session = eventually(lambda: whole(name, "0.3"))
    finally:
        admin.kubectl("delete", "namespace", name, "--wait=false")
        session.kill()
        session.communicate(timeout=30)

    assert [(each.origin, each.user, each.weak) for each in of_container] == [("container", None, None)] * 3
    # Nothing proves where it came from: its request was before anything was recorded.
    assert [(each.origin, each.user, each.weak) for each in of_session] == [(None, None, ["origin"])] * 3


def test_a_session_that_goes_on_when_its_namespace_opts_out_is_closed_as_lost(alice: Person, admin: Cluster) -> None:
    name = f"leaving-{uuid.uuid4().hex[:8]}"
    admin.apply(namespace(name, record="true"), *may_enter(name))
    admin.kubectl("wait", "-n", name, "--for=create", "serviceaccount/default", "--timeout=120s")
    admin.apply(pod(name))
    admin.kubectl("wait", "-n", name, "pod/web", "--for=condition=Ready", "--timeout=60s")
    looked_into(f"{name}/web/app")
    within = ("exec", "-n", name, "web", "--", "sh", "-c", "echo in; sleep 600")
    session = alice.cluster.start("kubectl", *within)
    try:
        assert session.stdout
        assert session.stdout.readline() == "in\n"
        (start,) = eventually(lambda: [each for each in of_namespace(name) if each.phase == "start"])

        admin.kubectl("label", "namespace", name, "exectrail.io/record-")

        status = closed(str(start.request_uid))
        (end,) = eventually(lambda: [each for each in of_namespace(name) if each.phase == "end"])
    finally:
        admin.kubectl("delete", "namespace", name, "--wait=false")
        session.kill()
        session.communicate(timeout=30)

    assert (end.request_uid, end.user, end.outcome) == (start.request_uid, "alice", "lost")
    assert end.reason == "container-unwatched"
    assert status["outcome"] == "lost"


def of_namespace(name: str) -> list[Record]:
    return [record for record in trail() if record.resource and record.resource.namespace == name]


def whole(name: str, seconds: str) -> list[Record]:
    """The records of a process from its beginning to its end, which are there once one has ended."""
    records = of_namespace(name)
    ran = [record.process_key for record in records if record.argv == ["sleep", seconds]]
    every = [[record for record in records if record.process_key == key] for key in ran]
    # The first one may have begun before its namespace opted in.
    found = [own for own in every if [record.kind for record in own] == ["clone", "exec", "exit"]]
    assert found, f"{len(records)} records"
    return found[0]


def test_an_unknown_profile_name_admits_the_pod_and_warns_with_the_known_names(admin: Cluster) -> None:
    admin.apply(namespace("mistyped", profile="proces-audit"))
    admin.kubectl("wait", "-n", "mistyped", "--for=create", "serviceaccount/default", "--timeout=120s")

    def warned() -> subprocess.CompletedProcess[str]:
        manifest = json.dumps(pod("mistyped"))
        done = admin.kubectl("create", "--dry-run=server", "-f", "-", "-o", "json", stdin=manifest)
        assert "process-audit" in done.stderr, done.stderr
        return done

    done = eventually(warned)
    assert "proces-audit" in done.stderr
    assert json.loads(done.stdout)["spec"]["securityContext"] == {}


@pytest.mark.parametrize("component", ["webhook", "controller"])
def test_the_pods_without_host_access_are_admitted_under_pod_security_restricted(
    admin: Cluster, component: str
) -> None:
    restricted = namespace("restricted")
    restricted["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "restricted"
    admin.apply(restricted)
    admin.kubectl("wait", "-n", "restricted", "--for=create", "serviceaccount/default", "--timeout=120s")
    rendered = admin.helm("template", "exectrail", str(REPOSITORY / "chart"), "-n", "exectrail").stdout

    template = _pod_template(list(yaml.safe_load_all(rendered)), component)
    template["spec"]["serviceAccountName"] = "default"
    made = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": component, "namespace": "restricted"},
        "spec": template["spec"],
    }

    admin.kubectl("create", "--dry-run=server", "-f", "-", stdin=json.dumps(made))


def _pod_template(rendered: list[Any], component: str) -> dict[str, Any]:
    (deployment,) = [
        each
        for each in rendered
        if each
        and each["kind"] == "Deployment"
        and each["metadata"]["labels"]["app.kubernetes.io/component"] == component
    ]
    template: dict[str, Any] = deployment["spec"]["template"]
    return template
