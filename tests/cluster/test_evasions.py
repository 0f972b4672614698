"""Ways to shake exectrail off, each with its stated outcome."""

import json
import textwrap
import uuid
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from exectrail.contracts.record import Exit, Record

from .cluster import Cluster, eventually
from .node.cgroups import kubepods
from .node.paths import BIN
from .product import container_id, may_enter, pod
from .sessions import Person, auditsessions, enter_by_the_runtime, programs, records_of, trail
from .test_api_server_away import containers

OTHER_UID = "11111111-2222-4333-8444-555555555555"


def python(code: str) -> tuple[str, ...]:
    return ("python3", "-c", textwrap.dedent(code))


def last_exec(records: list[Record]) -> Record:
    return [record for record in records if record.kind == "exec"][-1]


@pytest.fixture(scope="module", autouse=True)
def slow_starters(recorded: str) -> None:
    """Pods that take seconds until a test can enter them: all at once, and before the first test."""
    admin = Cluster()
    admin.kubectl("delete", "-n", recorded, "pod/restarting", "pod/outer", "--ignore-not-found", "--now")
    role, binding = may_enter(recorded, "nested")
    account = {"kind": "ServiceAccount", "name": "default", "namespace": recorded}
    admin.apply(pod(recorded, "restarting"), outer(recorded), role, binding | {"subjects": [account]})


def outer(namespace: str) -> dict[str, Any]:
    """A pod with kubectl in it."""
    made = pod(
        namespace, "outer", volumes=[{"name": "kubectl", "hostPath": {"path": str((BIN / "kubectl").resolve())}}]
    )
    made["spec"]["containers"][0]["volumeMounts"] = [{"name": "kubectl", "mountPath": "/usr/bin/kubectl"}]
    return made


STAY = {
    "env -i": "env -i /bin/sh -c /usr/bin/id",
    "unset": "unset SPO_EXEC_REQUEST_UID PATH; /usr/bin/id",
    "setsid": "setsid -w /usr/bin/id",
    "nohup": "nohup /usr/bin/id 2>/dev/null",
    "a forged tag in argv": f"env SPO_EXEC_REQUEST_UID={OTHER_UID} /usr/bin/id",
    "env twice": "env A=1 env B=2 /usr/bin/id",
    "tools through /proc/1/root": "/proc/1/root/usr/bin/id",
}


@pytest.mark.parametrize("script", STAY.values(), ids=STAY.keys())
def test_the_last_process_still_belongs_to_the_session_and_its_user(alice: Person, recorded: str, script: str) -> None:
    uid, records = alice.executes(recorded, "sh", "-c", f"{script}; exit 0")

    run = last_exec(records)
    assert run.program
    assert run.program.endswith("/id")
    assert (run.request_uid, run.user, run.state) == (uid, "alice", "confirmed")


def test_a_grandchild_whose_parent_is_gone_still_belongs_to_the_session_and_its_user(
    alice: Person, recorded: str
) -> None:
    code = """
        import os, time
        wait, hold = os.pipe()
        child = os.fork()
        if child == 0:
            parent = os.getpid()
            if os.fork() == 0:
                while os.getppid() == parent:
                    time.sleep(0.01)
                os.set_inheritable(hold, True)
                os.execv("/usr/bin/id", ["id", "orphaned"])
            os._exit(0)
        os.waitpid(child, 0)
        os.close(hold)
        os.read(wait, 1)  # until the grandchild is gone
    """

    uid, records = alice.executes(recorded, *python(code))

    run = last_exec(records)
    assert run.argv == ["id", "orphaned"]
    forks = [record for record in records if record.kind == "clone"]
    assert [record.process_key for record in forks][-1] == run.process_key
    assert run.parent_key not in {record.process_key for record in records}, "it was not orphaned"
    assert (run.request_uid, run.user, run.state) == (uid, "alice", "confirmed")


def test_a_live_sessions_tag_in_another_command_does_not_move_it(alice: Person, recorded: str) -> None:
    waiting = ["cat", "-", f"/{uuid.uuid4()}"]
    victim = alice.cluster.start("kubectl", "exec", "-i", "-n", recorded, "web", "-c", "app", "--", *waiting)
    try:
        (live,) = eventually(lambda: [each for each in trail() if each.argv == waiting])
        replayed = ("env", f"SPO_EXEC_REQUEST_UID={live.request_uid}", "id", "-Gn")

        uid, records = alice.executes(recorded, *replayed)
        enter_by_the_runtime(alice.admin, recorded, *replayed)
        past = eventually(lambda: [r for r in records_of(str(live.request_uid)) if r.argv == ["id", "-Gn"]])
    finally:
        victim.kill()
        victim.communicate(timeout=30)

    assert uid != live.request_uid
    assert {(record.request_uid, record.state) for record in records} == {(uid, "confirmed")}
    assert {(record.state, record.user) for record in past} == {("forged", None)}


def test_a_uid_that_is_used_again_is_forged(alice: Person, recorded: str) -> None:
    uid, _ = alice.executes(recorded, "true")

    enter_by_the_runtime(alice.admin, recorded, "env", f"SPO_EXEC_REQUEST_UID={uid}", "id", "--groups")

    def seen() -> list[Record]:
        return [record for record in records_of(uid) if record.argv == ["id", "--groups"]]

    (record,) = eventually(seen)
    assert (record.state, record.user) == ("forged", None)


def test_a_cgroup_inside_that_bears_another_containers_name_hides_nothing(alice: Person, recorded: str) -> None:
    """As a privileged container can make one; it is gone before the enricher looks."""
    word = str(uuid.uuid4())
    waits = ["sh", "-c", f"read moved; sh -c 'exit 3'; /bin/true {word}; exit 5"]
    entry = alice.cluster.start("kubectl", "exec", "-i", "-n", recorded, "web", "-c", "app", "--", *waits)
    made: list[Path] = []
    try:
        (waiting,) = eventually(lambda: [each for each in trail() if each.argv == waits])
        made = _inner_cgroups(waiting.pid or 0, f"cri-containerd-{container_id(recorded, 'sidecar')}.scope")
    finally:
        entry.communicate("moved\n", timeout=60)
        for folder in made:
            eventually(partial(_is_empty, folder), every=0.001)
            folder.rmdir()

    uid = str(waiting.request_uid)
    records = eventually(lambda: records_of(uid) if records_of(uid)[-1].phase == "end" else [])
    assert [each.argv for each in records if each.kind == "exec"][-2:] == [["sh", "-c", "exit 3"], ["/bin/true", word]]
    assert {(each.user, each.resource and each.resource.container) for each in records} == {("alice", "app")}
    assert records[-1].exit == Exit(code=5)


def _is_empty(cgroup: Path) -> bool:
    return not (cgroup / "cgroup.procs").read_text()


def _inner_cgroups(pid: int, name: str) -> list[Path]:
    """Move a process into a cgroup of this name inside of its own, in each tree that has its pod."""
    own = [each for top in kubepods() for each in top.rglob("cgroup.procs") if str(pid) in each.read_text().split()]
    made = [each.with_name(name) for each in own]
    for folder in made:
        folder.mkdir()
        for needed in (folder / "cpuset.cpus", folder / "cpuset.mems"):
            if needed.exists():  # v1 takes no process before these say something
                needed.write_text((folder.parent / needed.name).read_text())
        (folder / "cgroup.procs").write_text(str(pid))
    assert made
    return made


def test_128_kib_of_arguments_are_cut_and_marked(alice: Person, recorded: str) -> None:
    code = "import os; os.execv('/bin/true', ['true', *(f'{i:01023}' for i in range(128))])"

    _, records = alice.executes(recorded, *python(code))

    run = last_exec(records)
    assert run.argv
    assert ["true", *(f"{i:01023}" for i in range(63))] == run.argv[:64]
    assert 64 * 1024 - 8 < sum(len(word) + 1 for word in run.argv) <= 64 * 1024
    assert run.truncated == ["argv", "cmdLine"]


# Filtered, as they would leave 300 MB in the trail that other tests read: each is followed all the same.
@pytest.mark.values(
    "enricher.filters[0].level=None",
    "enricher.filters[0].match.key=argv",
    "enricher.filters[0].match.equals=kill -STOP $$",
)
def test_thousands_of_processes_with_long_arguments_do_not_end_the_enricher(alice: Person, recorded: str) -> None:
    before = containers(alice.admin)
    # More bytes of arguments than the enricher may have of memory. Each process stops, and all are there at once.
    script = """
        pad=$(head -c 60000 /dev/zero | tr '\\0' x)
        for i in $(seq 2500); do sh -c 'kill -STOP $$' "$pad$i" & done
        sleep 5; kill -KILL -1; exit 7
    """

    _, records = alice.executes(recorded, "sh", "-c", textwrap.dedent(script), code=7)

    assert [each.outcome for each in records if each.phase == "end"] == ["completed"]  # others may outlive it
    assert containers(alice.admin) == before


NAMES = {"a space": b"two words", "a newline": b"two\nlines", "bytes that are not UTF-8": b"\xff\xfe"}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES.keys())
def test_a_program_with_any_name_is_named(alice: Person, recorded: str, name: bytes) -> None:
    code = f"import os, shutil; p = b'/tmp/' + {name!r}; shutil.copy('/bin/true', p); os.execv(p, [p, b'done'])"

    _, records = alice.executes(recorded, *python(code))

    run = last_exec(records)
    assert run.argv == ["/tmp/" + name.decode("utf-8", "backslashreplace"), "done"]
    assert run.program == run.argv[0]


def test_a_script_is_named_with_its_interpreter(alice: Person, recorded: str) -> None:
    script = "printf '#!/bin/sh\\nexit 7\\n' > /tmp/script; chmod +x /tmp/script; exec /tmp/script argument"

    _, records = alice.executes(recorded, "sh", "-c", script, code=7)

    assert last_exec(records).argv == ["/bin/sh", "/tmp/script", "argument"]


def test_an_exec_by_a_second_thread_is_the_process_s(alice: Person, recorded: str) -> None:
    code = """
        import os, threading, time
        threading.Thread(target=lambda: os.execv('/bin/sh', ['sh', '-c', 'exit 9'])).start()
        time.sleep(5)
    """

    _, records = alice.executes(recorded, *python(code), code=9)

    run = last_exec(records)
    assert run.argv == ["sh", "-c", "exit 9"]
    assert run.process_key == run.entry_key
    assert sum(record.kind == "exit" for record in records) == 1


def test_a_child_of_vfork_is_seen(alice: Person, recorded: str) -> None:
    code = "import os; os.waitpid(os.posix_spawn('/usr/bin/id', ['id', 'root'], {}), 0)"

    _, records = alice.executes(recorded, *python(code))

    assert last_exec(records).argv == ["id", "root"]
    assert [record.kind for record in records].count("clone") == 1


def test_a_process_that_outlives_its_session_keeps_its_name(alice: Person, recorded: str) -> None:
    uid, _ = alice.executes(recorded, "sh", "-c", "setsid sh -c 'sleep 1; id --zero' >/dev/null 2>&1 & exit 0")

    def seen() -> list[Record]:
        return [record for record in records_of(uid) if record.argv == ["id", "--zero"]]

    (record,) = eventually(seen)
    assert record.user == "alice"


def test_a_container_that_restarts_inside_a_session_ends_it(alice: Person, recorded: str) -> None:
    alice.admin.kubectl("wait", "-n", recorded, "pod/restarting", "--for=condition=Ready", "--timeout=60s")
    task = container_id(recorded, pod="restarting")
    process = alice.cluster.start("kubectl", "exec", "-n", recorded, "restarting", "--", "sleep", "60")
    (uid,) = eventually(lambda: _open_sessions(alice, "restarting"))
    eventually(lambda: programs(records_of(uid))[-1:] == ["sleep"])

    before = len(trail())
    alice.admin.run("ctr", "task", "kill", "-s", "SIGKILL", task)
    process.communicate(timeout=60)

    ended = eventually(lambda: [record for record in records_of(uid) if record.phase == "end"])
    assert ended[0].exit
    assert ended[0].exit.signal == "SIGKILL"

    def run_again() -> list[Record]:
        fresh = trail()[before:]
        return [record for record in fresh if _own(record, "restarting") and record.container_id != task]

    after = eventually(run_again)
    assert {(record.origin, record.request_uid) for record in after} == {("container", None)}


def _own(record: Record, name: str) -> bool:
    return record.kind == "exec" and record.resource is not None and record.resource.pod == name


def _open_sessions(alice: Person, name: str) -> list[str]:
    items: list[dict[str, Any]] = auditsessions()
    return [
        item["metadata"]["name"]
        for item in items
        if item["spec"]["target"]["pod"] == name and item.get("status", {}).get("phase", "Open") != "Closed"
    ]


def test_a_nested_kubectl_exec_is_a_session_of_the_pods_own_account(alice: Person, recorded: str) -> None:
    admin = alice.admin
    admin.kubectl("wait", "-n", recorded, "pod/outer", "--for=condition=Ready", "--timeout=60s")
    before = {item["metadata"]["name"] for item in auditsessions()}

    inner = ("kubectl", "exec", "web", "-c", "app", "--", "id", "--name")
    alice.cluster.kubectl("exec", "-n", recorded, "outer", "--", *inner, check=False)

    def by_user() -> dict[str, str]:
        fresh = [item for item in auditsessions() if item["metadata"]["name"] not in before]
        assert len(fresh) == 2, json.dumps(fresh)
        return {item["spec"]["user"]["username"]: item["metadata"]["name"] for item in fresh}

    users = eventually(by_user)
    nested = f"system:serviceaccount:{recorded}:default"
    assert users.keys() == {"alice", nested}
    ran = eventually(lambda: [r for r in records_of(users[nested]) if r.argv == ["id", "--name"]])
    assert ran[0].user == nested
