"""The seal: each record carries a sequence number and the hash of the line before it.

Cutting, reordering or editing a line breaks the chain at the next one. The chain is one per node and goes on
over restarts of the enricher.
"""

import hashlib

_sha256 = hashlib.sha256()
"""Copied for each line: to have OpenSSL look the algorithm up anew costs a fifth of the whole."""

GENESIS = "0" * 64
"""`prev` of the first record of a node."""


def seal(line: bytes) -> str:
    """The SHA-256 of a line without its newline, in lower-case hex: `prev` of the line that follows."""
    digest = _sha256.copy()
    digest.update(line.rstrip(b"\n"))
    return digest.hexdigest()
