"""The rendered objects of a release: how to get them, and how to find things in them."""

import subprocess
from pathlib import Path
from typing import Any, Protocol

CHART = Path(__file__).parents[3] / "chart"

Document = dict[str, Any]


class HelmTemplate(Protocol):
    """What the fixture `helm_template` is."""

    def __call__(
        self,
        values: Document | None = None,
        *,
        release: str = "exectrail",
        namespace: str = "exectrail",
        live: list[Document] | None = None,
    ) -> list[Document]:
        """The objects of a release; with `live` in a cluster that has these objects already."""


class RunHelm(Protocol):
    """What the fixture `run_helm` is."""

    def __call__(
        self,
        values: Document | None = None,
        *,
        release: str = "exectrail",
        namespace: str = "exectrail",
        live: list[Document] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """What helm says, whether it succeeds or not."""


CLUSTER_SCOPED = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "MutatingWebhookConfiguration",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
}
WORKLOADS = {"Deployment", "DaemonSet"}


def only(documents: list[Document], kind: str, component: str | None = None) -> Document:
    """The one object of a kind, or of a kind and a component."""
    (found,) = (
        document for document in documents if document["kind"] == kind and component in {None, component_of(document)}
    )
    return found


def component_of(document: Document) -> str:
    return str(document["metadata"]["labels"]["app.kubernetes.io/component"])


def workloads(documents: list[Document]) -> dict[str, Document]:
    """Deployments and DaemonSets by component."""
    return {component_of(document): document for document in documents if document["kind"] in WORKLOADS}


def pod_template(documents: list[Document], component: str) -> Document:
    template: Document = workloads(documents)[component]["spec"]["template"]
    return template


def pod_spec(documents: list[Document], component: str) -> Document:
    spec: Document = pod_template(documents, component)["spec"]
    return spec


def container(spec: Document, name: str) -> Document:
    (found,) = (item for item in spec["containers"] if item["name"] == name)
    return dict(found)


def mounts(spec: Document, name: str) -> dict[str, Document]:
    """A container's mounts by path, each with the `volume` that it mounts."""
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    return {
        mount["mountPath"]: {**mount, "volume": volumes[mount["name"]]}
        for mount in container(spec, name).get("volumeMounts", [])
    }
