"""Makes the recordings of tests/unit/enricher/golden that come of fake pods: `python3 -m tests.kernel.record_golden`.

Each function is a case, named like its file. It needs root, eBPF and the system's own Python (what runs the programs is
in the records of those that have the profile), and takes a minute. Afterwards
`WRITE_GOLDEN=1 pytest tests/unit/enricher/test_golden.py` writes the lines that come of them.
"""

import argparse
import inspect
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from enricher.containers.pods import (
    Container,
    EnvVar,
    ExecAction,
    Handler,
    Lifecycle,
    PodSpec,
    SeccompProfile,
    SecurityContext,
)
from exectrail.contracts.session import TAG_VARIABLE
from tests.kernel.fake_node import OURS, FakeNode, app, fake_node
from tests.kernel.test_bpf_compat import i386_program

GOLDEN = Path(__file__).parents[1] / "unit/enricher/golden"
ID, NEXT_ID, DEBUGGER_ID = "a1" * 32, "b2" * 32, "d4" * 32
ALICE, BOB = "5682ae7c-c080-45a7-b4fe-8450bfb8d5d3", "0b1f6a52-7c3e-4d0a-9a55-1f2e3d4c5b6a"
PYTHON = ("/usr/bin/python3", "-I", "-S", "-c")


def tag(uid: str) -> tuple[str, str]:
    """What the webhook puts in front."""
    return "env", f"{TAG_VARIABLE}={uid}"


def opted_in(node: FakeNode, spec: PodSpec | None = None) -> Path:
    """The pod `web` of a recorded namespace, running."""
    node.namespace("shop", record="true")
    node.pod(spec or app(), app=ID)
    cgroup = node.container(ID)
    node.start(cgroup, "sleep", "600")
    node.turn(0.2)
    return cgroup


def probes_and_hooks(node: FakeNode) -> None:
    probe, hook = Handler(ExecAction(["cat", "/etc/hostname"])), Handler(ExecAction(["sh", "-c", "true; id"]))
    cgroup = opted_in(node, app(readiness_probe=probe, lifecycle=Lifecycle(post_start=hook)))
    node.run(cgroup, "sh", "-c", "true; id")
    for _ in range(3):
        node.run(cgroup, "cat", "/etc/hostname")
    node.run(cgroup, "cat", "/etc/shadow")  # no probe says so
    node.turn(0.6)


def entry_past_the_api_server(node: FakeNode) -> None:
    cgroup = opted_in(node)
    node.run(cgroup, "sh", "-c", "id; exit 7")
    node.turn(0.6)


def uid_that_is_used_again(node: FakeNode) -> None:
    cgroup = opted_in(node)
    node.request(ALICE, ["id"])
    for _ in range(2):
        node.run(cgroup, *tag(ALICE), "id")


def request_that_shows_late(node: FakeNode) -> None:
    cgroup = opted_in(node)
    node.run(cgroup, *tag(ALICE), "id")
    node.turn(0.6)
    node.request(ALICE, ["id"])
    node.turn(1.2)


def entry_by_namespaces(node: FakeNode) -> None:
    node.namespace("shop", record="true")
    node.pod(app(), app=ID)
    cgroup = node.container(ID)
    isolated = node.start(cgroup, "unshare", "--pid", "--mount", "--fork", "--mount-proc", "sleep", "600")
    node.turn(0.3)
    children = Path(f"/proc/{isolated.pid}/task/{isolated.pid}/children").read_text().split()
    node.run(None, "nsenter", "-t", children[0], "-m", "-p", *tag(ALICE), "sh", "-c", "sleep 0.3; exit 0")
    node.turn(0.6)


def exec_without_a_tag(node: FakeNode) -> None:
    cgroup = opted_in(node)
    node.request(ALICE, ["sh", "-c", "id; exit 0"], tag="match")
    node.run(cgroup, "sh", "-c", "id; exit 0")
    node.turn(0.6)


def identical_execs_without_a_tag(node: FakeNode) -> None:
    cgroup = opted_in(node)
    node.request(ALICE, ["id"], tag="match")
    node.request(BOB, ["id"], tag="match", user="bob")
    for _ in range(2):
        node.run(cgroup, "id")
    node.turn(0.6)


def node_that_is_debugged(node: FakeNode) -> None:
    debugger = Container("debugger", "tools", env=[EnvVar(TAG_VARIABLE, ALICE)], command=["sh"])
    spec = PodSpec([debugger], node_name="node1", host_pid=True, host_network=True)
    name = "node-debugger-node1-abcde"
    node.namespace("shop")
    node.run(None, "/bin/true", OURS, "before")
    node.request(ALICE, ["sh"], verb="debug", pod=name, container="debugger", node="node1")
    node.pod(spec, name, "Pending", debugger=DEBUGGER_ID)
    node.turn(0.1)
    cgroup = node.container(DEBUGGER_ID, "debugger")
    shell = node.start(cgroup, "sh", "-c", "/usr/sbin/chroot / id; setsid -w true; sleep 1")
    node.run(None, "/bin/sh", "-c", f"/bin/true {OURS}; exit 3", OURS)  # as a daemon does that it talks to
    shell.wait(10)
    node.turn(0.1)
    node.pod(spec, name, "Succeeded", debugger=DEBUGGER_ID)
    node.turn(0.1)
    node.run(None, "/bin/true", OURS, "after")


def execs_that_fail(node: FakeNode) -> None:
    cgroup = opted_in(node)
    script = "PATH=/sbin:/bin; /etc/passwd; env no-such-program; env A=b id; exit 0"
    node.request(ALICE, ["sh", "-c", script])
    node.run(cgroup, *tag(ALICE), "sh", "-c", script)
    node.turn(0.6)


def programs_of_every_kind(node: FakeNode) -> None:
    code = """
import os, shutil
def run(path, *argv):
    if not (child := os.fork()):
        os.execv(path, argv)
    os.waitpid(child, 0)
for name in (b"/tmp/two words", b"/tmp/two\\nlines", b"/tmp/\\xff\\xfe"):
    shutil.copy("/bin/true", name)
    run(name, name)
    os.unlink(name)
shutil.copy("/bin/true", "/tmp/gone")
program = os.open("/tmp/gone", os.O_RDONLY)
os.unlink("/tmp/gone")
run(f"/proc/self/fd/{program}", "deleted")
memory = os.memfd_create("hidden")
os.write(memory, open("/bin/true", "rb").read())
os.set_inheritable(memory, True)
run(f"/proc/self/fd/{memory}", "memfd")
with open("/tmp/script", "w") as script:
    script.write("#!/bin/sh\\nexit 7\\n")
os.chmod("/tmp/script", 0o755)
run("/tmp/script", "/tmp/script", "argument")
os.unlink("/tmp/script")
"""
    cgroup = opted_in(node)
    node.run(cgroup, *PYTHON, code)
    node.turn(0.6)


def thread_that_execs_and_vfork(node: FakeNode) -> None:
    code = """
import os, threading, time
os.waitpid(os.posix_spawn("/usr/bin/id", ["id"], {}), 0)
threading.Thread(target=lambda: os.execv("/bin/sh", ["sh", "-c", "exit 9"])).start()
time.sleep(5)
"""
    cgroup = opted_in(node)
    node.request(ALICE, [*PYTHON, code])
    node.run(cgroup, *tag(ALICE), *PYTHON, code)
    node.turn(0.6)


def attempts_to_leave_the_session(node: FakeNode) -> None:
    script = (
        "env -i /bin/sh -c /usr/bin/id; (unset SPO_EXEC_REQUEST_UID; setsid -w nohup id); ( ( sleep 0.2; id -u ) & ) ; "
        f"env {TAG_VARIABLE}={BOB} id -g; exit 0"
    )
    cgroup = opted_in(node)
    node.request(ALICE, ["sh", "-c", script])
    node.request(BOB, ["id", "-g"], user="bob")
    node.run(cgroup, *tag(ALICE), "sh", "-c", script)
    node.turn(0.6)


def process_that_leaves_its_cgroup(node: FakeNode) -> None:
    cgroup = opted_in(node)
    moved = 'echo 0 > "$0"; /bin/true child; exec /bin/true last'
    out = node.tree / "cgroup.procs"
    node.request(ALICE, ["sh", "-c", moved, str(out)])
    node.run(cgroup, *tag(ALICE), "sh", "-c", moved, str(out))
    node.turn(0.6)


def container_that_restarts_inside_a_session(node: FakeNode) -> None:
    node.namespace("shop", record="true")
    node.pod(app(), app=ID)
    cgroup = node.container(ID)
    init = node.start(cgroup, "sleep", "600")
    node.turn(0.3)
    node.request(ALICE, ["sleep", "500"])
    inside = node.start(cgroup, *tag(ALICE), "sleep", "500")
    node.turn(0.3)
    for process in (init, inside):
        process.kill()
        process.wait(10)
    node.turn(0.2)
    cgroup.rmdir()
    node.maintain()
    node.pod(app(), app=NEXT_ID)
    node.start(node.container(NEXT_ID), "sleep", "600")
    node.turn(0.6)


def namespace_that_opts_in_while_its_pods_run(node: FakeNode) -> None:
    node.namespace("shop")
    node.pod(app(), app=ID)
    cgroup = node.container(ID)
    node.start(cgroup, "sh", "-c", "sleep 1; id; sleep 600")
    node.turn(0.2)
    node.namespace("shop", record="true")
    node.turn(1.5)


def containers_of_every_kind_in_a_pod(node: FakeNode) -> None:
    names = {"app": "a1" * 32, "prepare": "b2" * 32, "proxy": "c3" * 32}
    node.namespace("shop", record="true")
    spec = PodSpec([Container("app", "shop:1")], [Container("prepare", "tools"), Container("proxy", "mesh:2")])
    node.pod(spec, **names)
    for name, runtime_id in names.items():
        cgroup = node.container(runtime_id)
        node.turn(0.2)  # the tree is looked at ten times a second
        node.run(cgroup, "echo", name)
    node.turn(0.6)


def container_that_nobody_has_named_yet(node: FakeNode) -> None:
    node.namespace("shop", record="true")
    node.pod(PodSpec([Container("app", "shop:1"), Container("proxy", "mesh:2")]))
    node.run(node.container(ID), "id")
    node.turn(0.6)


def uid_that_was_meant_for_another_container(node: FakeNode) -> None:
    cgroup = opted_in(node)
    node.request(ALICE, ["id"], container="proxy")
    node.run(cgroup, *tag(ALICE), "id")
    node.turn(0.6)


def arguments_that_are_cut(node: FakeNode) -> None:
    code = """
import os
try: os.execv("/nothing", ["nothing", "x" * 5000])
except OSError: os.execv("/bin/true", ["true", *["y" * 1000] * 130])
"""
    cgroup = opted_in(node)
    node.run(cgroup, *PYTHON, code)
    node.turn(0.6)


def losses_while_a_session_is_open(node: FakeNode) -> None:
    cgroup = opted_in(node)
    node.request(ALICE, ["sleep", "1"])
    inside = node.start(cgroup, *tag(ALICE), "sleep", "1")
    node.turn(0.2)
    node.lose({"ring-full": 3, "netlink-overrun": 2})
    inside.wait(10)
    node.turn(1.2)


def exec_of_a_32_bit_program(node: FakeNode) -> None:
    program = Path("/tmp/i386")
    program.write_bytes(i386_program(b"/bin/true"))
    program.chmod(0o755)
    with_profile(node, "exectrail/process-audit.json")
    node.run(node.container(ID), "/tmp/i386", "argument")
    node.turn(1.2)
    program.unlink()


def profile_of_the_pods_own(node: FakeNode) -> None:
    with_profile(node, "operator/my-own.json")
    cgroup = node.container(ID)
    node.start(cgroup, "sleep", "600")
    node.turn(1.2)
    code = """
import os, threading, time
threading.Thread(target=os.execv, args=("/bin/true", ["true"])).start()
time.sleep(9)
"""
    node.run(cgroup, *PYTHON, code)
    node.turn(1.2)


def with_profile(node: FakeNode, path: str) -> PodSpec:
    """The pod `web` of a recorded namespace, with a seccomp profile."""
    context = SecurityContext(SeccompProfile("Localhost", path))
    spec = PodSpec([Container("app", "shop:1", security_context=context)])
    node.namespace("shop", record="true")
    node.pod(spec, app=ID)
    return spec


def exec_by_the_proc_connector(node: FakeNode) -> None:
    cgroup = opted_in(node)
    node.request(ALICE, ["sh", "-c", "id; sleep 0.2; exit 3"])
    node.run(cgroup, *tag(ALICE), "sh", "-c", "id; sleep 0.2; exit 3")
    node.turn(0.6)


def exec_by_seccomp_records_and_proc(node: FakeNode) -> None:
    cgroup = opted_in(node)
    node.request(ALICE, ["sh", "-c", "id; sleep 0.2; exit 3"])
    node.run(cgroup, *tag(ALICE), "sh", "-c", "id; sleep 0.2; exit 3")
    for _ in range(3):
        node.turn(0.3)
        node.maintain()
    node.turn(0.6)


CASES: dict[str, Callable[[FakeNode], None]] = {
    name.replace("_", "-"): case
    for name, case in globals().items()
    if inspect.isfunction(case) and list(inspect.get_annotations(case)) == ["node", "return"]
}


_PROFILED = ("exec-of-a-32-bit-program", "profile-of-the-pods-own")
"""Cases whose programs run with the built-in profile."""
_OTHER_SENSORS = {"exec-by-the-proc-connector": "procconn", "exec-by-seccomp-records-and-proc": "proc"}


def main() -> None:
    """Record the cases that are named, or all."""
    parser = argparse.ArgumentParser(description="Record the golden cases that come of fake pods.")
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"of {', '.join(CASES)}")
    names = parser.parse_args().cases or list(CASES)
    subprocess.run(["make", "--silent", "-C", Path(__file__).parents[2] / "enricher/sensors/bpf"], check=True)
    for name in names:
        sensor = _OTHER_SENSORS.get(name, "bpf")
        with (GOLDEN / f"{name}.input").open("wb") as file, fake_node(file, sensor, profiled=name in _PROFILED) as node:
            CASES[name](node)
        sys.stderr.write(f"{name}\n")


if __name__ == "__main__":
    main()
