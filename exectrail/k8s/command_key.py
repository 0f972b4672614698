"""The Secret with the key of command hashes. The webhook makes it at its first start, the enricher reads it."""

from msgspec import Struct, field

from exectrail.contracts.meta import ObjectMeta
from exectrail.k8s.client import Client

DATA_KEY = "key"
KEY_BYTES = 32
"""As long as the hash that it is for (RFC 2104, section 3)."""


class UnusableKey(Exception):
    """The Secret is there, and what should be the key is not."""


class KeySecret(Struct, frozen=True, rename="camel"):
    """The Secret (core/v1); its bytes are base64 in JSON, as msgspec has it."""

    metadata: ObjectMeta
    data: dict[str, bytes] = field(default_factory=dict)
    # The API server then refuses any other key under this name: sessions that are open would not be found by it.
    immutable: bool = True
    type: str = "Opaque"
    api_version: str = "v1"
    kind: str = "Secret"


def read_key(client: Client, namespace: str, name: str) -> bytes:
    """The key.

    Raises:
        ApiError: It cannot be read; 404 when there is no such Secret.
        UnusableKey: The Secret holds no key of ours.

    """
    key = client.get(f"/api/v1/namespaces/{namespace}/secrets/{name}", KeySecret).data.get(DATA_KEY, b"")
    if len(key) != KEY_BYTES:
        raise UnusableKey(
            f"Secret {namespace}/{name}: {DATA_KEY!r} has {len(key)} bytes instead of {KEY_BYTES}; "
            "delete the Secret, and restart webhook and enricher to have a new one"
        )
    return key
