"""The webhook's server in a thread of this process."""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator

from tests.unit.waiting import until
from webhook.app import Health, Webhook, admission_app
from webhook.serving.callers import Limits
from webhook.serving.server import Bounds, Server, serve


@contextlib.contextmanager
def serving(
    webhook: Webhook,
    limits: Limits | None = None,
    tls: Callable[[], ssl.SSLContext] | None = None,
    before: Callable[[int], object] = lambda _port: None,
) -> Iterator[int]:
    """Serve until the end of the block; the port. `before` is called with it when it listens, before it accepts."""
    listening = socket.create_server(("127.0.0.1", 0))
    before(listening.getsockname()[1])
    bounds = Bounds(limits or Limits())
    server = Server(admission_app(webhook, Health()), listening, bounds, tls)
    thread = threading.Thread(target=lambda: asyncio.run(serve([server], bounds)))
    thread.start()
    until(lambda: server.started)
    try:
        yield listening.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
