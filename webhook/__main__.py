"""Runs the webhook: reads its options, puts the pieces together, serves until SIGTERM."""

import argparse
import asyncio
import gc
import importlib
import logging
import signal
import socket
import ssl
import sys
import time
from collections.abc import Callable
from functools import partial

from msgspec import Raw

from exectrail.contracts.session import GROUP_VERSION, PLURAL, AuditSession
from exectrail.k8s.client import Client
from exectrail.service import address, logs, threads
from webhook import metrics
from webhook.app import Health, Webhook, admission_app, status_app
from webhook.certificates.plan import Policy
from webhook.cluster.catch_up import CatchUp
from webhook.cluster.session_labels import SessionLabels
from webhook.cluster.view import View
from webhook.issuer.issuer import Issuer
from webhook.issuer.secret_path import SecretPath
from webhook.options import options as read_options
from webhook.reviews.session_spec import Rules
from webhook.serving.callers import Limits
from webhook.serving.server import Bounds, Server, serve
from webhook.serving.tls import Certificate, Folder
from webhook.sessions.command_key import CommandKey
from webhook.sessions.limits import Limits as SessionLimits
from webhook.sessions.required import RequiredWriter
from webhook.sessions.spool import Spool
from webhook.sessions.unwritten import UnwrittenSessions
from webhook.sessions.writer import SessionWriter

_BACKLOG = 2048
_LIST_SECONDS = 3.0
"""For what was not written to be listed at the end: with the rest it fits into the pod's grace period of 30."""
_TLS_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}

log = logging.getLogger(__name__)


def main() -> int:
    """Run until SIGTERM or SIGINT.

    Returns 0 after an orderly end, 1 where the configuration does not hold, 70 after a fault. With the word `review`,
    answers reviews from files; the server does not pay for what that imports.
    """
    if sys.argv[1:2] == ["review"]:
        return int(importlib.import_module("webhook.offline.review").main(sys.argv[2:]))
    options = read_options()
    logs.setup(options.log_level)
    threads.end_process_on_fault()
    try:
        client = Client(options.api_server) if options.api_server else Client.in_cluster()
        certificate, trusted = _certificate(options, client)
        certificate.wait()
        # Not earlier: clients that connect must be answered. Not later: where it fails, nothing has to be ended yet.
        admission = _listen(options.host, options.port, "--port")
        status = _listen(options.host, options.metrics_port, "--metrics-port")
    except RuntimeError as error:
        log.critical("%s", error)
        return 1
    view = View(client, allow_unconfined=options.allow_unconfined)
    key = CommandKey(client, options.namespace, options.command_key_secret)
    unwritten = UnwrittenSessions(client, options.namespace, options.unwritten_configmap, options.identity)
    session_limits = SessionLimits(options.user_limit, options.namespace_limit)
    sessions = f"/apis/{GROUP_VERSION}/namespaces/{options.namespace}/{PLURAL}"
    create = partial(_create, client, sessions, SessionLabels(view.places))
    writer = SessionWriter(
        create,
        int(options.sessions_mib * (1 << 20)),
        session_limits,
        options.total_limit,
        unwritten.add,
        Spool(options.spool_dir) if options.spool_dir else None,
    )
    admits = _secret_path(options, client, trusted)
    certificate.start()
    view.start()
    key.start()
    writer.start()
    unwritten.start()
    # An API server that goes away later does not make us unready: all webhooks would be, at once.
    health = Health(
        {
            **view.conditions(),
            "command key known": lambda: key.value is not None,
            "certificate valid": lambda: certificate.valid,
            **trusted,
        },
        notes=certificate.notes,
    )

    extra_keys = frozenset(options.extra_keys)

    def rules() -> Rules:
        return Rules(extra_keys, key.value, options.tag_unknown, options.node_debug_labels)

    def record(session: AuditSession, *, limited: bool = True) -> None:
        # Once the answer is sent: the writer's thread begins at once, and would hold Python's lock meanwhile.
        known = view.has_namespace(session.spec.target.namespace)
        asyncio.get_running_loop().call_soon(partial(_put, writer, session, known=known, limited=limited))

    required = RequiredWriter(
        create,
        options.required_seconds,
        session_limits,
        options.total_limit,
        writer.took,
    )
    catch_up = CatchUp(lambda namespace: view.policies(namespace).labelled, view.hurry)
    webhook = Webhook(
        view.known,
        view.policies,
        catch_up.wait,
        rules,
        record,
        partial(record, limited=False),
        required.write,
        lambda session: unwritten.add(session, "require-audit"),
        options.namespace,
    )
    limits = Limits(
        connections=options.max_connections,
        address_connections=options.max_address_connections,
        idle_seconds=options.idle_seconds,
    )
    bounds = Bounds(limits)
    servers = [
        Server(admission_app(webhook, health, admits), admission, bounds, certificate.context),
        Server(status_app(health), status, bounds),
    ]
    gc.collect()
    gc.freeze()  # what is there now stays: the collector need not look at it each time
    code = 0
    try:
        asyncio.run(_serve(servers, bounds, health, options.drain_seconds))
    except Exception:
        log.exception("the server failed; the process ends")
        code = threads.FAULT_EXIT_CODE
    writer.close(options.drain_seconds)
    unwritten.close(_LIST_SECONDS)
    log.info("ended")
    return threads.exit_code(code)


def _certificate(options: argparse.Namespace, client: Client) -> tuple[Certificate, dict[str, Callable[[], bool]]]:
    """What to serve with, and what has to hold besides before requests are answered."""
    issuer = _issuer(options, client) if options.self_managed_secret else None
    certificate = Certificate(
        issuer or Folder(options.tls_dir),
        options.tls_poll_seconds,
        options.client_ca,
        _TLS_VERSIONS[options.tls_min_version],
        options.server_name,
    )
    if issuer is None:
        return certificate, {}
    issuer.changed = certificate.changed
    issuer.start()
    return certificate, {"CA in the webhook configuration": lambda: issuer.trusted}


def _secret_path(
    options: argparse.Namespace, client: Client, conditions: dict[str, Callable[[], bool]]
) -> Callable[[str], bool]:
    """Which paths may be called; adds what has to hold before."""
    if not options.path_secret:
        return lambda _token: True
    path = SecretPath(client, options.namespace, options.path_secret, options.webhook_configuration)
    path.start()
    conditions["secret path in the webhook configuration"] = lambda: path.called
    return path.admits


def _issuer(options: argparse.Namespace, client: Client) -> Issuer:
    policy = Policy(
        options.server_name,
        options.tls_duration,
        options.tls_renew_before,
        options.tls_ca_duration,
        options.tls_ca_renew_before,
    )
    names = options.namespace, options.self_managed_secret, options.webhook_configuration
    return Issuer(client, *names, policy)


def _listen(host: str, port: int, option: str) -> socket.socket:
    """Take a port, of IPv4 and IPv6 where no host says which.

    Raises:
        RuntimeError: It cannot be had.

    """
    try:
        listening = address.bound(host, port)
        listening.listen(_BACKLOG)
    except OSError as error:
        raise RuntimeError(f"cannot listen on {host or '*'}:{port} ({option}): {error.strerror}") from error
    return listening


def _create(client: Client, path: str, labels: SessionLabels, body: bytes, seconds: float | None = None) -> None:
    """Create an AuditSession, given as JSON, in at most so many seconds; `ApiError` where that fails."""
    until = time.monotonic() + seconds if seconds else None
    labelled = Raw(labels.added(body, seconds))
    client.create(path, labelled, max(0.01, until - time.monotonic()) if until else None)


def _put(writer: SessionWriter, session: AuditSession, *, known: bool, limited: bool) -> None:
    try:
        writer.put(session, known=known, limited=limited)
    except Exception:
        metrics.ERRORS.labels("exec-metadata").inc()
        log.exception("fault in the session writer", extra={"uid": session.metadata.name})


async def _serve(servers: list[Server], bounds: Bounds, health: Health, drain_seconds: float) -> None:
    """Serve; after a signal go on serving while endpoints forget this pod, then end."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with asyncio.TaskGroup() as group:
        group.create_task(serve(servers, bounds))
        await stopped.wait()
        log.info("draining", extra={"seconds": drain_seconds})
        health.draining = True
        await asyncio.sleep(drain_seconds)
        for server in servers:
            server.should_exit = True


if __name__ == "__main__":
    sys.exit(main())
