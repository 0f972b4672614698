"""Recognises the pods that `kubectl debug node/...` and `oc debug node/...` make, and tags them.

Whoever is in such a pod is on the node, so it is in the ledger in every namespace, and gets the variable whatever the
tag mode is: no workload depends on it. The chart's entry `nodedebug.exectrail.io` has the same conditions in CEL, so
that the API server asks about no other pod.
"""

import msgspec
from msgspec import Struct, field

from exectrail.node_debug import is_node_debug
from webhook.admission import Operation, Request, decode_object
from webhook.ledger_entry import Asked
from webhook.tag_variable import Container, set_variable


class _HostPath(Struct, frozen=True):
    path: str = ""


class _Volume(Struct, frozen=True, rename="camel"):
    host_path: _HostPath | None = None


class _Metadata(Struct, frozen=True, rename="camel"):
    generate_name: str = ""
    labels: dict[str, str] = {}


class _Spec(Struct, frozen=True, rename={"node_name": "nodeName", "init_containers": "initContainers",
                                         "host_pid": "hostPID", "host_network": "hostNetwork",
                                         "host_ipc": "hostIPC"}):  # fmt: skip
    containers: list[Container]
    init_containers: list[Container] = []
    node_name: str = ""
    host_pid: bool = False
    host_network: bool = False
    host_ipc: bool = False
    volumes: list[_Volume] = []


class _Pod(Struct, frozen=True):
    spec: _Spec
    metadata: _Metadata = field(default_factory=_Metadata)


_pod = msgspec.json.Decoder(_Pod)


def node_debug(request: Request) -> tuple[Asked, list[Operation]] | None:
    """What a new pod for debugging a node is asked for, and the patch with its tag; `None` for any other pod.

    Raises:
        BadReview: The request's object is no pod.

    """
    pod = decode_object(request.object, _pod, "object")
    spec, meta = pod.spec, pod.metadata
    if not spec.containers or not _is_node_debug(request.name, meta, spec):
        return None
    patch = [
        set_variable(f"/spec/{member}/{index}", container, request.uid)
        for member, containers in (("initContainers", spec.init_containers), ("containers", spec.containers))
        for index, container in enumerate(containers)
    ]
    first = spec.containers[0]
    command = [*first.command, *first.args]
    generate_name = "" if request.name else meta.generate_name
    return Asked("debug", first.name, command, first.tty, first.stdin, spec.node_name, generate_name), patch


def _is_node_debug(name: str, meta: _Metadata, spec: _Spec) -> bool:
    if not spec.node_name:  # the client chose the node; what the scheduler places has none yet
        return False
    return is_node_debug(
        name,
        meta.labels,
        on_the_host=spec.host_pid or spec.host_network or spec.host_ipc,
        sees_the_root=any(volume.host_path and volume.host_path.path == "/" for volume in spec.volumes),
    )
