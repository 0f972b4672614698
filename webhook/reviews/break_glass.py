"""Records who lets requests of a namespace pass that cannot be recorded, and for what reason.

That is the annotation `exectrail.io/break-glass` of the namespace. Who may change the namespace may set it, so that an
emergency has a way; what they do is an AuditSession itself, which is for no pod.
"""

import msgspec

from exectrail.contracts.session import BREAK_GLASS_ANNOTATION
from webhook.reviews.json_value import Value
from webhook.reviews.review import Decision, Request
from webhook.reviews.session_spec import Asked, Rules, session_spec

_REASON_BYTES = 16 << 10
_SUB_RESOURCES = {"", "status", "finalize"}
"""Of a namespace: updates of each may change labels and annotations."""
_SET = "exectrail: recorded, with your name: execs in namespace {name} now pass also where they cannot be recorded"


def decide(request: Request, rules: Rules, now: str) -> Decision:
    """Decide about a namespace that is made or changed.

    Args:
        request: The request.
        rules: What the installation wants.
        now: RFC 3339, UTC, microseconds.

    Raises:
        BadReview: The request's object is no namespace.

    """
    is_ours = request.resource == ("", "v1", "namespaces") and request.kind == ("", "v1", "Namespace")
    if not is_ours or request.sub_resource not in _SUB_RESOURCES or request.operation not in {"CREATE", "UPDATE"}:
        return Decision("unsupported")
    (_, before), (made, after) = _named(request.old_object), _named(request.object.required())
    if before == after:
        return Decision("unchanged")
    name = request.name or made
    # As for a pod of that namespace.
    in_it = msgspec.structs.replace(request, namespace=name, name="")
    spec = session_spec(
        in_it,
        Asked("break-glass"),
        uid=request.uid,
        tag="none",
        recorded=False,
        now=now,
        rules=rules,
        break_glass=after,
    )
    warnings = [_SET.format(name=name)] if after else []
    return Decision("set" if after else "removed", sessions={request.uid: spec}, warnings=warnings)


def _named(namespace: Value) -> tuple[str, str]:
    """A namespace's name, and the reason in its annotation; empty where there is none."""
    (metadata,) = namespace.members("metadata")
    name, annotations = metadata.members("name", "annotations")
    (reason,) = annotations.members(BREAK_GLASS_ANNOTATION)
    return name.text(), reason.text(_REASON_BYTES)
