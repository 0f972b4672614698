"""The variants of `process-audit` under real containers: nothing breaks by being audited.

Beside each container with a variant runs one with the rules from which it was made, RuntimeDefault's as published: the
node's own runtime may be older.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from exectrail.contracts.profile import VARIANTS
from exectrail.seccomp.runtime_default import runtime_default
from exectrail.seccomp.runtime_file import runtime_file

from .cluster import Cluster
from .product import Release, may_enter, namespace, pod
from .sessions import Person

FOLDER = Path("/var/lib/kubelet/seccomp/published")
SYSTEM_CALLS = Path(__file__).parent / "system_calls.py"

PROGRAMS = """
cd /tmp; export LC_ALL=C
printf 'b\\na\\n' > file; cp file copy; mv copy moved; ln -s moved link; ln moved hard; cat link; sort file; wc -c hard
mkdir -p d/e; touch d/e/f; find d; chmod 600 file; stat -c %a file; chown 1:1 file; stat -c %u file; rm -r d
tar -cf - file moved | tar -tf -; gzip -c file | gzip -dc; sed s/a/z/ file; awk '{ print NR }' file; grep -c b file
mkfifo pipe; (echo through > pipe &); cat pipe; sh -c 'exit 3'; echo $?; timeout 0.1 sleep 5; echo $?; nice -n 5 nice
sleep 5 & kill $!; wait $!; echo $?; (ulimit -n 64; ulimit -n); umask 077; umask
env -i /bin/echo bare; id -u; date -u +%Z
dd if=/dev/zero of=zeros bs=4096 count=2 2>/dev/null; cmp -n 4096 zeros /dev/zero; truncate -s 1 zeros; du -b zeros
perl -e 'print 6 * 7, "\\n"; exit 0'; setsid sh -c 'echo session'; unshare -U true 2>/dev/null; echo "unshare $?"
rm -f file moved link hard pipe zeros
python3 - <<'END'
import asyncio, mmap, multiprocessing, os, signal, socket, subprocess, tempfile, threading, time
threads = [threading.Thread(target=print, args=("thread",)) for _ in range(2)]
[each.start() for each in threads]; [each.join() for each in threads]
print(subprocess.run(["sh", "-c", "echo child; exit 4"], capture_output=True))
a, b = socket.socketpair(); a.send(b"x"); print(b.recv(1))
listener = socket.create_server(("127.0.0.1", 0)); socket.create_connection(listener.getsockname()).close()
print(multiprocessing.get_context("fork").Pool(1).map(abs, [-1]))
with tempfile.TemporaryFile() as file: file.write(b"x" * 9); file.flush(); print(mmap.mmap(file.fileno(), 9)[:1])
signal.signal(signal.SIGUSR1, lambda *_: print("signal")); os.kill(os.getpid(), signal.SIGUSR1)
async def slept(): await asyncio.sleep(0); return "loop"
print(asyncio.run(slept())); print(os.waitstatus_to_exitcode(os.system("exit 5")), len(os.sched_getaffinity(0)) > 0)
END
"""


class Pair(NamedTuple):
    """Two namespaces, each with a pod `web` that has a container for each variant."""

    audited: str
    plain: str


def containers(space: str, *, plain: bool) -> dict[str, Any]:
    made = pod(space, "web", *VARIANTS)
    for each in made["spec"]["containers"]:
        own: dict[str, Any] = {"capabilities": {"add": sorted(VARIANTS[each["name"]])}}
        if plain:
            own["seccompProfile"] = {"type": "Localhost", "localhostProfile": f"{FOLDER.name}/{each['name']}.json"}
        each["securityContext"] = own
    return made


@pytest.fixture(scope="module")
def pair(release: Release) -> Iterator[Pair]:
    release.with_any_values()
    admin = Cluster()
    FOLDER.mkdir(parents=True)
    for name, capabilities in VARIANTS.items():
        (FOLDER / f"{name}.json").write_bytes(runtime_file(runtime_default(capabilities)))
    pair = Pair("variants", "variants-plain")
    try:
        for space, labels in ((pair.audited, {"profile": "process-audit"}), (pair.plain, {})):
            admin.apply(namespace(space, **labels), *may_enter(space))
            admin.kubectl("wait", "-n", space, "--for=create", "serviceaccount/default", "--timeout=120s")
            admin.apply(containers(space, plain=space == pair.plain))
        for space in pair:
            admin.kubectl("wait", "-n", space, "pod/web", "--for=condition=Ready", "--timeout=120s")
        yield pair
    finally:
        admin.kubectl("delete", "namespace", *pair, "--ignore-not-found", "--wait=false")
        for space in pair:
            admin.kubectl("delete", "pod", "web", "-n", space, "--now", "--ignore-not-found")
        shutil.rmtree(FOLDER)


def says(admin: Cluster, space: str, container: str, *command: str, stdin: str) -> str:
    done = admin.kubectl("exec", "-i", "-n", space, "web", "-c", container, "--", *command, stdin=stdin)
    return done.stdout


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_system_call_ends_as_with_the_rules_of_the_runtime(admin: Cluster, pair: Pair, variant: str) -> None:
    spec = admin.get("pod", "web", "-n", pair.audited)["spec"]
    contexts = {each["name"]: each["securityContext"] for each in spec["containers"]}
    own = contexts[variant].get("seccompProfile") or spec["securityContext"].get("seccompProfile", {})
    assert own.get("localhostProfile") == f"exectrail/{variant}.json"

    audited, plain = (
        says(admin, space, variant, "python3", "-", stdin=SYSTEM_CALLS.read_text()).splitlines() for space in pair
    )

    assert len(audited) > 400
    assert audited == plain


@pytest.mark.parametrize("variant", VARIANTS)
def test_ordinary_programs_do_what_they_do_without_it(admin: Cluster, pair: Pair, variant: str) -> None:
    audited, plain = (says(admin, space, variant, "sh", stdin=PROGRAMS) for space in pair)

    assert "loop" in audited
    assert audited == plain


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_variant_logs_programs(alice: Person, pair: Pair, variant: str) -> None:
    _, records = alice.executes(pair.audited, "sh", "-c", "id; true", container=variant)

    execs = [each for each in records if each.kind == "exec"]
    assert [(each.argv or [""])[0] for each in execs] == ["env", "sh", "id"]
    assert {each.source for each in execs} == {"bpf+netlink"}
