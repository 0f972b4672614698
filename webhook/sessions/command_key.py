"""Fills in the key of command hashes at the first start of an installation, and reads it at every other.

The chart makes the Secret, and not the key: Helm would make another one at each upgrade, or show it to all who may read
a release. The webhook fills it, and has no right to make Secrets: RBAC cannot limit that to a name, and a token of
another ServiceAccount is a Secret as well.
"""

import logging
import secrets
import threading
import time
from base64 import b64encode

from exectrail.k8s.client import ApiError, Client
from exectrail.k8s.command_key import DATA_KEY, KEY_BYTES, KeySecret, NoKey, UnusableKey, key_of, path_of
from exectrail.service.backoff import Backoff

_BACKOFF_FIRST, _BACKOFF_MOST = 0.2, 10.0

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
        self._client, self._path, self._name = client, path_of(namespace, name), f"{namespace}/{name}"

    def start(self) -> None:
        """Get the key in a thread of its own, however long it takes."""
        threading.Thread(target=self._run, name="command key", daemon=True).start()

    def _run(self) -> None:
        backoff = Backoff(_BACKOFF_FIRST, _BACKOFF_MOST)
        while self.value is None:
            try:
                self.value = self._read_or_fill()
            except (ApiError, UnusableKey) as error:
                log.warning("no key for command hashes yet: %s; next try in at most %.1f s", error, backoff.bound)
                time.sleep(backoff.next())

    def _read_or_fill(self) -> bytes:
        secret = self._client.get(self._path, KeySecret)
        try:
            return key_of(secret, self._name)
        except NoKey:
            return self._fill(secret)

    def _fill(self, secret: KeySecret) -> bytes:
        key = secrets.token_bytes(KEY_BYTES)
        change = {
            # Where another replica was faster, this fails (409), and the next try reads its key: all hash with one.
            "metadata": {"resourceVersion": secret.metadata.resource_version},
            "data": {DATA_KEY: b64encode(key).decode()},
            # The API server then refuses any other key in it: sessions that are open would not be found by that.
            "immutable": True,
        }
        self._client.patch(self._path, change)
        log.info("made the key for command hashes", extra={"secret": self._name})
        return key
