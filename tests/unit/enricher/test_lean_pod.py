"""Of a pod only what is needed is kept: neither secrets nor megabytes."""

import msgspec
import pytest

from enricher.containers.lean_pod import lean_pod
from enricher.containers.pods import (
    Container,
    ContainerStatus,
    EnvVar,
    ExecAction,
    Handler,
    Lifecycle,
    Pod,
    PodSpec,
    PodStatus,
)
from exectrail.contracts.meta import ObjectMeta, Owner
from exectrail.contracts.session import TAG_VARIABLE

TAG = EnvVar(TAG_VARIABLE, "de193172-188c-4596-a2a0-b64f75a1b8e4")
READY = Handler(ExecAction(["cat", "/ready"]))


def fat(name: str = "app") -> Container:
    return Container(
        name,
        "shop:1",
        env=[EnvVar("PASSWORD", "secret" * 1000), TAG],
        command=["secret" * 1000],
        args=["secret" * 1000],
        readiness_probe=READY,
        lifecycle=Lifecycle(pre_stop=READY),
    )


def pod(phase: str = "Running") -> Pod:
    meta = ObjectMeta(
        "web",
        "shop",
        "pod-1",
        creation_timestamp="2026-11-23T12:00:00Z",
        labels={"app": "web"},
        annotations={"note": "secret" * 1000, "kubernetes.io/config.hash": "0" * 32},
        owner_references=[Owner("ReplicaSet", "web-1"), Owner("ReplicaSet", "web-2")],
    )
    spec = PodSpec([fat()], init_containers=[fat("init")], ephemeral_containers=[fat("debugger")])
    return Pod(meta, spec, PodStatus([ContainerStatus("app", "containerd://abc")], phase=phase))


def test_secrets_and_what_takes_room_are_left_out() -> None:
    lean = lean_pod(pod(), debugs=False)

    assert len(msgspec.json.encode(lean)) < 20_000  # the commands of its ephemeral container
    (app,), (debugger,) = lean.spec.containers, lean.spec.ephemeral_containers
    assert (app.env, app.command, app.args) == ([TAG], [], [])
    assert (app.readiness_probe, app.lifecycle) == (READY, Lifecycle(pre_stop=READY))
    assert debugger.command == fat().command
    assert lean.metadata.annotations == {"kubernetes.io/config.hash": "0" * 32}
    assert (lean.metadata.labels, len(lean.metadata.owner_references)) == ({"app": "web"}, 1)
    assert lean.status == pod().status


def test_of_variables_only_the_values_that_a_probe_names_are_kept() -> None:
    names = Handler(ExecAction(["test", "-e", "/tmp/$(NAME)", "$$$$"]))
    app = Container("app", env=[EnvVar("NAME", "ready"), EnvVar("PASSWORD", "secret")], readiness_probe=names)

    lean = lean_pod(Pod(ObjectMeta("web", "shop"), PodSpec([app])), debugs=False)

    assert lean.spec.containers[0].env == [EnvVar("NAME", "ready")]
    assert lean.spec.containers[0].readiness_probe == names
    assert b"secret" not in msgspec.json.encode(lean)
    assert lean_pod(lean, debugs=False) is lean


def test_values_that_a_probe_names_often_are_kept_once() -> None:
    """Else a pod of a megabyte would take twenty."""
    names = Handler(ExecAction(["$(A)" * 32]))
    env = [EnvVar("A", "x" * 128)]
    apps = [Container(f"app-{n}", env=env, readiness_probe=names, liveness_probe=names) for n in range(100)]
    made = Pod(ObjectMeta("web", "shop"), PodSpec(apps))

    assert len(msgspec.json.encode(lean_pod(made, debugs=False))) <= len(msgspec.json.encode(made))


def test_a_static_pods_copy_keeps_what_names_its_cgroup() -> None:
    names = {"kubernetes.io/config.hash": "0" * 32, "kubernetes.io/config.mirror": "0" * 32}
    copy = Pod(ObjectMeta("web", "shop", annotations={**names, "note": "x"}))

    assert lean_pod(copy, debugs=False).metadata.annotations == names


def test_a_pod_to_debug_its_node_keeps_its_commands() -> None:
    assert lean_pod(pod(), debugs=True).spec.containers[0].command == fat().command


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_one_that_is_over_keeps_no_probes(phase: str) -> None:
    (app,) = lean_pod(pod(phase), debugs=False).spec.containers

    assert (app.readiness_probe, app.lifecycle) == (None, None)


def test_one_that_is_lean_stays_the_same_object_so_that_nobody_takes_it_for_a_change() -> None:
    lean = lean_pod(pod(), debugs=False)

    assert lean_pod(lean, debugs=False) is lean
