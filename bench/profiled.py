"""What an exec costs the enricher whose pod has a seccomp profile: to fork, exec and exit come two SECCOMP events.

All the way from the kernel's bytes to the trail's file, in rounds as at 800 exec/s; the fixed costs of an agent are
`bench.node`'s. Messages come through a netlink socket, by the one protocol in which user space may send to itself.
"""

import ctypes
import gc
import os
import socket
import struct
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Self, cast
from unittest import mock

from bench.figures import Figure, seen
from enricher import netlink
from enricher.audit import netlink_socket
from enricher.audit.netlink import NetlinkSource
from enricher.audit.netlink_socket import AUDIT_SECCOMP, AuditSource
from enricher.audit.progress import SourceState
from enricher.cgroup import Cgroup
from enricher.containers.cgroup_resolver import CgroupfsResolver
from enricher.containers.containers import CgroupRef, Containers
from enricher.containers.pod_roots import PodRoots
from enricher.containers.pods import Container, Namespace, PodSpec, SeccompProfile, SecurityContext
from enricher.core import Core
from enricher.correlate.correlator import Correlator
from enricher.correlate.sessions import Sessions
from enricher.correlate.tracker import ContainerTracker
from enricher.emit.emitter import Emitter
from enricher.emit.quota import Quota
from enricher.emit.record_builder import RecordBuilder
from enricher.events import TICK_NS, Process
from enricher.node_inputs import NodeInputs
from enricher.sensors.bpf.libbpf import Library
from enricher.sensors.bpf.program import BpfProgram
from enricher.sensors.bpf.sensor import BpfSensor
from enricher.support.player import RecordedClock
from enricher.tally import Tally
from enricher.trail.chain import State
from enricher.trail.file_sink import FileSink
from enricher.trail.writer import Writer
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.profile import LOGGING_FILES
from tests.unit.enricher.rig import APP, CGROUP, ENTRY, INIT, REQUESTED_MS, SECOND, STAGE_1, UID, pod, request

_ROUND_NS, _EXECS, _ROUNDS = SECOND // 20, 40, 20
_TURNS = 40
_PAUSE = 0.002
"""Seconds after each round, in which the thread that writes has the interpreter for itself, as at rest."""
_HOLD = 0.5
_NO_QUOTA = 1e12
_OFFSET = REQUESTED_MS * 1_000_000 - 10 * SECOND
_NETLINK_USERSOCK = 2
_BUFFER = 4 << 20

_HEAD, _IDENTITY, _EXEC, _EXIT = map(struct.Struct, ("=BB2xIQQQ", "=QIIII", "=IIIIBBBBB", "=I4x"))
_NLMSG = struct.Struct("=IHHII")
_FORKED, _EXECUTED, _EXITED = 1, 2, 3
_EXECVE, _VFORK = 59, 58


def figures() -> Iterator[Figure]:
    """With the profile, and without."""
    how = f"fork, exec and exit, as at {_EXECS * SECOND // _ROUND_NS} exec/s, from the kernel's bytes to the trail"
    for name, profiled in (("profiled", True), ("recorded", False)):
        with tempfile.TemporaryDirectory() as folder, Load(Path(folder), profiled=profiled) as load:
            cost = min(load.turn() for _ in range(_TURNS))
        yield seen(f"{name}-exec-cpu", cost, "us", how + (", with two SECCOMP events" if profiled else ""))


class _Ring:
    """Stands for libbpf, and for the kernel that fills its ring buffer."""

    def __init__(self) -> None:
        self.samples: deque[tuple[ctypes.Array[ctypes.c_char], int]] = deque()
        """Each with its address."""
        self._collect: Callable[[None, int, int], int] = lambda *_: 0

    def __getattr__(self, _name: str) -> Callable[..., int]:
        return lambda *_: 1

    def bpf_iter_create(self, _link: int) -> int:
        return -1  # no list of processes

    def ring_buffer__new(self, _map: int, collect: Callable[[None, int, int], int], *_: None) -> int:
        self._collect = collect
        return 1

    def ring_buffer__consume(self, _ring: int) -> int:
        while self.samples:
            sample, address = self.samples.popleft()
            if self._collect(None, address, len(sample)) < 0:
                break
        return 0


class Load:
    """An enricher, and a shell in a session of its container that runs one short program after another.

    Args:
        folder: Where the trail goes.
        profiled: Whether the container's profile logs the shell's calls.

    """

    def __init__(self, folder: Path, *, profiled: bool) -> None:
        self._profiled = profiled
        self._at = 10 * SECOND  # since boot, in nanoseconds
        self._pid, self._serial, self._number = 1000, 0, 0
        self._ring = _Ring()
        self._sender = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_USERSOCK)
        self._sender.bind((0, 0))
        self._patched = mock.patch.object(netlink, "KERNEL", self._sender.getsockname()[0])
        self._clock = RecordedClock(0, _OFFSET)
        self._writer = Writer(FileSink(folder / "trail.jsonl"), State(folder / "state.json"))
        self._source, self._port = _source(folder)
        self._core = self._assemble()

    def __enter__(self) -> Self:
        self._patched.start()
        self._writer.start()
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._patched.stop()
        self._writer.close()
        self._source.close(clean=True)
        self._sender.close()

    def turn(self) -> float:
        """A second's load; returns microseconds of this process's CPU for an exec, without the kernel's side of it."""
        gc.collect()
        began, before = time.process_time_ns(), 0
        for _ in range(_ROUNDS):
            started = time.thread_time_ns()
            for _ in range(_EXECS):
                self._exec()
            before += time.thread_time_ns() - started
            self.round()
            time.sleep(_PAUSE)
        return (time.process_time_ns() - began - before) / (_ROUNDS * _EXECS) / 1000

    def round(self) -> None:
        """Do a round of the enricher."""
        self._clock.at = self._at // 1000
        self._core.step(self._at / SECOND)
        self._writer.commit()

    @property
    def tally(self) -> Tally:
        """What became of the events."""
        return self._core.correlator.tally

    def _assemble(self) -> Core:
        containers, tally, clock = Containers(), Tally(), self._clock
        containers.namespace_changed(None, Namespace(ObjectMeta(name="shop", labels={"exectrail.io/record": "true"})))
        profile = SeccompProfile("Localhost", min(LOGGING_FILES)) if self._profiled else None
        spec = PodSpec(containers=[Container("app", "shop:1", security_context=SecurityContext(profile))])
        containers.pod_changed(None, pod(spec=spec))
        sessions = Sessions({UID: request()}.get, None, clock.wall_ms)
        builder, quota = RecordBuilder("node1", "0123456789abcdef", clock, "bpf"), Quota(_NO_QUOTA, _NO_QUOTA)
        emitter = Emitter(containers, sessions, builder, self._writer.write, quota, tally)
        cgroups = CgroupfsResolver(cast("PodRoots", SimpleNamespace(known=[])))
        cgroups.known[CGROUP] = CgroupRef(APP, "pod-1", name="app")
        program = BpfProgram(cast("Library", SimpleNamespace(call=self._ring, need=lambda result, _: result)), 1)
        with mock.patch.object(BpfProgram, "open", return_value=program):
            sensor = BpfSensor([Cgroup(1, Path("/"), "v2")], lambda _: [])
        correlator = Correlator(
            cgroups, containers, sessions, clock, tally, _HOLD, reports_failed_execs=True, has_audit_source=True
        )
        tracker = ContainerTracker(sensor, cgroups, containers, correlator)
        return Core(NodeInputs(tracker, correlator, clock, self._source.read), correlator, emitter, clock)

    def _begin(self) -> None:
        """The container's init runs, then a session's shell."""
        self._executed(INIT, Process(1, 1), b"sleep\0inf\0")
        self._executed(ENTRY, STAGE_1, b"env\0SPO_EXEC_REQUEST_UID=%b\0sh\0-c\0id\0" % UID.encode())
        self._seccomp(ENTRY.pid, _EXECVE, "env", "/usr/bin/env")
        self._executed(ENTRY, STAGE_1, b"sh\0-c\0id\0")
        self._at += SECOND
        self.round()

    def _exec(self) -> None:
        """What comes of `/bin/true steady 1` in a shell."""
        self._pid, self._number, self._at = self._pid + 1, self._number + 1, self._at + _ROUND_NS // _EXECS
        child = Process(self._pid, self._at // TICK_NS)
        self._seccomp(ENTRY.pid, _VFORK, "sh", "/usr/bin/dash")
        self._sample(_FORKED, child, _identity(ENTRY) + APP.encode())
        self._seccomp(child.pid, _EXECVE, "sh", "/usr/bin/dash")
        self._executed(child, ENTRY, b"/bin/true\0steady\0%d\0" % self._number)
        self._sample(_EXITED, child, _EXIT.pack(self._number % 2 << 8))

    def _executed(self, process: Process, parent: Process, argv: bytes) -> None:
        filename, path, cwd = argv.partition(b"\0")[0], b"true\0bin\0usr\0", b""
        sizes = len(filename), len(argv), len(path), len(cwd)
        fixed = _identity(parent) + _EXEC.pack(*sizes, self._profiled, 1, 0, 0, 0)
        self._sample(_EXECUTED, process, fixed + APP.encode() + filename + argv + path + cwd)

    def _sample(self, kind: int, process: Process, rest: bytes) -> None:
        sample = _HEAD.pack(kind, 0, process.pid, self._at, process.born, CGROUP) + rest
        buffer = ctypes.create_string_buffer(sample, len(sample))
        self._ring.samples.append((buffer, ctypes.addressof(buffer)))

    def _seccomp(self, pid: int, syscall: int, comm: str, exe: str) -> None:
        if not self._profiled:
            return
        self._serial += 1
        seconds, milliseconds = divmod((self._at + _OFFSET) // 1_000_000, 1000)
        text = (
            f"audit({seconds}.{milliseconds:03d}:{self._serial}): auid=4294967295 uid=0 gid=0 ses=4294967295 pid={pid} "
            f'comm="{comm}" exe="{exe}" sig=0 arch=c000003e syscall={syscall} compat=0 ip=0x7f8cce8773b8 '
            "code=0x7ffc0000"
        ).encode()
        self._sender.sendto(_NLMSG.pack(_NLMSG.size + len(text), AUDIT_SECCOMP, 0, 0, 0) + text, (self._port, 0))


def _source(folder: Path) -> tuple[NetlinkSource, int]:
    """The audit source at a socket of its own, and that one's port."""
    with mock.patch.multiple(netlink_socket, _NETLINK_AUDIT=_NETLINK_USERSOCK, _READLOG=0):
        audit = AuditSource.open(_BUFFER)
    state = SourceState(folder / "audit.json", "boot", 0)
    source = NetlinkSource(audit, state, None, lambda _name: True, lambda: True)
    with socket.socket(fileno=os.dup(audit.fileno())) as receiver:
        return source, receiver.getsockname()[0]


def _identity(parent: Process) -> bytes:
    return _IDENTITY.pack(parent.born, parent.pid, 0, 0, len(APP))
