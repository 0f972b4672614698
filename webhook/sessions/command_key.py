"""Makes the key of command hashes at the first start of an installation, and reads it at every other.

Not a template of the chart: Helm would make another one at each upgrade, or show it to all who may read a release.
"""

import logging
import secrets
import threading
import time

from exectrail.contracts.meta import ObjectMeta
from exectrail.k8s.client import ApiError, Client
from exectrail.k8s.command_key import DATA_KEY, KEY_BYTES, KeySecret, UnusableKey, read_key
from exectrail.service.backoff import Backoff

_BACKOFF_FIRST, _BACKOFF_MOST = 0.2, 10.0
_LABELS = {
    "app.kubernetes.io/name": "exectrail",
    "app.kubernetes.io/component": "webhook",
    "app.kubernetes.io/managed-by": "exectrail-webhook",
}

log = logging.getLogger(__name__)


class CommandKey:
    """The key, once it is there.

    Args:
        client: Where to ask.
        namespace: The Secret's.
        name: The Secret's.

    """

    def __init__(self, client: Client, namespace: str, name: str) -> None:
        self.value: bytes | None = None
        self._client, self._namespace, self._name = client, namespace, name

    def start(self) -> None:
        """Get the key in a thread of its own, however long it takes."""
        threading.Thread(target=self._run, name="command key", daemon=True).start()

    def _run(self) -> None:
        backoff = Backoff(_BACKOFF_FIRST, _BACKOFF_MOST)
        while self.value is None:
            try:
                self.value = self._read_or_make()
            except (ApiError, UnusableKey) as error:
                log.warning("no key for command hashes yet: %s; next try in at most %.1f s", error, backoff.bound)
                time.sleep(backoff.next())

    def _read_or_make(self) -> bytes:
        try:
            return read_key(self._client, self._namespace, self._name)
        except ApiError as error:
            if error.status != 404:
                raise
        try:
            return self._make()
        except ApiError as error:
            if error.status != 409:
                raise
        # Another replica was faster: all have to hash with the same key.
        return read_key(self._client, self._namespace, self._name)

    def _make(self) -> bytes:
        key = secrets.token_bytes(KEY_BYTES)
        meta = ObjectMeta(name=self._name, namespace=self._namespace, labels=_LABELS)
        self._client.create(f"/api/v1/namespaces/{self._namespace}/secrets", KeySecret(meta, {DATA_KEY: key}))
        log.info("made the key for command hashes", extra={"secret": f"{self._namespace}/{self._name}"})
        return key
