"""`python -m bench.full_api`: an API server whose sensor is as full as retention lets it get. Prints its address.

It stands beside what is measured, in a process of its own. Of twenty AuditSessions, all closed, twelve are of what is
not recorded, six of other nodes and two of `node1`; they are as old as they get in a month.
"""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

SESSIONS = 10_000
_DAYS = 30
_KINDS = [("attach", None), ("portforward", None), *[("exec", None)] * 4] * 2 + [("exec", "node7")] * 6
_KINDS += [("exec", "node1"), ("debug", "node1")]


@contextmanager
def full_api() -> Iterator[str]:
    """Run one; its base URL."""
    pipe = subprocess.PIPE
    module = [sys.executable, "-m", "bench.full_api"]
    with subprocess.Popen(module, stdin=pipe, stdout=pipe, text=True) as process:
        if process.stdout is None or process.stdin is None:
            raise RuntimeError("no pipes")
        yield process.stdout.readline().strip()
        process.stdin.close()


def main() -> None:
    """Serve until standard input ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(f"http://127.0.0.1:{server.server_address[1]}", flush=True)
    sys.stdin.read()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        query = dict(parse_qsl(urlsplit(self.path).query))
        self.send_response(200)
        if "watch" in query:  # nothing changes any more
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            threading.Event().wait()
        body = _page(int(query.get("continue", 0)), int(query.get("limit", SESSIONS)))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _page(start: int, limit: int) -> bytes:
    end = min(start + limit, SESSIONS)
    meta = {"resourceVersion": "4711", "continue": str(end) if end < SESSIONS else ""}
    return json.dumps({"metadata": meta, "items": [_session(number) for number in range(start, end)]}).encode()


def _session(number: int) -> dict[str, Any]:
    verb, node = _KINDS[number % len(_KINDS)]
    time = (datetime.now(UTC) - timedelta(days=_DAYS) * (number / SESSIONS)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    uid = f"10000000-0000-4000-8000-{number:012x}"
    spec: dict[str, Any] = {
        "user": {
            "username": f"user-{number % 50}@example.com",
            "groups": ["dev", "on-call", "system:authenticated"],
            "extra": {"authentication.kubernetes.io/credential-id": [f"JTI={uid}"]},
        },
        "verb": verb,
        "resource": "pods/exec",
        "target": {"namespace": "shop", "pod": f"web-7d4b9c8f6-{number:05x}", "container": "app"},
        "time": time,
        "command": ["sh", "-c", f"cd /srv/app && ./manage check --shard {number} --verbose --since yesterday"],
        "commandHash": f"{number:032x}",
        "tag": "env" if node else "none",
        "recorded": node is not None,
    }
    status: dict[str, Any] = {"phase": "Closed", "outcome": "completed" if node else "not-recorded", "endTime": time}
    if node:
        status |= {"node": node, "startTime": time, "exit": {"code": 0}, "durationMs": 1200, "processes": 3}
    name = {"name": uid, "namespace": "exectrail", "uid": f"2{uid[1:]}", "resourceVersion": str(1000 + number)}
    managed = [_managed("exectrail", time, {"f:spec": spec}), _managed("exectrail", time, {"f:status": status})]
    meta = {**name, "generation": 1, "creationTimestamp": f"{time[:19]}Z", "managedFields": managed}
    kind = {"apiVersion": "exectrail.io/v1alpha1", "kind": "AuditSession"}
    return {**kind, "metadata": meta, "spec": spec, "status": status}


def _managed(manager: str, time: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Who wrote which fields: the API server keeps that with each object."""
    names: dict[str, Any] = {part: {f"f:{name}": {} for name in found} for part, found in fields.items()}
    about = {"manager": manager, "operation": "Update", "apiVersion": "exectrail.io/v1alpha1", "time": f"{time[:19]}Z"}
    return {**about, "fieldsType": "FieldsV1", "fieldsV1": names}


if __name__ == "__main__":
    main()
