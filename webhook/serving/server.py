"""uvicorn's server on a listener of our own: whatever callers do, memory stays bounded and the API server gets in."""

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp

from webhook import metrics
from webhook.serving.callers import Callers, Connection, Limits
from webhook.serving.listener import Listener
from webhook.serving.protocol import BoundedProtocol
from webhook.serving.turns import Turns
from webhook.sparse_log import SparseLog

_WATCH_SECONDS = 0.25
_GRACE_SECONDS = 5

log = logging.getLogger(__name__)


class Bounds:
    """What all ports of this process share: callers and turns."""

    def __init__(self, limits: Limits) -> None:
        self.callers, self.turns = Callers(limits, self._ended), Turns()
        self.sparse = SparseLog(log)

    async def watch(self) -> None:
        """End what takes too long, until cancelled."""
        while True:
            self.callers.end_overdue()
            self.sparse.flush()
            metrics.CONNECTIONS.set(len(self.callers))
            metrics.BODY_BYTES.set(self.callers.held)
            await asyncio.sleep(_WATCH_SECONDS)

    def _ended(self, connection: Connection, why: str) -> None:
        reason, _, detail = why.partition(": ")
        metrics.CONNECTIONS_ENDED.labels(reason).inc()
        if reason not in {"idle-timeout", "shutdown"}:
            message = f"ended a connection: {reason}" + f" ({detail})" * bool(detail)
            self.sparse.warning(reason, message, peer=connection.address, stage=connection.stage.name.lower())


class Server(uvicorn.Server):
    """One port. It leaves signals alone: uvicorn's own handler would stop it before the drain."""

    def __init__(
        self,
        app: ASGIApp,
        listening: socket.socket,
        bounds: Bounds,
        tls: Callable[[], ssl.SSLContext] | None = None,
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                loop="asyncio",
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="error",  # its warnings are a caller's to cause, at any rate
                access_log=False,
                server_header=False,
                # Ours comes first.
                timeout_keep_alive=2 * int(bounds.callers.limits.idle_seconds) + 1,
                timeout_graceful_shutdown=_GRACE_SECONDS,
            )
        )
        self.listening, self._bounds, self._tls = listening, bounds, tls

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:  # noqa: ARG002 - uvicorn's signature
        """Listen, where uvicorn would have asyncio do so."""
        await self.lifespan.startup()

        def protocol(connection: Connection) -> BoundedProtocol:
            callers, turns = self._bounds.callers, self._bounds.turns
            return BoundedProtocol(self.config, self.server_state, self.lifespan.state, connection, callers, turns)

        self._listener = Listener(self.listening, self._tls, protocol, self._bounds.callers, self._bounds.turns)
        self.servers = [self._listener]  # type: ignore[list-item] # it has what uvicorn uses of one
        self.started = True

    async def on_tick(self, counter: int) -> bool:
        """Look whether it is to go on; raises OSError where it cannot accept any more."""
        self._listener.check()
        return await super().on_tick(counter)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signals."""
        yield


async def serve(servers: list[Server], bounds: Bounds) -> None:
    """Serve until every one of them is to exit.

    Raises:
        ExceptionGroup: Something ended by itself.

    """
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(bounds.watch())
        await asyncio.gather(*(group.create_task(each.serve([each.listening])) for each in servers))
        watching.cancel()
