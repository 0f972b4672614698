"""The record builder: from all that is known of an event to its record. Pure, no state but the clock."""

import errno
import random
import signal
from collections.abc import Callable
from operator import itemgetter

from enricher import syscalls
from enricher.argv import text, words_of
from enricher.clock import Clock
from enricher.correlate.pending_event import Correlated, Owner
from enricher.correlate.process_tree import Entry
from enricher.correlate.request_expiry import EXPIRED
from enricher.correlate.sessions import Session
from enricher.emit.gap import Gap
from enricher.events import ExecEvent, ExecFailedEvent, ExitEvent, ForkEvent, Process, SeccompEvent
from exectrail.contracts import record as rec
from exectrail.contracts.record import Kind, Record

_LOGGED = 0x7FFC0000
"""`code` of a call that the filter let through and had logged (SECCOMP_RET_LOG without data)."""
_KEYS = 256
"""How many processes' keys are remembered: an entry's stands in every record of its descendants."""


_RANDOM, _VERSION_4 = ~(0xF << 76 | 0x3 << 62), 0x4 << 76 | 0x2 << 62
"""Which bits of a UUID are random, and what the others are."""
_groups = itemgetter(slice(8), slice(8, 12), slice(12, 16), slice(16, 20), slice(20, 32))

_NODE = Owner()
"""Of no container."""


class _Keys(dict[Process, str]):
    """Processes' identities over reuse of pids and reboots, as text."""

    def __init__(self, boot: str) -> None:
        super().__init__()
        self._boot = boot

    def __missing__(self, process: Process) -> str:
        if len(self) >= _KEYS:
            self.clear()
        key = self[process] = f"{self._boot}-{process.pid}-{process.start}"
        return key


class RecordBuilder:
    """Makes this node's records.

    Args:
        node: The node's name.
        boot_id: `/proc/sys/kernel/random/boot_id`.
        clock: For time stamps.
        sensor: The name of the sensor in use, for `source`.
        random_bits: So many random bits, as a number, for `auditID`.

    """

    def __init__(
        self,
        node: str,
        boot_id: str,
        clock: Clock,
        sensor: str,
        random_bits: Callable[[int], int] = random.getrandbits,
    ) -> None:
        self._node = rec.Node(node)
        self._clock = clock
        self._sensor = sensor
        self._random_bits = random_bits
        self._key = _Keys(boot_id[:8]).__getitem__

    def build(self, known: Correlated) -> Record:
        """The record of an event."""
        event = known.event
        if type(event) is ExecEvent:
            record = self._exec(event, known)
        elif type(event) is ForkEvent:
            record = self._clone(event, known)
        elif type(event) is ExitEvent:
            record = self._exit(event, known)
        elif type(event) is ExecFailedEvent:
            record = self._failed(event, known)
        else:
            return self._syscall(event, known)
        if event.outside or event.entered_by_namespace:
            record.outside = "moved" if event.outside else "namespace"
        return self._finish(record, known, event.weak, known.seccomp)

    def _exec(self, event: ExecEvent, known: Correlated) -> Record:
        record = self._call(event, known)
        record.program = text(event.path or event.filename) or None
        record.cwd = text(event.cwd) or None
        if event.argv:  # a sensor that came too late to see them has none
            record.argv = list(words_of(event.argv))
            record.cmd_line = " ".join(record.argv)
        if event.truncated or event.path_truncated or event.cwd_truncated:
            record.truncated = _cut(event)
        record.entered_from = event.entered_from
        return record

    def _failed(self, event: ExecFailedEvent, known: Correlated) -> Record:
        record = self._call(event, known)
        record.program = text(event.filename) or None
        record.argv = list(words_of(event.argv))
        record.cmd_line = " ".join(record.argv)
        record.errno = errno.errorcode.get(event.errno, str(event.errno))
        record.truncated = ["argv", "cmdLine"] if event.truncated else None
        return record

    def _call(self, event: ExecEvent | ExecFailedEvent, known: Correlated) -> Record:
        """What an exec and a failed one have in common: whose call it was, and when."""
        record = self._base("exec", self._clock.wall_ms(event.time), known)
        record.pid, record.ppid = event.process.pid, event.parent.pid
        record.uid, record.gid = event.uid, event.gid
        record.process_key, record.parent_key = self._key(event.process), self._key(event.parent)
        return record

    def _clone(self, event: ForkEvent, known: Correlated) -> Record:
        record = self._base("clone", self._clock.wall_ms(event.time), known)
        record.pid, record.ppid = event.child.pid, event.parent.pid
        record.uid, record.gid = event.uid, event.gid
        record.process_key, record.parent_key = self._key(event.child), self._key(event.parent)
        return record

    def _exit(self, event: ExitEvent, known: Correlated) -> Record:
        record = self._base("exit", self._clock.wall_ms(event.time), known)
        record.pid = event.process.pid
        record.process_key = self._key(event.process)
        record.exit = exit_of(event)
        record.duration_ms = max(0, event.time - (known.node.born if known.node else 0)) // 1_000_000
        return record

    def _syscall(self, event: SeccompEvent, known: Correlated) -> Record:
        """A logged system call that no process event belongs to."""
        record = self._base("syscall", event.time, known)
        record.pid, record.uid, record.gid = event.pid, event.uid, event.gid
        if known.node is None:  # no sensor saw its process
            record.executable = text(event.exe) if event.exe else None
            _add_seccomp(record, event)
            record.source, record.reason = "auditlog", "no-sensor"
            record.weak = ["pid"]  # a pid alone is no identity
            return record
        record.process_key, record.parent_key = self._key(known.node.process), self._key(known.node.parent)
        return self._finish(record, known, (), event)

    def session_start(self, session: Session, owner: Owner, cluster_uid: str | None) -> Record:
        """Who asked for what: said once, so that a trail explains itself without the cluster."""
        record = self._session("start", session, owner, session.started, cluster_uid)
        record.weak = list(session.weak) or None
        if session.audit and session.audit is not EXPIRED:
            spec = session.audit.spec
            record.request = rec.Request(spec.verb, spec.resource, spec.command or None, spec.tty)
            if not session.forged:
                record.user_info = rec.UserInfo(spec.user.groups, spec.user.extra)
        record.reason = session.rejected
        if owner.container:
            record.image, record.pod_uid = owner.container.image, owner.container.pod_uid
        return record

    def claim(self, claim: Session, owner: Owner, cluster_uid: str | None) -> Record:
        """That an entry carries a UID that is not its own, and is explained without it: no start, and it has no end."""
        of_claim = Owner(owner.container, owner.container_id, Entry(claim.entry, "session", claim))
        record = self.session_start(claim, of_claim, cluster_uid)
        record.phase = None
        return record

    def session_end(self, event: ExitEvent, session: Session, owner: Owner, cluster_uid: str | None) -> Record:
        """How it ended: with the entry's own end."""
        record = self._session("end", session, owner, event.time, cluster_uid)
        record.outcome = "completed"
        record.exit = exit_of(event)
        record.duration_ms = max(0, event.time - session.started) // 1_000_000
        record.processes = owner.entry.processes if owner.entry else None
        interrupted = ("processes",) if session.interrupted else ()
        record.weak = [*event.weak, *session.weak, *interrupted] or None
        return record

    def session_lost(self, session: Session, owner: Owner, cluster_uid: str | None, gap: Gap) -> Record:
        """A session whose end was not seen: it lies somewhere in the gap."""
        record = self._session("end", session, owner, 0, cluster_uid)
        record.timestamp, record.since = self._clock.stamp(gap.at_ms), self._stamp(gap.since_ms)
        record.outcome, record.reason = "lost", gap.reason
        record.weak = ["timestamp", *session.weak]
        process = session.entry
        if process.pid == 0:  # only the API remembers it
            record.pid = record.process_key = record.entry_key = None
        elif gap.boot_id:
            record.process_key = record.entry_key = f"{gap.boot_id[:8]}-{process.pid}-{process.start}"
        return record

    def session_unwatched(self, session: Session, owner: Owner, cluster_uid: str | None, wall_ms: int) -> Record:
        """A session whose container is gone or no longer recorded as of `wall_ms`, and whose end was not seen."""
        gap = Gap("container-unwatched", wall_ms, self._clock.wall_ms(session.started))
        return self.session_lost(session, owner, cluster_uid, gap)

    def unseen(self, gap: Gap) -> Record:
        """That something may be missing, and how much at most where that is known."""
        record = self._base("gap", gap.at_ms, _NODE)
        record.reason, record.since = gap.reason, self._stamp(gap.since_ms)
        record.at_most = dict(gap.at_most) if gap.at_most is not None else None
        return record

    def losses(self, lost: dict[str, int], wall_ms: int, reason: str | None = None, owner: Owner = _NODE) -> Record:
        """What was lost, by cause: on the node, or of one container."""
        record = self._base("gap", wall_ms, owner)
        record.lost, record.reason = lost, reason
        return record

    def _stamp(self, wall_ms: int | None) -> str | None:
        return None if wall_ms is None else self._clock.stamp(wall_ms)

    def _session(self, phase: str, session: Session, owner: Owner, time: int, cluster_uid: str | None) -> Record:
        record = self._base("session", self._clock.wall_ms(time), owner)
        record.phase = "start" if phase == "start" else "end"
        record.process_key = self._key(session.entry)
        record.pid = session.entry.pid
        record.cluster_uid = cluster_uid
        record.source = self._sensor
        return record

    def _base(self, kind: Kind, wall_ms: int, owner: Owner) -> Record:
        container, entry = owner.container, owner.entry
        record = Record(
            version=rec.VERSION,
            kind=kind,
            audit_id=_uuid4(self._random_bits(128)),
            timestamp=self._clock.stamp(wall_ms),
            node=self._node,
            resource=container.resource if container else None,
            container_id=owner.container_id or None,
            reason=None if container else _no_container(entry),
            seq=0,
            prev="",
        )
        if entry:
            record.origin, record.entry_key = entry.origin, self._key(entry.process)
            if entry.candidates:
                record.candidates = entry.candidates
            if session := entry.session:
                record.origin = "session"
                record.request_uid, record.user, record.state = session.request_uid, session.user, session.state
        return record

    def _finish(self, record: Record, known: Correlated, weak: tuple[str, ...], seccomp: SeccompEvent | None) -> Record:
        record.source, executable = self._sensor, known.caller
        if seccomp:
            record.source, executable = f"{self._sensor}+{seccomp.via}", seccomp.exe or known.caller
            _add_seccomp(record, seccomp)
        if executable:
            record.executable = text(executable)
        if entry := known.entry:
            if record.origin is None:
                weak = (*weak, "origin")
            if entry.session:
                weak += entry.session.weak
        if weak:
            record.weak = list(dict.fromkeys(weak))
        return record


def _add_seccomp(record: Record, event: SeccompEvent) -> None:
    """What only the SECCOMP record of a call tells."""
    record.syscalls = [syscalls.name(event.arch, event.syscall)]
    record.auid, record.ses = event.auid, event.ses
    if event.code != _LOGGED:
        record.action = syscalls.action(event.code)


def _no_container(entry: Entry | None) -> str:
    return "node-debug" if entry and entry.origin == "node" else "container-unknown"


def _cut(event: ExecEvent) -> list[str]:
    cut = {"argv": event.truncated, "cmdLine": event.truncated}
    cut |= {"program": event.path_truncated, "cwd": event.cwd_truncated}
    return [name for name, is_cut in cut.items() if is_cut]


def _uuid4(bits: int) -> str:
    """A random UUID (RFC 9562, version 4); the library's own type costs several times more than all of this."""
    return "-".join(_groups((bits & _RANDOM | _VERSION_4).to_bytes(16).hex()))


def exit_of(event: ExitEvent) -> rec.Exit | None:
    """How a process ended; None where the sensor does not know."""
    if event.signal is not None:
        return rec.Exit(signal=_signal_name(event.signal))
    return None if event.code is None else rec.Exit(code=event.code)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIGRTMIN+{number - signal.SIGRTMIN}" if number > signal.SIGRTMIN else f"SIG{number}"
