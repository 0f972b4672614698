"""uvicorn's HTTP, held to what callers may take.

uvicorn bounds neither headers nor the time that a request takes to arrive, and queues any number of requests that are
sent before the first is answered.
"""

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from webhook.reviews.review import MAX_BYTES
from webhook.serving.callers import Callers, Connection, Stage
from webhook.serving.turns import Turns

_CONTINUE = b"HTTP/1.1 100 "
_WRITE_BUFFER = 64 << 10
"""Bytes of an answer that wait for the caller before the application has to."""


class _Pipelined(Exception):
    """A request came before the one before it was answered: no Go client does that, and the queue has no end."""


class _AnswerInOne:
    """A transport that sends the headers of an answer with the first of its body.

    uvicorn writes them apart: two TLS records, two packets, and the caller is woken twice.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport, self._headers = transport, b""
        self.headers_next = False
        """Whether an answer begins with the next thing that is written."""

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send it, or hold it where it is headers."""
        if self.headers_next and not data.startswith(_CONTINUE):
            self._headers, self.headers_next = data, False
        else:
            self._transport.write(self._headers + data if self._headers else data)
            self._headers = b""

    def close(self) -> None:
        """Send what is held, and close."""
        if self._headers:
            self.write(b"")
        self._transport.close()


class BoundedProtocol(HttpToolsProtocol):
    """One connection's HTTP. It keeps `connection` informed, which others decide by."""

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        connection: Connection,
        callers: Callers,
        turns: Turns,
    ) -> None:
        super().__init__(config, server_state, app_state, asyncio.get_running_loop())
        self._connection, self._callers, self._turns = connection, callers, turns
        self._framing = self._body = 0
        """Bytes of the message that comes, by what they are."""
        self._complete, self._answering = True, False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn
        """Begin to wait for a request."""
        super().connection_made(transport)
        if self._connection not in self._callers:  # it had to go at the moment that its handshake began
            transport.abort()
        self.transport = self._answers = _AnswerInOne(transport)  # type: ignore[assignment] # it is one but by type
        transport.set_write_buffer_limits(_WRITE_BUFFER)
        self._connection.abort = transport.abort
        self._connection.unsent = lambda: _unsent(transport)
        self._connection.enter(Stage.IDLE)

    def connection_lost(self, exc: Exception | None) -> None:
        """Count no more."""
        self._callers.remove(self._connection)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse, within bounds."""
        if self.transport.is_closing():
            return
        self._framing += len(data)  # on_body takes off again what is body
        super().data_received(data)
        if self._framing > self._callers.limits.header_bytes:
            self._callers.end(self._connection, "header-bytes")

    def send_400_response(self, msg: str) -> None:
        """End it, as what it says is no HTTP."""
        if self._answering:
            # An answer would be taken for that of the request before.
            self._callers.end(self._connection, "pipelined")
        else:
            super().send_400_response(msg)
            self._connection.abort = lambda: None  # it closes once that is sent
            self._callers.end(self._connection, "bad-http")

    # What the parser calls

    def on_message_begin(self) -> None:
        """A request begins."""
        if self._answering:
            raise _Pipelined
        super().on_message_begin()
        self._body, self._complete = 0, False
        self._connection.enter(Stage.HEADERS)

    def on_headers_complete(self) -> None:
        """The application begins."""
        super().on_headers_complete()
        self._answering = self._answers.headers_next = True
        self._connection.enter(Stage.BODY)

    def on_body(self, body: bytes) -> None:
        """Count what is held."""
        super().on_body(body)
        self._framing -= len(body)
        if self._answering:
            self._body += len(body)
            # Of one that is too large the application keeps nothing.
            kept = self._body if self._body <= MAX_BYTES else 0
            self._callers.hold(self._connection, kept + self._connection.unsent())

    def on_message_complete(self) -> None:
        """Let the application decide, when it is this address's turn."""
        self._framing, self._complete = 0, True
        if self._answering:
            self._connection.enter(Stage.DECISION)
            self._turns.take(self._connection.address, self._decide)
        else:
            self._rest()

    # What the application causes

    def on_response_complete(self) -> None:
        """The application is done."""
        self._answering = False
        super().on_response_complete()
        if self._complete:
            self._connection.answered = True
            self._rest()

    def _decide(self) -> bool:
        if self.transport.is_closing():
            return False
        super().on_message_complete()
        return True

    def _rest(self) -> None:
        """Nothing is to be done for this caller any more, but for what it has not taken yet."""
        unsent = self._connection.unsent()
        self._connection.enter(Stage.UNREAD if unsent else Stage.IDLE)
        self._callers.hold(self._connection, unsent)


def _unsent(transport: asyncio.Transport) -> int:
    """Bytes that the kernel has not taken.

    TLS hands them all on to the socket's transport, whatever their number, and counts them no more.
    """
    tls = getattr(transport, "_ssl_protocol", None)
    below = tls._transport if tls else None  # noqa: SLF001 - there is no public way down
    return transport.get_write_buffer_size() + (below.get_write_buffer_size() if below else 0)
