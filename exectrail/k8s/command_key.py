"""The Secret with the key of command hashes. The chart makes it, the webhook fills it, the enricher reads it."""

from msgspec import Struct

from exectrail.contracts.meta import ObjectMeta
from exectrail.k8s.client import Client

DATA_KEY = "key"
KEY_BYTES = 32
"""As long as the hash that it is for (RFC 2104, section 3)."""


class NoKey(Exception):
    """The Secret is there, and empty: the webhook has not filled it yet."""


class UnusableKey(Exception):
    """The Secret is there, and what should be the key is not."""


class KeySecret(Struct, frozen=True):
    """The Secret (core/v1); its bytes are base64 in JSON, as msgspec has it."""

    metadata: ObjectMeta
    data: dict[str, bytes] | None = None


def path_of(namespace: str, name: str) -> str:
    """Where the API has a Secret."""
    return f"/api/v1/namespaces/{namespace}/secrets/{name}"


def read_key(client: Client, namespace: str, name: str) -> bytes:
    """The key.

    Raises:
        ApiError: It cannot be read; 404 when there is no such Secret.
        NoKey: It is not there yet.
        UnusableKey: The Secret holds no key of ours.

    """
    return key_of(client.get(path_of(namespace, name), KeySecret), f"{namespace}/{name}")


def key_of(secret: KeySecret, name: str) -> bytes:
    """The key in a Secret; as `read_key`."""
    key = (secret.data or {}).get(DATA_KEY, b"")
    if not key:
        raise NoKey(f"Secret {name} has no {DATA_KEY!r} yet")
    if len(key) != KEY_BYTES:
        raise UnusableKey(
            f"Secret {name}: {DATA_KEY!r} has {len(key)} bytes instead of {KEY_BYTES}; delete the Secret, have helm "
            "upgrade make it anew, and restart webhook and enricher"
        )
    return key
