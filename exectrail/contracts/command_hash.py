"""A keyed hash of a command: the node finds a request's process by it where no tag is in the command.

An AuditSession may hold its command cut or redacted, and a plain hash of a short command could be guessed. With a key
that only the webhook and the enricher read, the hash shows that two commands are the same and nothing else.
"""

import hmac
import re
from collections.abc import Iterable
from functools import lru_cache

HEX_DIGITS = 32
"""128 bits: no two commands of a cluster's life meet by chance."""

_NOT_UTF8 = re.compile("[\udc80-\udcff]")


def command_hash(key: bytes, argv: Iterable[bytes]) -> str:
    """HMAC-SHA256 (RFC 2104) over all words, each after its length, as lower-case hexadecimal digits.

    The length keeps words apart whatever bytes are in them: `["a b"]`, `["a", "b"]` and `["a", "b", ""]` differ.
    """
    words = (word if word.isascii() else _as_asked(word) for word in argv)
    message = b"".join([len(word).to_bytes(8, "big") + word for word in words])
    mac = _keyed(key).copy()
    mac.update(message)
    return mac.hexdigest()[:HEX_DIGITS]


@lru_cache(maxsize=1)
def _keyed(key: bytes) -> hmac.HMAC:
    # OpenSSL takes longer to set up a MAC than to copy one.
    return hmac.new(key, digestmod="sha256")


def _as_asked(word: bytes) -> bytes:
    """A word as admission sees it: the API server's JSON has U+FFFD for each byte that is not UTF-8.

    Source: Go's encoding/json, "Marshal": invalid UTF-8 is coerced byte by byte.
    """
    return _NOT_UTF8.sub("\ufffd", word.decode(errors="surrogateescape")).encode()
