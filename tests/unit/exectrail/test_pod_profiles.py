"""Which SeccompProfiles' files a pod needs: one answer for the controller and the installer."""

import json
from typing import Any

import msgspec
import pytest

from exectrail.contracts.pod_profiles import files_of
from profiles.controller import objects
from profiles.installer import pods

PODS: list[type[objects.Pod] | type[pods.Pod]] = [objects.Pod, pods.Pod]


def context(path: str) -> dict[str, Any]:
    return {"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": path}}}


A, B = context("operator/a.json"), context("operator/b.json")
POD = "seccomp.security.alpha.kubernetes.io/pod"
CONTAINER = "container.seccomp.security.alpha.kubernetes.io/app"


@pytest.mark.parametrize("kind", PODS, ids=["controller", "installer"])
@pytest.mark.parametrize(
    ("spec", "annotations", "files"),
    [
        ({}, {}, ""),
        ({"containers": None, "initContainers": None, "securityContext": None}, {}, ""),
        ({"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}, {}, ""),
        (A, {}, "a.json"),
        ({"containers": [{"name": "x"}, A]}, {}, "a.json"),
        ({"initContainers": [A]}, {}, "a.json"),
        ({"initContainers": [A | {"restartPolicy": "Always"}]}, {}, "a.json"),
        ({"ephemeralContainers": [A]}, {}, "a.json"),
        (B | {"containers": [A]}, {}, "a.json b.json"),
        ({"containers": [B], "initContainers": [A], "ephemeralContainers": [A]}, {}, "a.json b.json"),
        # Joined as the kubelet does.
        (context("operator//a.json"), {}, "a.json"),
        (context("./operator/./a.json"), {}, "a.json"),
        (context("exectrail/process-audit.json"), {}, ""),
        (context("operator"), {}, ""),
        (context("operators/a.json"), {}, ""),
        (context("operator/../a.json"), {}, ""),
        (context("localhost/operator/a.json"), {}, ""),
        # Of old pods.
        ({}, {POD: "localhost/operator/a.json"}, "a.json"),
        ({}, {CONTAINER: "localhost/operator//a.json"}, "a.json"),
        (B, {CONTAINER: "localhost/operator/a.json"}, "a.json b.json"),
        ({}, {POD: "operator/a.json"}, ""),
        ({}, {POD: "runtime/default"}, ""),
        ({}, {"seccomp": "localhost/operator/a.json"}, ""),
    ],
)
def test_a_pod_needs_the_files_that_it_and_its_containers_name(
    kind: type[objects.Pod] | type[pods.Pod], spec: dict[str, Any], annotations: dict[str, str], files: str
) -> None:
    obj = {"metadata": {"name": "p", "annotations": annotations}, "spec": spec, "status": {"phase": "Running"}}
    assert files_of(msgspec.json.decode(json.dumps(obj), type=kind)) == set(files.split())


@pytest.mark.parametrize(
    ("phase", "needs"),
    [("Pending", True), ("Running", True), ("Unknown", True), ("", True), ("Succeeded", False), ("Failed", False)],
)
def test_a_pod_that_has_ended_starts_no_container_again(phase: str, needs: bool) -> None:
    obj = {"metadata": {"name": "p"}, "spec": A, "status": {"phase": phase}}
    assert bool(files_of(msgspec.convert(obj, pods.Pod))) is needs


def test_the_files_of_all_pods_of_a_node_are_held() -> None:
    found = [msgspec.convert({"metadata": {"name": "p"}, "spec": spec}, pods.Pod) for spec in (A, B, {})]
    assert pods.named_by_all(found) == {"a.json", "b.json"}
