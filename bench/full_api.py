"""`python -m bench.full_api [NAMESPACES PODS NODES]`: an API server of a cluster with much in it. Prints its address.

It stands beside what is measured, in a process of its own. There are as many AuditSessions as retention lets stand,
all closed: of twenty, twelve are of what is not recorded, six of other nodes and two of `node1`; they are as old as
they get in a month. And there are by default 500 namespaces with 5,000 pods on 50 nodes, 200 ProfileBindings and 50
SeccompProfiles.
"""

import base64
import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
from msgspec import Struct

SESSIONS = 10_000
BINDINGS, PROFILES = 200, 50
_KEY = json.dumps({"metadata": {"name": "key"}, "data": {"key": base64.b64encode(bytes(32)).decode()}}).encode()
_TAGGED_PODS = 100
"""Pods with a label `exectrail.io/tag`: the webhook asks for these alone."""
_DAYS = 30
_KINDS = [("attach", None), ("portforward", None), *[("exec", None)] * 4] * 2 + [("exec", "node7")] * 6
_KINDS += [("exec", "node1"), ("debug", "node1")]


class Size(Struct):
    """How large the cluster is."""

    namespaces: int = 500
    pods: int = 5_000
    nodes: int = 50


_size = Size()


@contextmanager
def full_api(size: Size = _size) -> Iterator[str]:
    """Run one; its base URL."""
    pipe = subprocess.PIPE
    module = [sys.executable, "-m", "bench.full_api", *map(str, msgspec.structs.astuple(size))]
    with subprocess.Popen(module, stdin=pipe, stdout=pipe, text=True) as process:
        if process.stdout is None or process.stdin is None:
            raise RuntimeError("no pipes")
        yield process.stdout.readline().strip()
        process.stdin.close()


def main() -> None:
    """Serve until standard input ends."""
    if sys.argv[1:]:
        _size.namespaces, _size.pods, _size.nodes = map(int, sys.argv[1:])
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
        path = urlsplit(self.path).path
        found = _COLLECTIONS.get(path.rpartition("/")[2])
        body = _page(*found, int(query.get("continue", 0)), int(query.get("limit", SESSIONS))) if found else _one(path)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _one(path: str) -> bytes:
    """A pod, or else the Secret with the command key: nothing else is asked for by name."""
    _, _, pod = path.partition("/pods/web-7d4b9c8f6-")
    return json.dumps(_pod(int(pod, 16))).encode() if pod else _KEY


def _page(total: Callable[[], int], item: Callable[[int], dict[str, Any]], start: int, limit: int) -> bytes:
    count = total()
    end = min(start + limit, count)
    meta = {"resourceVersion": "4711", "continue": str(end) if end < count else ""}
    return json.dumps({"metadata": meta, "items": [item(number) for number in range(start, end)]}).encode()


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


def _namespace(number: int) -> dict[str, Any]:
    labels = {
        "kubernetes.io/metadata.name": f"team-{number}",
        "pod-security.kubernetes.io/enforce": "restricted",
        "spo.x-k8s.io/enable-binding": "",
        "exectrail.io/record": "true",
    }
    return {"metadata": _meta(f"team-{number}", number, labels=labels), "status": {"phase": "Active"}}


def _pod(number: int) -> dict[str, Any]:
    labels = {"exectrail.io/tag": "match", "app.kubernetes.io/name": "web", "pod-template-hash": "7d4b9c8f6"}
    meta = _meta(_pod_name(number), number, namespace=f"team-{number % _size.namespaces}", labels=labels)
    spec = {"nodeName": f"node{number % _size.nodes}", "containers": [{"name": "app", "image": _image(number)}]}
    return {"metadata": meta, "spec": spec}


def _node_trail(number: int) -> dict[str, Any]:
    """A node's, with each of its pods."""
    pods = range(number, _size.pods, _size.nodes)
    env = {f"team-{each % _size.namespaces}/{_pod_name(each)}/app": True for each in pods}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"metadata": _meta(f"node{number}", number), "status": {"heartbeat": now, "sensor": "bpf", "env": env}}


def _binding(number: int) -> dict[str, Any]:
    meta = _meta(f"binding-{number}", number, namespace=f"team-{number % _size.namespaces}")
    ref = {"kind": "SeccompProfile", "name": f"profile-{number % PROFILES}"}
    active = [
        f"team-{number % _size.namespaces}/{_pod_name(each)}" for each in range(number, _size.pods, _size.namespaces)
    ]
    return {
        "metadata": meta,
        "spec": {"profileRef": ref, "image": _image(number)},
        "status": {"activeWorkloads": active},
    }


def _profile(number: int) -> dict[str, Any]:
    name = f"profile-{number}"
    calls = [f"call_{each}" for each in range(300)]
    spec = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [{"names": calls, "action": "SCMP_ACT_ALLOW"}]}
    applied = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(spec)}
    status = {"status": "Installed", "localhostProfile": f"operator/{name}.json"}
    return {"metadata": _meta(name, number, annotations=applied), "spec": spec, "status": status}


def _meta(name: str, number: int, **more: str | dict[str, str]) -> dict[str, Any]:
    uid = f"30000000-0000-4000-8000-{number:012x}"
    return {"name": name, "uid": uid, "resourceVersion": str(1000 + number), **more}


def _pod_name(number: int) -> str:
    return f"web-7d4b9c8f6-{number:05x}"


def _image(number: int) -> str:
    return f"registry.example/team-{number % _size.namespaces}/web:1.{number}"


def _managed(manager: str, time: str, fields: dict[str, Any]) -> dict[str, Any]:
    """Who wrote which fields: the API server keeps that with each object."""
    names: dict[str, Any] = {part: {f"f:{name}": {} for name in found} for part, found in fields.items()}
    about = {"manager": manager, "operation": "Update", "apiVersion": "exectrail.io/v1alpha1", "time": f"{time[:19]}Z"}
    return {**about, "fieldsType": "FieldsV1", "fieldsV1": names}


_COLLECTIONS: dict[str, tuple[Callable[[], int], Callable[[int], dict[str, Any]]]] = {
    "auditsessions": (lambda: SESSIONS, _session),
    "namespaces": (lambda: _size.namespaces, _namespace),
    "pods": (lambda: _TAGGED_PODS, _pod),
    "nodetrails": (lambda: _size.nodes, _node_trail),
    "profilebindings": (lambda: BINDINGS, _binding),
    "seccompprofiles": (lambda: PROFILES, _profile),
}
"""How many there are, and what each looks like."""

if __name__ == "__main__":
    main()
