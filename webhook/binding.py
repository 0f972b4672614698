"""Gives new pods the seccomp profile that their namespace asks for.

A profile is set for the whole pod and only where the pod sets none, so a container's or a pod's own choice always
stays, and a second look at the same pod changes nothing (reinvocationPolicy IfNeeded).
"""

from typing import Any

import msgspec
from msgspec import Struct, field

from exectrail.profile import BUILT_IN
from exectrail.session import PROFILE_LABEL
from webhook.admission import Decision, Operation, Request, decode_object

_MIRROR_POD = "kubernetes.io/config.mirror"


class _Metadata(Struct, frozen=True):
    annotations: dict[str, str] = {}


class _OS(Struct, frozen=True):
    name: str = ""


class _Spec(Struct, frozen=True, rename="camel"):
    security_context: dict[str, Any] | None = None
    os: _OS | None = None


class _Pod(Struct, frozen=True):
    spec: _Spec
    metadata: _Metadata = field(default_factory=_Metadata)


_pod = msgspec.json.Decoder(_Pod)


def decide(request: Request, labels: dict[str, str] | None) -> Decision:
    """Decide about a new pod.

    Args:
        request: The request.
        labels: Its namespace's labels; `None` when the namespace is not known.

    Raises:
        BadReview: The request's object is no pod.

    """
    if request.operation != "CREATE" or request.sub_resource:
        return Decision("unsupported")
    pod = decode_object(request.object, _pod, "object")
    if reason := _not_ours(pod):
        return Decision(reason)
    # The API server asks only where it sees the label: when we do not, our copy is behind.
    name = (labels or {}).get(PROFILE_LABEL)
    if not name:
        return _unbound(
            "label-unknown", f"the label {PROFILE_LABEL} of namespace {request.namespace} is not known here yet"
        )
    if name not in BUILT_IN:
        return _unbound("unknown-profile", f"no profile {name!r:.80}; known: {', '.join(sorted(BUILT_IN))}")
    return Decision("bound", [_set_profile(pod, BUILT_IN[name])])


def _not_ours(pod: _Pod) -> str | None:
    if _MIRROR_POD in pod.metadata.annotations:
        return "mirror-pod"  # the kubelet runs it from a file, whatever the API says
    if pod.spec.os and pod.spec.os.name == "windows":
        return "windows"
    if pod.spec.security_context and pod.spec.security_context.get("seccompProfile"):
        return "pod-has-profile"
    return None


def _unbound(reason: str, why: str) -> Decision:
    return Decision(reason, warnings=[f"exectrail: pod admitted without an audit profile: {why}"])


def _set_profile(pod: _Pod, path: str) -> Operation:
    profile = {"type": "Localhost", "localhostProfile": path}
    if pod.spec.security_context is None:
        return Operation("/spec/securityContext", {"seccompProfile": profile})
    return Operation("/spec/securityContext/seccompProfile", profile)
