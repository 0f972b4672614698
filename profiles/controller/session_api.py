"""What the controller asks and writes about AuditSessions.

The AuditSessions themselves come from a mirror: if each round listed many thousand of them, that would cost the API
server a good part of a core.
"""

# mypy: allow-untyped-calls
# (most of the official client has no types)

from datetime import datetime

from kubernetes import client

from exectrail.contracts import nodetrail, session
from exectrail.contracts.nodetrail import NodeTrail
from exectrail.k8s.client import ApiError, Client
from exectrail.k8s.mirror import Mirror
from profiles.controller import retention
from profiles.controller.requests import found, resource, send
from profiles.controller.retention import Close, Pod, Session


def mirror(watching: Client, namespace: str) -> Mirror[Session]:
    """A live copy of all AuditSessions of a namespace, with no more of each than retention needs."""
    path = f"/apis/{session.GROUP_VERSION}/namespaces/{namespace}/{session.PLURAL}"
    return Mirror(watching, path, Session, keep=retention.needed)


class SessionApi:
    """What the rounds ask of the API server.

    Args:
        api_client: The official client, configured.
        namespace: That of the release, where the AuditSessions are.
        sessions: Their live copy.

    """

    def __init__(self, api_client: client.ApiClient, namespace: str, sessions: Mirror[Session]) -> None:
        self._mirror = sessions
        self._custom = client.CustomObjectsApi(api_client)
        self._core = client.CoreV1Api(api_client)
        self._sessions = {**resource(session.GROUP_VERSION, session.PLURAL), "namespace": namespace}
        self._trails = resource(nodetrail.GROUP_VERSION, nodetrail.PLURAL)

    def sessions(self) -> list[Session]:
        """All AuditSessions, as far as they are known."""
        return list(self._mirror.objects.values())

    def trail(self, node: str) -> NodeTrail | None:
        """A node's own word on how it records, now; `None` where it has given none."""
        return found(self._custom.get_cluster_custom_object, NodeTrail, **self._trails, name=node)

    def pod(self, namespace: str, name: str) -> Pod | None:
        """A pod, or `None` where there is none of that name."""
        if not namespace or not name:
            return None  # an empty name would list the collection instead
        return found(self._core.read_namespaced_pod, Pod, name=name, namespace=namespace)

    def close(self, closing: Close, now: datetime) -> None:
        """Write a session's end; `ApiError` 409 where it was written first by others, 404 where it is gone."""
        status = {"phase": "Closed", "outcome": closing.outcome, "endTime": now.isoformat().replace("+00:00", "Z")}
        if closing.node:
            status["node"] = closing.node
        # In a merge patch the version is a precondition (API conventions, "Concurrency Control").
        body = {"metadata": {"resourceVersion": closing.resource_version}, "status": status}
        send(self._custom.patch_namespaced_custom_object_status, **self._sessions, name=closing.name, body=body)

    def delete(self, name: str) -> bool:
        """Delete a session; whether it was still there."""
        try:
            send(self._custom.delete_namespaced_custom_object, **self._sessions, name=name)
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return True
