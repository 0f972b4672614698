"""The release's own MutatingWebhookConfiguration: what the API server trusts, and how to change that. No I/O."""

from base64 import b64encode
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from msgspec import Struct

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.webhook_configuration import parted
from webhook.certificates.pem import blocks

PATH = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
INJECTED = "cert-manager.io/inject-ca-from"


class Service(Struct, frozen=True):
    """Where an entry's calls go."""

    path: str = ""


class ClientConfig(Struct, frozen=True, rename="camel"):
    """How the API server calls one entry."""

    ca_bundle: bytes | None = None
    service: Service = Service()


class Entry(Struct, frozen=True, rename="camel"):
    """One of its webhooks."""

    name: str
    client_config: ClientConfig = ClientConfig()


class Configuration(Struct, frozen=True):
    """The object (admissionregistration.k8s.io/v1), as far as it matters here."""

    metadata: ObjectMeta
    webhooks: list[Entry] = []

    @property
    def bundles(self) -> list[bytes]:
        """What the API server trusts, by entry."""
        return [each.client_config.ca_bundle or b"" for each in self.webhooks]

    @property
    def ours(self) -> bool:
        """Whether it is ours to write: cert-manager's cainjector would set it back, again and again."""
        return INJECTED not in self.metadata.annotations


def patch(configuration: Configuration, bundle: bytes) -> list[dict[str, Any]]:
    """What to change so that each entry trusts these CAs and no others; nothing where each does.

    A JSON patch (RFC 6902) that fails where the object has changed since.
    """
    wanted, text = set(blocks(bundle)), b64encode(bundle).decode()
    wrong = {
        at: text
        for at, entry in enumerate(configuration.webhooks)
        if set(blocks(entry.client_config.ca_bundle or b"")) != wanted
    }
    return _steps(configuration, "caBundle", wrong)


def patch_paths(configuration: Configuration, token: str) -> list[dict[str, Any]]:
    """What to change so that the path of each entry ends with this token; as `patch`."""
    paths = [parted(entry.client_config.service.path) for entry in configuration.webhooks]
    wrong = {at: f"{base}/{token}" for at, (base, found) in enumerate(paths) if found != token}
    return _steps(configuration, "service/path", wrong)


def _steps(configuration: Configuration, field: str, wrong: dict[int, str]) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = []
    for at, value in wrong.items():
        steps += [
            {"op": "test", "path": f"/webhooks/{at}/name", "value": configuration.webhooks[at].name},
            {"op": "add", "path": f"/webhooks/{at}/clientConfig/{field}", "value": value},
        ]
    version = configuration.metadata.resource_version
    return [{"op": "test", "path": "/metadata/resourceVersion", "value": version}, *steps] if steps else []


class Sightings:
    """Since when each certificate has been trusted, by this process's own clock, in seconds."""

    def __init__(self) -> None:
        self._in_all: dict[bytes, float] = {}
        self._in_any: dict[bytes, float] = {}

    def look(self, bundles: list[bytes], now: float) -> None:
        """Take note of what is trusted now."""
        each = [set(blocks(bundle)) for bundle in bundles]
        self._in_any = _since(self._in_any, set().union(*each), now)
        self._in_all = _since(self._in_all, set.intersection(*each) if each else set(), now)

    def trusted(self, certificate: bytes, now: float) -> timedelta | None:
        """For how long all entries have had the first certificate of this PEM."""
        found = next(iter(blocks(certificate)), b"")
        return timedelta(seconds=now - self._in_all[found]) if found in self._in_all else None

    def recent(self, now: float, keep: timedelta) -> list[bytes]:
        """What was seen first less than so long ago."""
        return [each for each, since in self._in_any.items() if now - since < keep.total_seconds()]


def _since(before: dict[bytes, float], there: Iterable[bytes], now: float) -> dict[bytes, float]:
    return {each: before.get(each, now) for each in there}
