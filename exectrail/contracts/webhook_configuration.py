"""Whether the webhook's configuration in the cluster still is what the chart made.

A canary cannot show it all: each entry of the configuration has rules and selectors of its own. A user who takes
`pods/exec` out of one, or excludes a namespace, hides execs, and the canary comes back all the same.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from exectrail.contracts.canary import ENTRY

Entry = Mapping[str, Any]
"""admissionregistration.k8s.io/v1 MutatingWebhook, as in JSON."""

_NARROWING = {"namespaceSelector", "objectSelector", "matchConditions"}
"""What means "everything" where it is absent, and what the API server shows as empty then."""


class Configuration(Struct, frozen=True):
    """admissionregistration.k8s.io/v1 MutatingWebhookConfiguration, or what the chart says of one."""

    webhooks: list[dict[str, Any]] = []


def path(name: str) -> str:
    """Where the API has it."""
    return f"/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/{name}"


def changes(expected: list[dict[str, Any]], live: list[dict[str, Any]]) -> list[str]:
    """What is not as the chart made it, entry by entry; further entries do no harm.

    Args:
        expected: The chart's entries. What they leave to others to fill in, no `caBundle`, is not compared.
        live: Those in the cluster.

    """
    there = {str(entry.get("name")): entry for entry in live}
    canary = there.get(ENTRY, {})
    found = []
    for entry in expected:
        name = entry["name"]
        if name not in there:
            found.append(f"{name} is missing")
        elif fields := sorted(_changed(entry, there[name], canary)):
            found.append(f"{name} has another {', '.join(fields)}")
    return found


def _changed(entry: Entry, live: Entry, canary: Entry) -> Iterator[str]:
    for field in (entry.keys() | _NARROWING) - {"clientConfig"}:
        wider = field == "matchConditions" and not live.get(field)
        # cert-manager before 1.13 takes conditions out: more is asked then, and nothing is hidden.
        if (entry.get(field) or None) != (live.get(field) or None) and not wider:
            yield field
    # The canary came back by the CA and the secret path of its own entry, so these are right.
    (service, _), (now, token) = _service(entry), _service(live)
    if service != now or token != _service(canary)[1]:
        yield "service"
    if _ca(live) != (_ca(entry) or _ca(canary)):
        yield "caBundle"


def _ca(entry: Entry) -> str:
    return str(entry.get("clientConfig", {}).get("caBundle") or "")


def _service(entry: Entry) -> tuple[dict[str, Any], str]:
    """Where it is called, and the secret that the webhook may have put behind the path."""
    service = dict(entry.get("clientConfig", {}).get("service") or {})
    base, token = parted(str(service.get("path", "")))
    return service | {"path": base}, token


def parted(path: str) -> tuple[str, str]:
    """A path's first segment, which says what is asked, and the rest, which proves who asks."""
    base, _, token = path.removeprefix("/").partition("/")
    return f"/{base}", token
