"""Whether the webhook is reached: asks the API server by a canary (`exectrail.contracts.canary`).

`python -m profiles.controller.canary` asks once and says so, for `helm test`.
"""

import argparse
import os
import re
import secrets
import sys
from typing import Literal

from msgspec import Struct

from exectrail.contracts.canary import ANSWERED, ASKED, ENTRY, LABEL
from exectrail.contracts.meta import ObjectMeta
from exectrail.k8s.client import ApiError, Client

Reason = Literal["no-replica", "certificate", "timeout", "unreachable", "bad-answer", "not-called"]
"""Why a canary did not come back."""

_REASONS: tuple[tuple[Reason, str], ...] = (
    # What the API server says of a call that failed, the most telling first.
    ("certificate", r"x509:|tls:"),
    ("no-replica", r"no endpoints available|service \"[^\"]*\" not found"),
    ("timeout", r"deadline exceeded|timeout|timed out"),
    ("unreachable", r"dial |connect|EOF|no such host|no route"),
)
_CALL_FAILED = f'failed calling webhook "{ENTRY}"'
_URL = re.compile(r'Post "[^"]*": ')
"""It has the word timeout, whatever went wrong."""


class NotReached(Exception):
    """The API server took the request, and the webhook had no part in it."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class _Meta(Struct, frozen=True, omit_defaults=True, rename="camel"):
    generate_name: str
    labels: dict[str, str]
    annotations: dict[str, str]


class _Lease(Struct, frozen=True, rename="camel"):
    metadata: _Meta
    api_version: str = "coordination.k8s.io/v1"
    kind: str = "Lease"


class _Answer(Struct, frozen=True):
    metadata: ObjectMeta


def ask(client: Client, namespace: str) -> None:
    """Send a canary; it came back where this returns.

    Args:
        client: Should be a new one: on a new connection each API server of several gets its turn.
        namespace: Of the release.

    Raises:
        NotReached: It did not come back from the webhook.
        ApiError: The API server did not take it, which says nothing about the webhook.

    """
    word = secrets.token_hex(16)
    # A name of its own each time: were there such a Lease, the API server would refuse the canary.
    lease = _Lease(_Meta("exectrail-canary-", {LABEL: "true"}, {ASKED: word}))
    try:
        answer = client.dry_run(f"/apis/coordination.k8s.io/v1/namespaces/{namespace}/leases", lease, _Answer)
    except ApiError as error:
        if _CALL_FAILED not in str(error):
            raise
        said = _said(str(error))
        raise NotReached(_reason(said), said) from error
    if answer.metadata.annotations.get(ANSWERED) != word:
        raise NotReached(
            "not-called",
            "the API server did not call the webhook: its MutatingWebhookConfiguration is missing or was changed",
        )


def _said(message: str) -> str:
    """What the API server says of the call, without the words around it and the URL, which are always the same."""
    return _CALL_FAILED + _URL.sub("", message.partition(_CALL_FAILED)[2])


def _reason(said: str) -> Reason:
    return next((reason for reason, pattern in _REASONS if re.search(pattern, said)), "bad-answer")


def main(argv: list[str] | None = None) -> int:
    """Ask once; 0 when the webhook was reached, 1 when it was not, 2 when it could not be asked."""
    parser = argparse.ArgumentParser(
        prog="python -m profiles.controller.canary",
        description="Ask the API server once whether it reaches the webhook.",
    )
    help_ = "namespace of the release (default $POD_NAMESPACE)"
    parser.add_argument("--namespace", default=os.environ.get("POD_NAMESPACE"), metavar="NAME", help=help_)
    arguments = parser.parse_args(argv)
    if not arguments.namespace:
        parser.error("--namespace is empty: set it or POD_NAMESPACE to the namespace of the release")
    try:
        ask(Client.in_cluster(), arguments.namespace)
    except NotReached as error:
        print(f"The webhook is NOT reached ({error.reason}): execs pass unrecorded or are refused. {error}")
        return 1
    except (ApiError, RuntimeError) as error:
        print(f"It is not known whether the webhook is reached: the API server took no canary. {error}")
        return 2
    print("The API server reaches the webhook: a canary came back with its answer.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
