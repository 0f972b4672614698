"""Which files a pod holds on its node."""

import json
from typing import Any

import msgspec
import pytest

from profiles.installer.pods import Pod, named_by, named_by_all


def pod(spec: dict[str, Any], phase: str = "Running", **annotations: str) -> Pod:
    obj = {"metadata": {"name": "p", "annotations": annotations}, "spec": spec, "status": {"phase": phase}}
    return msgspec.json.decode(json.dumps(obj), type=Pod)


def context(path: str) -> dict[str, Any]:
    return {"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": path}}}


A = context("operator/a.json")


@pytest.mark.parametrize(
    "spec",
    [
        A,
        {"containers": [{"name": "x"}, A]},
        {"initContainers": [A]},
        {"ephemeralContainers": [A]},
        context("operator//a.json"),
        context("./operator/./a.json"),
    ],
)
def test_a_pod_holds_the_files_that_it_and_its_containers_name(spec: dict[str, Any]) -> None:
    assert named_by(pod(spec)) == {"a.json"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("seccomp.security.alpha.kubernetes.io/pod", "localhost/operator/a.json"),
        ("container.seccomp.security.alpha.kubernetes.io/app", "localhost/operator/a.json"),
    ],
)
def test_the_annotation_of_old_pods_counts(key: str, value: str) -> None:
    assert named_by(pod({}, **{key: value})) == {"a.json"}


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"containers": None, "securityContext": None},
        {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}},
        context("exectrail/process-audit.json"),
        context("operator"),
        context("operators/a.json"),
    ],
)
def test_other_profiles_hold_nothing(spec: dict[str, Any]) -> None:
    assert named_by(pod(spec)) == frozenset()


@pytest.mark.parametrize(("phase", "holds"), [("Pending", True), ("Running", True), ("Unknown", True), ("", True)])
def test_a_pod_that_may_still_start_a_container_holds_its_files(phase: str, holds: bool) -> None:
    assert bool(named_by(pod(A, phase))) is holds


@pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
def test_a_pod_that_has_ended_holds_nothing(phase: str) -> None:
    assert named_by(pod(A, phase)) == frozenset()


def test_the_files_of_all_pods_are_held() -> None:
    assert named_by_all([pod(A), pod(context("operator/b.json")), pod({})]) == {"a.json", "b.json"}
