"""Objects of the API without what a support case must not have: values of variables, and what others put there."""

from typing import Any

import msgspec

from exectrail.contracts.webhook_configuration import parted
from exectrail.doctor.log_lines import is_log_line

_LEFT_OUT = {"managedFields", "stringData", "binaryData"}
_OF_FOREIGN_CONTAINERS = {"command", "args", "lifecycle", "livenessProbe", "readinessProbe", "startupProbe"}
_ENTRIES = "--webhooks="
"""The controller's argument with the entries of the webhook configuration, as JSON."""
OUR_CONTAINERS = {"webhook", "controller", "enricher", "installer", "reader"}
_OUR_ANNOTATIONS = ("exectrail.io/", "cert-manager.io/", "meta.helm.sh/", "deprecated.daemonset.template.generation")


def bare(value: Any) -> Any:  # noqa: ANN401 - any JSON
    """A copy of an object.

    Of environment variables the names stay, of annotations those of exectrail, Helm and cert-manager:
    `kubectl.kubernetes.io/last-applied-configuration` has all that was applied. Commands and probes of foreign
    containers, which other webhooks add, go, and so does the secret of the webhook's paths. So does a container's last
    message that is no log line: it may be the end of a trail.
    """
    if isinstance(value, list):
        return [bare(each) for each in value]
    if not isinstance(value, dict):
        return value
    foreign = "image" in value and value.get("name") not in OUR_CONTAINERS
    return {
        key: _bare(key, each)
        for key, each in value.items()
        if key not in _LEFT_OUT and not (foreign and key in _OF_FOREIGN_CONTAINERS)
    }


def _bare(key: str, value: Any) -> Any:  # noqa: ANN401 - any JSON
    match key, value:
        case "env", list():
            return [{"name": each.get("name")} for each in value if isinstance(each, dict)]
        case "args", list():
            return [_argument(str(each)) for each in value]
        case "annotations", dict():
            return {name: each for name, each in value.items() if name.startswith(_OUR_ANNOTATIONS)}
        case "terminated", dict():
            return bare({name: _logged(each) if name == "message" else each for name, each in value.items()})
    return bare(value)


def without_secret(entry: dict[str, Any]) -> dict[str, Any]:
    """An entry of our webhook configuration without the secret of its path."""
    client = entry.get("clientConfig", {})
    service = client.get("service", {})
    path, _ = parted(str(service.get("path", "")))
    return {**entry, "clientConfig": {**client, "service": {**service, "path": path}}}


def _argument(word: str) -> str:
    """An argument, without the secret that one of an older chart has."""
    if not word.startswith(_ENTRIES):
        return word
    try:
        entries = msgspec.json.decode(word.removeprefix(_ENTRIES), type=list[dict[str, Any]])
        return _ENTRIES + msgspec.json.encode([without_secret(each) for each in entries]).decode()
    except (msgspec.MsgspecError, AttributeError, TypeError):
        return _ENTRIES  # a secret may be anywhere in it


def _logged(message: object) -> str:
    return "\n".join(line for line in str(message).splitlines() if is_log_line(line.encode()))
