"""The enricher, killed and started again: what it goes on with, and what it says is missing. Needs root."""

import itertools
import json
import os
import random
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import pytest

from exectrail.contracts.record import Record, decode
from exectrail.contracts.seal import seal
from tests.kernel.fake_pods import JOIN_AND_EXEC, FakeContainer, v2_tree
from tests.kernel.other_pod import logged_all_the_time

T = TypeVar("T")

POD = "5e6f7a8b-1234-4321-8888-0123456789ab"
SHELL = 'while read -r line; do eval "$line"; done'
SEED = 20261123


def until(look: Callable[[], T], seconds: float = 20) -> T:
    deadline = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < deadline, "not so in time"
        time.sleep(0.02)
    return found


class Shell:
    """A `kubectl exec` of a shell that does what it is told."""

    def __init__(self, container: FakeContainer, uid: str) -> None:
        self.uid = uid
        command = ["env", f"SPO_EXEC_REQUEST_UID={uid}", "sh", "-c", SHELL]
        # In a session of its own, as the runtimes begin one.
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", JOIN_AND_EXEC, container.folder, *command], stdin=subprocess.PIPE, start_new_session=True
        )
        container.started.append(self.process)

    def does(self, *lines: str) -> None:
        assert self.process.stdin
        for line in lines:
            self.process.stdin.write(f"{line}\n".encode())
        self.process.stdin.flush()

    def ends(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(10)


class Node:
    """A node with one container and an enricher."""

    def __init__(self, folder: Path, init: Sequence[str] = ("sleep", "1000")) -> None:
        self.folder, self.api, self.state = folder, folder / "api", folder / "state"
        self.trail = folder / "trail/trail.jsonl"
        self.api.mkdir()
        self.root = Path(tempfile.mkdtemp(prefix="exectrail-test-", dir=v2_tree()))
        container_id = uuid4().hex * 2
        self.container = FakeContainer(self.root / f"kubepods/burstable/pod{POD}/{container_id}")
        # The pod's first cgroup is its sandbox's.
        sandbox = FakeContainer(self.container.folder.with_name(uuid4().hex * 2))
        if sandbox.id > self.container.id:
            sandbox.folder.rmdir()
            sandbox.folder, self.container = self.container.folder, FakeContainer(sandbox.folder)
            container_id = self.container.folder.name
        self.sandbox = sandbox
        self.container.started.append(
            subprocess.Popen(
                ["/bin/sh", "-c", JOIN_AND_EXEC, self.container.folder, *init],
                stdin=subprocess.PIPE,
                start_new_session=True,
            )
        )
        status = {"containerStatuses": [{"name": "app", "containerID": f"containerd://{container_id}"}]}
        pod = {"metadata": {"name": "web", "namespace": "shop", "uid": POD}, "status": status}
        self.appears("pods", {**pod, "spec": {"containers": [{"name": "app", "image": "shop:1"}]}})
        self.appears("namespaces", {"metadata": {"name": "shop", "labels": {"exectrail.io/record": "true"}}})
        self.enricher: subprocess.Popen[bytes] | None = None

    def appears(self, collection: str, thing: dict[str, Any]) -> None:
        with (self.api / f"{collection}.jsonl").open("a") as file:
            file.write(json.dumps(thing) + "\n")

    def asked(self, uid: str, command: str = "sh", **status: str) -> None:
        """Somebody asks for an exec."""
        spec = {
            "user": {"username": "alice"}, "verb": "exec", "resource": "pods/exec", "tag": "env", "recorded": True,
            "target": {"namespace": "shop", "pod": "web", "container": "app"},
            "time": time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime()), "command": shlex.split(command),
        }  # fmt: skip
        self.appears(
            "auditsessions", {"metadata": {"name": uid, "namespace": "exectrail"}, "spec": spec, "status": status}
        )

    def enters(self) -> Shell:
        """Alice execs a shell into the container; returns it once it is recorded."""
        uid = str(uuid4())
        self.asked(uid, f"sh -c {shlex.quote(SHELL)}")
        shell = Shell(self.container, uid)
        until(lambda: any(each.phase == "start" and each.request_uid == uid for each in self.records()))
        return shell

    def start(self, sensor: str = "bpf", *more: str | Path) -> None:
        flags: list[str | Path] = [
            "--trail", self.trail, "--state-dir", self.state, "--cgroup-root", self.root, "--sensor", sensor,
            "--node", "node1", "--metrics-address", "127.0.0.1:0", "--log-level", "info", *more,
        ]  # fmt: skip
        log = (self.folder / "log").open("ab")
        command: list[str | Path] = [sys.executable, "-m", "tests.kernel.agent_process", self.api, *flags]
        self.enricher = subprocess.Popen(command, stderr=log)
        log.close()
        before = self.log().count("recording on")
        until(lambda: self.log().count("recording on") > before)

    def log(self) -> str:
        file = self.folder / "log"
        return file.read_text() if file.exists() else ""

    def ends(self, number: int = signal.SIGKILL) -> int:
        assert self.enricher
        self.enricher.send_signal(number)
        code = self.enricher.wait(20)
        self.enricher = None
        return code

    def records(self) -> list[Record]:
        if not self.trail.exists():
            return []
        *lines, _ = self.trail.read_bytes().split(b"\n")
        found = []
        for line in lines:
            try:
                found.append(decode(line))
            except ValueError:  # a torn line
                continue
        return found

    def ran(self, *argv: str) -> Record:
        """The one record of this command, once it is there."""
        (found,) = until(lambda: [each for each in self.records() if each.argv == list(argv)])
        return found

    def told(self, uid: str) -> list[dict[str, Any]]:
        file = self.api / "told.jsonl"
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [line["status"] for line in lines if f"/{uid}/" in line["path"]]

    def remembers(self, *words: str) -> None:
        """Wait until the checkpoint has these words."""
        file = self.state / "checkpoint.json"
        until(lambda: file.exists() and all(word in file.read_text() for word in words))

    def remembers_process(self, process_key: str | None) -> None:
        """Wait until the checkpoint has this process: it comes each second, and later on a busy machine."""
        _, pid, start = (process_key or "").split("-")
        self.remembers(f"[{pid},{start},")

    def remove(self) -> None:
        if self.enricher:
            self.ends()
        for procs in self.root.rglob("cgroup.procs"):
            for pid in procs.read_text().split():
                with suppress(ProcessLookupError):  # it has ended meanwhile
                    os.kill(int(pid), signal.SIGKILL)
        for process in self.container.started:
            process.wait(10)
            if process.stdin:
                process.stdin.close()
        for folder, _, _ in os.walk(self.root, topdown=False):
            _remove(Path(folder))


def _remove(folder: Path) -> None:
    """A cgroup takes a moment to be empty."""

    def removed() -> bool:
        try:
            folder.rmdir()
        except OSError:
            return False
        return True

    until(removed)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    node = Node(tmp_path)
    yield node
    node.remove()


def chain(node: Node) -> None:
    """Every record is there once, in order, chained to the one before."""
    lines = [
        line for line in node.trail.read_bytes().splitlines() if line.startswith(b'{"version"') and line.endswith(b"}")
    ]
    records = [decode(line) for line in lines]
    assert [each.seq for each in records] == list(range(len(records)))
    assert [each.prev for each in records[1:]] == [seal(line) for line in lines[:-1]]


def stamp(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def gaps(node: Node) -> list[Record]:
    return [each for each in node.records() if each.kind == "gap"]


def test_a_session_goes_on_over_a_kill_and_what_is_missing_lies_in_a_gap(node: Node) -> None:
    node.start()
    shell = node.enters()
    shell.does("/bin/true before")
    before = node.ran("/bin/true", "before")
    node.remembers(shell.uid)

    node.ends()
    unseen_from = time.time()
    shell.does("/bin/true unseen", "sleep 1001 &", "child=$!")
    time.sleep(0.3)
    unseen_until = time.time()
    node.start()
    shell.does("/bin/true after")

    after = node.ran("/bin/true", "after")
    assert (after.request_uid, after.user, after.origin, after.state) == (shell.uid, "alice", "session", "confirmed")
    assert (after.entry_key, after.parent_key) == (before.entry_key, before.parent_key)
    assert not [each for each in node.records() if each.argv == ["/bin/true", "unseen"]]
    (gap,) = gaps(node)
    assert gap.reason == "restart"
    assert gap.since and stamp(gap.since) <= unseen_from
    assert stamp(gap.timestamp) >= unseen_until
    assert gap.at_most and gap.at_most["processes"] >= 2
    # The child that was born unseen is known by its parent, so its end is its session's.
    shell.does("kill $child", "wait")
    child = until(lambda: [each for each in node.records() if each.exit and each.exit.signal == "SIGTERM"])
    assert {each.request_uid for each in child} == {shell.uid}
    chain(node)

    shell.ends()
    end = until(lambda: [each for each in node.records() if each.phase == "end"])
    assert [(each.outcome, each.weak) for each in end] == [("completed", ["processes"])]
    assert len([each for each in node.records() if each.phase == "start"]) == 1
    assert until(lambda: [each["outcome"] for each in node.told(shell.uid) if each["outcome"]])[0] == "completed"


def test_a_process_that_left_its_cgroup_stays_in_sight_with_all_that_it_forks(node: Node) -> None:
    node.start()
    shell = node.enters()
    fifo = node.folder / "fifo"
    os.mkfifo(fifo)
    moves = f"echo 0 > {v2_tree()}/cgroup.procs; (/bin/true moved); read -r _ < {fifo}; /bin/true outside"
    shell.does(f"sh -c {shlex.quote(moves)} &")
    moved = node.ran("/bin/true", "moved")
    assert (moved.request_uid, moved.outside) == (shell.uid, "moved")
    node.remembers_process(moved.parent_key)

    node.ends()
    node.start()
    fifo.write_text("go\n")

    outside = node.ran("/bin/true", "outside")
    assert (outside.request_uid, outside.user, outside.outside) == (shell.uid, "alice", "moved")


def test_without_ebpf_sessions_go_on_as_well_and_so_does_who_left_the_cgroup(node: Node) -> None:
    node.start("procconn")
    shell = node.enters()
    fifo = node.folder / "fifo"
    os.mkfifo(fifo)
    moves = f"echo 0 > {v2_tree()}/cgroup.procs; read -r _ < {fifo}; sleep 0.31"
    shell.does(f"sh -c {shlex.quote(moves)} &", "sleep 0.32")
    node.ran("sleep", "0.32")
    node.remembers_process(node.ran("sh", "-c", moves).process_key)

    node.ends()
    node.start("procconn")
    fifo.write_text("go\n")
    shell.does("sleep 0.33")

    for argv in (("sleep", "0.31"), ("sleep", "0.33")):
        after = node.ran(*argv)
        assert (after.request_uid, after.user, after.origin) == (shell.uid, "alice", "session")


def test_a_session_that_ends_unseen_is_closed_as_lost(node: Node) -> None:
    node.start()
    shell = node.enters()
    node.remembers(shell.uid)
    node.ends()
    shell.ends()

    node.start()

    (end,) = until(lambda: [each for each in node.records() if each.phase == "end"])
    (gap,) = gaps(node)
    assert (end.request_uid, end.user, end.outcome, end.reason) == (shell.uid, "alice", "lost", "restart")
    assert (end.since, end.exit, end.weak) == (gap.since, None, ["timestamp"])
    told = until(lambda: [each for each in node.told(shell.uid) if each["phase"] == "Closed"])
    assert [each["outcome"] for each in told] == ["lost"]
    chain(node)


def test_a_uid_binds_once_also_over_a_kill(node: Node) -> None:
    node.start()
    shell = node.enters()
    node.ends()  # at once: what the checkpoint has not yet, the trail has
    node.start()

    impostor = Shell(node.container, shell.uid)
    impostor.does("/bin/true impostor")

    forged = node.ran("/bin/true", "impostor")
    assert (forged.state, forged.user) == ("forged", None)
    shell.does("/bin/true alice")
    assert node.ran("/bin/true", "alice").state == "confirmed"


def test_a_session_that_begins_unseen_is_found_by_its_command(node: Node) -> None:
    node.start()
    node.enters().ends()
    node.ends()
    uid = str(uuid4())
    node.asked(uid, f"sh -c {shlex.quote(SHELL)}")
    shell = Shell(node.container, uid)
    shell.does("sleep 1002 &")
    time.sleep(0.2)

    node.start()
    shell.does("/bin/true found")

    found = node.ran("/bin/true", "found")
    assert (found.request_uid, found.user, found.origin) == (uid, "alice", "session")
    assert found.weak == ["requestUID", "user", "origin"]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda text: text[: len(text) // 2], "checkpoint-unreadable"),
        (lambda text: text.replace('"format":1', '"format":99'), "checkpoint-format"),
        (None, "checkpoint-missing"),
    ],
    ids=["truncated", "of another format", "missing"],
)
def test_without_a_usable_checkpoint_it_starts_and_says_so(
    node: Node, damage: Callable[[str], str] | None, reason: str
) -> None:
    node.start()
    shell = node.enters()
    node.remembers(shell.uid)
    node.ends()
    file = node.state / "checkpoint.json"
    file.write_text(damage(file.read_text())) if damage else file.unlink()

    node.start()
    shell.does("/bin/true after")

    # Its tag is gone from its arguments: what is left to go by is the command that was asked for.
    after = node.ran("/bin/true", "after")
    assert (after.request_uid, after.weak) == (shell.uid, ["requestUID", "user", "origin"])
    assert [each.reason for each in gaps(node)] == ["restart", reason]
    chain(node)


def test_after_a_reboot_open_sessions_are_closed_and_the_chain_goes_on(node: Node) -> None:
    node.start()
    shell = node.enters()
    node.remembers(shell.uid)
    node.ends()
    for file in node.state.glob("*.json"):
        now = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        file.write_text(file.read_text().replace(now, "00000000" + now[8:]))

    node.start()

    (end,) = until(lambda: [each for each in node.records() if each.phase == "end"])
    assert (end.request_uid, end.outcome, end.reason) == (shell.uid, "lost", "reboot")
    assert end.process_key and end.process_key.startswith("00000000-")
    (gap,) = gaps(node)
    assert (gap.reason, gap.at_most) == ("reboot", None)
    assert gap.since and gap.since <= gap.timestamp
    chain(node)


def test_a_torn_last_line_and_a_lost_state_do_not_break_the_chain(node: Node) -> None:
    node.start()
    shell = node.enters()
    node.ends()
    with node.trail.open("ab") as file:
        file.write(b'{"version":"spo/v1_alpha","kind":"exec","auditID":"')
    (node.state / "chain.json").write_text("damaged")

    node.start()
    shell.does("/bin/true after")

    node.ran("/bin/true", "after")
    assert "chain-unreadable" in [each.reason for each in gaps(node)]
    chain(node)


def test_kills_in_a_storm_lose_nothing_outside_of_the_gaps_and_write_nothing_twice(node: Node) -> None:
    dice = random.Random(SEED)  # noqa: S311 - reproducible
    node.start()
    shell = node.enters()
    times = node.folder / "times"
    storm = "i=0; while [ -e {0} ]; do i=$((i+1)); /bin/true $i; echo $i $(date +%s.%N) >> {0}.done; done &"
    times.touch()
    shell.does(storm.format(times))
    for _ in range(8):
        time.sleep(dice.uniform(0, 0.6))
        node.ends()
        time.sleep(dice.uniform(0, 0.1))
        node.start()
    times.unlink()
    shell.does("wait", "/bin/true over")
    node.ran("/bin/true", "over")

    chain(node)
    records = node.records()
    runs = [each for each in records if each.argv and each.argv[0] == "/bin/true"]
    numbers = [each.argv[1] for each in runs if each.argv]
    assert len(numbers) == len(set(numbers))
    assert {(each.request_uid, each.user, each.weak) for each in runs} == {(shell.uid, "alice", None)}
    holes = [(stamp(each.since or ""), stamp(each.timestamp)) for each in gaps(node)]
    assert len(holes) == 8
    done = dict(line.split() for line in (node.folder / "times.done").read_text().splitlines())
    # The loop says the time after each command: it ran between the one before's time and its own.
    ran = zip(done, itertools.pairwise((0.0, *map(float, done.values()))), strict=True)
    missing = [between for number, between in ran if number not in numbers]
    assert [(after, by) for after, by in missing if not any(since <= by and after <= to for since, to in holes)] == []
    assert [number for number in ("1", "2", "3") if number not in numbers] == []


def test_an_enricher_that_waits_for_the_one_before_it_tells_nothing_twice(node: Node) -> None:
    node.start()
    shell, first = node.enters(), node.enricher
    assert first
    stop = node.folder / "stop"
    shell.does(f"i=0; while [ ! -e {stop} ]; do i=$((i+1)); /bin/true $i; sleep 0.01; done &")
    kill = threading.Timer(3.0, first.kill)
    kill.start()
    node.start()  # it is up only once the first one is gone
    first.wait(10)
    stop.touch()
    shell.does("wait", "/bin/true over")
    node.ran("/bin/true", "over")

    numbers = [each.argv[1] for each in node.records() if each.argv and each.argv[0] == "/bin/true"]
    assert len(numbers) == len(set(numbers))
    chain(node)


def test_a_stopped_enricher_has_written_all_and_its_hole_begins_where_it_ended(node: Node) -> None:
    node.start()
    shell = node.enters()
    shell.does("for i in $(seq 2000); do /bin/true $i; done; /bin/true over &")
    time.sleep(1)
    asked = time.time()
    code = node.ends(signal.SIGTERM)
    stopped = time.time()
    last = [each for each in node.records() if each.kind == "exec"][-1]
    shell.does("wait")

    node.start()

    assert code == 0
    (gap,) = until(lambda: gaps(node))
    assert gap.since and asked - 1 <= stamp(gap.since) <= stopped
    assert stamp(gap.since) >= stamp(last.timestamp) - 0.1
    chain(node)


def test_a_stop_forgets_nothing_while_another_pod_is_logged_all_the_time(node: Node) -> None:
    with logged_all_the_time():
        node.start()
        node.enters()
        time.sleep(1.5)  # it keeps each second up to when all is written
        asked = time.time()
        node.ends(signal.SIGTERM)

    node.start()

    (gap,) = until(lambda: gaps(node))
    assert gap.since and stamp(gap.since) >= asked - 0.2


def test_what_cannot_be_written_at_the_end_shows_in_the_exit_code(node: Node) -> None:
    node.trail.parent.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=750", "tmpfs", node.trail.parent], check=True)
    try:
        node.start()
        with suppress(OSError):
            (node.trail.parent / "ballast").write_bytes(bytes(64 << 10))
        node.container.run("/bin/true")
        until(lambda: "No space left on device" in node.log())

        assert node.ends(signal.SIGTERM) == 1
        assert "records could not be written" in node.log()
    finally:
        subprocess.run(["umount", "--lazy", node.trail.parent], check=True)
