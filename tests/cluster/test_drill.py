"""The drill: three users, two pods, each way in, and two entries past them; then every command tells exactly that.

From the cluster, from copies of the trail, and from Loki.
"""

import gzip
import json
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from exectrail.contracts.session import TAG_VARIABLE
from exectrail.reading.shell import join
from tests.unit.exectrail.parsed_page import ParsedPage

from .cluster import Cluster, eventually
from .loki import Loki, running
from .node.build import go_build
from .node.components import LOKI_BUILD, WORKLOAD_IMAGE
from .product import TRAIL, Release, container_id, looked_into, may_enter, namespace, pod
from .sessions import Person, closed, enter_by_the_runtime, trail, whole_lines
from .shipper import Line, recipe, streams
from .test_whose_name import Impersonated

SPACE = "drill"
DEPLOYER = f"system:serviceaccount:{SPACE}:deployer"
IMAGE = (f"--image={WORKLOAD_IMAGE}", "--image-pull-policy=Never")
NOT_OURS = {0, 3}
"""Exit codes: elsewhere in the trail a line may be cut, by tests that killed an enricher before."""


@dataclass(frozen=True)
class Session:
    """What a user did; `ran` is what the tree shows of it."""

    user: str
    verb: str
    target: str
    command: str
    result: str
    uid: str
    ran: tuple[str, ...] = ()

    @property
    def row(self) -> tuple[str, ...]:
        return (self.user, self.verb, self.target, self.result, self.uid, self.command)


@dataclass(frozen=True)
class Drill:
    """All that was done, and a folder with copies of the trail since it began."""

    sessions: list[Session]
    entries: list[list[str]]
    """Of each entry without a request, the program that it ran."""
    copies: Path
    lines: list[str]
    """What is in them."""


@pytest.fixture(scope="module")
def drill(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Drill:
    release.with_values()
    admin = Cluster()
    _set_up(admin)
    began = len(whole_lines(Path(TRAIL).read_bytes()))
    alice, bob, deployer = (
        Person(admin, who) for who in (Cluster("alice"), Impersonated("bob"), Impersonated(DEPLOYER))
    )
    folder = tmp_path_factory.mktemp("drill")

    sessions = [
        _executed(alice, "web", "sh", "-c", "id; exit 5", result="exit 5", ran=("── id",)),
        _executed(alice, "db", "ls", "/", result="exit 0", ran=("ls /",)),
        _debugged(bob),
        *_copied(bob, folder),
    ]
    forged = f"{TAG_VARIABLE}={sessions[0].uid}"
    sessions += [
        _executed(
            deployer, "web", "env", forged, "sh", "-c", "id -Gn", result="exit 0", ran=(f"env {forged} sh", "id -Gn")
        ),
        _executed(deployer, "db", "sh", "-c", "id; exec true", result="exit 0", ran=("── id", "→ true")),
    ]
    entries = [_entered_by_the_runtime(admin), _entered_by_namespaces(admin)]
    for session in sessions:
        closed(session.uid)

    copies = folder / "copies"
    copies.mkdir()
    lines = [line + b"\n" for line in whole_lines(Path(TRAIL).read_bytes())[began:]]
    half = len(lines) // 2
    (copies / "first.jsonl.gz").write_bytes(gzip.compress(b"".join(lines[:half])))
    (copies / "second.jsonl").write_bytes(b"".join(lines[half:]))
    return Drill(sessions, entries, copies, [line.decode() for line in lines])


def _set_up(admin: Cluster) -> None:
    admin.kubectl("delete", "namespace", SPACE, "--ignore-not-found")
    admin.apply(
        namespace(SPACE, record="true"), *may_enter(SPACE), *may_enter(SPACE, "bob"), *may_enter(SPACE, DEPLOYER)
    )
    admin.kubectl("wait", "-n", SPACE, "--for=create", "serviceaccount/default", "--timeout=120s")
    admin.apply(pod(SPACE, "web"), pod(SPACE, "db"))
    admin.kubectl("wait", "-n", SPACE, "pod/web", "pod/db", "--for=condition=Ready", "--timeout=60s")
    looked_into(f"{SPACE}/web/app", f"{SPACE}/db/app")


def _executed(person: Person, name: str, *command: str, result: str, ran: tuple[str, ...]) -> Session:
    _, made = person.does("exec", "-n", SPACE, name, "-c", "app", "--", *command, check=False)
    uid, _ = person.trail_of(made)
    return Session(person.cluster.user, "exec", f"{SPACE}/{name}/app", join(command), result, uid, ran)


def _debugged(person: Person) -> Session:
    command = ("sh", "-c", "id; exit 4")
    _, made = person.does("debug", "-n", SPACE, "db", "-c", "debugger", *IMAGE, "--", *command)
    uid, _ = person.trail_of(made)
    return Session(person.cluster.user, "debug", f"{SPACE}/db/debugger", join(command), "exit 4", uid, ("── id",))


def _copied(person: Person, folder: Path) -> list[Session]:
    """`kubectl cp` asks whether its target is a folder, and then unpacks what it sends."""
    (folder / "file").write_text("evidence")
    copy = ("cp", str(folder / "file"), f"{SPACE}/web:/tmp/file", "-c", "app")
    _, made = person.does_all(*copy, sessions=2)
    commands = [[str(word) for word in each["spec"]["command"]] for each in made]
    assert [command[0] for command in commands] == ["test", "tar"]
    user, target = person.cluster.user, f"{SPACE}/web/app"
    return [
        Session(user, "exec", target, join(command), result, person.trail_of(each)[0], (join(command),))
        for each, command, result in zip(made, commands, ("exit 1", "exit 0"), strict=True)
    ]


def _entered_by_the_runtime(admin: Cluster) -> list[str]:
    command = ["true", str(uuid.uuid4())]
    enter_by_the_runtime(admin, SPACE, *command)
    _recorded_to_the_end(command)
    return command


def _entered_by_namespaces(admin: Cluster) -> list[str]:
    listed = admin.run("ctr", "task", "ls").stdout
    (init,) = [line.split()[1] for line in listed.splitlines() if line.startswith(container_id(SPACE))]
    command = ["cat", "-", f"/{uuid.uuid4()}"]
    enter = ["nsenter", "-t", init, "-m", "-p", *command]
    with subprocess.Popen(enter, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as intruder:
        # It waits for its input until it was looked at.
        eventually(lambda: [record for record in trail() if record.argv == command and not record.errno])
        intruder.communicate(timeout=30)
    _recorded_to_the_end(command)
    return command


def _recorded_to_the_end(command: list[str]) -> None:
    def ended() -> bool:
        records = trail()
        keys = {record.process_key for record in records if record.argv == command and not record.errno}
        return any(record.kind == "exit" and record.process_key in keys for record in records)

    eventually(ended)


@pytest.fixture(scope="module")
def loki(drill: Drill, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loki]:
    """A real one that has the trail since the drill began, as a collector would have sent it."""
    with running(go_build(LOKI_BUILD) / "loki", tmp_path_factory.mktemp("loki")) as ready:
        first = time.time_ns() - len(drill.lines) * 1000
        sent = [Line(first + number * 1000, text.rstrip("\n")) for number, text in enumerate(drill.lines)]
        loki = ready()
        loki.push(streams(recipe(), sent))
        yield loki


@pytest.fixture(params=["cluster", "copies", "loki"])
def source(request: pytest.FixtureRequest, drill: Drill) -> list[str]:
    """What a command is given to read: nothing for the cluster, the folder of copies, or Loki's address."""
    if request.param == "loki":
        loki: Loki = request.getfixturevalue("loki")
        return ["--loki", loki.url]
    return [] if request.param == "cluster" else [str(drill.copies)]


def test_sessions_lists_each_request_with_its_user_target_command_and_result(
    admin: Cluster, drill: Drill, source: list[str]
) -> None:
    listed = admin.exectrail("sessions", *source, "--namespace", SPACE, "--no-headers").stdout

    cells = [line.split("\t") for line in listed.splitlines()]
    found = [(user, verb, target, result, uid, command) for _, user, verb, target, result, _, uid, command in cells]
    assert sorted(found) == sorted(session.row for session in drill.sessions)


def test_show_tells_what_each_of_them_ran(admin: Cluster, drill: Drill, source: list[str]) -> None:
    for session in drill.sessions:
        shown = admin.exectrail("show", session.uid, *source).stdout
        facts, tree = shown.split(f"\n{session.user} {session.verb} {session.target}\n")

        said = dict(line.split(maxsplit=1) for line in facts.splitlines() if line)
        assert (said["user"], said["container"]) == (session.user, session.target)
        assert (said["command"], said["outcome"]) == (session.command, f"completed, {session.result}")
        assert said["state"] == "confirmed"
        for words in session.ran:
            assert words in tree


def test_untracked_tells_the_two_who_asked_nobody(admin: Cluster, drill: Drill, source: list[str]) -> None:
    done = admin.exectrail("untracked", *source, "--namespace", SPACE, "-o", "jsonl", check=False)

    entries = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["pod"], each["container"], each["programs"][-1]) for each in entries] == [
        ("web", "app", program) for program in drill.entries
    ]
    assert entries[1]["enteredFrom"]["argv"][0] == "nsenter"
    assert done.returncode == 1


def test_summary_counts_each_session_once(admin: Cluster, drill: Drill, source: list[str]) -> None:
    done = admin.exectrail("summary", *source, "--namespace", SPACE, "-o", "json", check=False)
    assert done.returncode in NOT_OURS, done.stderr
    counted = json.loads(done.stdout)

    assert counted["sessions"] == len(drill.sessions)
    for kind, name in (("users", "user"), ("targets", "target")):
        sessions = Counter({row[name]: row["sessions"] for row in counted[kind] if row["sessions"]})
        assert sessions == Counter(str(getattr(session, name)) for session in drill.sessions)


def test_a_report_has_all_of_them(admin: Cluster, drill: Drill, source: list[str], tmp_path: Path) -> None:
    html = tmp_path / "report.html"
    done = admin.exectrail("report", *source, "--namespace", SPACE, "--html", str(html), check=False)
    assert done.returncode in NOT_OURS, done.stderr

    page = ParsedPage(html.read_text())
    facts = list(zip(page.within("dt"), page.within(r"dd(\..*)?"), strict=True))
    for name, value in (("user", "user"), ("session", "uid"), ("command", "command")):
        assert Counter(each for key, each in facts if key == name) == Counter(
            str(getattr(session, value)) for session in drill.sessions
        )
    outcomes = Counter(each for key, each in facts if key == "outcome")
    assert outcomes == Counter(f"completed, {session.result}" for session in drill.sessions)
