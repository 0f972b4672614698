"""The seal: each record carries a sequence number and the hash of the line before it.

Cutting, reordering or editing a line breaks the chain at the next one. The chain is one per node and goes on
over restarts of the enricher.
"""

import hashlib

GENESIS = "0" * 64
"""`prev` of the first record of a node."""


def seal(line: bytes) -> str:
    """The SHA-256 of a line without its newline, in lower-case hex: `prev` of the line that follows."""
    return hashlib.sha256(line.rstrip(b"\n")).hexdigest()
