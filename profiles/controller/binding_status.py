"""Which pods a ProfileBinding has bound: those of its namespace that it selects and that have its profile.

Pure. The webhook decides on new pods; here is only said what came of it, and why nothing can.
"""

from collections.abc import Iterable, Iterator

from exectrail.contracts import spo
from exectrail.contracts.images import image_of, pattern_of
from exectrail.contracts.pod_profiles import file_of, files_of
from profiles.controller.objects import KIND, Binding, BindingStatus, Pod, Profile
from profiles.controller.profile_status import MOST_WORKLOADS, Event

LOCK_FINALIZER = "active-workload-lock"
"""The Security Profiles Operator's on bindings. Here nothing waits for a binding's pods: it only concerns new ones."""


def status(binding: Binding, pods: Iterable[Pod]) -> BindingStatus:
    """The status of a binding.

    Args:
        binding: The binding.
        pods: Those of its namespace.

    """
    return BindingStatus(sorted(pod.key for pod in _bound(binding, pods))[:MOST_WORKLOADS])


def problem(binding: Binding, profile: Profile | None) -> Event | None:
    """Why new containers that a binding matches do not get its profile, which is `None` where there is none."""
    ref, selector = binding.spec.profile_ref, binding.spec.pod_selector
    if binding.metadata.deletion_timestamp:
        return None
    if ref.kind != KIND:
        return Event("Warning", "UnsupportedKind", f"profileRef.kind {ref.kind!r} is not supported: set it to {KIND}")
    if selector and (mistake := selector.mistake()):
        return Event("Warning", "InvalidPodSelector", f"podSelector matches no pod: {mistake}")
    return _not_installed(ref.name, profile)


def _not_installed(name: str, profile: Profile | None) -> Event | None:
    which, without = f"{KIND} {name!r}", "new containers that this binding matches start without it"
    if profile is None:
        return Event(
            "Warning", "ProfileMissing", f"there is no {which}: {without}; create it, or correct profileRef.name"
        )
    if profile.status.binds:
        return None
    match profile.status.status:
        case "" | "Pending" | "InProgress":
            return Event("Normal", "ProfileNotReady", f"{which} is not on all nodes yet: until then {without}")
        case state:
            return Event("Warning", "ProfileNotReady", f"{which} is in state {state}: {without}; see its conditions")


def finalizers(binding: Binding) -> list[str]:
    """The finalizers as they should be: nothing would remove the lock when the binding is deleted."""
    there = binding.metadata.finalizers
    return [each for each in there if each != LOCK_FINALIZER] if binding.metadata.deletion_timestamp else there


def _bound(binding: Binding, pods: Iterable[Pod]) -> Iterator[Pod]:
    ref, selector = binding.spec.profile_ref, binding.spec.pod_selector
    if ref.kind != KIND or (selector and selector.mistake()):
        return
    file, pattern = spo.profile_file(ref.name), pattern_of(binding.spec.image)
    for pod in pods:
        if file not in files_of(pod) or not (selector is None or selector.matches(pod.metadata.labels)):
            continue
        of_pod = file_of(pod.spec.security_context)
        if any(
            pattern.matches(image_of(each.image)) and (file_of(each.security_context) or of_pod) == file
            for each in pod.spec.every_container
        ):
            yield pod
