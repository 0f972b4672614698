"""Accepts connections, and begins TLS with those that have something to say.

asyncio's own server accepts whatever comes and takes up TLS with all of them at once.
"""

import asyncio
import asyncio.sslproto
import errno
import gc
import logging
import socket
import ssl
from collections.abc import Callable

from webhook import metrics
from webhook.serving.callers import Callers, Connection, address_of
from webhook.serving.turns import Turns
from webhook.sparse_log import SparseLog

# asyncio gives each TLS connection a buffer of 256 KiB to read into, for as long as it is open. The memory limit is
# reached by 300 of them. A common review fits into 8 KiB, others take more steps, between which others get theirs.
asyncio.sslproto.SSLProtocol.max_size = 8 << 10

_BATCH = 16
"""Connections accepted in a row: a caller must not be one of the oldest before its first bytes were looked at."""
_COLLECT_EVERY = 32
_SEND_BUFFER = 32 << 10
"""Bytes; the kernel doubles it for its own use."""
_SHUTDOWN_SECONDS = 1.0
"""For a caller to confirm the end of TLS."""
_HANDSHAKE = b"\x16"
_RECORD_HEAD = 5
_LONGEST_RECORD = _RECORD_HEAD + (1 << 14)
"""Bytes of a TLS record's head, and with it of the longest that is not encrypted (RFC 8446, 5.1)."""
_PAUSE_SECONDS = 0.5
_EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_BROKEN = {errno.EBADF, errno.EINVAL, errno.ENOTSOCK, errno.EOPNOTSUPP, errno.EFAULT}

log = logging.getLogger(__name__)
sparse = SparseLog(log)

NewProtocol = Callable[[Connection], asyncio.Protocol]


class Listener:
    """One port, in the shape that uvicorn expects of a server. It begins to accept at once.

    Args:
        listening: The socket.
        tls: Gives what to speak with a new connection; without it no TLS.
        new_protocol: Makes the HTTP of a connection, which notes its stages from then on.
        callers: What all ports together hold.
        turns: Theirs as well.

    """

    def __init__(
        self,
        listening: socket.socket,
        tls: Callable[[], ssl.SSLContext] | None,
        new_protocol: NewProtocol,
        callers: Callers,
        turns: Turns,
    ) -> None:
        listening.setblocking(False)
        self._socket, self._tls, self._new_protocol = listening, tls, new_protocol
        self._callers, self._turns = callers, turns
        self._loop = asyncio.get_running_loop()
        self._accepting = self._loop.create_task(self._accept())
        self._beginning: set[_Arrival] = set()
        self._begun = 0

    def check(self) -> None:
        """See whether it still accepts.

        Raises:
            OSError: It does not, for good.

        """
        if self._accepting.done() and not self._accepting.cancelled():
            self._accepting.result()

    def close(self) -> None:
        """Accept no more; connections in use go on."""
        self._accepting.cancel()
        for arrival in list(self._beginning):
            self._callers.end(arrival.connection, "shutdown")

    async def wait_closed(self) -> None:
        """Wait until it does not accept any more."""
        await asyncio.wait([self._accepting])

    async def _accept(self) -> None:
        while True:
            for _ in range(_BATCH):
                try:
                    accepted, peer = await self._loop.sock_accept(self._socket)
                except OSError as error:
                    if error.errno in _BROKEN:
                        raise
                    metrics.CONNECTIONS_ENDED.labels("accept").inc()
                    sparse.warning("accept", f"cannot accept a connection: {error.strerror}")
                    # Others are a caller's that went while it came (accept(2)).
                    full = error.errno in _EXHAUSTED and not self._callers.make_room()
                    await asyncio.sleep(_PAUSE_SECONDS if full else 0)
                else:
                    self._arrived(accepted, address_of(peer[0]))
            await asyncio.sleep(0)  # accepting does not give way as long as there are more connections

    def _arrived(self, accepted: socket.socket, address: str) -> None:
        # Not by the listening socket: connections that came before this server did would not inherit it.
        # asyncio sets it only where the protocol number says TCP, which here is 0; without it an answer's body waits
        # until the caller acknowledges the headers: 40 ms.
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        # The kernel's memory counts as ours: without a bound it takes some MiB of answers that a caller does not read.
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        arrival = _Arrival(accepted, address, self._beginning)
        self._loop.add_reader(accepted, self._speaks, arrival)
        self._callers.add(arrival.connection)

    def _speaks(self, arrival: "_Arrival") -> None:
        """Its first bytes are there. A handshake is worth memory once its first record is there as a whole."""
        if self._tls and not arrival.has_hello():
            return
        self._loop.remove_reader(arrival.socket)
        self._turns.take(arrival.connection.address, lambda: self._begin(arrival))

    def _begin(self, arrival: "_Arrival") -> bool:
        if arrival.connection not in self._callers:
            return False
        self._callers.begin(arrival.connection)
        self._begun += 1
        if self._begun % _COLLECT_EVERY == 0:
            # asyncio's TLS connections refer to themselves: when they end, their 60 KiB wait for the collector, which
            # counts objects and not bytes.
            gc.collect()
        arrival.task = self._loop.create_task(self._connect(arrival))
        arrival.task.add_done_callback(arrival.begun)
        return True

    async def _connect(self, arrival: "_Arrival") -> None:
        arrival.handed_over = True
        seconds = {
            "ssl_handshake_timeout": self._callers.limits.handshake_seconds,
            "ssl_shutdown_timeout": _SHUTDOWN_SECONDS,
        }
        try:
            await self._loop.connect_accepted_socket(
                lambda: self._new_protocol(arrival.connection),
                arrival.socket,
                ssl=self._tls() if self._tls else None,
                **(seconds if self._tls else {}),
            )
        except OSError as error:  # ssl.SSLError is one, and so is a handshake that takes too long
            self._callers.end(arrival.connection, f"handshake: {error}")


class _Arrival:
    """A connection on its way from the socket to its protocol. Until then it is among those `beginning`."""

    def __init__(self, accepted: socket.socket, address: str, beginning: set["_Arrival"]) -> None:
        self.socket, self._beginning = accepted, beginning
        self.connection = Connection(address, self._abort)
        self.task: asyncio.Task[None] | None = None
        self.handed_over = False
        """Whether the socket belongs to asyncio."""
        self._peeked = 0
        beginning.add(self)

    def has_hello(self) -> bool:
        """Whether the first TLS record (RFC 8446, 5.1) is there, or no more of it comes; else wait for the rest.

        Who sends a byte and no more would otherwise take one of the few handshakes, and so end another one's.
        """
        try:
            there = self.socket.recv(_LONGEST_RECORD, socket.MSG_PEEK)
        except OSError:
            return True  # the handshake finds out what is wrong
        wanted = _RECORD_HEAD
        if len(there) >= _RECORD_HEAD:
            wanted += int.from_bytes(there[3:5], "big")
        is_tls = there[:1] == _HANDSHAKE and wanted <= _LONGEST_RECORD
        # Woken without a byte more: the caller has ended.
        if len(there) >= wanted or not is_tls or len(there) <= self._peeked:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)
            return True
        self._peeked = len(there)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, wanted)  # not to be woken for each byte
        return False

    def begun(self, task: asyncio.Task[None]) -> None:
        """Hear that its task has ended."""
        self._beginning.discard(self)
        if not self.handed_over:  # cancelled before its first step
            self.socket.close()
        if not task.cancelled() and (error := task.exception()):
            log.error("fault at the beginning of a connection", exc_info=error)
            self.connection.abort()

    def _abort(self) -> None:
        if self.task:
            self.task.cancel()
        else:
            asyncio.get_running_loop().remove_reader(self.socket)
            self.socket.close()
            self._beginning.discard(self)
