"""Pods that are to be recorded and cannot be: the node's kernel does not show their processes, or not as theirs.

A sandboxed runtime (gVisor, Kata) runs them in a kernel of its own. Which runtime a pod has is shown by the handler of
its RuntimeClass (https://kubernetes.io/docs/concepts/containers/runtime-class/), a name that the node's administrator
chooses: usually the runtime's own. A name that says nothing is reported as `runtime-unknown`.
"""

from collections.abc import Iterable, Mapping

from msgspec import Struct

from enricher.containers.pods import Pod
from enricher.containers.unfound import Unfound
from enricher.runtimes import RUNTIMES
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.nodetrail import UncoveredPod

PATH = "/apis/node.k8s.io/v1/runtimeclasses"

_SANDBOXED = ("runsc", "gvisor", "kata", "firecracker", "quark", "urunc", "wasm", "spin")
_OF_THE_NODE = (*RUNTIMES, "nvidia", "performance-", "high-performance")


class RuntimeClass(Struct, frozen=True):
    """node.k8s.io/v1 RuntimeClass."""

    metadata: ObjectMeta
    handler: str = ""


def uncovered(
    pods: Iterable[Pod], classes: Mapping[str, RuntimeClass], unfound: Unfound | None = None
) -> list[UncoveredPod]:
    """Those of the pods that cannot be recorded, or may not be, by name.

    Args:
        pods: The pods to be recorded.
        classes: The RuntimeClasses by name, as far as they are known.
        unfound: Looks for the processes of those whose runtime is the node's own.

    """
    by_runtime = [(pod, _uncovered(pod, classes.get(pod.spec.runtime_class_name))) for pod in pods]
    found = [each for _, each in by_runtime if each]
    if unfound:
        found += unfound.among(pod for pod, each in by_runtime if each is None)
    return sorted(found, key=lambda each: each.pod)


def _uncovered(pod: Pod, runtime_class: RuntimeClass | None) -> UncoveredPod | None:
    if not pod.spec.runtime_class_name:
        return None
    runtime = runtime_class.handler if runtime_class else pod.spec.runtime_class_name
    name = f"{pod.metadata.namespace}/{pod.metadata.name}"
    if any(word in runtime.lower() for word in _SANDBOXED):
        return UncoveredPod(name, "sandboxed", runtime)
    return None if runtime.lower().startswith(_OF_THE_NODE) else UncoveredPod(name, "runtime-unknown", runtime)
