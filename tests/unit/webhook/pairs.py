"""Pairs of certificate and key, good ones and each kind that the API server would refuse."""

from datetime import UTC, datetime, timedelta

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from webhook.certificates.pair import Pair

NAME = "exectrail-webhook.exectrail.svc"


def issued(
    ca: trustme.CA,
    *names: str,
    key_type: trustme.KeyType = trustme.KeyType.ECDSA,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
) -> Pair:
    """A pair with these DNS names, `localhost` where there are none."""
    leaf = ca.issue_cert(*(names or ("localhost",)), key_type=key_type, not_before=not_before, not_after=not_after)
    return Pair(b"".join(pem.bytes() for pem in leaf.cert_chain_pems), leaf.private_key_pem.bytes())


def made(*names: str, usage: x509.ObjectIdentifier | None = None, password: bytes = b"") -> Pair:
    """A self-signed pair as trustme makes none: without names, for clients, with an encrypted key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(now + timedelta(hours=1))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(each) for each in names]), False)
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), False)
    encryption = BestAvailableEncryption(password) if password else NoEncryption()
    return Pair(
        builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption),
    )


def bad(ca: trustme.CA, name: str = NAME) -> dict[str, list[tuple[Pair, str]]]:
    """Pairs that must not be served with, by the reason, each with what the message says."""
    good, other, now = issued(ca, name), issued(ca, name), datetime.now(UTC)
    day = timedelta(days=1)
    return {
        "unreadable": [
            (Pair(b"", good.key), "tls.crt has no readable certificate"),
            (Pair(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", good.key), "tls.crt has no"),
            (Pair(good.chain, b""), "tls.key has no readable private key"),
            (Pair(good.chain, good.chain), "tls.key has no readable private key"),
        ],
        "encrypted": [(made(name, password=b"secret"), "tls.key is encrypted")],
        "mismatch": [(Pair(good.chain, other.key), "tls.key is not the key of the certificate")],
        "wrong-usage": [(made(name, usage=ExtendedKeyUsageOID.CLIENT_AUTH), "lacks serverAuth")],
        "wrong-name": [
            (issued(ca, "localhost.example"), f"is not for {name}: its DNS names are localhost.example"),
            (made(), f"is not for {name}: its DNS names are none"),
        ],
        "not-yet-valid": [(issued(ca, name, not_before=now + day, not_after=now + 2 * day), "is valid only from ")],
        "expired": [(issued(ca, name, not_before=now - 2 * day, not_after=now - day), "has expired at ")],
    }
