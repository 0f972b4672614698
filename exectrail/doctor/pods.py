"""Which pods of opted-in namespaces are not recorded, or less than their namespace asks for."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime

from msgspec import Struct

from exectrail.contracts.images import image_of, pattern_of
from exectrail.contracts.label_selector import LabelSelector
from exectrail.contracts.profile import (
    LOGGING_FILES,
    PROCESS_AUDIT,
    PROCESS_AUDIT_ONLY,
    added_capabilities,
    built_in_for,
)
from exectrail.contracts.session import PROFILE_LABEL, opted_in
from exectrail.contracts.spo import BINDING_LABEL, FOLDER
from exectrail.doctor.finding import Checked, Finding, Kind, Name
from exectrail.doctor.nodes import WEAK_SENSOR
from exectrail.doctor.objects import Binding, Container, Namespace, Pod, Seccomp
from exectrail.doctor.seen import Seen
from exectrail.doctor.words import moment, stamp
from exectrail.reading.words import counted

_MIRROR = "kubernetes.io/config.mirror"
"""Annotation of a static pod, which no webhook can change."""
_BINDING_ENTRIES = ("binding.exectrail.io", "profilebinding.exectrail.io")
"""The entries of the webhook's configuration that give profiles."""
_RESTART = "start the pods anew, e.g. `kubectl rollout restart deployment -n NAMESPACE`"


_KINDS: dict[Name, Kind] = {
    "pods-not-recorded": Kind(
        "error",
        "{} not recorded: no profile that logs, on a node without eBPF",
        "sessions into them have a user and a command, but no process",
        "give the node eBPF (finding `weak-sensor`), or the namespace the label"
        f" {PROFILE_LABEL}={PROCESS_AUDIT}, and {_RESTART}. A static pod has only the profile of its manifest",
    ),
    "pods-uncovered": Kind(
        "error",
        "{} whose processes their node cannot find",
        "no process in them is recorded",
        "`sandboxed`: the node's kernel does not see them, use another RuntimeClass. `runtime-unknown`: name the"
        " handler like the runtime. `cgroup-unknown`: report the layout that the detail shows",
    ),
    "pods-without-profile": Kind(
        "warning",
        "{} without the profile that the namespace asks for",
        "the kernel's audit does not log their processes; with eBPF they are recorded all the same",
        f"{_RESTART}: a profile is given to new pods only",
    ),
    "pods-without-bound-profile": Kind(
        "warning",
        "{} without the profile of their ProfileBinding",
        "they run without the SeccompProfile that the binding names; with eBPF they are recorded all the same",
        f"{_RESTART}, once the SeccompProfile is `Installed`, or has the condition `Available` "
        "(`kubectl get profilebindings,seccompprofiles -A`)",
    ),
    "unknown-profile": Kind(
        "warning",
        "{} with a label that names no profile known to the webhook",
        "their pods get no profile; with eBPF they are recorded all the same",
        f"run `kubectl label namespace NAMESPACE {PROFILE_LABEL}={PROCESS_AUDIT} --overwrite`, and {_RESTART}",
    ),
    "pods-beyond-profile": Kind(
        "notice",
        "{} that may do more than the profile allows, and run without it",
        "the kernel's audit does not log their processes; with eBPF they are recorded all the same",
        "none is needed with eBPF; else remove what is named",
    ),
}


def check(seen: Seen) -> Checked:
    """The pods of opted-in namespaces, each by what its namespace asks for and what its node can do."""
    namespaces = {each.metadata.name: each for each in seen.namespaces.items if opted_in(each.metadata.labels)}
    sensors = {each.metadata.name: each.status.sensor for each in seen.trails_of_nodes}
    bindings: dict[str, list[Binding]] = defaultdict(list)
    for binding in seen.bindings.items:
        bindings[binding.metadata.namespace].append(binding)
    found: dict[Name, list[str]] = defaultdict(list)
    profiles = _profiles(seen)
    for name, words in _labels(namespaces.values(), profiles):
        found[name].append(words)
    excluded = _excluded(seen)
    for pod in seen.pods.items:
        space = pod.metadata.namespace
        if _started(pod):
            unchanged = space in excluded or _MIRROR in pod.metadata.annotations
            asks = _Asks() if unchanged else _asks(namespaces[space], bindings[space], profiles)
            for name, words in _amiss(pod, asks, sensors.get(pod.spec.node_name, "")):
                found[name].append(words)
    found["pods-uncovered"] += _uncovered(seen)
    findings = [_finding(name, found[name]) for name in _KINDS if found[name]]
    what = f"{counted(len(seen.pods.items), 'pod')} of {counted(len(namespaces), 'opted-in namespace')} looked at"
    return Checked("pods", what, findings)


def _profiles(seen: Seen) -> set[str]:
    """The names that the webhook knows as profiles of namespaces."""
    webhook = seen.workload("webhook")
    # Where it was not seen, a label is taken as right: the one who set it saw what the webhook answers.
    unconfined = webhook is None or webhook.has("allow-unconfined")
    return {PROCESS_AUDIT, PROCESS_AUDIT_ONLY} if unconfined else {PROCESS_AUDIT}


def _excluded(seen: Seen) -> set[str]:
    """Namespaces whose pods get no profile: `webhook.excludedNamespaces`, and two that never do."""
    excluded = {seen.release.namespace, "kube-system"}
    for entry in seen.configuration.webhooks if seen.configuration else []:
        if entry.get("name") in _BINDING_ENTRIES:
            for each in entry.get("namespaceSelector", {}).get("matchExpressions", []):
                if each.get("key") == "kubernetes.io/metadata.name" and each.get("operator") == "NotIn":
                    excluded.update(each.get("values", []))
    return excluded


class _Asks(Struct, frozen=True):
    """What a namespace wants for its pods."""

    profile: str = ""
    since: datetime | None = None
    """When its label was set, or later."""
    bindings: list[Binding] = []


def _asks(namespace: Namespace, bindings: list[Binding], profiles: set[str]) -> _Asks:
    labels = namespace.metadata.labels
    profile = labels.get(PROFILE_LABEL, "")
    known = profile if profile in profiles else ""
    return _Asks(known, _set_at(namespace, PROFILE_LABEL), bindings if BINDING_LABEL in labels else [])


def _set_at(namespace: Namespace, label: str) -> datetime | None:
    """When the one who set a label last changed something; None where the API server does not say."""
    times = [
        moment(each.time)
        for each in namespace.metadata.managed_fields
        if f"f:{label}" in each.fields.get("f:metadata", {}).get("f:labels", {})
    ]
    return max((time for time in times if time), default=None)


def _labels(namespaces: Iterable[Namespace], profiles: set[str]) -> Iterator[tuple[Name, str]]:
    for namespace in namespaces:
        profile = namespace.metadata.labels.get(PROFILE_LABEL, "")
        if profile and profile not in profiles:
            why = ", which takes profiles.allowUnconfined=true" if profile == PROCESS_AUDIT_ONLY else ""
            found = f"namespace {namespace.metadata.name}: metadata.labels[{PROFILE_LABEL}]={profile}{why}"
            yield "unknown-profile", found


def _started(pod: Pod) -> bool:
    """Whether it is on a node, and one where programs can be recorded."""
    windows = pod.spec.os is not None and pod.spec.os.name == "windows"
    return bool(pod.spec.node_name) and not windows


def _amiss(pod: Pod, asks: _Asks, sensor: str) -> Iterator[tuple[Name, str]]:
    running = [*pod.spec.containers, *(each for each in pod.spec.init_containers if each.restart_policy == "Always")]
    silent = [each for each in running if _path(pod, each) not in LOGGING_FILES]
    if sensor == WEAK_SENSOR and silent:
        on = f"NodeTrail {pod.spec.node_name} status.sensor={sensor}"
        yield "pods-not-recorded", f"pod {pod.key}: {on}; {_of(pod, silent)}"
        return
    unbound = [each for each in running if _is_unbound(pod, each, asks.bindings)]
    if unbound:
        yield "pods-without-bound-profile", f"pod {pod.key}: {_of(pod, unbound)}"
    if not asks.profile:
        return
    left = [(each, _beyond(pod, each, asks.profile)) for each in silent if each not in unbound and not _own(pod, each)]
    if plain := [each for each, beyond in left if not beyond]:
        yield "pods-without-profile", f"pod {pod.key}: {_of(pod, plain)}; created {_when(pod, asks)}"
    if more := [f"container {each.name} {beyond}" for each, beyond in left if beyond]:
        yield "pods-beyond-profile", f"pod {pod.key}: {', '.join(more)}"


def _seccomp(pod: Pod, container: Container) -> Seccomp:
    """A container's own, or else its pod's."""
    for context in (container.security_context, pod.spec.security_context):
        if context and context.seccomp_profile:
            return context.seccomp_profile
    return Seccomp()


def _path(pod: Pod, container: Container) -> str:
    return _seccomp(pod, container).localhost_profile


def _own(pod: Pod, container: Container) -> bool:
    """Whether it has a file that its user chose, or a binding."""
    return _seccomp(pod, container).type == "Localhost"


def _beyond(pod: Pod, container: Container, profile: str) -> str:
    """Why the webhook leaves it without the profile."""
    context, own = container.security_context, _seccomp(pod, container).type
    if context and context.privileged:
        return "is privileged"
    if profile == PROCESS_AUDIT_ONLY:
        return "has RuntimeDefault, which protects more" if own == "RuntimeDefault" else ""
    if own == "Unconfined":
        return "is Unconfined"
    capabilities = context.capabilities if context else None
    if capabilities and built_in_for(added_capabilities(capabilities.add, capabilities.drop)) is None:
        return f"adds {', '.join(capabilities.add)}"
    return ""


def _is_unbound(pod: Pod, container: Container, bindings: list[Binding]) -> bool:
    """Whether a binding means it, and it has none of the files that bindings name."""
    if _path(pod, container).startswith(f"{FOLDER}/"):
        return False
    image, own = image_of(container.image), _seccomp(pod, container).type
    for binding in bindings:
        pattern = pattern_of(binding.spec.image)
        selector = binding.spec.pod_selector or LabelSelector()
        selects = selector.mistake() is None and selector.matches(pod.metadata.labels)
        # One for all images leaves alone what a container says itself.
        if selects and pattern.matches(image) and (pattern.precision != "all" or not own):
            return True
    return False


def _of(pod: Pod, containers: list[Container]) -> str:
    """The containers with what they have instead."""
    said = []
    for container in containers:
        profile = _seccomp(pod, container)
        said.append(f"container {container.name} seccompProfile={profile.localhost_profile or profile.type or 'none'}")
    return ", ".join(said)


def _when(pod: Pod, asks: _Asks) -> str:
    created = moment(pod.metadata.creation_timestamp)
    if created is None or asks.since is None:
        return pod.metadata.creation_timestamp
    label = stamp(asks.since)
    before = f"before the label of {label}"
    after = f"after the label of {label}, so the webhook was not asked or did not know it yet"
    return f"{pod.metadata.creation_timestamp}, {before if created < asks.since else after}"


def _uncovered(seen: Seen) -> Iterator[str]:
    for trail in seen.trails_of_nodes:
        status, name = trail.status, trail.metadata.name
        for each in status.uncovered:
            detail = f": {each.detail}" if each.detail else ""
            yield f"pod {each.pod}: NodeTrail {name} status.uncovered reason={each.reason}, {each.runtime}{detail}"
        if status.uncovered_pods > len(status.uncovered):
            more = status.uncovered_pods - len(status.uncovered)
            yield f"NodeTrail {name}: status.uncoveredPods={status.uncovered_pods}, {more} more than it lists"


def _finding(name: Name, found: list[str]) -> Finding:
    kind = _KINDS[name]
    count = counted(len(found), "namespace" if name == "unknown-profile" else "pod")
    return Finding("pods", name, kind.severity, kind.summary.format(count), found, kind.meaning, kind.remedy)
