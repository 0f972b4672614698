"""What the webhook adds to a request: calls as the API server makes them, beside a webhook that does nothing."""

import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import quantiles
from typing import Any

import msgspec
import trustme

from bench.figures import Figure, at_most, seen
from bench.free_port import free_port
from tests.cluster.node.build import go_build
from tests.cluster.node.components import GoBuild
from tests.unit.exectrail.api_server import ApiServer
from tests.unit.webhook.process import EMPTY_SECRET, KEY_SECRET
from webhook.app import BINDING_PATH, EXEC_METADATA_PATH

_ROOT = Path(__file__).parents[1]
_REVIEWS = _ROOT / "tests/unit/webhook/data"
_CALLER = GoBuild("bench-caller", "1", Path(__file__).parent / "caller", {"caller": "."}, takes="seconds")
_UID = "00000000-0000-0000-0000-000000000000"
"""What the caller replaces in each call."""
_CONNECTIONS = 8
_RATES = (50, 100, 200, 400)
_FRESH_RATE = 50
_STALLED_RATE = 100
_SESSIONS = "/apis/exectrail.io/v1alpha1/namespaces/exectrail/auditsessions"
_NO_LIMITS = [f"--{whose}-limit=1000000:1000000" for whose in ("user", "namespace", "total")]
"""One user makes all reviews: what is over a limit would cost less."""
_SLICE_SECONDS = 5.0
"""Both are called in turns of so many seconds: what else the machine does hits them alike."""
_POD_BYTES = 6000


def figures(seconds: int) -> Iterator[Figure]:
    """Exec and pod reviews at each rate, over kept and over fresh connections, for so many seconds each."""
    with tempfile.TemporaryDirectory() as name, _both(Path(name)) as (folder, ours, bare):
        reviews = {"exec": (EXEC_METADATA_PATH, _exec()), "pod": (BINDING_PATH, _pod())}
        caller = _Caller(folder)
        for kind, (path, review) in reviews.items():
            (folder / f"{kind}.json").write_bytes(json.dumps(review).encode())
            for rate in _RATES:
                how = f"{rate} {kind} reviews/s for {seconds} s over {_CONNECTIONS} kept TLS connections"
                took = caller.in_turns(kind, path, (ours, bare), rate, seconds)
                yield from _figures(f"webhook-{kind}-{rate}", how, *took, p99=5 if kind == "exec" else None)
        how = f"{_FRESH_RATE} exec reviews/s for {seconds} s, each over a fresh TLS connection"
        took = caller.in_turns("exec", EXEC_METADATA_PATH, (ours, bare), _FRESH_RATE, seconds, "--fresh")
        yield from _figures("webhook-exec-fresh", how, *took, p99=None)
    yield _stalled(seconds)


def _stalled(seconds: int) -> Figure:
    """Whether an answer waits for an API server that takes no AuditSession: it would be all of them, for 30 s each."""
    with tempfile.TemporaryDirectory() as name, ExitStack() as running:
        folder = Path(name)
        _certificate(folder)
        (folder / "exec.json").write_bytes(json.dumps(_exec()).encode())
        healthy, stalled = (running.enter_context(_ours(folder, stalled=each)) for each in (False, True))
        how = f"{_STALLED_RATE} exec reviews/s for {seconds} s over {_CONNECTIONS} kept TLS connections"
        took = _Caller(folder).in_turns("exec", EXEC_METADATA_PATH, (healthy, stalled), _STALLED_RATE, seconds)
        (_, healthy_p99), (_, stalled_p99) = map(_p50_p99, took)
    beside = f"{how}; p99 {stalled_p99:.3f} ms with an API server that answers no write, {healthy_p99:.3f} ms else"
    return at_most(1.5, "webhook-stalled-api-p99-of-healthy", stalled_p99 / healthy_p99, "times", beside)


def _figures(name: str, how: str, ours: list[int], bare: list[int], p99: float | None) -> Iterator[Figure]:
    (ours_p50, ours_p99), (bare_p50, bare_p99) = _p50_p99(ours), _p50_p99(bare)
    beside = f"{how}; uvicorn with a constant answer: p50 {bare_p50:.3f}, p99 {bare_p99:.3f} ms"
    yield seen(f"{name}-p50", ours_p50, "ms", beside)
    if p99:
        yield at_most(p99, f"{name}-p99", ours_p99, "ms", beside)
    else:
        yield seen(f"{name}-p99", ours_p99, "ms", beside)
    yield at_most(1.5, f"{name}-p50-of-bare", ours_p50 / bare_p50, "times", beside)


def _p50_p99(took: list[int]) -> tuple[float, float]:
    """Milliseconds."""
    cuts = quantiles(took, n=100)
    return cuts[49] / 1000, cuts[98] / 1000


class _Caller:
    """The Go program in `caller/`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._program = go_build(_CALLER) / "caller"
        self._next = 0

    def in_turns(
        self, kind: str, path: str, ports: tuple[int, int], rate: int, seconds: float, *more: str
    ) -> tuple[list[int], list[int]]:
        """Microseconds of each call, of the first port's and of the second's."""
        took: tuple[list[int], list[int]] = ([], [])
        slices = max(1, round(seconds / _SLICE_SECONDS))
        for _ in range(slices):
            for port, calls in zip(ports, took, strict=True):
                calls.extend(self._call(kind, f"https://127.0.0.1:{port}{path}", rate, seconds / slices, *more))
        return took

    def _call(self, kind: str, url: str, rate: int, seconds: float, *more: str) -> list[int]:
        files = [f"--ca={self._folder / 'ca.crt'}", f"--review={self._folder / kind}.json"]
        load = [f"--connections={_CONNECTIONS}", f"--rate={rate}", f"--seconds={seconds}", f"--first={self._next}"]
        self._next += round(rate * seconds) + _CONNECTIONS
        command = [str(self._program), f"--url={url}", *files, *load, *more]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, timeout=seconds + 60).stdout
        return msgspec.json.decode(answer, type=list[int])


def _exec() -> dict[str, Any]:
    review: dict[str, Any] = json.loads((_REVIEWS / "exec-sh.json").read_bytes())
    review["request"]["uid"] = _UID
    return review


def _pod() -> dict[str, Any]:
    review: dict[str, Any] = json.loads((_REVIEWS / "pod-create.json").read_bytes())
    review["request"]["uid"] = _UID
    missing = _POD_BYTES - len(json.dumps(review))
    review["request"]["object"]["metadata"]["annotations"] = {"example.org/note": "x" * missing}
    return review


def _certificate(folder: Path) -> None:
    ca = trustme.CA()
    leaf = ca.issue_cert("localhost", key_type=trustme.KeyType.ECDSA)
    leaf.private_key_pem.write_to_path(folder / "tls.key")
    leaf.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    ca.cert_pem.write_to_path(folder / "ca.crt")


@contextmanager
def _both(folder: Path) -> Iterator[tuple[Path, int, int]]:
    """Our webhook and a bare one, with the same certificate; their ports."""
    _certificate(folder)
    bare_port = free_port()
    with ExitStack() as running:
        port = running.enter_context(_ours(folder))
        running.enter_context(_process("bench.bare", str(bare_port), f"{folder}/tls.crt", f"{folder}/tls.key"))
        _wait(bare_port)
        yield folder, port, bare_port


@contextmanager
def _ours(folder: Path, *, stalled: bool = False) -> Iterator[int]:
    """Our webhook, with an API server that may take no AuditSession; its port."""
    port, metrics_port = free_port(), free_port()
    with ApiServer() as api:
        api.created[KEY_SECRET] = EMPTY_SECRET
        api.set("default", **{"exectrail.io/record": "true", "exectrail.io/profile": "process-audit"})
        if stalled:
            api.stalled.add(_SESSIONS)
        options = ["--api-server", api.url, "--tls-dir", str(folder), "--namespace", "exectrail", *_NO_LIMITS]
        listen = ["--host", "127.0.0.1", "--port", str(port), "--metrics-port", str(metrics_port)]
        with _process("webhook", *options, *listen):
            _wait(port)
            yield port


@contextmanager
def _process(module: str, *arguments: str) -> Iterator[None]:
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=_ROOT, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def _wait(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError(f"nothing listens on port {port} after 30 s")
