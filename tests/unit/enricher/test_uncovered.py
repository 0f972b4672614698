"""Which pods cannot be recorded because of their runtime."""

import pytest

from enricher.containers.containers import Containers
from enricher.containers.pods import Namespace, Pod, PodSpec, PodStatus
from enricher.containers.uncovered import RuntimeClass, uncovered
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.nodetrail import UncoveredPod


def pod(runtime_class: str, name: str = "web", namespace: str = "shop", phase: str = "Running") -> Pod:
    meta = ObjectMeta(name=name, namespace=namespace, uid=f"{namespace}-{name}")
    return Pod(meta, PodSpec(runtime_class_name=runtime_class), PodStatus(phase=phase))


def classes(**handlers: str) -> dict[str, RuntimeClass]:
    return {name: RuntimeClass(ObjectMeta(name=name), handler) for name, handler in handlers.items()}


@pytest.mark.parametrize(
    ("handler", "reason"),
    [
        ("runsc", "sandboxed"),
        ("gvisor", "sandboxed"),
        ("kata", "sandboxed"),
        ("kata-qemu", "sandboxed"),
        ("kata-clh", "sandboxed"),
        ("Kata-FC", "sandboxed"),
        ("wasmtime", "sandboxed"),
        ("runc", None),
        ("crun", None),
        ("youki", None),
        ("nvidia", None),
        ("performance-low-latency", None),
        ("hardened", "runtime-unknown"),
        ("", "runtime-unknown"),
    ],
)
def test_what_a_runtime_is_its_handler_tells(handler: str, reason: str | None) -> None:
    found = uncovered([pod("ours")], classes(ours=handler))

    assert [(each.pod, each.reason, each.runtime) for each in found] == (
        [("shop/web", reason, handler)] if reason else []
    )


def test_a_class_can_have_any_name() -> None:
    known = classes(gvisor="runc", plain="runsc")

    assert [each.pod for each in uncovered([pod("gvisor", "a"), pod("plain", "b")], known)] == ["shop/b"]


def test_where_the_class_is_not_known_its_name_has_to_do() -> None:
    assert uncovered([pod("gvisor", "a"), pod("secure", "b")], {}) == [
        UncoveredPod("shop/a", "sandboxed", "gvisor"),
        UncoveredPod("shop/b", "runtime-unknown", "secure"),
    ]


def test_a_pod_without_a_class_has_the_nodes_own_runtime() -> None:
    assert uncovered([pod("")], classes(default="runsc")) == []


def test_only_pods_that_are_to_be_recorded_and_have_not_ended_are_asked_about() -> None:
    containers = Containers()
    containers.namespace_changed(None, Namespace(ObjectMeta(name="shop", labels={"exectrail.io/record": "true"})))
    containers.namespace_changed(None, Namespace(ObjectMeta(name="plain")))
    for each in (pod("", "runs"), pod("", "over", phase="Succeeded"), pod("", "not-in", "plain"), pod("", "new", "x")):
        containers.pod_changed(None, each)

    assert [each.metadata.name for each in containers.recorded_pods()] == ["runs"]
