"""Has the API server call a path that others do not know, so that calls are checked without a client certificate.

The path's last part is a token from a Secret, which the chart makes, empty. The first replica fills it in, all accept
it, and then it becomes part of the paths in the webhook configuration, which few may read.
"""

import hmac
import logging
import re
import secrets
import threading
import time
from base64 import b64encode
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.webhook_configuration import parted
from exectrail.k8s.client import Client
from exectrail.k8s.mirror import Mirror
from webhook import metrics
from webhook.issuer import configuration
from webhook.issuer.configuration import Configuration
from webhook.issuer.rounds import Rounds
from webhook.sparse_log import SparseLog

TOKEN, CREATED = "token", "created"
_TOKEN_BYTES = 32
_TOKEN = re.compile(r"[0-9a-z]{32,64}")
"""The API server takes a path only if each of its parts is a DNS subdomain in lower case (RFC 1123)."""
_ROTATE = timedelta(days=30)
_SKEW = timedelta(hours=1)
"""How far ahead the clock of the replica that made it may be."""
_SETTLE = timedelta(seconds=5)
"""From a new token until it is called: all replicas have to know it."""
_KEEP_SECONDS = 60.0
"""How long a path is accepted that the configuration had: an API server may hear late of another one."""
_KEEP_PLAIN_SECONDS = 5.0
"""The same for the plain path, which everybody knows: a busy API server takes a second to hear of the first token."""
_SOON, _FORGETTING, _RARELY, _SYNCING, _ABSENT = (timedelta(seconds=each) for each in (15, 2, 3600, 0.1, 10))

log = logging.getLogger(__name__)
sparse = SparseLog(log)


class Secret(Struct, frozen=True):
    """The Secret (core/v1); its bytes are base64 in JSON, as msgspec has it."""

    metadata: ObjectMeta
    data: dict[str, bytes] | None = None


class Due(Struct, frozen=True):
    """What is to be done about the token: write a new one where `new` is set, else call it after `wait`."""

    new: bool
    wait: timedelta = timedelta(0)


def due(data: dict[str, bytes], now: datetime) -> Due:
    """Decide from the Secret and the time."""
    try:
        token, created = data[TOKEN].decode("ascii"), datetime.fromisoformat(data[CREATED].decode("ascii"))
        age = now - created
    except (KeyError, ValueError, TypeError):  # a time without its zone is a TypeError
        return Due(new=True)
    if not _TOKEN.fullmatch(token) or not -_SKEW <= age < _ROTATE:
        return Due(new=True)
    return Due(new=False, wait=max(timedelta(0), min(_SETTLE, _SETTLE - age)))


class Accepted:
    """The tokens that calls may have: the Secret's, and those that the configuration has, or had a moment ago."""

    def __init__(self) -> None:
        self._seen: dict[str, float] = {}
        self.tokens: frozenset[str] = frozenset()
        """Replaced whole: read by other threads."""

    def look(self, own: str | None, live: set[str], now: float) -> None:
        """Take note of what the Secret and the configuration have now, by a clock in seconds."""
        # No one opens the plain path by this: the configuration had it just now, and who may write that may do more.
        kept = {
            token: at
            for token, at in self._seen.items()
            if now - at < (_KEEP_SECONDS if token else _KEEP_PLAIN_SECONDS)
        }
        self._seen = kept | dict.fromkeys(live, now)
        self.tokens = frozenset(self._seen) | ({own} if own else set())

    def admits(self, token: str) -> bool:
        """Whether a call with this token may be answered; how long that takes does not depend on how much fits."""
        asked = token.encode(errors="replace")
        return any(hmac.compare_digest(asked, each.encode(errors="replace")) for each in self.tokens)


class SecretPath:
    """The secret path of a release.

    Args:
        client: Where to read and write.
        namespace: The Secret's.
        secret: The Secret's name.
        registration: The name of the MutatingWebhookConfiguration.

    """

    def __init__(self, client: Client, namespace: str, secret: str, registration: str) -> None:
        self.called = False
        """Whether the configuration has been seen to have the token; it stays so, as `Issuer.trusted`."""
        self._client, self._name = client, f"{namespace}/{secret}"
        self._path = f"/api/v1/namespaces/{namespace}/secrets"
        self._accepted, self._looking = Accepted(), threading.Lock()
        self._rounds = Rounds("the secret path", self._round)
        self._secrets = Mirror(client, self._path, Secret, self._noticed, fieldSelector=f"metadata.name={secret}")
        self._configurations = Mirror(
            client, configuration.PATH, Configuration, self._noticed, fieldSelector=f"metadata.name={registration}"
        )

    def start(self) -> None:
        """Begin to look after it, in threads of its own."""
        for mirror in (self._secrets, self._configurations):
            mirror.start()
        self._rounds.start()

    def admits(self, token: str) -> bool:
        """Whether a call whose path ends so may be answered."""
        return self._accepted.admits(token)

    def _noticed(self, _old: object, _new: object) -> None:
        # Here, not in the round: calls to a path that has just become known must not wait for it.
        self._look()
        self._rounds.noticed()

    def _look(self) -> None:
        with self._looking:
            secret, registered = self._found()
            data = (secret.data if secret else None) or {}
            live = {parted(each.client_config.service.path)[1] for each in registered.webhooks} if registered else set()
            self._accepted.look(data.get(TOKEN, b"").decode("ascii", "replace"), live, time.monotonic())

    def _round(self) -> timedelta:
        """Take the next step; returns when to look again, if nothing changes before."""
        if not (self._secrets.synced.is_set() and self._configurations.synced.is_set()):
            return _SYNCING
        self._look()
        secret, registered = self._found()
        if secret is None or registered is None:
            missing = f"Secret {self._name}" if secret is None else "webhook configuration"
            sparse.warning("secret path", f"no secret path: there is no {missing}; helm upgrade makes it")
            return _ABSENT
        data = secret.data or {}
        what = due(data, datetime.now(UTC))
        if what.new:
            self._write(secret)
            return _SOON
        if what.wait:
            return what.wait
        steps = configuration.patch_paths(registered, data[TOKEN].decode())
        if steps:
            self._client.json_patch(f"{configuration.PATH}/{registered.metadata.name}", steps)
            metrics.CONFIGURATION_REPAIRED.labels("path").inc()
            log.info("wrote the secret path", extra={"entries": len(steps) // 2})
            return _SOON
        self.called = True
        return _FORGETTING if len(self._accepted.tokens) > 1 else _RARELY

    def _write(self, secret: Secret) -> None:
        values = {TOKEN: secrets.token_hex(_TOKEN_BYTES), CREATED: datetime.now(UTC).isoformat()}
        data = {key: b64encode(value.encode()).decode() for key, value in values.items()}
        version = {"resourceVersion": secret.metadata.resource_version}
        self._client.patch(f"{self._path}/{secret.metadata.name}", {"metadata": version, "data": data})
        log.info("made a token for the secret path", extra={"secret": self._name})

    def _found(self) -> tuple[Secret | None, Configuration | None]:
        secrets_, configurations = list(self._secrets.objects.values()), list(self._configurations.objects.values())
        return next(iter(secrets_), None), next(iter(configurations), None)
