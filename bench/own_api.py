"""An API server and its etcd for one measurement: on free ports of 127.0.0.1, in a folder that goes with it.

The programs are those of the test cluster (`make parts`), which is neither needed nor touched.
"""

import base64
import json
import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http import HTTPStatus
from pathlib import Path

import urllib3
import yaml
from msgspec import Struct
from prometheus_client.parser import text_string_to_metric_families

from bench.free_port import free_port
from exectrail.k8s.client import Client
from tests.cluster.node.components import HYPERKUBE_BUILD
from tests.cluster.node.paths import CACHE

NAMESPACE = "exectrail"
_CRDS = Path(__file__).parents[1] / "chart/templates/crds"
_READY_SECONDS = 90
_END_SECONDS = 20
_TICK = os.sysconf("SC_CLK_TCK")


class OwnApi(Struct, frozen=True):
    """What was started."""

    url: str
    ca: Path
    token: Path
    server_pid: int
    etcd_pid: int
    etcd: str

    def client(self) -> Client:
        """A client of its own, with connections of its own."""
        return Client(self.url, str(self.ca), self.token)

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's samples that have these labels."""
        families = text_string_to_metric_families(self.get("/metrics"))
        samples = (each for family in families for each in family.samples)
        return sum(each.value for each in samples if each.name == name and labels.items() <= each.labels.items())

    def sizes(self, prefix: str) -> list[int]:
        """Bytes of the values that etcd has under a prefix."""
        first, end = (
            base64.b64encode(key.encode()).decode() for key in (prefix, prefix[:-1] + chr(ord(prefix[-1]) + 1))
        )
        body = json.dumps({"key": first, "range_end": end, "limit": 1000}).encode()
        found = urllib3.request("POST", f"{self.etcd}/v3/kv/range", body=body).json()
        return [len(base64.b64decode(each["value"])) for each in found.get("kvs", [])]

    def get(self, path: str) -> str:
        """What the API server answers at a path.

        Raises:
            urllib3.exceptions.HTTPError: It does not, or not with 200.

        """
        headers = {"Authorization": f"Bearer {self.token.read_text()}"}
        with urllib3.PoolManager(ca_certs=str(self.ca), retries=False) as http:
            answer = http.request("GET", self.url + path, headers=headers, timeout=30)
        if answer.status != HTTPStatus.OK:
            raise urllib3.exceptions.HTTPError(f"{path}: {answer.status}")
        return answer.data.decode()


def cpu_seconds(pid: int) -> float:
    """CPU of a process so far (proc_pid_stat(5))."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICK


@contextmanager
def own_api() -> Iterator[OwnApi]:
    """Start them, with our definitions and the namespace `exectrail`; they end with the block.

    Raises:
        RuntimeError: A program is missing, or does not answer; the message has the end of its log.

    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="exectrail-bench-")))
        client_port, peer_port, port = free_port(), free_port(), free_port()
        etcd_url, peer_url = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
        etcd = _started(stack, folder, "etcd", *_etcd_flags(folder, etcd_url, peer_url))
        _wait(folder, "etcd", etcd, lambda: urllib3.request("GET", f"{etcd_url}/health", retries=False, timeout=2))
        token = secrets.token_hex(16)
        (folder / "token").write_text(token)
        (folder / "tokens.csv").write_text(f'{token},admin,1,"system:masters"\n')
        program = str(_api_server_program())
        server = _started(stack, folder, program, *_server_flags(folder, etcd_url, port))
        api = OwnApi(
            f"https://127.0.0.1:{port}",
            folder / "pki/apiserver.crt",
            folder / "token",
            server.pid,
            etcd.pid,
            etcd_url,
        )
        _wait(folder, "kube-apiserver", server, lambda: api.get("/readyz"))
        _prepare(api)
        yield api


def _api_server_program() -> Path:
    found = sorted((CACHE / HYPERKUBE_BUILD.name).glob("*/kube-apiserver"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise RuntimeError(f"no kube-apiserver in {CACHE / HYPERKUBE_BUILD.name}: run `make parts`")
    return found[-1]


def _etcd_flags(folder: Path, url: str, peer_url: str) -> list[str]:
    return [
        "--name=bench",
        f"--data-dir={folder / 'etcd'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls={peer_url}",
        f"--initial-advertise-peer-urls={peer_url}",
        f"--initial-cluster=bench={peer_url}",
        "--unsafe-no-fsync",
    ]


def _server_flags(folder: Path, etcd_url: str, port: int) -> list[str]:
    key, public = folder / "sa.key", folder / "sa.pub"
    _openssl("ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", str(key))
    _openssl("ec", "-in", str(key), "-pubout", "-out", str(public))
    return [
        f"--etcd-servers={etcd_url}",
        "--bind-address=127.0.0.1",
        f"--secure-port={port}",
        f"--cert-dir={folder / 'pki'}",
        f"--token-auth-file={folder / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.96.0.0/16",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={public}",
        f"--service-account-signing-key-file={key}",
        "--endpoint-reconciler-type=none",
        # No controller makes the ServiceAccounts that it asks for.
        "--disable-admission-plugins=ServiceAccount",
        "--shutdown-delay-duration=0s",
    ]


def _openssl(*args: str) -> None:
    subprocess.run(["openssl", *args], check=True, capture_output=True)


def _started(stack: ExitStack, folder: Path, program: str, *flags: str) -> subprocess.Popen[bytes]:
    log = stack.enter_context((folder / f"{Path(program).name}.log").open("wb"))
    process = subprocess.Popen([program, *flags], stdout=log, stderr=subprocess.STDOUT)
    stack.callback(_end, process)
    return process


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_END_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait(folder: Path, name: str, process: subprocess.Popen[bytes], answers: Callable[[], object]) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while True:
        try:
            answers()
        except (urllib3.exceptions.HTTPError, OSError):
            if process.poll() is not None or time.monotonic() > deadline:
                log = (folder / f"{name}.log").read_text(errors="replace")[-2000:]
                raise RuntimeError(f"{name} does not answer; its log ends with: {log}") from None
            time.sleep(0.1)
        else:
            return


def _prepare(api: OwnApi) -> None:
    client = api.client()
    client.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    for name in ("auditsession", "nodetrail"):
        lines = (_CRDS / f"{name}.yaml").read_text().splitlines()
        definition = yaml.safe_load("\n".join(line for line in lines if "{{" not in line))
        definition["metadata"] = {"name": definition["metadata"]["name"]}
        client.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition)
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        try:
            for path in (f"namespaces/{NAMESPACE}/auditsessions", "nodetrails"):
                api.get(f"/apis/exectrail.io/v1alpha1/{path}?limit=1")
        except urllib3.exceptions.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the API server does not serve our definitions")
