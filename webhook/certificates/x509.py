"""What a pair of certificate and key says of itself, and whether the API server would accept it. No I/O.

Reading is left to `cryptography`: the standard library shows a certificate's fields only of a peer that it trusts.
"""

import msgspec
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from webhook.certificates.pair import Answer, Pair, Question, Refused, Validity

_BROKEN = (ValueError, UnsupportedAlgorithm, x509.DuplicateExtension, x509.UnsupportedGeneralNameType)
"""What `cryptography` raises where something is not what it should be."""


def answer(request: bytes) -> bytes:
    """Answer a `Question` with an `Answer`, both as JSON."""
    question = msgspec.json.decode(request, type=Question)
    try:
        reply = Answer(examine(question.pair, question.server_name))
    except Refused as error:
        reply = Answer(None, error.reason, str(error))
    return msgspec.json.encode(reply)


def examine(pair: Pair, server_name: str) -> Validity:
    """Check a pair by RFC 5280 (4.2.1.12) and RFC 6125.

    Args:
        pair: The pair.
        server_name: The name that clients ask for, e.g. `exectrail-webhook.exectrail.svc`; any where it is empty.

    Raises:
        Refused: It must not be served with, at no time.

    """
    try:
        leaf = x509.load_pem_x509_certificates(pair.chain)[0]
        names, usable, public_key = _names(leaf), _for_servers(leaf), leaf.public_key()
    except _BROKEN as error:
        raise Refused("unreadable", f"tls.crt has no readable certificate: {error}") from error
    if _public_key(pair.key) != public_key:
        raise Refused("mismatch", "tls.key is not the key of the certificate in tls.crt")
    if not usable:
        raise Refused("wrong-usage", "the certificate is not for servers: its extended key usage lacks serverAuth")
    if server_name and not any(_matches(name, server_name) for name in names):
        has = ", ".join(names) or "none"
        raise Refused("wrong-name", f"the certificate is not for {server_name}: its DNS names are {has}")
    return Validity(leaf.not_valid_before_utc, leaf.not_valid_after_utc)


def _public_key(pem: bytes) -> object:
    try:
        return load_pem_private_key(pem, password=None).public_key()
    except TypeError as error:  # which means that it wants a password
        raise Refused("encrypted", "tls.key is encrypted, and there is no way to give a password") from error
    except _BROKEN as error:
        raise Refused("unreadable", f"tls.key has no readable private key: {error}") from error


def _names(leaf: x509.Certificate) -> list[str]:
    try:
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []  # Go does not look at the common name
    return names.get_values_for_type(x509.DNSName)


def _for_servers(leaf: x509.Certificate) -> bool:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return True
    return ExtendedKeyUsageOID.SERVER_AUTH in usage or ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE in usage


def _matches(name: str, asked: str) -> bool:
    """RFC 6125, 6.4.3: a wildcard stands for one whole label, the first."""
    name, asked = name.lower().rstrip("."), asked.lower().rstrip(".")
    head, _, rest = asked.partition(".")
    return name == asked or (bool(head) and bool(rest) and name == f"*.{rest}")
