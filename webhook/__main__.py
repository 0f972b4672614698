"""Runs the webhook: reads its options, puts the pieces together, serves until SIGTERM."""

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Iterator

import uvicorn
from msgspec import Raw
from starlette.applications import Starlette

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

_BACKLOG = 2048

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
        # Not earlier: who connects is to be answered. Not later: there is nothing yet to be ended where it fails.
        admission = _listen(options.host, options.port, "--port")
        status = _listen(options.host, options.metrics_port, "--metrics-port")
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
    # An API server that goes away later does not make us unready: all webhooks would be, at once.
    health = Health(
        {
            **view.conditions(),
            "command key known": lambda: key.value is not None,
            "certificate loaded": lambda: certificate.loaded,
        }
    )

    def rules() -> Rules:
        return Rules(frozenset(options.extra_keys), key.value, options.tag_unknown)

    webhook = Webhook(view.known, rules, ledger.put, options.namespace)
    servers = {
        admission: _server(admission_app(webhook, health), certificate.server_context()),
        status: _server(status_app(health)),
    }
    asyncio.run(_serve(servers, health, options.drain_seconds))
    ledger.close(options.drain_seconds)
    log.info("ended")
    return 0


def _listen(host: str, port: int, option: str) -> socket.socket:
    """Take a port, of IPv4 and IPv6 where no host says which.

    Raises:
        RuntimeError: It cannot be had.

    """
    both = not host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both or ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=_BACKLOG, dualstack_ipv6=both)
    except OSError as error:
        reason, _, _ = str(error.strerror).partition(" (")  # which address that was stands here already
        raise RuntimeError(f"cannot listen on {host or '*'}:{port} ({option}): {reason}") from error
    # Accepted sockets inherit it. asyncio sets it only where the protocol number says TCP, which here is 0; without it
    # an answer's body waits until the caller acknowledges the headers: 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
    return listener


def _server(app: Starlette, tls: ssl.SSLContext | None = None) -> _Server:
    return _Server(
        uvicorn.Config(
            app,
            ssl_context_factory=(lambda _config, _default: tls) if tls else None,
            loop="asyncio",
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            log_level="warning",
            access_log=False,
            server_header=False,
            backlog=_BACKLOG,
            # Longer than the API server's own patience, else it writes into connections that just close.
            timeout_keep_alive=120,
            timeout_graceful_shutdown=5,
        )
    )


async def _serve(servers: dict[socket.socket, _Server], health: Health, drain_seconds: float) -> None:
    """Serve; after a signal go on serving while endpoints forget this pod, then end."""
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    async with asyncio.TaskGroup() as group:
        for listener, server in servers.items():
            group.create_task(server.serve([listener]))
        await stopped.wait()
        log.info("draining", extra={"seconds": drain_seconds})
        health.draining = True
        await asyncio.sleep(drain_seconds)
        for server in servers.values():
            server.should_exit = True


if __name__ == "__main__":
    sys.exit(main())
