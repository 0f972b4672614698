"""`python -m bench.crowd`: a full node, played to a pipeline; prints its private memory in MiB.

Four numbers: what the API's list of closed sessions leaves behind; all of it with 110 pods, which is what a kubelet
runs by default (`maxPods`), and 50 sessions in them; after a load; after as much again. The pods are not real; the
tables that follow them are, and so are the mirror of the sessions and the trail.
"""

import logging
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import enricher.__main__  # noqa: F401 - all that a running enricher has loaded
from bench.full_api import SESSIONS as CLOSED
from bench.full_api import full_api
from bench.memory import private_mib
from enricher.config import Requests
from enricher.containers.containers import CgroupRef
from enricher.containers.pods import Container, ContainerStatus, Namespace, Pod, PodSpec, PodStatus
from enricher.correlate.request_index import RequestIndex
from enricher.events import ExecEvent, ExitEvent, ForkEvent, Process, ProcessEvent
from enricher.support.player import Player
from enricher.support.recording import Header, Item, Located, NamespaceSeen, PodSeen, SessionSeen
from enricher.trail.chain import State
from enricher.trail.file_sink import FileSink
from enricher.trail.writer import Writer
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.session import AuditSession, SessionSpec, Target, User
from exectrail.k8s.client import Client

PODS, SESSIONS, EXECS = 110, 50, 100_000
_PROCESSES = 20
"""Live processes of each pod."""
_SECOND_NS, _SECOND_US = 1_000_000_000, 1_000_000
RATE = 800
_ROUND = 20
"""Events between two commits: what comes while an agent lets them gather."""
_RUNTIME = Process(1, 0)
HEADER = Header(1, "node1", "5f2b1c04-3c1e-4f5e-9d0b-2a6f8c7e1b90", "bpf", "none", 0, 1_795_000_000 * _SECOND_NS)


def main() -> None:
    """Fill the node, load it, and say what that takes."""
    with full_api() as api, tempfile.TemporaryDirectory() as folder:
        writer = Writer(FileSink(Path(folder) / "trail.jsonl"), State(Path(folder) / "chain.json"))
        writer.start()
        player = Player(HEADER, writer.write, 0.5, lambda bits: int.from_bytes(os.urandom(bits // 8)))
        before = private_mib(os.getpid())
        requests = Requests(Client(api), "exectrail", RequestIndex().changed, HEADER.node)
        requests.start()
        if not requests.synced.wait(60) or len(requests.objects) != CLOSED:
            raise RuntimeError("the list is not in")
        listed = private_mib(os.getpid()) - before
        _play(player, writer, node())
        full = private_mib(os.getpid())
        _play(player, writer, load(0, EXECS // 2))
        early = private_mib(os.getpid())
        _play(player, writer, load(EXECS // 2, EXECS))
        print(listed, full, early, private_mib(os.getpid()))
        writer.close()
        logging.disable()  # the API server goes before the mirror, which would complain


def _play(player: Player, writer: Writer, items: Iterator[tuple[int, Item]]) -> None:
    for number, (at, item) in enumerate(items):
        player.play(at, item)
        if number % _ROUND == 0:
            writer.commit()
        while number % 1_000 == 0 and writer.unwritten > 1_000:  # it is played faster than it happens
            time.sleep(0.001)


def node() -> Iterator[tuple[int, Item]]:
    """All pods with their processes, and the sessions in some of them; times in microseconds."""
    yield 0, NamespaceSeen("shop", Namespace(ObjectMeta(name="shop", labels={"exectrail.io/record": "true"})))
    for number in range(PODS):
        yield 0, PodSeen(f"shop/web-{number}", _pod(number))
        yield 0, Located(number, CgroupRef(_id(number), _uid(number)))
        for process in range(_PROCESSES):
            yield 0, _exec(number, 1000 * (number + 1) + process, 1, b"/usr/bin/worker\0--number\0%d\0" % process)
    for number in range(SESSIONS):
        yield 0, SessionSeen(f"exectrail/{_uid(number)}", _session(number))
        tagged = f"env\0SPO_EXEC_REQUEST_UID={_uid(number)}\0sh\0".encode()
        yield 0, _exec(number, 500_000 + number, 1, tagged)


def load(first: int, end: int) -> Iterator[tuple[int, ProcessEvent]]:
    """Each session in turn runs a program to its end, `RATE` of them a second."""
    for turn in range(first, end):
        at, container, pid = turn * _SECOND_US // RATE, turn % SESSIONS, 600_000 + turn
        parent, child = Process(500_000 + container, 1), Process(pid, turn)
        at_ns = at * 1000
        yield at, ForkEvent(at_ns, container, _id(container), parent, child, 0, 0)
        yield at, _exec(container, pid, turn, b"/bin/true\0steady\0%d\0" % turn, parent, at_ns)
        yield at, ExitEvent(at_ns, container, child, 0, None)


def _exec(
    container: int,
    pid: int,
    start: int,
    argv: bytes,
    parent: Process = _RUNTIME,
    at: int = 0,
) -> ExecEvent:
    program = argv.partition(b"\0")[0]
    return ExecEvent(
        at, container, _id(container), Process(pid, start), parent, 0, 0, False, program, argv, False, cwd=b"/"
    )


def _pod(number: int) -> Pod:
    return Pod(
        ObjectMeta(name=f"web-{number}", namespace="shop", uid=_uid(number), labels={"app": "web", "tier": "front"}),
        PodSpec([Container("app", "registry.example/shop/web:1.2.3")]),
        PodStatus([ContainerStatus("app", f"containerd://{_id(number)}")]),
    )


def _session(number: int) -> AuditSession:
    target = Target("shop", f"web-{number}", "app", "node1")
    user = User(f"user-{number}@example.com", groups=["dev", "system:authenticated"])
    spec = SessionSpec(user, "exec", "pods/exec", target, "2026-11-18T11:06:40.000000Z", ["sh"], tty=True, tag="env")
    return AuditSession(ObjectMeta(name=_uid(number), namespace="exectrail"), spec)


def _id(number: int) -> str:
    return f"{number:064x}"


def _uid(number: int) -> str:
    return f"00000000-0000-4000-8000-{number:012x}"


if __name__ == "__main__":
    main()
