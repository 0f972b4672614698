"""What was asked of each pod: finds the request of an entry whose tag was not seen, or that has none.

Weaker than a tag: another user may run the same command in the same container at the same time.
"""

from datetime import datetime

from enricher.containers.containers import Container
from enricher.correlate.command import runs_as, same_command
from exectrail.contracts.session import AuditSession, Target

_WITHIN_MS = 30_000
"""How long after its request a process may start."""
CLOCKS_DIFFER_MS = 2_000
"""How much the webhook's clock may be ahead of this node's."""


class RequestIndex:
    """The exec and debug requests by pod. Fed from the mirror's thread, read from the pipeline's."""

    def __init__(self) -> None:
        self.key: bytes | None = None
        """The key of the hashes of commands (`exectrail.contracts.command_hash`); without it texts are compared."""
        self._by_pod: dict[tuple[str, str], dict[str, AuditSession]] = {}

    def changed(self, old: AuditSession | None, new: AuditSession | None) -> None:
        """Take over a change of the mirror of requests."""
        if new and new.spec.verb in ("exec", "debug"):
            self._by_pod.setdefault(_pod(new.spec.target), {})[new.metadata.name] = new
        elif old:
            pod = _pod(old.spec.target)
            self._by_pod.get(pod, {}).pop(old.metadata.name, None)
            if not self._by_pod.get(pod):
                self._by_pod.pop(pod, None)

    def by_command(
        self, container: Container, argv: bytes, wall_ms: int, *, truncated: bool = False
    ) -> list[AuditSession]:
        """Requests for this command in this container, shortly before it was run (milliseconds since the epoch)."""
        return [
            each
            for each in self._of(container)
            if each.spec.verb == "exec"
            and aims_at(each, container)
            and not is_of_earlier_pod(each, container)
            and in_time(each, wall_ms)
            and (
                same_command(each.spec, argv, self.key, truncated=truncated) != "other"
                or argv in runs_as(each.spec.command)
            )
        ]

    def debugging(self, container: Container) -> list[AuditSession]:
        """The requests for a container of this name in its pod."""
        name = container.resource.container
        asked = (each for each in self._of(container) if each.spec.verb == "debug")
        return [each for each in asked if each.spec.target.container == name]

    def _of(self, container: Container) -> list[AuditSession]:
        return list(self._by_pod.get((container.resource.namespace, container.resource.pod), {}).values())


def aims_at(audit: AuditSession, container: Container) -> bool:
    """Whether a request aimed at a container; who asked may have left its choice, or the pod's name, to others.

    Where an exec or attach names no container, the API server takes the only one of `spec.containers`, and refuses
    where there are several (`validateContainer` in its pkg/registry/core/pod/strategy.go).
    """
    target, resource = audit.spec.target, container.resource
    if target.container:
        is_meant = target.container == resource.container
    else:
        is_meant = container.sole or audit.spec.verb == "debug"  # which asks for a whole pod
    if not is_meant or target.namespace != resource.namespace:
        return False
    return target.pod == resource.pod or bool(
        not target.pod and target.generate_name and resource.pod.startswith(target.generate_name)
    )


def asked_ms(audit: AuditSession) -> float:
    """When it was asked for, in milliseconds since the epoch."""
    return datetime.fromisoformat(audit.spec.time).timestamp() * 1000


def in_time(audit: AuditSession, wall_ms: int) -> bool:
    """Whether a process that started then may be what this request asked for (milliseconds since the epoch)."""
    return -CLOCKS_DIFFER_MS <= wall_ms - asked_ms(audit) <= _WITHIN_MS


def is_of_earlier_pod(audit: AuditSession, container: Container) -> bool:
    """Whether a pod that the request needs was created only after it: the request was for one of the same name."""
    return container.created_ms is not None and container.created_ms - asked_ms(audit) > CLOCKS_DIFFER_MS


def _pod(target: Target) -> tuple[str, str]:
    return target.namespace, target.pod
