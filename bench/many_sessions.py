"""What retention costs the API server, with few AuditSessions and with as many as it lets stand."""

import http.client
import json
import os
import ssl
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.figures import Figure, at_most
from bench.memory import resident_mib
from tests.cluster.cluster import Cluster
from tests.cluster.node import pki
from tests.cluster.node.config import API_SERVER
from tests.cluster.product import NAMESPACE, pids

FEW, MANY = 100, 9_900
_PATH = f"/apis/exectrail.io/v1alpha1/namespaces/{NAMESPACE}/auditsessions"
_WRITERS = 4
_SETTLE = 15.0
_TICK = os.sysconf("SC_CLK_TCK")
_TIMES_MORE = 1.25
"""What noise may add to a figure that is to be the same."""


def figures(cluster: Cluster, seconds: int) -> Iterator[Figure]:
    """The API server's CPU while nothing happens but the controller's rounds, one a second."""
    try:
        _write(range(FEW))
        few = _api_server_cpu(seconds)
        _write(range(FEW, MANY))
        many = _api_server_cpu(seconds)
        (controller,) = pids("profiles.controller")
        resident = resident_mib(controller)
    finally:
        # In one request: kubectl would delete them one by one.
        cluster.kubectl("delete", "--raw", f"{_PATH}?labelSelector=bench%3Dmany")
    how = f"{many:.2f} % of a core with {MANY} AuditSessions, {few:.2f} % with {FEW}, over {seconds} s each"
    yield at_most(_TIMES_MORE, "api-server-cpu-of-many-sessions", many / few, "times", how)
    yield at_most(192, "controller-memory", resident, "MiB", f"resident memory (VmRSS) with {MANY} AuditSessions")


def _write(numbers: range) -> None:
    with ThreadPoolExecutor(_WRITERS) as writers:
        list(writers.map(_write_some, [numbers[turn::_WRITERS] for turn in range(_WRITERS)]))


def _write_some(numbers: range) -> None:
    at = urlsplit(API_SERVER)
    tls = ssl.create_default_context(cafile=str(pki.CA))
    tls.load_cert_chain(pki.file("admin", "crt"), pki.file("admin", "key"))
    connection = http.client.HTTPSConnection(at.hostname or "", at.port, context=tls)
    for number in numbers:
        body = json.dumps(_session(number))
        connection.request("POST", _PATH, body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        if (content := answer.read()) and answer.status != http.HTTPStatus.CREATED:
            raise RuntimeError(content.decode())
    connection.close()


def _session(number: int) -> dict[str, Any]:
    """An exec that nothing records: the controller closes it, and then it stays."""
    spec = {
        "user": {"username": f"user-{number % 50}@example.com", "groups": ["dev", "system:authenticated"]},
        "verb": "exec",
        "resource": "pods/exec",
        "target": {"namespace": "shop", "pod": f"web-7d4b9c8f6-{number:05x}", "container": "app"},
        "time": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "command": ["sh", "-c", f"cd /srv/app && ./manage check --shard {number} --verbose"],
        "tag": "none",
        "recorded": False,
    }
    metadata = {"name": f"40000000-0000-4000-8000-{number:012x}", "labels": {"bench": "many"}}
    return {"apiVersion": "exectrail.io/v1alpha1", "kind": "AuditSession", "metadata": metadata, "spec": spec}


def _api_server_cpu(seconds: int) -> float:
    """Its share of a core, in percent, once the sessions are closed."""
    process = _api_server()
    _until_quiet(process)
    before = _cpu(process)
    time.sleep(seconds)
    return 100 * (_cpu(process) - before) / seconds


def _until_quiet(process: Path) -> None:
    """Wait until its CPU falls no more: the sessions are closed."""
    last = float("inf")
    while True:
        before = _cpu(process)
        time.sleep(_SETTLE)
        spent = _cpu(process) - before
        if spent >= last:
            return
        last = spent


def _api_server() -> Path:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            program = (folder / "cmdline").read_bytes().partition(b"\0")[0]
        except OSError:
            continue
        if program.endswith(b"/kube-apiserver"):
            return folder
    raise RuntimeError("no API server runs here")


def _cpu(process: Path) -> float:
    """Seconds of CPU so far (proc_pid_stat(5))."""
    fields = (process / "stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK
