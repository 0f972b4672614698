"""The enricher is killed and replaced while a user is in a pod: what goes on, and what is missing where."""

import itertools
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from subprocess import Popen

import pytest

from exectrail.contracts.record import Record, decode
from exectrail.contracts.seal import seal

from .cluster import Cluster, eventually
from .product import NAMESPACE, TRAIL, looked_into, pids
from .sessions import Person, check_equation, closed

_SEED = 20261123
_KILLS = 20
_STORM = "i=0; while [ ! -e /tmp/stop ]; do i=$((i+1)); /bin/true $i; echo $i $(date +%s.%N); done; rm /tmp/stop"
_ENRICHERS = ("-n", NAMESPACE, "-l", "app.kubernetes.io/component=enricher")


class Since:
    """What the trail has from now on."""

    def __init__(self) -> None:
        self._from = Path(TRAIL).stat().st_size

    def lines(self) -> list[bytes]:
        with Path(TRAIL).open("rb") as file:
            file.seek(self._from)
            return [line for line in file.read().split(b"\n")[:-1] if line.startswith(b"{") and line.endswith(b"}")]

    def records(self) -> list[Record]:
        return [decode(line) for line in self.lines()]

    def gaps(self) -> list[Record]:
        """The gaps that restarts left."""
        return [each for each in self.records() if each.kind == "gap" and each.reason == "restart"]

    def check_chain(self) -> None:
        lines = self.lines()  # once: others write to it meanwhile
        records = [decode(line) for line in lines]
        assert [each.seq for each in records] == list(range(records[0].seq, records[0].seq + len(records)))
        assert [each.prev for each in records[1:]] == [seal(line) for line in lines[:-1]]
        assert len({each.audit_id for each in records}) == len(records)


class Storm:
    """Alice execs a loop that runs one numbered command after the other, and says when each ended."""

    def __init__(self, alice: Person, namespace: str, since: Since) -> None:
        looked_into(f"{namespace}/web/app")
        self._alice, self._namespace = alice, namespace
        command = ("exec", "-n", namespace, "web", "-c", "app", "--", "sh", "-c", _STORM)
        self._kubectl: Popen[str] = alice.cluster.start("kubectl", *command)
        self._since = since
        self.uid = ""

    def begins(self) -> None:
        """Wait until it is recorded."""

        def uid() -> str:
            starts = [each for each in self._since.records() if each.phase == "start"]
            # The trail may get another session's start first: the API server is not asked for each at once.
            uids = [each.request_uid for each in starts if each.request and _STORM in (each.request.command or ())]
            return uids[0] or "" if uids else ""

        self.uid = eventually(uid)

    def _stop(self) -> None:
        self._alice.cluster.kubectl("exec", "-n", self._namespace, "web", "-c", "app", "--", "touch", "/tmp/stop")

    def ends(self) -> dict[str, float]:
        """When each command ended, by its number: seconds since the epoch."""
        self._stop()
        said, problem = self._kubectl.communicate(timeout=30)
        assert self._kubectl.returncode == 0, problem
        return {number: float(at) for number, at in (line.split() for line in said.splitlines())}

    def gives_up(self) -> None:
        if self._kubectl.poll() is None:
            try:
                self._stop()  # or it goes on in the container
            finally:
                self._kubectl.kill()
                self._kubectl.communicate(timeout=30)


@pytest.fixture
def storm(alice: Person, recorded: str) -> Iterator[tuple[Storm, Since]]:
    since = Since()
    storm = Storm(alice, recorded, since)
    try:
        storm.begins()
        yield storm, since
    finally:
        storm.gives_up()


def stamp(text: str | None) -> float:
    return datetime.fromisoformat(text or "").timestamp()


def check_nothing_is_missing_but_in_gaps(storm: Storm, since: Since, done: dict[str, float]) -> None:
    runs = [
        each for each in since.records() if each.request_uid == storm.uid and each.argv and each.argv[0] == "/bin/true"
    ]
    numbers = [each.argv[1] for each in runs if each.argv]
    assert len(numbers) == len(set(numbers))
    assert {(each.user, each.origin, each.state) for each in runs} == {("alice", "session", "confirmed")}
    assert len({each.entry_key for each in runs}) == 1
    windows = [(stamp(gap.since), stamp(gap.timestamp)) for gap in since.gaps()]
    # The loop says the time after each command: it ran between the one before's time and its own.
    ran = dict(zip(done, itertools.pairwise((0.0, *done.values())), strict=True))
    missing = {number: ran[number] for number in done if number not in numbers}
    unexplained = {
        number: (after, by)
        for number, (after, by) in missing.items()
        if not any(begin <= by and after <= end for begin, end in windows)
    }
    assert unexplained == {}
    assert numbers[-1] == list(done)[-1]


def wait_for_another(since: Since, before: int) -> None:
    eventually(lambda: len(since.gaps()) > before, 40, 0.05)


def kill_and_replace(admin: Cluster) -> None:
    """End the enricher without a word. The kubelet would wait longer each time: a new pod starts at once."""
    for pid in pids("enricher"):
        with suppress(ProcessLookupError):  # one that the kubelet was ending already
            os.kill(pid, signal.SIGKILL)
    admin.kubectl("delete", "pod", *_ENRICHERS, "--force", "--grace-period=0", "--wait=false")


def is_alone(admin: Cluster) -> bool:
    """Whether one enricher runs, in a pod that stays: the kubelet may have started one more in a pod that is gone."""
    pods = admin.get("pods", *_ENRICHERS)["items"]
    ready = [each["type"] for pod in pods for each in pod["status"].get("conditions", ()) if each["status"] == "True"]
    return len(pods) == len(pids("enricher")) == 1 and "Ready" in ready


def test_a_kill_at_any_point_of_a_storm_leaves_a_gap_and_nothing_twice(
    alice: Person, storm: tuple[Storm, Since]
) -> None:
    executed, since = storm
    dice = random.Random(_SEED)  # noqa: S311 - reproducible
    for _ in range(_KILLS):
        time.sleep(dice.uniform(0, 1))
        before = len(since.gaps())
        kill_and_replace(alice.admin)
        wait_for_another(since, before)
        eventually(_answers, 20, 0.05)
    eventually(lambda: is_alone(alice.admin), 60)
    done = executed.ends()

    status = closed(executed.uid)
    since.check_chain()
    check_nothing_is_missing_but_in_gaps(executed, since, done)
    assert len(since.gaps()) >= _KILLS  # the kubelet may have started one more, just before its pod was gone
    assert all(gap.at_most and gap.at_most["processes"] > 0 for gap in since.gaps())
    phases = [each.phase for each in since.records() if each.kind == "session" and each.request_uid == executed.uid]
    assert phases == ["start", "end"]
    assert status["outcome"] == "completed"


def _answers() -> dict[str, float]:
    """The equation holds in the enricher of now, as soon as that can be asked."""
    try:
        return check_equation()
    except OSError as error:
        raise AssertionError(str(error)) from error


def test_an_update_of_the_daemonset_keeps_an_open_session(alice: Person, storm: tuple[Storm, Since]) -> None:
    executed, since = storm
    time.sleep(1.5)
    admin = alice.admin
    admin.kubectl("rollout", "restart", "-n", NAMESPACE, "ds/exectrail-enricher")
    admin.kubectl("rollout", "status", "-n", NAMESPACE, "ds/exectrail-enricher", "--timeout=60s")
    eventually(since.gaps)
    time.sleep(1)
    done = executed.ends()

    closed(executed.uid)
    since.check_chain()
    check_nothing_is_missing_but_in_gaps(executed, since, done)
    (gap,) = since.gaps()
    seconds = stamp(gap.timestamp) - stamp(gap.since)
    print(f"the gap of an update: {seconds:.1f} s")
    assert seconds < 15
    after = [each for each in since.records() if each.request_uid == executed.uid and each.seq > gap.seq]
    assert [each.outcome for each in after if each.phase] == ["completed"]
