"""A CA and a certificate of the webhook's own: what to issue now, and which CAs to trust. No I/O; time is a parameter.

A new CA is trusted first and signs later, and one that signs no more is trusted a little longer: at no moment does a
replica serve with a certificate that an API server does not trust.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from webhook.certificates.pair import Pair, Refused
from webhook.certificates.pem import blocks
from webhook.certificates.plan import CA_CHAIN, CA_KEY, LEAF_CHAIN, LEAF_KEY, Plan, Policy, Question, State
from webhook.certificates.x509 import examine

BACKDATED = timedelta(minutes=5)
"""How far clocks of other machines may be behind."""
_SOON, _RARELY = timedelta(seconds=15), timedelta(hours=1)
_BROKEN = (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature, Refused)

T = TypeVar("T")


class _Ca(Struct, frozen=True):
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def answer(request: bytes) -> bytes:
    """Answer a `Question` with a `Plan`, both as JSON."""
    question = msgspec.json.decode(request, type=Question)
    return msgspec.json.encode(plan(question.state, question.policy))


def plan(state: State, policy: Policy) -> Plan:
    """Decide what to do next."""
    ca, leaf = _usable(lambda: _ca(state.secret)), _usable(lambda: _leaf(state.secret, policy.server_name))
    changes: dict[str, bytes] = {}
    why = _why_ca(ca, state.now, policy)
    if ca is None or why:
        ca, written = _new_ca(state.now, policy)
        changes |= written
        # What serves goes on serving: the new CA is not trusted yet.
        state = msgspec.structs.replace(state, trusted=None)
    if why_leaf := _why_leaf(leaf, ca, state, policy):
        changes |= _new_leaf(ca, state.now, policy)
    bundle = _bundle(ca.certificate, leaf, state, policy)
    again = _again(ca, leaf, bundle, state, policy)
    return Plan(changes, "; ".join(filter(None, [why, why_leaf])), b"".join(bundle), again)


def _why_ca(ca: _Ca | None, now: datetime, policy: Policy) -> str:
    """Why there must be a new CA; nothing where there need not."""
    if ca is None:
        return "there is no usable CA"
    if now < ca.certificate.not_valid_before_utc:
        return f"the CA is valid only from {ca.certificate.not_valid_before_utc.isoformat()} on"
    if now >= ca.certificate.not_valid_after_utc - policy.ca_renew_before:
        return f"the CA ends at {ca.certificate.not_valid_after_utc.isoformat()}"
    return ""


def _why_leaf(leaf: x509.Certificate | None, ca: _Ca, state: State, policy: Policy) -> str:
    """Why there must be a new certificate to serve with; nothing where there need not, or must not be yet."""
    if leaf is None:
        return "there is no usable certificate"
    if state.now < leaf.not_valid_before_utc:  # made while a clock was ahead
        return f"the certificate is valid only from {leaf.not_valid_before_utc.isoformat()} on"
    end = leaf.not_valid_after_utc
    if state.now >= end:
        return f"the certificate has ended at {end.isoformat()}"
    if not _signed(leaf, ca.certificate) and (state.trusted is None or state.trusted < policy.settle):
        return ""  # only the CA before is trusted for sure
    if not _signed(leaf, ca.certificate):
        return "another CA signs now"
    return f"the certificate ends at {end.isoformat()}" if state.now >= end - policy.renew_before else ""


def _bundle(ca: x509.Certificate, leaf: x509.Certificate | None, state: State, policy: Policy) -> list[bytes]:
    """Whom to trust: the CA that signs, the one that has signed what serves, and for a while all that were trusted."""
    serving = blocks(state.secret.get(LEAF_CHAIN, b""))[1:] if leaf else []
    switched = leaf is None or state.now < leaf.not_valid_before_utc + BACKDATED + policy.keep
    before = [each for bundle in state.bundles for each in blocks(bundle) if switched or each in state.recent]
    known = [each for each in [*serving, *before] if _lasts(each, state.now)]
    return list(dict.fromkeys([_pem(ca), *known]))


def _again(ca: _Ca, leaf: x509.Certificate | None, bundle: list[bytes], state: State, policy: Policy) -> timedelta:
    if leaf is None or len(bundle) > 1 or not _signed(leaf, ca.certificate):
        return _SOON
    renewals = (
        leaf.not_valid_after_utc - policy.renew_before - state.now,
        ca.certificate.not_valid_after_utc - policy.ca_renew_before - state.now,
    )
    return max(_SOON, min(_RARELY, *renewals))


# ---- what is there ----


def _usable(read: Callable[[], T]) -> T | None:
    """What is there, if it can be used; else it is made anew."""
    try:
        return read()
    except _BROKEN:
        return None


def _ca(secret: dict[str, bytes]) -> _Ca:
    certificate = x509.load_pem_x509_certificate(secret.get(CA_CHAIN, b""))
    key = load_pem_private_key(secret.get(CA_KEY, b""), password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise ValueError("not the CA's key")
    return _Ca(certificate, key)


def _leaf(secret: dict[str, bytes], server_name: str) -> x509.Certificate:
    chain = secret.get(LEAF_CHAIN, b"")
    examine(Pair(chain, secret.get(LEAF_KEY, b"")), server_name)
    leaf, *above = x509.load_pem_x509_certificates(chain)
    if not above or not _signed(leaf, above[0]):
        raise ValueError("not followed by its CA")
    return leaf


def _signed(leaf: x509.Certificate, ca: x509.Certificate) -> bool:
    try:
        leaf.verify_directly_issued_by(ca)
    except _BROKEN:
        return False
    return True


def _lasts(block: bytes, now: datetime) -> bool:
    certificate = _usable(lambda: x509.load_pem_x509_certificate(block))
    return certificate is not None and now < certificate.not_valid_after_utc


# ---- what is made ----


def _new_ca(now: datetime, policy: Policy) -> tuple[_Ca, dict[str, bytes]]:
    key = ec.generate_private_key(ec.SECP256R1())
    # No two CAs have the same name, so that verifiers take the right one.
    number = x509.random_serial_number()
    name = _name(f"exectrail webhook CA {number & 0xFFFFFFFF:08x}")
    usage = _usage(signs_certificates=True)
    certificate = (
        _builder(name, name, key.public_key(), now, now + policy.ca_duration)
        .serial_number(number)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .sign(key, hashes.SHA256())
    )
    return _Ca(certificate, key), {CA_CHAIN: _pem(certificate), CA_KEY: _key_pem(key)}


def _new_leaf(ca: _Ca, now: datetime, policy: Policy) -> dict[str, bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    above = ca.certificate
    end = min(now + policy.duration, above.not_valid_after_utc)
    service, _, namespace = policy.server_name.removesuffix(".svc").partition(".")
    names = dict.fromkeys([policy.server_name, f"{service}.{namespace}", service])
    certificate = (
        _builder(_name(service[:64]), above.subject, key.public_key(), now, end)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca.key.public_key()), critical=False)
        .sign(ca.key, hashes.SHA256())
    )
    return {LEAF_CHAIN: _pem(certificate) + _pem(above), LEAF_KEY: _key_pem(key)}


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, end: datetime
) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder(issuer, subject, key)
    builder = builder.not_valid_before(now - BACKDATED).not_valid_after(end)
    return builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
