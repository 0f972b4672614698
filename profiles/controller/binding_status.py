"""Which pods a ProfileBinding has bound: those of its namespace that it selects and that have its profile.

Pure. The webhook decides on new pods; here is only said what came of it.
"""

import re
from collections.abc import Iterable

from exectrail.contracts import spo
from exectrail.contracts.pod_profiles import file_of, files_of
from profiles.controller.objects import (
    Binding,
    BindingStatus,
    LabelRequirement,
    LabelSelector,
    Pod,
)
from profiles.controller.profile_status import MOST_WORKLOADS

LOCK_FINALIZER = "active-workload-lock"
"""The Security Profiles Operator's on bindings. Here nothing waits for a binding's pods: it only concerns new ones."""

_ANY = "*"
_REGISTRY = re.compile(r"[.:]|^localhost$")
"""The first part of an image's name is a registry if it looks like a host."""


def status(binding: Binding, pods: Iterable[Pod]) -> BindingStatus:
    """The status of a binding.

    Args:
        binding: The binding.
        pods: Those of its namespace.

    """
    active = sorted(pod.key for pod in pods if _is_bound(pod, binding))
    return BindingStatus(active[:MOST_WORKLOADS])


def finalizers(binding: Binding) -> list[str]:
    """The finalizers as they should be: nothing would remove the lock when the binding is deleted."""
    there = binding.metadata.finalizers
    return [each for each in there if each != LOCK_FINALIZER] if binding.metadata.deletion_timestamp else there


def _is_bound(pod: Pod, binding: Binding) -> bool:
    ref = binding.spec.profile_ref
    if ref.kind != "SeccompProfile":
        return False
    file = spo.profile_file(ref.name)
    if file not in files_of(pod) or not _selects(binding.spec.pod_selector, pod.metadata.labels):
        return False
    if binding.spec.image == _ANY:
        return True
    wanted, of_pod = _whole(binding.spec.image), file_of(pod.spec.security_context)
    return any(
        _whole(each.image) == wanted and (file_of(each.security_context) or of_pod) == file
        for each in pod.spec.every_container
    )


def _selects(selector: LabelSelector | None, labels: dict[str, str]) -> bool:
    if selector is None:
        return True
    wanted = selector.match_labels or {}
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        _meets(each, labels) for each in selector.match_expressions or []
    )


def _meets(requirement: LabelRequirement, labels: dict[str, str]) -> bool:
    value, values = labels.get(requirement.key), requirement.values or []
    return {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }.get(requirement.operator, False)


def _whole(image: str) -> str:
    """An image's name with the registry, folder and tag that it leaves out."""
    first, slash, _ = image.partition("/")
    if not slash:
        image = f"docker.io/library/{image}"
    elif not _REGISTRY.search(first):
        image = f"docker.io/{image}"
    tagged = "@" in image or ":" in image.rpartition("/")[2]
    return image if tagged else f"{image}:latest"
