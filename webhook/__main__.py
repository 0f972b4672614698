"""Runs the webhook: reads its options, puts the pieces together, serves until SIGTERM."""

import argparse
import asyncio
import contextlib
import logging
import signal
import ssl
import sys
from collections.abc import Iterator

import uvicorn
from fastapi import FastAPI
from msgspec import Raw

from exectrail import logs
from exectrail.kube import Client
from exectrail.session import GROUP_VERSION, PLURAL
from webhook.app import Health, Webhook, admission_app, status_app
from webhook.command_key import CommandKey
from webhook.ledger import Ledger
from webhook.ledger_entry import Rules
from webhook.options import parser
from webhook.tls import Certificate
from webhook.view import View

log = logging.getLogger(__name__)


class _Server(uvicorn.Server):
    """A server that leaves signals alone: uvicorn's own handler would stop it before the drain."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def main() -> int:
    """Run until SIGTERM or SIGINT; 0 after an orderly end, 1 where the configuration does not hold."""
    options = parser().parse_args()
    logs.setup(options.log_level)
    certificate = Certificate(options.tls_dir, options.tls_poll_seconds, options.client_ca)
    try:
        client = Client(options.api_server) if options.api_server else Client.in_cluster()
        certificate.wait()
    except RuntimeError as error:
        log.critical("%s", error)
        return 1
    sessions = f"/apis/{GROUP_VERSION}/namespaces/{options.namespace}/{PLURAL}"
    view = View(client)
    key = CommandKey(client, options.namespace, options.command_key_secret)
    ledger = Ledger(lambda body: client.create(sessions, Raw(body)), int(options.ledger_mib * (1 << 20)))
    certificate.start()
    view.start()
    key.start()
    ledger.start()
    asyncio.run(_serve(options, view, key, ledger, certificate))
    ledger.close(options.drain_seconds)
    log.info("ended")
    return 0


async def _serve(
    options: argparse.Namespace, view: View, key: CommandKey, ledger: Ledger, certificate: Certificate
) -> None:
    def rules() -> Rules:
        return Rules(frozenset(options.extra_keys), key.value, options.tag_unknown)

    # An API server that goes away later does not make us unready: all webhooks would be, at once.
    health = Health(
        {
            **view.conditions(),
            "command key known": lambda: key.value is not None,
            "certificate loaded": lambda: certificate.loaded,
        }
    )
    webhook = Webhook(view.known, rules, ledger.put, options.namespace)
    servers = [
        _server(admission_app(webhook, health), options.host, options.port, certificate.server_context()),
        _server(status_app(health), options.host, options.metrics_port),
    ]
    await _until_stopped(servers, health, options.drain_seconds)


def _server(app: FastAPI, host: str, port: int, tls: ssl.SSLContext | None = None) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            host=host,
            port=port,
            ssl_context_factory=(lambda _config, _default: tls) if tls else None,
            loop="asyncio",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            # Longer than the API server's own patience, else it writes into connections that just close.
            timeout_keep_alive=120,
            timeout_graceful_shutdown=5,
        )
    )


async def _until_stopped(servers: list[_Server], health: Health, drain_seconds: float) -> None:
    """Serve; after a signal go on serving while endpoints forget this pod, then end."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with asyncio.TaskGroup() as group:
        for server in servers:
            group.create_task(server.serve())
        await stopped.wait()
        log.info("draining", extra={"seconds": drain_seconds})
        health.draining = True
        await asyncio.sleep(drain_seconds)
        for server in servers:
            server.should_exit = True


if __name__ == "__main__":
    sys.exit(main())
