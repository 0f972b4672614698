"""The file for a support case: what the doctor found, the state of the release and of the nodes, and logs.

No Secret is asked for, and neither is a trail. Of logs and objects only what is known to be harmless goes in.
"""

import errno
import io
import re
import tarfile
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from exectrail.contracts import nodetrail
from exectrail.doctor.bare import OUR_CONTAINERS, bare, without_secret
from exectrail.doctor.log_lines import is_log_line
from exectrail.doctor.objects import INSTANCE_LABEL, NAME_LABEL, PRODUCT, Pod
from exectrail.doctor.seen import Seen
from exectrail.reading.kubectl import Kubectl, KubectlError
from exectrail.reading.listing import decoded, listed
from exectrail.service.whole_file import whole

MOST_PODS = 20
"""The most pods of a part whose logs are collected: those that are not ready first."""
MOST_LINES = 5_000
"""The most lines of a log, the newest."""
_PAGE = 500
_CONTAINERS = {"webhook": "webhook", "controller": "controller", "enricher": "enricher", "node": "installer"}
"""Whose log is collected, by component; the container `reader` has none."""
_CONFIG_MAPS = ("-webhook-outages", "-unwritten-sessions")
"""How the names of those end that are statuses."""
_EVENTS_OF = {"Deployment": "deployments.json", "DaemonSet": "daemonsets.json", "Pod": "pods.json"}
"""Which file of the bundle has the objects of a kind that events are kept of."""
_container_of = re.compile(r"spec\.\w+\{(.*)\}").fullmatch
"""The container that an event is about, in its `involvedObject.fieldPath`."""


def write(path: Path, kubectl: Kubectl, seen: Seen, report: Mapping[str, object]) -> list[str]:
    """Write it.

    Args:
        path: The file, which is made anew: a link there is replaced, and what it leads to is left alone.
        kubectl: The cluster.
        seen: What the doctor saw.
        report: What the doctor says, as JSON.

    Returns:
        What could not be collected, a sentence each.

    Raises:
        OSError: The file cannot be written.

    """
    problems: list[str] = []
    _check(path)
    # For its owner alone: names of users and pods are in it.
    with whole(path) as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
        _add(archive, "doctor.json", _json(report), seen)
        found: dict[str, Any] = {}
        wanted: list[tuple[str, Callable[[], object]]] = [("versions.json", partial(_versions, kubectl))]
        wanted += [(name, partial(_collected, kubectl, source)) for name, source in _sources(seen)]
        wanted += [("events.json", partial(_events, kubectl, seen, found))]  # last, since it goes by the others
        for name, collect in wanted:
            try:
                found[name] = collect()
            except KubectlError as error:
                problems.append(_missing(name, error))
            else:
                _add(archive, name, _json(found[name]), seen)
        for pod, container in _logs(seen):
            for suffix, options in (("log", ()), ("previous.log", ("--previous",))):
                name = f"logs/{pod.metadata.name}.{container}.{suffix}"
                try:
                    _add(archive, name, _log(kubectl, pod, container, options), seen)
                except KubectlError as error:
                    if not options:  # of a container that never ended there is no earlier one
                        problems.append(_missing(name, error))
    return problems


def _check(path: Path) -> None:
    if path.exists() and not path.is_file():  # such as a device, which is not to be replaced
        raise FileExistsError(errno.EEXIST, "it is no file", str(path))


def _missing(name: str, error: KubectlError) -> str:
    return f"the bundle has no {name}: {' '.join(str(error).split())}"


def _add(archive: tarfile.TarFile, name: str, content: bytes, seen: Seen) -> None:
    entry = tarfile.TarInfo(f"exectrail-doctor/{name}")
    entry.size, entry.mtime, entry.mode = len(content), int(seen.now.timestamp()), 0o600
    archive.addfile(entry, io.BytesIO(content))


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


class _Source(Struct, frozen=True):
    path: str
    query: Mapping[str, str] = {}
    reduced: Callable[[dict[str, Any]], dict[str, Any] | None] = bare
    """What is kept of an object; None for nothing."""


def _sources(seen: Seen) -> Iterator[tuple[str, _Source]]:
    place = f"namespaces/{seen.release.namespace}"
    mine = {"labelSelector": f"{NAME_LABEL}={PRODUCT},{INSTANCE_LABEL}={seen.release.instance}"}
    yield "deployments.json", _Source(f"/apis/apps/v1/{place}/deployments", mine)
    yield "daemonsets.json", _Source(f"/apis/apps/v1/{place}/daemonsets", mine)
    yield "pods.json", _Source(f"/api/v1/{place}/pods", mine)
    yield "configmaps.json", _Source(f"/api/v1/{place}/configmaps", mine, _config_map)
    yield "nodes.json", _Source("/api/v1/nodes", reduced=_node)
    yield "nodetrails.json", _Source(f"/apis/{nodetrail.GROUP_VERSION}/{nodetrail.PLURAL}")
    path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    yield "mutatingwebhookconfigurations.json", _Source(path, reduced=_configuration)
    if seen.certificates.items:
        yield "certificates.json", _Source(f"/apis/cert-manager.io/v1/{place}/certificates", mine)


def _config_map(item: dict[str, Any]) -> dict[str, Any] | None:
    found: dict[str, Any] = bare(item)
    return found if found["metadata"]["name"].endswith(_CONFIG_MAPS) else None


def _node(item: dict[str, Any]) -> dict[str, Any]:
    """Its state, without images and addresses."""
    meta, status = item["metadata"], item.get("status", {})
    kept = {key: status[key] for key in ("conditions", "nodeInfo") if key in status}
    spec = {key: item["spec"][key] for key in ("taints", "unschedulable") if key in item.get("spec", {})}
    return {"metadata": {"name": meta["name"], "labels": meta.get("labels", {})}, "spec": spec, "status": kept}


def _configuration(item: dict[str, Any]) -> dict[str, Any]:
    """Ours, without the secret of its paths; of others only what they are called for."""
    found: dict[str, Any] = bare(item)
    if item["metadata"].get("labels", {}).get(NAME_LABEL) == PRODUCT:
        return {**found, "webhooks": [without_secret(each) for each in found.get("webhooks", [])]}
    said = ("name", "rules", "failurePolicy", "reinvocationPolicy")
    webhooks = [{key: each[key] for key in said if key in each} for each in found.get("webhooks", [])]
    return {"metadata": {"name": item["metadata"]["name"]}, "webhooks": webhooks}


def _collected(kubectl: Kubectl, source: _Source) -> list[Any]:
    items = (decoded(bytes(raw), dict[str, Any]) for raw in listed(kubectl, source.path, _PAGE, **source.query))
    return [kept for item in items if (kept := source.reduced(item)) is not None]


def _events(kubectl: Kubectl, seen: Seen, found: Mapping[str, list[Any]]) -> list[Any]:
    """Those about the release's objects; what they say of foreign containers may be of their commands and probes."""
    names = {kind: {each["metadata"]["name"] for each in found.get(file, [])} for kind, file in _EVENTS_OF.items()}
    names["ConfigMap"] = {each.metadata.name for each in seen.config_maps.items}

    def reduced(item: dict[str, Any]) -> dict[str, Any] | None:
        about = item.get("involvedObject", {})
        kind, name = about.get("kind"), about.get("name", "")
        if kind == "ReplicaSet":  # `deployment-hash`; that its pods are refused is said of it alone
            kind, name = "Deployment", name.rpartition("-")[0]
        field = about.get("fieldPath", "")
        container = _container_of(field)
        harmless = not field or (container is not None and container[1] in OUR_CONTAINERS)
        return bare(item) if harmless and name in names.get(kind, ()) else None

    return _collected(kubectl, _Source(f"/api/v1/namespaces/{seen.release.namespace}/events", reduced=reduced))


def _versions(kubectl: Kubectl) -> Any:  # noqa: ANN401 - any JSON
    return decoded(kubectl.ask("version", "--output=json"), dict[str, Any])


def _logs(seen: Seen) -> Iterator[tuple[Pod, str]]:
    for component, container in _CONTAINERS.items():
        pods = sorted(seen.own_pods_of(component), key=lambda pod: (pod.ready, pod.metadata.name))
        yield from ((pod, container) for pod in pods[:MOST_PODS])


def _log(kubectl: Kubectl, pod: Pod, container: str, options: tuple[str, ...]) -> bytes:
    kept: deque[bytes] = deque(maxlen=MOST_LINES)
    left_out = 0
    place = (f"--namespace={pod.metadata.namespace}", pod.metadata.name, f"--container={container}")
    with kubectl.stream("logs", *place, f"--tail={MOST_LINES}", *options) as output:
        for line in output:
            if is_log_line(line):
                kept.append(line)
            else:
                left_out += 1
    if left_out:
        one, several = (
            "1 line was left out that is no log line",
            f"{left_out} lines were left out that are no log lines",
        )
        kept.append(f"{one if left_out == 1 else several} of exectrail\n".encode())
    return b"".join(kept)
