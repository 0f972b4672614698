"""Which of its pod's containers this is: as the kubelet reports, as the node tells, or the only one that there is."""

import pytest

from enricher.containers.containers import CgroupRef, Containers
from enricher.containers.pods import (
    CONFIG_HASH,
    CONFIG_MIRROR,
    Container,
    ContainerStatus,
    Namespace,
    Pod,
    PodSpec,
    PodStatus,
    SeccompProfile,
    SecurityContext,
)
from exectrail.contracts.meta import ObjectMeta

ID, OTHER_ID, THERE = "a" * 64, "b" * 64, "d" * 64
APP, PREPARE, PROXY, DEBUGGER = (Container(name, "image") for name in ("app", "prepare", "proxy", "debugger"))


def named(spec: PodSpec, status: PodStatus, place: CgroupRef, there: set[str]) -> str | None:
    containers = Containers()
    containers.is_there = there.__contains__
    containers.namespace_changed(None, Namespace(ObjectMeta(name="shop", labels={"exectrail.io/record": "true"})))
    containers.pod_changed(None, Pod(ObjectMeta(name="web", namespace="shop", uid="pod-1"), spec, status))
    found = containers.look(place).container
    return found.resource.container if found else None


def reported(name: str, container_id: str = ID) -> list[ContainerStatus]:
    return [ContainerStatus(name, f"containerd://{container_id}")]


ONE = PodSpec([APP])
MANY = PodSpec([APP], init_containers=[PREPARE, PROXY])
DEBUGGED = PodSpec([APP], ephemeral_containers=[DEBUGGER])


@pytest.mark.parametrize(
    ("spec", "status", "name", "expected"),
    [
        (ONE, PodStatus(), "", "app"),
        (MANY, PodStatus(reported("app")), "", "app"),
        (MANY, PodStatus(init_container_statuses=reported("prepare")), "", "prepare"),
        (MANY, PodStatus(init_container_statuses=reported("proxy")), "", "proxy"),
        (DEBUGGED, PodStatus(ephemeral_container_statuses=reported("debugger")), "", "debugger"),
        (MANY, PodStatus(), "proxy", "proxy"),
        (DEBUGGED, PodStatus(reported("app", OTHER_ID)), "debugger", "debugger"),
        (MANY, PodStatus(reported("app")), "proxy", "app"),
        (MANY, PodStatus(), "", None),
        (MANY, PodStatus(), "of another pod", None),
        (DEBUGGED, PodStatus(reported("app", OTHER_ID)), "", None),
        (DEBUGGED, PodStatus(reported("app", THERE)), "", "debugger"),
        (MANY, PodStatus(reported("app", THERE)), "", None),
        (MANY, PodStatus(reported("app", OTHER_ID), reported("proxy", "c" * 64)), "", None),
    ],
    ids=[
        "the only one",
        "reported",
        "an init container",
        "a sidecar",
        "an ephemeral container",
        "named by the node before it is reported",
        "an ephemeral container, named by the node",
        "the kubelet's word goes before the node's",
        "not reported yet",
        "the node tells what is not in the spec",
        "the other one was reported, and may have been started again",
        "the other one is there",
        "one of the others is there",
        "all others were reported, and may have been started again",
    ],
)
def test_a_container_is_known_by(spec: PodSpec, status: PodStatus, name: str, expected: str | None) -> None:
    assert named(spec, status, CgroupRef(ID, "pod-1", name=name), {THERE}) == expected


OURS = SecurityContext(SeccompProfile("Localhost", "exectrail/process-audit.json"))
ONLY = SecurityContext(SeccompProfile("Localhost", "exectrail/process-audit-only.json"))
OWN = SecurityContext(SeccompProfile("RuntimeDefault"))


@pytest.mark.parametrize(
    ("pods", "containers", "logged"),
    [
        (OURS, None, True),
        (OURS, SecurityContext(), True),
        (OURS, OWN, False),
        (None, OURS, True),
        (OWN, OURS, True),
        (ONLY, None, True),
        (None, None, False),
        (OURS, SecurityContext(privileged=True), False),
        (None, SecurityContext(OURS.seccomp_profile, privileged=True), False),
    ],
)
def test_the_kernel_logs_a_container_by_its_own_profile_or_its_pods_and_never_a_privileged_one(
    pods: SecurityContext | None, containers: SecurityContext | None, logged: bool
) -> None:
    known = Containers()
    known.namespace_changed(None, Namespace(ObjectMeta(name="shop", labels={"exectrail.io/record": "true"})))
    spec = PodSpec([Container("app", security_context=containers)], security_context=pods)
    known.pod_changed(None, Pod(ObjectMeta(name="web", namespace="shop", uid="pod-1"), spec))

    found = known.look(CgroupRef(ID, "pod-1")).container

    assert found is not None
    assert found.logged is logged


POD_UID, OTHER_UID = "3f2504e0-4f89-41d3-9a0c-0305e82c3301", "11111111-4f89-41d3-9a0c-0305e82c3301"
HASH = "0123456789abcdef0123456789abcdef"


def pod(namespace: str, uid: str, container_id: str = ID, annotations: dict[str, str] | None = None) -> Pod:
    meta = ObjectMeta(name="web", namespace=namespace, uid=uid, annotations=annotations or {})
    return Pod(meta, ONE, PodStatus(reported("app", container_id)))


def two_namespaces() -> Containers:
    containers = Containers()
    containers.namespace_changed(None, Namespace(ObjectMeta(name="shop", labels={"exectrail.io/record": "true"})))
    containers.namespace_changed(None, Namespace(ObjectMeta(name="dev")))
    return containers


@pytest.mark.parametrize("claimed", [POD_UID, HASH, "x", ""])
@pytest.mark.parametrize("mirror", [{}, {CONFIG_MIRROR: HASH}], ids=["plain", "as a mirror pod"])
def test_no_annotation_takes_another_pods_place(claimed: str, mirror: dict[str, str]) -> None:
    containers = two_namespaces()
    containers.pod_changed(None, pod("shop", POD_UID))

    foreign = pod("dev", OTHER_UID, OTHER_ID, {CONFIG_HASH: claimed, **mirror})
    containers.pod_changed(None, foreign)
    containers.pod_changed(foreign, None)

    answer = containers.look(CgroupRef(ID, POD_UID))
    assert answer.recorded
    assert answer.container
    assert answer.container.resource.namespace == "shop"


def test_an_annotation_does_not_hide_ones_own_pod() -> None:
    containers = two_namespaces()
    containers.pod_changed(None, pod("shop", POD_UID, annotations={CONFIG_HASH: HASH}))

    assert containers.look(CgroupRef(ID, POD_UID)).recorded


@pytest.mark.parametrize("uid", [HASH, "22222222-4f89-41d3-9a0c-0305e82c3301"], ids=["hash", "UID in the manifest"])
def test_a_static_pod_is_found_by_what_its_cgroup_goes_by(uid: str) -> None:
    containers = two_namespaces()
    containers.pod_changed(None, pod("shop", POD_UID, annotations={CONFIG_HASH: uid, CONFIG_MIRROR: uid}))

    assert containers.look(CgroupRef(ID, uid)).recorded


def test_who_only_says_to_be_a_static_pods_copy_does_not_take_its_place() -> None:
    containers, marks = two_namespaces(), {CONFIG_HASH: HASH, CONFIG_MIRROR: HASH}
    containers.pod_changed(None, pod("shop", POD_UID, annotations=marks))
    forged = pod("dev", OTHER_UID, OTHER_ID, marks)
    containers.pod_changed(None, forged)

    assert containers.look(CgroupRef(ID, HASH)).recorded
    containers.pod_changed(forged, None)
    assert containers.look(CgroupRef("c" * 64, HASH)).recorded


def test_a_container_of_a_pod_that_was_deleted_by_force_stays_what_it_is_until_it_is_gone() -> None:
    containers = two_namespaces()
    containers.pod_changed(None, pod("shop", POD_UID))
    ref = CgroupRef(ID, POD_UID)
    before = containers.look(ref)

    containers.pod_changed(pod("shop", POD_UID), None)
    after = containers.look(ref)
    assert (after.recorded, after.container) == (True, before.container)

    containers.forget(ID)
    assert containers.look(ref).recorded is None


def test_containers_that_were_never_found_are_remembered_up_to_a_number() -> None:
    containers = two_namespaces()

    for number in range(10_000):
        containers.look(CgroupRef(f"cgroup-{number}"))

    assert len(containers._answers) <= 4096
