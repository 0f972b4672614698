"""The webhook's command line."""

import argparse
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

from exectrail import logs
from webhook.callers import Limits
from webhook.ledger_entry import DEFAULT_EXTRA_KEYS
from webhook.tag_mode import Unknown


def parser() -> argparse.ArgumentParser:
    """The command line; what makes no sense is refused by the option's name."""
    options = argparse.ArgumentParser(
        prog="python -m webhook",
        description="Admission webhook of exectrail: seccomp profiles for pods, a tag and a ledger entry for each "
        "exec, attach, port-forward and debug.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = options.add_argument
    add("--tls-dir", type=Path, default=Path("/tls"), metavar="DIR", help="folder with tls.crt and tls.key")
    add("--tls-poll-seconds", type=_number(0.01), default=5.0, metavar="S", help="how often to look for a new pair")
    add("--client-ca", type=Path, metavar="FILE", help="only callers with a certificate of this CA; default: anybody")
    add("--host", default="", help="address to listen on; empty: all")
    add("--port", type=_port, default=9443, help="for admission, over TLS")
    add("--metrics-port", type=_port, default=9080, help="for /healthz, /readyz and /metrics, plain HTTP")
    namespace = os.environ.get("POD_NAMESPACE")
    add(
        "--namespace",
        type=_name,
        default=namespace,
        required=not namespace,
        help="where AuditSessions are made (environment: POD_NAMESPACE)",
    )
    add(
        "--extra-keys",
        type=lambda text: [_extra_key(key) for key in text.split(",") if key],
        default=",".join(DEFAULT_EXTRA_KEYS),
        metavar="KEY,...",
        help="the keys of a user's extra that the ledger keeps; others may carry credentials",
    )
    add(
        "--command-key-secret",
        default="exectrail-command-key",
        metavar="NAME",
        help="the Secret with the key of command hashes; made when there is none",
    )
    add(
        "--tag-unknown",
        choices=get_args(Unknown),
        default="env",
        help="what the tag mode auto is for a container of which no node has said whether it has env",
    )
    add("--ledger-mib", type=_number(1), default=16.0, metavar="MIB", help="the most that may wait to be written")
    add("--drain-seconds", type=_number(0), default=5.0, metavar="S", help="how long to go on serving after SIGTERM")
    limits = Limits()
    add(
        "--max-connections",
        type=_count,
        default=limits.connections,
        metavar="N",
        help="connections of all callers, on both ports; one with TLS takes up to 80 KiB",
    )
    add(
        "--max-address-connections",
        type=_count,
        default=limits.address_connections,
        metavar="N",
        help="of these, connections of one address (IPv6: of one /64)",
    )
    add(
        "--idle-seconds",
        type=_number(1),
        default=limits.idle_seconds,
        metavar="S",
        help="how long a connection may wait for its next request; longer than the API server keeps it (90 s)",
    )
    add("--api-server", metavar="URL", help="an API server without login, e.g. kubectl proxy; default: the pod's own")
    add("--log-level", choices=logs.LEVELS, default="info", help="least important level to log")
    return options


def _number(least: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not value >= least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return value

    return number


def _count(text: str) -> int:
    if (count := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is less than 1")
    return count


def _port(text: str) -> int:
    if not 0 <= (port := int(text)) <= 65535:
        raise argparse.ArgumentTypeError(f"{text} is no port (0 to 65535)")
    return port


def _extra_key(text: str) -> str:
    if re.search(r'[\x00-\x1f"\\]', text):
        raise argparse.ArgumentTypeError(f"{text!r} is no key of a user's extra: it has quotes or control characters")
    return text


def _name(text: str) -> str:
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no name of a namespace (RFC 1123 label)")
    return text
