"""A cluster with some objects, as far as Helm asks one before it writes."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.unit.chart.rendered import CLUSTER_SCOPED, Document

_KINDS = {
    "v1": "ConfigMap PersistentVolumeClaim Pod Secret Service ServiceAccount",
    "admissionregistration.k8s.io/v1": (
        "MutatingWebhookConfiguration ValidatingAdmissionPolicy ValidatingAdmissionPolicyBinding"
    ),
    "apiextensions.k8s.io/v1": "CustomResourceDefinition",
    "apps/v1": "DaemonSet Deployment",
    "cert-manager.io/v1": "Certificate Issuer",
    "networking.k8s.io/v1": "NetworkPolicy",
    "policy/v1": "PodDisruptionBudget",
    "rbac.authorization.k8s.io/v1": "ClusterRole ClusterRoleBinding Role RoleBinding",
}


def installed(each: Document, *, release: str = "exectrail", namespace: str = "exectrail") -> Document:
    """A rendered object as a release has it in the cluster: with what Helm adds."""
    meta = each["metadata"]
    owner = {"meta.helm.sh/release-name": release, "meta.helm.sh/release-namespace": namespace}
    return {**each, "metadata": {**meta, "annotations": {**meta.get("annotations", {}), **owner}}}


@contextmanager
def serving(objects: list[Document]) -> Iterator[str]:
    """The address of a cluster with these objects, and no others."""

    class Handler(_Handler):
        answers = _answers(objects)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _plural(kind: str) -> str:
    name = kind.lower()
    return f"{name[:-1]}ies" if name.endswith("y") else f"{name}s"


def _place(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _answers(objects: list[Document]) -> dict[str, Any]:
    """What is answered, by path."""
    groups = [
        {"name": version.partition("/")[0], "versions": [{"groupVersion": version, "version": "v1"}]}
        for version in _KINDS
        if "/" in version
    ]
    answers: dict[str, Any] = {
        "/version": {"major": "1", "minor": "34", "gitVersion": "v1.34.0"},
        "/api": {"kind": "APIVersions", "versions": ["v1"]},
        "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups},
    }
    for version, kinds in _KINDS.items():
        resources = [
            {"name": _plural(kind), "kind": kind, "namespaced": kind not in CLUSTER_SCOPED, "verbs": ["get"]}
            for kind in kinds.split()
        ]
        answers[_place(version)] = {"kind": "APIResourceList", "groupVersion": version, "resources": resources}
    for each in objects:
        meta, place = each["metadata"], _place(each["apiVersion"])
        folder = f"{place}/namespaces/{meta['namespace']}" if "namespace" in meta else place
        answers[f"{folder}/{_plural(each['kind'])}/{meta['name']}"] = each
    return answers


class _Handler(BaseHTTPRequestHandler):
    answers: dict[str, Any]

    def do_GET(self) -> None:
        answer = self.answers.get(self.path.partition("?")[0])
        missing = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}
        body = json.dumps(missing if answer is None else answer).encode()
        self.send_response(404 if answer is None else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
