"""Whether a request made a container: an ephemeral one, or one of a pod to debug its node.

The variable in the spec alone proves nothing: where no webhook was asked, or none tagged the request, its author can
write there what they like, and name the container as another user's request did. So all that the API has of the
container must fit the request: the kind, the pod, the name, the command, and when it came.
"""

from collections.abc import Iterable
from typing import Literal

from enricher.containers.containers import Container
from enricher.correlate.command import is_same_as_kept
from enricher.correlate.request_index import CLOCKS_DIFFER_MS, aims_at, asked_ms, is_of_earlier_pod
from exectrail.contracts.session import AuditSession

_STORED_WITHIN_MS = 60_000
"""How long after admission its object is stored, at the most: the API server gives up a request by then
(kube-apiserver, `--request-timeout`)."""
_SLACK_MS = 3_000
"""How much the clocks of webhook and API server may differ, and a second for creation times, which are in seconds."""

Misfit = Literal["other-container", "other-pod", "other-command", "too-late"]


def misfit(audit: AuditSession, container: Container) -> Misfit | None:
    """Why a request to debug cannot have made a container; None where it can."""
    spec = audit.spec
    if not aims_at(audit, container) or spec.target.node != container.debugs:
        return "other-container"
    if container.debugs:
        if (late := _after(audit, container.created_ms)) is not None and not -_SLACK_MS <= late <= _STORED_WITHIN_MS:
            return "too-late" if late > 0 else "other-pod"
    elif is_of_earlier_pod(audit, container):
        return "other-pod"
    return None if is_same_as_kept(spec.command, container.command) else "other-command"


def is_timely(audit: AuditSession, container: Container) -> bool:
    """Whether the container came when the request was admitted, as far as that was watched.

    Of an ephemeral container the API does not say when it came. One that is first seen much later may have come
    later, or the API server was away meanwhile.
    """
    late = _after(audit, container.created_ms if container.debugs else container.seen_ms)
    return late is not None and late <= _STORED_WITHIN_MS


def may_have_made(
    asked: Iterable[AuditSession], container: Container, claimed: str | None, *, contests: bool
) -> list[str]:
    """UIDs of the requests that may have made an ephemeral container that has no tag; of one user's, the last.

    Args:
        asked: Those for a container of this name.
        container: The container.
        claimed: The UID in its spec, where that does not hold: no user knows the UID of their own request before.
        contests: Whether that request may have made it all the same.

    """
    may_be = [
        each
        for each in asked
        if (contests if each.metadata.name == claimed else each.spec.tag == "match") and misfit(each, container) is None
    ]
    found = sorted([each for each in may_be if is_timely(each, container)] or may_be, key=asked_ms)
    if len({each.spec.user.username for each in found}) == 1:
        return [found[-1].metadata.name]
    return sorted(each.metadata.name for each in found)


def has_rival(asked: Iterable[AuditSession], audit: AuditSession, container: Container) -> bool:
    """Whether another user's request can have made a container that has this one's UID in its spec.

    Into those that the webhook tagged it has put their own; and none has a UID that was not there yet.
    """
    return any(
        each.spec.tag != "env"
        and each.spec.user.username != audit.spec.user.username
        and asked_ms(each) >= asked_ms(audit) - CLOCKS_DIFFER_MS
        and misfit(each, container) is None
        for each in asked
    )


def _after(audit: AuditSession, at_ms: int | None) -> float | None:
    return None if at_ms is None else at_ms - asked_ms(audit)
