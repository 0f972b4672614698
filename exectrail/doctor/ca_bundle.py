"""The certificates of a `caBundle`: PEM in base64, as the API has it."""

import base64
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec import Struct


class Validity(Struct, frozen=True):
    """From when to when a CA is valid."""

    begin: datetime
    end: datetime


def validities(bundle: str) -> list[Validity]:
    """Those of its CAs; a certificate that is no CA is left out.

    Raises:
        ValueError: There is no certificate in it.

    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=base64.b64decode(bundle).decode("ascii"))
    except ssl.SSLError as error:
        raise ValueError(str(error)) from error
    return [Validity(_time(each, "notBefore"), _time(each, "notAfter")) for each in context.get_ca_certs()]


def _time(certificate: Mapping[str, object], field: str) -> datetime:
    return datetime.fromtimestamp(ssl.cert_time_to_seconds(str(certificate[field])), UTC)
