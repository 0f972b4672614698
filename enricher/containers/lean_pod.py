"""A pod without what the enricher does not need: anyone may make pods of a megabyte, as many as they like.

They also hold secrets, in values of variables and in commands, which a recording must not have. The values that a
probe's command names are kept: they stand in its process's arguments, too.
"""

from msgspec.structs import replace

from enricher.containers.expansion import names_in
from enricher.containers.pods import CONFIG_HASH, CONFIG_MIRROR, Container, Pod, probe_commands
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.node_debug import SOURCE
from exectrail.contracts.session import TAG_VARIABLE


def lean_pod(pod: Pod, *, debugs: bool) -> Pod:
    """The pod with the variable that the webhook sets, and the commands of containers that a request made.

    Of probes and hooks the commands are kept while it may run. The pod itself, where there is no more in it.

    Args:
        pod: The pod.
        debugs: Whether it is for debugging its node.

    """
    over = pod.status.is_over
    spec = replace(
        pod.spec,
        containers=[_container(each, asked_for=debugs, over=over) for each in pod.spec.containers],
        init_containers=[_container(each, asked_for=debugs, over=over) for each in pod.spec.init_containers],
        ephemeral_containers=[_container(each, asked_for=True, over=over) for each in pod.spec.ephemeral_containers],
    )
    meta = lean_meta(pod.metadata, pod.metadata.labels)
    created, owners = pod.metadata.creation_timestamp, pod.metadata.owner_references[:1]  # that it has one matters
    found = Pod(replace(meta, creation_timestamp=created, owner_references=owners), spec, pod.status)
    return pod if found == pod else found


def lean_meta(meta: ObjectMeta, labels: dict[str, str] | None = None) -> ObjectMeta:
    """What an object goes by, with these labels and the annotations that matter."""
    kept = (CONFIG_HASH, CONFIG_MIRROR, SOURCE)
    annotations = {key: value for key, value in meta.annotations.items() if key in kept}
    return ObjectMeta(meta.name, meta.namespace, meta.uid, labels=labels or {}, annotations=annotations)


def _container(container: Container, *, asked_for: bool, over: bool) -> Container:
    kept = {TAG_VARIABLE}.union(*([] if over else map(names_in, probe_commands(container))))
    lean = replace(container, env=[each for each in container.env if each.name in kept])
    if over:
        lean = replace(lean, liveness_probe=None, readiness_probe=None, startup_probe=None, lifecycle=None)
    return lean if asked_for else replace(lean, command=[], args=[])
