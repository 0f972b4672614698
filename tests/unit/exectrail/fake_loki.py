"""A Loki as small as can be: it keeps lines, and answers the queries of `exectrail.reading` in the form of Loki 3.7."""

import json
import re
import ssl
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

Lines = list[tuple[int, str]]
Answer = tuple[int, str, bytes]
"""Status, type of content, body."""
SECOND = 1_000_000_000


class FakeLoki:
    """Lines with their times of writing in nanoseconds; limits as Loki has them; answers that are to go wrong."""

    def __init__(self) -> None:
        self.url = ""
        self.lines: Lines = []
        self.most = 5000
        self.longest = 721 * 3600 * SECOND
        self.asked: list[tuple[str, dict[str, str], dict[str, str]]] = []
        """Endpoint, fields and headers of each request."""
        self.instead: dict[int, Answer] = {}
        """By the number of a request: what it is answered."""
        self.always: Answer | None = None
        self.cut_at = -1
        """The request whose answer breaks off."""

    @property
    def queries(self) -> list[str]:
        """Those for lines."""
        return [fields["query"] for endpoint, fields, _ in self.asked if endpoint == "query_range"]

    def answer(self, path: str, headers: dict[str, str]) -> Answer:
        parts = urlsplit(path)
        endpoint = parts.path.removeprefix("/loki/api/v1/")
        fields = {name: value for name, (value,) in parse_qs(parts.query).items()}
        number = len(self.asked)
        self.asked.append((endpoint, fields, headers))
        if instead := self.always or self.instead.get(number):
            return instead
        if endpoint == "query":
            return _json("vector", self._numbers(fields["query"], int(fields["time"])))
        return self._page(fields)

    def _page(self, fields: dict[str, str]) -> Answer:
        start, end, limit = (int(fields[name]) for name in ("start", "end", "limit"))
        if limit > self.most:
            limits = f"limit > max_entries_limit_per_query ({limit} > {self.most})"
            return 400, "text/plain", f"max entries limit per query exceeded, {limits}\n".encode()
        if end - start > self.longest:
            lengths = f"(query length: {(end - start) // SECOND}s, limit: {self.longest // SECOND}s)"
            return 400, "text/plain", f"the query time range exceeds the limit {lengths}\n".encode()
        query = fields["query"]
        if found := re.search(r' \|= (".*")$', query):
            wanted = re.compile(re.escape(json.loads(found[1])))
        else:
            found = re.search(r' \|~ (".*")$', query)
            assert found, query
            wanted = re.compile(json.loads(found[1]))
        hits = [each for each in self.lines if start <= each[0] < end and wanted.search(each[1])]
        hits.sort(key=lambda each: each[0])
        streams: dict[tuple[str, str], list[list[str]]] = {}
        for time, line in hits[:limit]:
            kind, node = re.search(r'"kind":"(\w+)"', line), re.search(r'"node":\{"name":"([^"]+)"', line)
            key = (node[1] if node else "", kind[1] if kind else "")
            streams.setdefault(key, []).append([str(time), line])
        # One stream after the other, as Loki has them: not by time.
        result = [
            {"stream": {"app": "exectrail", "node": node, "kind": kind, "service_name": "exectrail"}, "values": values}
            for (node, kind), values in sorted(streams.items())
        ]
        return _json("streams", result)

    def _numbers(self, query: str, at: int) -> list[dict[str, Any]]:
        span = re.search(r"\[(\d+)s\]", query)
        assert span, query
        start = at - int(span[1]) * SECOND
        numbers: dict[str, list[int]] = {}
        for time, line in self.lines:
            if start < time <= at and line.startswith("{"):
                record = json.loads(line)
                numbers.setdefault(record["node"]["name"], []).append(record["seq"])
        what = min if "min_over" in query else max if "max_over" in query else len
        return [{"metric": {"n": node}, "value": [at / SECOND, str(what(each))]} for node, each in numbers.items()]


def _json(kind: str, result: list[dict[str, Any]]) -> Answer:
    body = {"status": "success", "data": {"resultType": kind, "result": result, "stats": {"summary": {"splits": 1}}}}
    return 200, "application/json; charset=UTF-8", json.dumps(body).encode()


def basic(user: str, password: str) -> str:
    """The header of basic auth."""
    return f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[FakeLoki]:
    """One that listens on 127.0.0.1."""
    loki = FakeLoki()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # head and body go apart

        def do_GET(self) -> None:
            number = len(loki.asked)
            status, kind, body = loki.answer(self.path, dict(self.headers))
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            if 300 <= status < 400:
                self.send_header("Location", f"{loki.url}/login")
            self.end_headers()
            cut = number == loki.cut_at
            self.wfile.write(body[: len(body) // 2] if cut else body)
            self.close_connection = cut

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.block_on_close = False  # for a client that keeps its connection
    server.daemon_threads = True
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    loki.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield loki
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
