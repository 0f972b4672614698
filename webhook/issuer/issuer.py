"""Keeps the webhook's own certificates in their Secret, and their CA in the webhook configuration.

The chart makes the Secret, empty: the webhook has no right to make one. All replicas read it over the API, since a
mounted one comes up to a minute late, and each write is bound to the version it was decided by, so that they agree.
"""

import logging
import time
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from msgspec import Struct

from exectrail.contracts.meta import ObjectMeta
from exectrail.k8s.client import Client
from exectrail.k8s.mirror import HasMetadata, Mirror
from webhook import metrics
from webhook.certificates.pair import Pair
from webhook.certificates.plan import CA_CHAIN, LEAF_CHAIN, LEAF_KEY, Policy, State, plan
from webhook.issuer import configuration
from webhook.issuer.configuration import Configuration, Sightings
from webhook.issuer.rounds import Rounds
from webhook.sparse_log import SparseLog

_SYNCING, _WRITTEN, _ABSENT = timedelta(seconds=0.1), timedelta(seconds=5), timedelta(seconds=10)
"""When to look again: while lists come in, where the own change has to come back, where something is not there."""

_NOT_THERE = "is not there: helm upgrade makes it"
_NOT_OURS = (
    "is still cert-manager's. Helm leaves an annotation that others have set as well; remove it: "
    f"kubectl annotate mutatingwebhookconfiguration {{}} {configuration.INJECTED}-"
)

log = logging.getLogger(__name__)
sparse = SparseLog(log)

O = TypeVar("O", bound=HasMetadata)  # noqa: E741 - an object of the API


class Secret(Struct, frozen=True):
    """The Secret (core/v1); its bytes are base64 in JSON, as msgspec has it."""

    metadata: ObjectMeta
    data: dict[str, bytes] | None = None


class Issuer:
    """Where the pair to serve with comes from, in `tls.mode: self-managed`.

    Args:
        client: Where to read and write.
        namespace: The Secret's.
        secret: The Secret's name.
        registration: The name of the MutatingWebhookConfiguration.
        policy: What to issue.

    """

    hint = "is the Secret there (helm upgrade makes it), and may the webhook read and patch it?"

    def __init__(self, client: Client, namespace: str, secret: str, registration: str, policy: Policy) -> None:
        self.changed: Callable[[], None] = lambda: None
        """Called when there is another pair."""
        self.trusted = False
        """Whether the API server has been seen to trust what is served with; it stays so, because what goes wrong later
        is no better where no replica is ready."""
        self._client, self._policy = client, policy
        self._secret_name = f"{namespace}/{secret}"
        self._secret_path = f"/api/v1/namespaces/{namespace}/secrets"
        self._rounds, self._sightings = Rounds("certificates", self._round), Sightings()
        self._secrets = Mirror(
            client, self._secret_path, Secret, self._noticed, fieldSelector=f"metadata.name={secret}"
        )
        self._configurations = Mirror(
            client, configuration.PATH, Configuration, self._noticed, fieldSelector=f"metadata.name={registration}"
        )

    def __str__(self) -> str:
        return f"certificate in the Secret {self._secret_name}"

    def start(self) -> None:
        """Begin to look after them, in threads of its own."""
        for mirror in (self._secrets, self._configurations):
            metrics.MIRROR_AGE.labels(mirror.resource).set_function(mirror.age)
            mirror.start()
        self._rounds.start()

    def version(self) -> object:
        """As `webhook.serving.tls.Source`."""
        return self.read()

    def read(self) -> Pair:
        """As `webhook.serving.tls.Source`."""
        data = self._data(_only(self._secrets))
        if not (data.get(LEAF_CHAIN) and data.get(LEAF_KEY)):
            raise FileNotFoundError(f"there is none in the Secret {self._secret_name} yet")
        return Pair(data[LEAF_CHAIN], data[LEAF_KEY])

    def _noticed(self, _old: object, _new: object) -> None:
        self._rounds.noticed()
        self.changed()

    def _round(self) -> timedelta:
        """Take the next step; returns when to look again, if nothing changes before."""
        if not (self._secrets.synced.is_set() and self._configurations.synced.is_set()):
            return _SYNCING
        secret, registered = _only(self._secrets), _only(self._configurations)
        if secret is None:
            sparse.warning("secret", f"there is no Secret {self._secret_name}: helm upgrade makes it")
            return _ABSENT
        data, at = self._data(secret), time.monotonic()
        bundles = registered.bundles if registered else []
        self._sightings.look(bundles, at)
        trusted = self._sightings.trusted(data.get(CA_CHAIN, b""), at)
        recent = self._sightings.recent(at, self._policy.keep)
        due = plan(State(datetime.now(UTC), data, bundles, trusted, recent), self._policy)
        if due.changes:
            self._write(secret, due.changes, due.why)
            return _WRITTEN
        return self._register(registered, due.bundle) or due.again

    def _write(self, secret: Secret, changes: dict[str, bytes], why: str) -> None:
        data = {key: b64encode(value).decode() for key, value in changes.items()}
        version = {"resourceVersion": secret.metadata.resource_version}
        self._client.patch(f"{self._secret_path}/{secret.metadata.name}", {"metadata": version, "data": data})
        log.info("issued %s: %s", " and ".join(key for key in changes if key.endswith(".crt")), why)

    def _register(self, registered: Configuration | None, bundle: bytes) -> timedelta | None:
        """Have the API server trust these CAs; nothing to wait for where it does."""
        if registered is None or not registered.ours:
            what = _NOT_OURS.format(registered.metadata.name) if registered else _NOT_THERE
            sparse.warning("configuration", f"cannot write caBundle: the configuration {what}")
            return _ABSENT
        steps = configuration.patch(registered, bundle)
        if not steps:
            self.trusted = True
            return None
        self._client.json_patch(f"{configuration.PATH}/{registered.metadata.name}", steps)
        metrics.CONFIGURATION_REPAIRED.labels("caBundle").inc()
        log.info("wrote caBundle", extra={"entries": len(steps) // 2})
        return _WRITTEN

    @staticmethod
    def _data(secret: Secret | None) -> dict[str, bytes]:
        return (secret.data if secret else None) or {}


def _only(mirror: Mirror[O]) -> O | None:
    return next(iter(list(mirror.objects.values())), None)
