"""What a webhook that issues its own certificates has to do next. Asked here, decided in `own_ca`.

All replicas decide alike, from one Secret and from what the API server trusts. Its keys:

- `ca.crt`, `ca.key`: the CA that signs from now on;
- `tls.crt`, `tls.key`: what the webhook serves with, followed in `tls.crt` by the CA that signed it.
"""

from datetime import datetime, timedelta

import msgspec
from msgspec import Struct

from webhook.certificates import apart

CA_CHAIN, CA_KEY, LEAF_CHAIN, LEAF_KEY = "ca.crt", "ca.key", "tls.crt", "tls.key"


class Policy(Struct, frozen=True):
    """How long things last."""

    server_name: str
    """The name that the API server asks for, SERVICE.NAMESPACE.svc."""
    duration: timedelta = timedelta(days=365)
    renew_before: timedelta = timedelta(days=30)
    ca_duration: timedelta = timedelta(days=3650)
    ca_renew_before: timedelta = timedelta(days=730)
    settle: timedelta = timedelta(minutes=1)
    """From the moment that a new CA is trusted everywhere until it signs: each API server has to hear of it."""
    keep: timedelta = timedelta(minutes=15)
    """How long a CA stays trusted that signs no more: replicas may still serve by it, also those of another `tls.mode`
    while an update is under way."""


class State(Struct, frozen=True):
    """What there is."""

    now: datetime
    secret: dict[str, bytes]
    bundles: list[bytes]
    """What the API server trusts, by entry of the webhook configuration."""
    trusted: timedelta | None = None
    """For how long the CA of the Secret has been in all of them; `None` where it is not."""
    recent: list[bytes] = []
    """Certificates in them that were not seen `keep` ago."""


class Plan(Struct, frozen=True):
    """What to do. Where the Secret is to change, that comes first, and the rest is decided anew."""

    changes: dict[str, bytes]
    """What to write into the Secret; nothing where it is right."""
    why: str
    """The reason for that, for people."""
    bundle: bytes
    """What the API server should trust."""
    again: timedelta
    """When to ask again, if nothing changes before."""


class Question(Struct, frozen=True):
    """The state, and what holds."""

    state: State
    policy: Policy


def plan(state: State, policy: Policy) -> Plan:
    """Decide, in a process of its own.

    Raises:
        Failed: It came to no answer.

    """
    request = msgspec.json.encode(Question(state, policy))
    return msgspec.json.decode(apart.call("webhook.certificates.own_ca", request), type=Plan)
