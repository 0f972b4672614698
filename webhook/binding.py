"""Gives new pods the seccomp profile that their namespace asks for.

A profile is set for the whole pod and only where the pod sets none, so a container's or a pod's own choice always
stays, and a second look at the same pod changes nothing (reinvocationPolicy IfNeeded).
"""

from exectrail.profile import BUILT_IN
from exectrail.session import PROFILE_LABEL
from webhook.admission import Decision, Operation, Request
from webhook.json_value import Value

_MIRROR_POD = "kubernetes.io/config.mirror"


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
    context, os = spec.required().members("securityContext", "os")
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
    return Decision("bound", [_set_profile(context, BUILT_IN[name])])


def _not_ours(metadata: Value, context: Value, os: Value) -> str | None:
    (annotations,), (system,), (profile,) = (
        metadata.members("annotations"),
        os.members("name"),
        context.members("seccompProfile"),
    )
    (mirror,) = annotations.members(_MIRROR_POD)
    if not mirror.absent:
        return "mirror-pod"  # the kubelet runs it from a file, whatever the API says
    if system.text() == "windows":
        return "windows"
    return None if profile.absent else "pod-has-profile"


def _unbound(reason: str, why: str) -> Decision:
    return Decision(reason, warnings=[f"exectrail: pod admitted without an audit profile: {why}"])


def _set_profile(context: Value, path: str) -> Operation:
    profile = {"type": "Localhost", "localhostProfile": path}
    if context.absent:
        return Operation("/spec/securityContext", {"seccompProfile": profile})
    return Operation("/spec/securityContext/seccompProfile", profile)
