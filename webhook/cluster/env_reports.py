"""Which containers have a program `env`, as the nodes report it in their NodeTrails."""

from datetime import UTC, datetime, timedelta

from msgspec import Struct

from exectrail.contracts.nodetrail import NodeTrail

_Pods = dict[str, dict[str, bool]]


class _Report(Struct, frozen=True):
    """What one node reported, and when."""

    pods: _Pods
    """By `namespace/pod` and container."""
    at: datetime | None
    fresh_for: timedelta


class EnvReports:
    """All nodes' reports. Written by one thread and read by others, so what is replaced is replaced whole."""

    def __init__(self) -> None:
        self._reports: dict[str, _Report] = {}

    def changed(self, old: NodeTrail | None, new: NodeTrail | None) -> None:
        """Take over a change of a NodeTrail; either side is `None` where it came or went."""
        if new:
            self._reports[new.metadata.name] = _report(new)
        elif old:
            self._reports.pop(old.metadata.name, None)

    def names(self, node: str, pod: str) -> bool:
        """Whether a node's last report is about a pod, `namespace/name`."""
        report = self._reports.get(node)
        return report is not None and pod in report.pods

    def has_env(self, namespace: str, pod: str, container: str, node: str, now: datetime) -> bool | None:
        """Whether the container has the program; `None` where its own node has not reported it lately.

        What other nodes say of it does not count: root on a node could have tags put in front of any command, which
        fails then where there is no `env`. Without a container's name the answer holds for all of the pod's.
        """
        report = self._reports.get(node) if node else None
        if report is None or report.at is None or now - report.at > report.fresh_for:
            return None  # the pod's name may stand for another image by now
        said = report.pods.get(f"{namespace}/{pod}", {})
        if container:
            return said.get(container)
        return all(said.values()) if said else None


def _report(trail: NodeTrail) -> _Report:
    pods: _Pods = {}
    for key, has in trail.status.env.items():
        pod, _, container = key.rpartition("/")
        pods.setdefault(pod, {})[container] = has
    return _Report(pods, _instant(trail.status.heartbeat), trail.status.fresh_for)


def _instant(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)
