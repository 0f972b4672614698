"""Recognises new pods for debugging a node, as `kubectl debug node/...` and `oc debug node/...` make them.

A user in such a pod is on the node, so its request has a session in every namespace, and the pod gets the variable
whatever the tag mode is: no workload depends on it. The chart's entry `nodedebug.exectrail.io` has the same conditions
in CEL, so that the API server asks about no other pod.
"""

from collections.abc import Mapping

from exectrail.contracts.node_debug import LABELS, SOURCE, Traits, is_node_debug
from webhook.reviews.json_value import Budget, Value
from webhook.reviews.review import Request
from webhook.reviews.tag_variable import Container, containers_of

_SOURCE_BYTES = 512
"""More than any resource and name take."""


def node_debug(request: Request, budget: Budget, match: Mapping[str, str]) -> list[Container]:
    """The containers of a new pod for debugging a node, first those that go on running; none of any other pod.

    Args:
        request: The pod's creation.
        budget: How much of it is read.
        match: Labels of a site's own such pods.

    Raises:
        BadReview: The request's object is no pod.
        TooLarge: The budget does not suffice.

    """
    metadata, spec = request.object.required().members("metadata", "spec")
    labels, annotations, owners, generate_name = metadata.members(
        "labels", "annotations", "ownerReferences", "generateName"
    )
    node, containers, init, *on_the_host = spec.required().members(
        "nodeName", "containers", "initContainers", "hostPID", "hostNetwork", "hostIPC"
    )
    keys = {**LABELS, **match}
    (source,) = annotations.members(SOURCE)
    traits = Traits(
        name=request.name,
        labels={key: label.text() for key, label in zip(keys, labels.members(*keys), strict=True)},
        annotations={SOURCE: source.text(_SOURCE_BYTES)},
        owned=bool(owners.objects(budget, "kind")),
        host_pid=on_the_host[0].flag(),
        on_the_host=any(each.flag() for each in on_the_host),
        privileged=any(_is_privileged(each, budget) for each in (containers, init)),
    )
    if not is_node_debug(traits, match) or not node.text():  # the client chose it; the scheduler has placed none yet
        return []
    beginning = "" if request.name else generate_name.text()
    running, before = (
        list(containers_of(listed, member, budget, node=node.text(), generate_name=beginning))
        for member, listed in (("containers", containers), ("initContainers", init))
    )
    return [*running, *before] if running else []


def _is_privileged(containers: Value, budget: Budget) -> bool:
    contexts = (context.members("privileged") for (context,) in containers.objects(budget, "securityContext"))
    return any(privileged.flag() for (privileged,) in contexts)
