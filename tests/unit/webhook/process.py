"""`python -m webhook`, as a pod runs it."""

import http.client
import json
import random
import signal
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from webhook.app import EXEC_METADATA_PATH

ROOT = Path(__file__).parents[3]
KEY_SECRET = "/api/v1/namespaces/exectrail/secrets/exectrail-command-key"
"""What the chart makes for the process, empty."""
EMPTY_SECRET = b'{"metadata": {"name": "exectrail-command-key", "resourceVersion": "7"}, "type": "Opaque"}'


def free_port() -> int:
    """A port to listen on; not one of those that the kernel hands out, which it may do before the process listens."""
    while True:
        port = random.randrange(10_000, 32_000)  # noqa: S311 - no secret
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port


class Process:
    """`python -m webhook` with an API server and a certificate."""

    def __init__(self, tls_dir: Path, api: str, *arguments: str) -> None:
        self.port, self.metrics_port = free_port(), free_port()
        self.tls = ssl.create_default_context(cafile=str(tls_dir / "ca.crt"))
        command = [sys.executable, "-m", "webhook", "--api-server", api, "--tls-dir", str(tls_dir)]
        ports = ["--port", str(self.port), "--metrics-port", str(self.metrics_port)]
        self.process = subprocess.Popen(
            [*command, *ports, "--namespace", "exectrail", "--drain-seconds", "0.3", *arguments],
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )

    def get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics_port, timeout=10)
        connection.request("GET", path)
        reply = connection.getresponse()
        status, text = reply.status, reply.read().decode()
        connection.close()
        return status, text

    def wait_until_ready(self) -> None:
        pause = threading.Event()
        for _ in range(1000):
            try:
                if self.get("/readyz")[0] == 200:
                    return
            except OSError:
                assert self.process.poll() is None
            pause.wait(0.02)
        raise AssertionError("never ready")

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("localhost", self.port, context=self.tls, timeout=10)

    def end(self) -> tuple[int, list[dict[str, Any]]]:
        """Exit code and log after SIGTERM."""
        self.process.send_signal(signal.SIGTERM)
        _, log = self.process.communicate(timeout=30)
        return self.process.returncode, [json.loads(line) for line in log.splitlines()]


def post(
    connection: http.client.HTTPSConnection, review: dict[str, Any], path: str = EXEC_METADATA_PATH
) -> tuple[dict[str, Any], str | None]:
    connection.request("POST", path, json.dumps(review))
    reply = connection.getresponse()
    response: dict[str, Any] = json.loads(reply.read())["response"]
    return response, reply.getheader("connection")
