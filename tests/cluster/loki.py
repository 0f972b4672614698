"""A real Loki, for as long as a test wants it: the recipe loki.yaml with its data in a temporary folder."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import yaml

from .cluster import eventually
from .node.paths import REPOSITORY
from .program import beside

CONFIG = REPOSITORY / "docs/tasks/log-stores/loki.yaml"
_API = "/loki/api/v1"


class Loki:
    """Loki's HTTP API.

    Args:
        port: Where it listens, on 127.0.0.1.

    """

    def __init__(self, port: int) -> None:
        self._port = port

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._port}"

    def ready(self) -> bool:
        """Whether it takes and answers anything."""
        with suppress(ConnectionError):
            return self._answer("GET", "/ready")[0] == 200
        return False

    def push(self, streams: list[dict[str, Any]]) -> None:
        """Store lines."""
        self._ask(f"{_API}/push", json.dumps({"streams": streams}).encode())

    def lines(self, query: str) -> list[str]:
        """The lines of the last hour that a query finds, the oldest first."""
        # 50000: what the limit in CONFIG allows.
        found = self._query("query_range", query=query, limit="50000", direction="forward", since="1h")
        stamped = [(int(time), line) for stream in found for time, line in stream["values"]]
        return [line for _, line in sorted(stamped, key=lambda each: each[0])]

    def numbers(self, query: str) -> dict[str, float]:
        """What a query over numbers answers, by node."""
        return {each["metric"]["node"]: float(each["value"][1]) for each in self._query("query", query=query)}

    def _query(self, endpoint: str, **parameters: str) -> list[dict[str, Any]]:
        answer = json.loads(self._ask(f"{_API}/{endpoint}?{urlencode(parameters)}"))
        result: list[dict[str, Any]] = answer["data"]["result"]
        return result

    def _ask(self, path: str, body: bytes | None = None) -> bytes:
        status, content = self._answer("POST" if body else "GET", path, body)
        assert status in {200, 204}, f"{status} {path}: {content.decode()}"
        return content

    def _answer(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=30)) as connection:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()


@contextmanager
def running(program: Path, folder: Path) -> Iterator[Callable[[], Loki]]:
    """A Loki of its own, and what to call to have it ready: it starts for seconds, in which others work."""
    config = yaml.safe_load(CONFIG.read_text().replace("/var/lib/loki", str(folder)))
    server = config["server"]
    server["http_listen_port"], server["grpc_listen_port"] = _free_ports()
    # It is alone: there is no other to wait for.
    config["ingester"] = {"lifecycler": {"min_ready_duration": "0s", "final_sleep": "0s"}}
    file = folder / "loki.yaml"
    file.write_text(yaml.safe_dump(config))
    log = folder / "loki.log"
    with beside([program, f"-config.file={file}"], log) as process:
        loki = Loki(server["http_listen_port"])

        def ready() -> Loki:
            eventually(lambda: process.poll() is not None or loki.ready(), 60)
            assert process.poll() is None, log.read_text()[-3000:]
            return loki

        yield ready


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]
