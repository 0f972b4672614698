"""Certificates in a row of PEM blocks (RFC 7468), as text: enough to tell them apart."""

import re

_BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----")


def blocks(text: bytes) -> list[bytes]:
    """Each certificate once, in order, written the same way wherever it comes from."""
    return list(dict.fromkeys(_block(found) for found in _BLOCK.findall(text)))


def _block(body: bytes) -> bytes:
    body = b"".join(body.split())
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    return b"\n".join([b"-----BEGIN CERTIFICATE-----", *lines, b"-----END CERTIFICATE-----", b""])
