"""A pair of certificate and key, and whether it may be served with."""

from datetime import datetime
from typing import Literal

import msgspec
from msgspec import Struct

from webhook.certificates import apart

Reason = Literal[
    "missing", "unreadable", "encrypted", "mismatch", "wrong-name", "wrong-usage", "not-yet-valid", "expired"
]


class Pair(Struct, frozen=True):
    """What a server shows and what proves that it may: both as PEM, the chain with the server's own first."""

    chain: bytes
    key: bytes


class Validity(Struct, frozen=True):
    """From when to when a certificate is accepted."""

    not_before: datetime
    not_after: datetime

    def check(self, now: datetime) -> None:
        """Look whether that is now.

        Raises:
            Refused: It is not.

        """
        if now < self.not_before:
            raise Refused("not-yet-valid", f"the certificate is valid only from {self.not_before.isoformat()} on")
        if now >= self.not_after:
            raise Refused("expired", f"the certificate has expired at {self.not_after.isoformat()}")


class Refused(Exception):
    """A pair that the API server would not accept; `reason` is for counting, the text for people."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


class Question(Struct, frozen=True):
    """A pair, and the name that clients ask for: any where it is empty."""

    pair: Pair
    server_name: str


class Answer(Struct, frozen=True):
    """When it is valid, or what is wrong with it."""

    validity: Validity | None = None
    reason: Reason = "unreadable"
    message: str = ""


def examine(pair: Pair, server_name: str) -> Validity:
    """Check a pair as the API server does, except for the time and for who signed it.

    Takes a few tenths of a second: the work is done in a process of its own.

    Raises:
        Refused: It must not be served with.
        Failed: It could not be looked at.

    """
    request = msgspec.json.encode(Question(pair, server_name))
    answer = msgspec.json.decode(apart.call("webhook.certificates.x509", request), type=Answer)
    if answer.validity is None:
        raise Refused(answer.reason, answer.message)
    return answer.validity
