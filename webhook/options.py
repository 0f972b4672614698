"""The webhook's command line."""

import argparse
import os
import re
import socket
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import get_args

from exectrail.service import logs
from exectrail.service.label_flag import labels
from webhook.reviews.session_spec import DEFAULT_EXTRA_KEYS
from webhook.reviews.tag_mode import Unknown
from webhook.serving.callers import Limits
from webhook.sessions.limits import Rate


def options() -> argparse.Namespace:
    """The command line's options; ends the process where they make no sense."""
    parse = parser()
    found = parse.parse_args()
    if found.self_managed_secret and not (found.server_name and found.webhook_configuration):
        parse.error("--self-managed-secret needs --server-name and --webhook-configuration")
    if found.path_secret and not found.webhook_configuration:
        parse.error("--path-secret needs --webhook-configuration")
    if found.tls_renew_before >= found.tls_duration:
        parse.error("--tls-renew-before must be shorter than --tls-duration")
    if found.tls_ca_renew_before >= found.tls_ca_duration:
        parse.error("--tls-ca-renew-before must be shorter than --tls-ca-duration")
    if found.tls_ca_renew_before < found.tls_duration:
        parse.error("--tls-ca-renew-before must not be shorter than --tls-duration: a certificate would outlive its CA")
    return found


def parser() -> argparse.ArgumentParser:
    """The command line; what makes no sense is refused by the option's name."""
    made = argparse.ArgumentParser(
        prog="python -m webhook",
        description="Admission webhook of exectrail: writes an AuditSession for each exec, attach, port-forward and "
        "debug, adds the tag, and gives new pods the seccomp profile of their namespace.",
    )
    add = made.add_argument
    add(
        "--tls-dir",
        type=Path,
        default=Path("/tls"),
        metavar="DIR",
        help="folder with tls.crt and tls.key (default %(default)s)",
    )
    add(
        "--self-managed-secret",
        metavar="NAME",
        help="issue own certificates and keep them in this Secret, which has to be there, instead of --tls-dir; needs "
        "--server-name and --webhook-configuration",
    )
    add(
        "--webhook-configuration",
        metavar="NAME",
        help="MutatingWebhookConfiguration in which caBundle (with --self-managed-secret) and paths (with "
        "--path-secret) are kept right",
    )
    add(
        "--path-secret",
        metavar="NAME",
        help="admit only calls to a path that ends with a token from this Secret, which has to be there and is filled "
        "in when it is empty; needs --webhook-configuration",
    )
    for name, default, what in (
        ("--tls-duration", "8760h", "how long an own certificate is valid"),
        ("--tls-renew-before", "720h", "how long before its end it is renewed"),
        ("--tls-ca-duration", "87600h", "how long an own CA is valid"),
        ("--tls-ca-renew-before", "17520h", "how long before its end it is renewed"),
    ):
        add(name, type=_hours, default=default, metavar="HOURS", help=f"{what} (default %(default)s)")
    poll_help = "interval between two looks for a new pair, in seconds (default %(default)g)"
    add("--tls-poll-seconds", type=_number(0.01), default=5.0, metavar="S", help=poll_help)
    add(
        "--tls-min-version",
        choices=("1.2", "1.3"),
        default="1.2",
        help="oldest version of TLS to speak (default %(default)s)",
    )
    name_help = "name that the API server asks for, SERVICE.NAMESPACE.svc; a certificate without it is refused"
    add("--server-name", default="", metavar="NAME", help=f"{name_help} (default: any)")
    add(
        "--client-ca", type=Path, metavar="FILE", help="admit only callers with a certificate of this CA (default: all)"
    )
    add("--host", default="", help="address to listen on (default: all)")
    add("--port", type=_port, default=9443, help="port for admission, over TLS (default %(default)s)")
    metrics_help = "port for /healthz, /readyz and /metrics, plain HTTP (default %(default)s)"
    add("--metrics-port", type=_port, default=9080, help=metrics_help)
    namespace = os.environ.get("POD_NAMESPACE")
    add(
        "--namespace",
        type=_name,
        default=namespace,
        required=not namespace,
        help="namespace for AuditSessions (default $POD_NAMESPACE)",
    )
    add(
        "--extra-keys",
        type=lambda text: [_extra_key(key) for key in text.split(",") if key],
        default=",".join(DEFAULT_EXTRA_KEYS),
        metavar="KEY,...",
        help="keys of a user's extra that AuditSessions keep; others may carry credentials (default %(default)s)",
    )
    add(
        "--command-key-secret",
        default="exectrail-command-key",
        metavar="NAME",
        help="Secret with the key of command hashes, filled in when it is empty (default %(default)s)",
    )
    add(
        "--unwritten-configmap",
        default="exectrail-unwritten-sessions",
        metavar="NAME",
        help="ConfigMap with a list of the requests that have no AuditSession (default %(default)s)",
    )
    spool_help = "folder for AuditSessions that wait at the end, which the next start writes (default: they are lost)"
    add("--spool-dir", type=Path, metavar="DIR", help=spool_help)
    identity_help = "this replica's key in that ConfigMap (default $POD_NAME or the host's name)"
    add("--identity", default=os.environ.get("POD_NAME") or socket.gethostname(), metavar="NAME", help=identity_help)
    add(
        "--tag-unknown",
        choices=get_args(Unknown),
        default="match",
        help="meaning of the tag mode auto for a container of which no node has reported whether it has env "
        "(default %(default)s)",
    )
    add(
        "--allow-unconfined",
        action="store_true",
        help="let the namespace label choose process-audit-only, too, which refuses nothing",
    )
    label_help = "labels of pods that debug a node; one suffices, besides those that are known (default none)"
    add("--node-debug-labels", type=labels, default="", metavar="KEY=VALUE,...", help=label_help)
    memory_help = "memory for AuditSessions that wait to be written, in MiB (default %(default)g)"
    add("--sessions-mib", type=_number(1), default=16.0, metavar="MIB", help=memory_help)
    for name, default, whose in (
        ("user", "20:600", "one user causes"),
        ("namespace", "30:1000", "one namespace causes"),
        ("total", "40:2000", "this replica writes; what comes faster waits"),
    ):
        limit_help = f"AuditSessions that {whose}: on average a second, and at once (default %(default)s)"
        add(f"--{name}-limit", type=_rate, default=default, metavar="RATE:BURST", help=limit_help)
    required_help = (
        "time to write an AuditSession before the answer, in namespaces labelled exectrail.io/require-audit=true, in "
        "seconds; half of the webhook's timeout (default %(default)g)"
    )
    add("--required-seconds", type=_number(0.1), default=1.5, metavar="S", help=required_help)
    drain_help = "time to go on serving after SIGTERM, in seconds (default %(default)g)"
    add("--drain-seconds", type=_number(0), default=5.0, metavar="S", help=drain_help)
    limits = Limits()
    add(
        "--max-connections",
        type=_count,
        default=limits.connections,
        metavar="N",
        help="connections of all callers, on both ports; one with TLS takes up to 80 KiB (default %(default)s)",
    )
    add(
        "--max-address-connections",
        type=_count,
        default=limits.address_connections,
        metavar="N",
        help="of these, connections of one address, or of one IPv6 /64 (default %(default)s)",
    )
    add(
        "--idle-seconds",
        type=_number(1),
        default=limits.idle_seconds,
        metavar="S",
        help="time that a connection may wait for its next request, in seconds; more than the 90 of the API server "
        "(default %(default)g)",
    )
    api_help = "API server without login, e.g. kubectl proxy (default: the pod's own)"
    add("--api-server", metavar="URL", help=api_help)
    level_help = "least important level to log (default %(default)s)"
    add("--log-level", choices=logs.LEVELS, default="info", help=level_help)
    return made


def _number(least: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        value = float(text)
        if not value >= least:
            raise argparse.ArgumentTypeError(f"{text} is less than {least}")
        return value

    return number


def _rate(text: str) -> Rate:
    per_second, _, burst = text.partition(":")
    if not (re.fullmatch(r"\d+(\.\d+)?", per_second) and burst.isdecimal()) or not float(per_second) or not int(burst):
        raise argparse.ArgumentTypeError(f"{text!r} is no RATE:BURST, such as 20:600, of more than 0 each")
    return Rate(float(per_second), int(burst))


def _hours(text: str) -> timedelta:
    if not re.fullmatch(r"[1-9][0-9]{0,5}h", text):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of hours, e.g. 8760h")
    return timedelta(hours=int(text.removesuffix("h")))


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
