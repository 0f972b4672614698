"""What `python -m enricher capture` writes down, what it leaves out, and that it can be played again."""

import io
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict

from enricher.clock import Clock
from enricher.containers.containers import CgroupRef, Containers
from enricher.containers.pods import Container, ContainerStatus, EnvVar, Namespace, Pod, PodSpec, PodStatus
from enricher.correlate.process_tree import Entry, Node
from enricher.correlate.sessions import Sessions
from enricher.emit.emitter import Emitter
from enricher.emit.quota import Quota
from enricher.emit.record_builder import RecordBuilder
from enricher.events import ExecEvent, ExecFailedEvent, ExitEvent, ForkEvent, Process, ProcessEvent
from enricher.procfs import Proc
from enricher.support import capture, recording
from enricher.support.player import Player
from enricher.support.recorder import Recorder, Tables, TappedCorrelator, TappedTree
from enricher.tally import Tally
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.record import Record
from exectrail.contracts.session import AuditSession, SessionSpec, SessionStatus, Target, User

UID = "de193172-188c-4596-a2a0-b64f75a1b8e4"
CGROUP, OTHER = 4711, 4712
INIT, ENTRY, CHILD = Process(100, 1000), Process(200, 2000), Process(201, 2001)
SECOND = 1_000_000_000


def same_bits() -> Callable[[int], int]:
    return random.Random(0).getrandbits  # noqa: S311 - the same ids each time


class TwoPlaces:
    def of(self, event: ProcessEvent) -> CgroupRef:
        return CgroupRef("a" * 64, "pod-1") if event.cgroup == CGROUP else CgroupRef("b" * 64, "pod-2")

    again = of


class Rig:
    """A pipeline that is recorded, with one container that opted in and one that did not."""

    def __init__(self) -> None:
        self.file, self.records = io.BytesIO(), list[Record]()
        self.recorder, containers, clock = Recorder(self.file), Containers(), Clock()
        self.requests: dict[str, AuditSession] = {}
        self.recorder.begin("node1", "bpf", "netlink", reports_failed_execs=False)
        self.tables = Tables(self.recorder, containers)
        sessions = Sessions(self.requests.get)
        record_builder = RecordBuilder("node1", Proc().boot_id(), clock, "bpf", same_bits())
        tally = Tally()
        self.emitter = Emitter(containers, sessions, record_builder, self._take, Quota(1e9, 1e9), tally)
        self.correlator = TappedCorrelator(
            TwoPlaces(), containers, sessions, clock, tally, 0.5, tree=TappedTree(self.recorder)
        )
        self.correlator.record_into(self.recorder, None)
        self.tables.namespace_changed(None, Namespace(ObjectMeta("shop", labels={"exectrail.io/record": "true"})))
        self.tables.namespace_changed(None, Namespace(ObjectMeta("plain")))
        self.tables.pod_changed(None, pod("shop", "pod-1", "a"))
        self.tables.pod_changed(None, pod("plain", "pod-2", "b"))

    def _take(self, record: Record) -> bool:
        self.records.append(record)
        return True

    def text(self) -> str:
        self.recorder.flush()
        return self.file.getvalue().decode()

    def played(self) -> list[Record]:
        header, *lines = self.file.getvalue().splitlines()
        records: list[Record] = []

        def take(record: Record) -> bool:
            records.append(record)
            return True

        player = Player(recording.decode_header(header), take, 0.5, same_bits())
        for line in lines:
            player.take(line)
        player.close()
        return records


def pod(namespace: str, uid: str, letter: str) -> Pod:
    secret = [EnvVar("PASSWORD", "hunter2")]
    status = PodStatus([ContainerStatus("app", f"containerd://{letter * 64}")])
    meta = ObjectMeta("web", namespace, uid, annotations={"note": "hunter3"})
    return Pod(meta, PodSpec([Container("app", "shop:1", secret)]), status)


def request() -> AuditSession:
    time = Clock().stamp(Clock().wall_ms(10 * SECOND))  # when its process starts, or that is forged
    spec = SessionSpec(User("alice"), "exec", "pods/exec", Target("shop", "web", "app"), time, ["id"], tag="env")
    return AuditSession(ObjectMeta(UID, "exectrail"), spec)


def executed(process: Process, *argv: str, cgroup: int = CGROUP) -> ExecEvent:
    words = "".join(f"{word}\0" for word in argv).encode()
    return ExecEvent(10 * SECOND, cgroup, "", process, INIT, 0, 0, False, b"/bin/x", words, False)


def a_session() -> Iterator[ProcessEvent]:
    yield executed(ENTRY, "env", f"SPO_EXEC_REQUEST_UID={UID}", "sh")
    yield ForkEvent(11 * SECOND, CGROUP, "", ENTRY, CHILD, 0, 0)
    yield executed(CHILD, "id", "\udcff".encode("utf-8", "surrogateescape").decode("latin-1"))
    yield ExitEvent(12 * SECOND, CGROUP, CHILD, 0, None)
    yield ExitEvent(12 * SECOND, CGROUP, ENTRY, 3, None)


def test_what_is_recorded_gives_the_same_records_again() -> None:
    rig = Rig()
    rig.tables.session_changed(None, request())
    rig.requests[UID] = request()
    entry = Entry(INIT, "container")
    rig.correlator.tree.backfill(Node(INIT, Process(1, 0), "a" * 64, SECOND, entry, argv=b"sleep\0inf\0"))
    for now, event in enumerate(a_session()):
        rig.recorder.turn()
        rig.correlator.take(event, float(now))
    for known in rig.correlator.flush():
        rig.emitter.emit(known, 5.0)

    assert [record.kind for record in rig.records][:3] == ["session", "exec", "clone"]
    assert [without_timestamp(record) for record in rig.played()] == [
        without_timestamp(record) for record in rig.records
    ]


def without_timestamp(record: Record) -> dict[str, Any]:
    """All but what hangs on the moment when the clock was measured."""
    return {name: value for name, value in asdict(record).items() if name != "timestamp"}


def test_the_values_of_variables_and_annotations_are_left_out() -> None:
    assert "hunter" not in Rig().text()


def test_commands_of_containers_that_did_not_opt_in_are_left_out() -> None:
    rig = Rig()
    rig.correlator.take(executed(Process(300, 3000), "private", cgroup=OTHER), 0.0)
    rig.correlator.take(executed(ENTRY, "public"), 0.0)

    assert "private" not in rig.text()
    assert "public" in rig.text()


def test_a_change_that_no_pipeline_would_notice_is_written_once() -> None:
    rig = Rig()
    before = rig.recorder.lines
    rig.tables.pod_changed(pod("shop", "pod-1", "a"), pod("shop", "pod-1", "a"))

    assert rig.recorder.lines == before


def test_requests_that_were_over_before_are_left_out() -> None:
    rig, over = Rig(), request()
    before = rig.recorder.lines
    rig.tables.session_changed(None, AuditSession(over.metadata, over.spec, SessionStatus("Closed")))

    assert rig.recorder.lines == before


def test_losses_are_written_as_what_came_since() -> None:
    rig = Rig()
    for lost in (0, 3, 3, 10):
        rig.recorder.lost({"ring-full": lost})

    lines = [recording.decode(line)[1] for line in rig.file.getvalue().splitlines()[1:]]
    assert [line for line in lines if isinstance(line, recording.Lost)] == [
        recording.Lost({"ring-full": 3}),
        recording.Lost({"ring-full": 7}),
    ]


@pytest.mark.parametrize("args", [["--seconds", "0"], ["--sensor", "x"]])
def test_wrong_usage_exits_with_2(args: list[str]) -> None:
    with pytest.raises(SystemExit) as error:
        capture.main(args)
    assert error.value.code == 2


PROCESS = st.builds(Process, pid=st.integers(1, 2**22), start=st.integers(0, 2**63 - 1))
TIME = st.integers(0, 2**63 - 1)
BYTES = st.binary(max_size=40)
EVENT = st.one_of(
    st.builds(ForkEvent, time=TIME, cgroup=TIME, parent=PROCESS, child=PROCESS, uid=st.integers(0, 2**32 - 1)),
    st.builds(ExecEvent, time=TIME, cgroup=TIME, process=PROCESS, parent=PROCESS, filename=BYTES, argv=BYTES),
    st.builds(
        ExecFailedEvent,
        time=TIME,
        cgroup=TIME,
        process=PROCESS,
        parent=PROCESS,
        filename=BYTES,
        argv=BYTES,
        cgroup_name=st.text(),
    ),
    st.builds(ExitEvent, time=TIME, cgroup=TIME, process=PROCESS),
)


@given(EVENT, TIME, BYTES)
def test_every_event_is_read_back_as_it_was_written(
    event: ForkEvent | ExecEvent | ExitEvent, at: int, seccomp: bytes
) -> None:
    assert recording.decode(recording.encode(at, event, seccomp)) == (at, event, seccomp)


DEEP = b"[" * 100_000 + b"]" * 100_000


@pytest.mark.parametrize(
    "line",
    [
        b'{"at":1,"kind":"audit","data":{"text":"\xff"}}',
        b'{"at":1,"kind":"exec","data":{"argv":"\xff"}}',
        b'{"at":1,"kind":"exec","data":[]}',
        b'{"at":1,"kind":"exec","data":null}',
        b'{"at":1,"kind":"audit","data":%s}' % DEEP,
        b'{"at":1,"kind":"exec","data":{"time":1,"zz":%s}}' % DEEP,
        b'{"at":1,"kind":"exec","data":{"argv":"\\u4e00"}}',
    ],
    ids=["no UTF-8", "no UTF-8 in an event", "a list", "null", "deep", "deep in an event", "no byte"],
)
def test_a_damaged_line_is_broken(line: bytes) -> None:
    with pytest.raises(recording.Broken):
        recording.decode(line)


@given(st.binary())
def test_no_line_raises_anything_but_broken(line: bytes) -> None:
    with pytest.raises(recording.Broken):
        recording.decode(line)
