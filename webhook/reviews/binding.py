"""Gives new pods the seccomp profile that their namespace asks for.

A pod's or a container's own choice always stays. The profile allows what the runtime's default does for the default
capabilities, so a container that may do more would lose system calls by it: that one stays as it is. Then each other
container gets the profile instead of the pod. A second look at the same pod changes only what has been added to it
meanwhile (reinvocationPolicy IfNeeded).
"""

from collections.abc import Iterator

from msgspec import Struct

from exectrail.contracts.profile import BUILT_IN
from exectrail.contracts.session import PROFILE_LABEL
from webhook.reviews.json_value import Budget, TooLarge, Value
from webhook.reviews.review import Decision, Operation, Patch, Removal, Request

_MIRROR_POD = "kubernetes.io/config.mirror"
# fmt: off
_DEFAULT_CAPABILITIES = frozenset({
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW",
    "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
})
# fmt: on
"""What containerd, CRI-O and Docker give a container that asks for nothing, together."""
_MOST_WARNINGS = 8

_Profile = dict[str, str]


class _Container(Struct, frozen=True):
    """A container, as far as a profile is concerned."""

    path: str
    name: str
    context: Value
    """Its securityContext."""
    profile: Value
    """Its own."""
    beyond: str | None
    """Why the profile does not suit it."""

    @property
    def left_out(self) -> bool:
        """Whether the pod's profile would be this one's, and must not be."""
        return self.profile.absent and self.beyond is not None


def decide(request: Request, labels: dict[str, str] | None) -> Decision:
    """Decide about a new pod.

    Args:
        request: The request.
        labels: Its namespace's labels; `None` when the namespace is not known.

    Raises:
        BadReview: The request's object is no pod.

    """
    if (request.operation, request.sub_resource, request.pods_kind) != ("CREATE", "", "Pod"):
        return Decision("unsupported")
    metadata, spec = request.object.required().members("metadata", "spec")
    context, os, *listed = spec.required().members("securityContext", "os", "containers", "initContainers")
    if reason := _not_ours(metadata, context, os):
        return Decision(reason)
    # The API server asks only where it sees the label: when we do not, our copy is behind.
    name = (labels or {}).get(PROFILE_LABEL)
    if not name:
        return _unbound(
            "label-unknown", f"the label {PROFILE_LABEL} of namespace {request.namespace} is not known here yet"
        )
    if name not in BUILT_IN:
        return _unbound("unknown-profile", f"no profile {name!r:.80}; known: {', '.join(sorted(BUILT_IN))}")
    try:
        containers = list(_containers(*listed))
    except TooLarge:
        return _unbound("too-large", "there is more in it than is read of a pod")
    return _bound(context, containers, {"type": "Localhost", "localhostProfile": BUILT_IN[name]})


def _not_ours(metadata: Value, context: Value, os: Value) -> str | None:
    (annotations,), (system,) = metadata.members("annotations"), os.members("name")
    (mirror,), (profile,) = annotations.members(_MIRROR_POD), context.members("seccompProfile")
    if not mirror.absent:
        return "mirror-pod"  # the kubelet runs it from a file, whatever the API says
    if system.text() == "windows":
        return "windows"
    return None if profile.absent or _is_built_in(profile) else "pod-has-profile"


def _is_built_in(profile: Value) -> bool:
    type_, path = profile.members("type", "localhostProfile")
    return type_.text() == "Localhost" and path.text() in BUILT_IN.values()


def _unbound(reason: str, why: str) -> Decision:
    return Decision(reason, warnings=[f"exectrail: pod admitted without an audit profile: {why}"])


def _containers(containers: Value, init: Value) -> Iterator[_Container]:
    budget = Budget()
    for member, listed in (("containers", containers), ("initContainers", init)):
        for index, (name, context) in enumerate(listed.objects(budget, "name", "securityContext")):
            capabilities, privileged, profile = context.members("capabilities", "privileged", "seccompProfile")
            beyond = _beyond(capabilities, privileged, profile)
            yield _Container(f"/spec/{member}/{index}", name.text(), context, profile, beyond)


def _beyond(capabilities: Value, privileged: Value, profile: Value) -> str | None:
    (kind,), (add,) = profile.members("type"), capabilities.members("add")
    if kind.text() == "Unconfined":
        return "it is Unconfined"
    if not profile.absent:
        return None
    if privileged.flag():
        return "it is privileged"
    more = [each for each in add.some_words() if each.upper().removeprefix("CAP_") not in _DEFAULT_CAPABILITIES]
    return f"it adds {', '.join(more):.80}" if more else None


def _bound(context: Value, containers: list[_Container], profile: _Profile) -> Decision:
    (has,) = context.members("seccompProfile")
    warnings = _warnings([each for each in containers if each.beyond])
    if not any(each.left_out for each in containers):
        if not has.absent:
            return Decision("pod-has-profile", warnings=warnings)
        return Decision("bound", [_set("/spec", context, profile)], warnings=warnings)
    # The profile that the pod has by now is ours, from before another webhook added the container.
    undo: Patch = [] if has.absent else [Removal("/spec/securityContext/seccompProfile")]
    alone = [_set(each.path, each.context, profile) for each in containers if each.profile.absent and not each.beyond]
    bound = alone or any(_is_built_in(each.profile) for each in containers)
    return Decision("bound-in-part" if bound else "beyond-profile", [*undo, *alone], warnings=warnings)


def _set(path: str, context: Value, profile: _Profile) -> Operation:
    if context.absent:
        return Operation(f"{path}/securityContext", {"seccompProfile": profile})
    return Operation(f"{path}/securityContext/seccompProfile", profile)


def _warnings(containers: list[_Container]) -> list[str]:
    named = containers[:_MOST_WARNINGS]
    more = f"exectrail: {len(containers) - len(named)} more containers run without the audit profile"
    return [
        *(f"exectrail: container {each.name!r:.80} runs without the audit profile: {each.beyond}" for each in named),
        *([more] if len(named) < len(containers) else []),
    ]
