"""What a replica of the webhook takes in a cluster with much in it: memory, and time until it is ready."""

import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import trustme

from bench.figures import Figure, at_most, seen
from bench.free_port import free_port
from bench.full_api import BINDINGS, Size, full_api
from bench.memory import resident_mib

_SETTLES, _SETTLES_LARGE = 2.0, 20.0
"""Seconds until the NodeTrails are in, which readiness does not wait for."""
_LARGE = Size(namespaces=10_000, pods=100_000, nodes=5_000)
_ROOT = Path(__file__).parents[1]


def figures() -> Iterator[Figure]:
    """The most resident memory until it is ready, and how long that took from its start; then of a very large one."""
    resident, took = _measured(Size(), 60, _SETTLES)
    full = _words(Size())
    yield at_most(
        90,
        "webhook-memory",
        resident,
        "MiB",
        f"the most resident memory (VmHWM) of a replica until it is ready; {full}",
    )
    yield at_most(3, "webhook-ready", took, "s", f"from the start of its process until /readyz says so; {full}")
    resident, took = _measured(_LARGE, 120, _SETTLES_LARGE)
    yield seen("webhook-memory-large", resident, "MiB", f"the same; {_words(_LARGE)}")
    yield seen("webhook-ready-large", took, "s", f"the same; {_words(_LARGE)}")


def _words(size: Size) -> str:
    return (
        f"{size.pods} pods on {size.nodes} nodes, {size.namespaces} namespaces and {BINDINGS} bindings in the cluster"
    )


def _measured(size: Size, seconds: float, settles: float) -> tuple[float, float]:
    """MiB, and seconds until it is ready, which may take so long; then it is looked at for a while."""
    with full_api(size) as api, tempfile.TemporaryDirectory() as name:
        folder, port = Path(name), free_port()
        leaf = (ca := trustme.CA()).issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
        leaf.private_key_pem.write_to_path(folder / "tls.key")
        leaf.cert_chain_pems[0].write_to_path(folder / "tls.crt")
        ca.cert_pem.write_to_path(folder / "ca.crt")
        options = ["--api-server", api, "--tls-dir", name, "--namespace", "exectrail", "--host", "127.0.0.1"]
        listen = ["--port", str(free_port()), "--metrics-port", str(port)]
        began = time.monotonic()
        command = [sys.executable, "-m", "webhook", *options, *listen]
        with subprocess.Popen(command, cwd=_ROOT, stderr=subprocess.DEVNULL) as replica:
            try:
                _wait_ready(port, began + seconds)
                took = time.monotonic() - began
                time.sleep(settles)
                return resident_mib(replica.pid, "VmHWM"), took
            finally:
                replica.terminate()


def _wait_ready(port: int, deadline: float) -> None:
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5).close()
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
        else:
            return
    raise RuntimeError("the replica is not ready in time")
