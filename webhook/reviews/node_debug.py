"""Recognises the pods that `kubectl debug node/...` and `oc debug node/...` make.

A user in such a pod is on the node, so its request has a session in every namespace, and the pod gets the variable
whatever the tag mode is: no workload depends on it. The chart's entry `nodedebug.exectrail.io` has the same conditions
in CEL, so that the API server asks about no other pod.
"""

from exectrail.contracts.node_debug import LABELS, is_node_debug
from webhook.reviews.json_value import Budget, Value
from webhook.reviews.review import Request
from webhook.reviews.tag_variable import Container, containers_of


def node_debug(request: Request, budget: Budget) -> list[Container]:
    """The containers of a new pod for debugging a node, first those that go on running; none of any other pod.

    Raises:
        BadReview: The request's object is no pod.
        TooLarge: The budget does not suffice.

    """
    metadata, spec = request.object.required().members("metadata", "spec")
    labels, generate_name = metadata.members("labels", "generateName")
    node, containers, init, volumes, *on_the_host = spec.required().members(
        "nodeName", "containers", "initContainers", "volumes", "hostPID", "hostNetwork", "hostIPC"
    )
    is_ours = is_node_debug(
        request.name,
        {key: label.text() for key, label in zip(LABELS, labels.members(*LABELS), strict=True)},
        on_the_host=any(each.flag() for each in on_the_host),
        sees_the_root=any(_is_root(source) for (source,) in volumes.objects(budget, "hostPath")),
    )
    if not is_ours or not node.text():  # the client chose it; what the scheduler places has none yet
        return []
    beginning = "" if request.name else generate_name.text()
    running, before = (
        list(containers_of(listed, member, budget, node=node.text(), generate_name=beginning))
        for member, listed in (("containers", containers), ("initContainers", init))
    )
    return [*running, *before] if running else []


def _is_root(host_path: Value) -> bool:
    (path,) = host_path.members("path")
    return path.text() == "/"
