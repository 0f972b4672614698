"""When parts fail: no exec fails because of exectrail, and what can go on goes on."""

import threading
from typing import Any

from .cluster import Cluster, eventually
from .node import services
from .node.up import up
from .product import NAMESPACE, Release, install, namespace, pod
from .sessions import Person, closed, programs, records_of

_IMPATIENT = (
    "sessions.retention.count=3",
    "controller.extraArgs[0]=--interval=1",
    # Above the 30 s between two heartbeats: the next one proves that the node would have seen the process.
    "controller.extraArgs[1]=--start-grace=31",
)


def test_no_exec_fails_while_webhook_pods_are_deleted(alice: Person, recorded: str) -> None:
    codes: list[int] = []

    def execute() -> None:
        for _ in range(25):
            done = alice.cluster.kubectl("exec", "-n", recorded, "web", "-c", "app", "--", "true", check=False)
            codes.append(done.returncode)

    worker = threading.Thread(target=execute)
    worker.start()
    pods = alice.admin.get("pods", "-n", NAMESPACE, "-l", "app.kubernetes.io/component=webhook")["items"]
    for each in pods:
        alice.admin.kubectl("delete", "pod", "-n", NAMESPACE, each["metadata"]["name"], "--wait")
    worker.join()

    assert codes == [0] * 25
    alice.admin.kubectl("rollout", "status", "-n", NAMESPACE, "deploy/exectrail-webhook", "--timeout=90s")


def test_every_part_outlives_an_absence_of_the_api_server(alice: Person, recorded: str) -> None:
    def restarts() -> dict[str, Any]:
        every = alice.admin.get("pods", "-n", NAMESPACE)["items"]
        return {
            f"{each['metadata']['name']}/{status['name']}": (status["restartCount"], status["ready"])
            for each in every
            for status in each["status"]["containerStatuses"]
        }

    before = restarts()
    services.kill("kube-apiserver")
    threading.Event().wait(15)
    up()

    def explained() -> bool:
        _, records = alice.executes(recorded, "id")
        assert programs(records) == ["env", "id"]
        return {record.user for record in records} == {"alice"}

    eventually(explained, 60)
    eventually(lambda: restarts() == before, 60)


def test_without_the_capability_for_ebpf_it_goes_on_and_says_what_is_weak(
    alice: Person, release: Release, profiled: str
) -> None:
    release.with_values("enricher.capabilities.bpf=false")

    def reported() -> dict[str, Any]:
        status: dict[str, Any] = alice.admin.get("nodetrail", "node1")["status"]
        assert status["ledger"] == "proc"
        return status

    assert "argv" in eventually(reported, 60)["weak"]
    log = alice.admin.kubectl("logs", "-n", NAMESPACE, "ds/exectrail-enricher").stdout
    assert "CAP_BPF" in log
    done, session = alice.does("exec", "-n", profiled, "web", "--", "sh", "-c", "sleep 1; sleep 1", check=False)
    assert done.returncode == 0
    records = eventually(lambda: [r for r in records_of(session["metadata"]["name"]) if r.kind == "exec"])
    assert {record.user for record in records} == {"alice"}
    assert all("argv" in (record.weak or []) for record in records)


def test_an_exec_that_never_becomes_a_process_is_closed_as_never_started(
    alice: Person, release: Release, recorded: str
) -> None:
    release.with_values(*_IMPATIENT)

    # kubectl asks twice: its WebSocket request is refused, so it tries SPDY.
    done, sessions = alice.does_all(
        "exec", "-n", recorded, "web", "-c", "no-such-container", "--", "id", check=False, sessions=2
    )

    assert done.returncode != 0
    for session in sessions:
        assert session["spec"]["target"]["container"] == "no-such-container"
        assert closed(alice.admin, session["metadata"]["name"], 90)["outcome"] == "never-started"


def test_sessions_are_deleted_when_there_are_too_many(alice: Person, release: Release, plain: str) -> None:
    release.with_values(*_IMPATIENT)
    for _ in range(5):
        alice.does("exec", "-n", plain, "web", "--", "true")

    def names() -> list[str]:
        return [each["metadata"]["name"] for each in alice.admin.get("auditsessions", "-n", NAMESPACE)["items"]]

    eventually(lambda: len(names()) <= 3, 60)


def test_after_an_uninstall_nothing_blocks_pods_and_running_ones_restart(
    alice: Person, release: Release, profiled: str
) -> None:
    release.uninstall()

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


def test_another_release_under_other_names_works_beside_it(alice: Person, release: Release, plain: str) -> None:
    alice.admin.apply(namespace("second"))
    release.uninstall()

    install(alice.admin, "crds.enabled=false", release="other", namespace="second")

    done = alice.cluster.kubectl("exec", "-n", plain, "web", "--", "true")
    assert done.returncode == 0
    eventually(lambda: alice.admin.get("auditsessions", "-n", "second")["items"])
    alice.admin.helm("uninstall", "other", "-n", "second", "--wait")


def test_a_session_that_ended_is_closed_with_its_result(alice: Person, recorded: str) -> None:
    uid, _ = alice.executes(recorded, "sh", "-c", "kill -9 $$", code=137)

    assert closed(alice.admin, uid)["exit"] == {"signal": "SIGKILL"}
