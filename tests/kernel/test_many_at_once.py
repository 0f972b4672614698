"""Two hundred identical execs at once, told by the real kernel: each is bound to its own request."""

import io
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from enricher.sensors.bpf.program import BATCH, BpfProgram
from exectrail.contracts.session import TAG_VARIABLE
from tests.kernel.fake_node import FakeNode, app, fake_node

MANY = 200
ID = "a1" * 32


@pytest.fixture
def node(bpf_object: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeNode]:
    compiled = SimpleNamespace(open=partial(BpfProgram.open, object_path=bpf_object))
    monkeypatch.setattr("enricher.sensors.bpf.sensor.BpfProgram", compiled)
    with fake_node(io.BytesIO()) as node:
        yield node


def test_two_hundred_identical_execs_at_once_are_two_hundred_sessions(node: FakeNode) -> None:
    uids = [f"{number:08x}-188c-4596-a2a0-b64f75a1b8e4" for number in range(MANY)]
    node.namespace("shop", record="true")
    node.pod(app(), app=ID)
    cgroup = node.container(ID)
    node.start(cgroup, "sleep", "600")
    node.turn(0.2)
    for uid in uids:
        node.request(uid, ["true"])
    tagged = 'for uid in $1; do (echo 0 > "$0/cgroup.procs" && exec env {}=$uid true) & done; wait'
    at_once = ["/bin/sh", "-c", tagged.format(TAG_VARIABLE), str(cgroup), " ".join(uids)]
    with subprocess.Popen(at_once, cwd="/") as started:
        while started.poll() is None:
            node.turn()
    node.turn(0.6)

    starts = [record for record in node.records if record.phase == "start"]
    ends = [record for record in node.records if record.phase == "end"]
    assert Counter(record.request_uid for record in starts) == dict.fromkeys(uids, 1)
    assert Counter(record.request_uid for record in ends) == dict.fromkeys(uids, 1)
    assert {record.state for record in starts} == {"confirmed"}
    assert len({record.entry_key for record in starts}) == MANY
    # A search along PATH that rests longer than events are held leaves the attempt in the folder before, as failed.
    ran = [record for record in node.records if record.argv == ["true"] and record.errno != "ENOENT"]
    assert Counter(record.request_uid for record in ran) == dict.fromkeys(uids, 1)
    assert node.missing_in_the_equation() == 0


def test_time_to_gather_is_given_only_while_no_more_waits_than_is_read_at_once(node: FakeNode) -> None:
    node.namespace("shop", record="true")
    node.pod(app(), app=ID)
    cgroup = node.container(ID)
    calm = node.sensor.batch_delay
    storm = node.start(cgroup, "sh", "-c", f"for i in $(seq {2 * BATCH}); do /bin/true; done")  # each is three events
    storm.wait(30)

    node.turn()
    assert node.sensor.batch_delay == 0.0
    until = time.monotonic() + 10
    while node.sensor.batch_delay == 0.0 and time.monotonic() < until:
        node.turn()

    assert node.sensor.batch_delay == calm > 0.0
