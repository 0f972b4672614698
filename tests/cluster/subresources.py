"""Changes of a namespace by its subresources, which take labels and annotations as the namespace itself does."""

import json
from subprocess import CompletedProcess
from typing import Any

from .cluster import Cluster

OF_NAMESPACE = ("status", "finalize")


def change(
    admin: Cluster, name: str, sub: str, metadata: dict[str, dict[str, str]], *who: str
) -> CompletedProcess[str]:
    """Add labels or annotations; it may be refused.

    Args:
        admin: Who asks, if `who` does not say otherwise.
        name: The namespace's.
        sub: The subresource.
        metadata: What to add, as the API has it.
        who: Options of kubectl that impersonate.

    """
    if sub == "status":
        patch = json.dumps({"metadata": metadata})
        return admin.kubectl(
            "patch", "namespace", name, "--subresource=status", "--type=merge", "-p", patch, *who, check=False
        )
    # It takes no patch, only a whole namespace.
    whole: dict[str, Any] = admin.get("namespace", name)
    del whole["metadata"]["resourceVersion"]
    for kind, added in metadata.items():
        whole["metadata"][kind] = whole["metadata"].get(kind, {}) | added
    path = f"/api/v1/namespaces/{name}/{sub}"
    return admin.kubectl("replace", "--raw", path, "-f", "-", *who, stdin=json.dumps(whole), check=False)
