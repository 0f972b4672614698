"""Whose name: each kind of request, in each tag mode, beside each way in, before, with and after its own process.

`alice` asks for something, and an intruder comes in as well. Each cell of the table says which user both processes have
in the end. The rules below say what must come out; no cell proves a name to a process that did not come of that user's
request.
"""

import itertools
from collections.abc import Callable
from functools import cache
from typing import Literal, NamedTuple, get_args

import pytest
from msgspec.structs import replace

from enricher.containers.containers import CgroupRef
from enricher.containers.pods import Container, ContainerStatus, EnvVar, Pod, PodSpec, PodStatus
from enricher.events import ExecEvent, Process, ProcessEvent
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.record import Record
from exectrail.contracts.session import AuditSession, SessionSpec, Target, User
from tests.unit.enricher.rig import APP, CGROUP, INIT, OTHER_UID, UID, Rig, ask, at_request, container_starts, execute

Kind = Literal["exec", "exec -it", "attach", "port-forward", "debug", "debug node"]
Mode = Literal["env", "match", "none", "unseen"]
"""How the webhook tagged the request; `unseen`: with `env`, and its AuditSession does not show."""
Way = Literal[
    "an exec of mallory's own, the borrowed tag behind her own",
    "the borrowed tag, another command",
    "the borrowed tag, the very command",
    "a made-up tag",
    "no tag, another command",
    "no tag, the very command",
    "nsenter, the borrowed tag",
    "another container, the borrowed tag in its spec",
]
Time = Literal["before", "with", "after"]
"""When the intruder comes, seen from the request's own process."""

COMMAND = ("sh", "-c", "id")
MADE_UP = "99999999-188c-4596-a2a0-b64f75a1b8e4"
OWN, INTRUDER = Process(300, 3000), Process(400, 4000)
STARTS: tuple[Kind, ...] = ("exec", "exec -it", "debug", "debug node")
"""What starts a process of its own; the others start none."""
EXECS: tuple[Kind, ...] = ("exec", "exec -it")


class Cell(NamedTuple):
    """A place in the table."""

    kind: Kind
    mode: Mode
    way: Way
    time: Time


class Name(NamedTuple):
    """What a process has in the end."""

    user: str | None = None
    state: str | None = None
    is_weak: bool = False
    """Whether `weak` names the user."""


NOBODY, FORGED, UNCONFIRMED = Name(), Name(state="forged"), Name(state="unconfirmed")
ALICE, ALICE_WEAK = Name("alice", "confirmed"), Name("alice", "confirmed", is_weak=True)


class Rule(NamedTuple):
    """The first rule that applies to a cell says what its process has."""

    says: str
    applies: Callable[[Cell], bool]
    name: Name


def borrows(cell: Cell) -> bool:
    return "borrowed" in cell.way


def fits_as_well(cell: Cell) -> bool:
    """Whether nothing that can be seen tells the intruder from the request's own process."""
    return cell.kind in EXECS and cell.mode == "env" and cell.way == "the borrowed tag, the very command"


def matches_as_well(cell: Cell) -> bool:
    """The same of a request that has no tag."""
    return cell.kind in EXECS and cell.mode == "match" and cell.way == "no tag, the very command"


INTRUDERS = [
    Rule("Her own tag stands before the borrowed one.", lambda it: "own" in it.way, Name("mallory", "confirmed")),
    Rule("By its namespaces alone, no request brings a process in.", lambda it: "nsenter" in it.way, NOBODY),
    Rule("A UID that no request has may yet be one's.", lambda it: it.way == "a made-up tag", UNCONFIRMED),
    Rule(
        "Without a tag, the first one with container, command and time is a request's with `match`; nothing proves it.",
        lambda it: matches_as_well(it) and it.time != "after",
        ALICE_WEAK,
    ),
    Rule("Without a tag, no other request is found.", lambda it: it.way.startswith("no tag"), NOBODY),
    Rule("As long as its request does not show, a UID is unconfirmed.", lambda it: it.mode == "unseen", UNCONFIRMED),
    Rule(
        "The first one with UID and command has the name; once another one comes with both, that is weak.",
        lambda it: fits_as_well(it) and it.time != "after",
        ALICE_WEAK,
    ),
    Rule("Any other use of a UID is forged.", borrows, FORGED),
]

OWNERS = [
    Rule("Attach and port-forward start no process.", lambda it: it.kind not in STARTS, NOBODY),
    Rule("The second one with UID and command is forged.", lambda it: fits_as_well(it) and it.time != "after", FORGED),
    Rule("And makes it doubtful who was first.", fits_as_well, ALICE_WEAK),
    Rule("A request is matched once.", lambda it: matches_as_well(it) and it.time != "after", NOBODY),
    Rule("As long as its request does not show, a UID is unconfirmed.", lambda it: it.mode == "unseen", UNCONFIRMED),
    Rule("With a tag, the own process has its user's name.", lambda it: it.mode == "env", ALICE),
    Rule(
        "A pod to debug a node that has no tag is not looked for: the webhook tags each.",
        lambda it: it.kind == "debug node",
        NOBODY,
    ),
    Rule("Without one, it has the name as well, and that is weak.", lambda it: it.mode == "match", ALICE_WEAK),
    Rule("With `none`, it is not looked for.", lambda it: it.mode == "none", NOBODY),
]

CELLS = [Cell(*cell) for cell in itertools.product(*map(get_args, (Kind, Mode, Way, Time)))]


def rule_for(cell: Cell, rules: list[Rule]) -> Rule:
    return next(rule for rule in rules if rule.applies(cell))


# ---- the node ----

APP_PLACE, MADE_PLACE, OTHER_PLACE = CGROUP, CGROUP + 1, CGROUP + 2


class Places:
    """Which container each cgroup is."""

    def __init__(self, made_in: str) -> None:
        self._places = {
            APP_PLACE: CgroupRef(APP, "pod-1", name="app"),
            MADE_PLACE: CgroupRef("d" * 64, made_in, name="debugger"),
            OTHER_PLACE: CgroupRef("e" * 64, "pod-1", name="other"),
        }

    def of(self, event: ProcessEvent) -> CgroupRef:
        return self._places[event.cgroup]

    again = of


def tag_in_spec(uid: str | None) -> list[EnvVar]:
    return [EnvVar("SPO_EXEC_REQUEST_UID", uid)] if uid else []


def node(cell: Cell) -> Rig:
    """A pod `web` with its container `app`, and what requests and intruders add to it."""
    tag = UID if cell.mode in ("env", "unseen") else None
    ephemeral = [Container("debugger", "tools", tag_in_spec(tag), [*COMMAND])] if cell.kind == "debug" else []
    if "spec" in cell.way:
        ephemeral.append(Container("other", "tools", tag_in_spec(UID), [*COMMAND]))
    web = Pod(
        ObjectMeta(name="web", namespace="shop", uid="pod-1"),
        PodSpec([Container("app", "shop:1")], ephemeral_containers=ephemeral),
        PodStatus([ContainerStatus("app", f"containerd://{APP}")]),
    )
    rig = Rig({"exectrail.io/record": "true"}, web)
    rig.correlator._cgroups = Places("pod-2" if cell.kind == "debug node" else "pod-1")
    if cell.kind == "debug node":
        spec = PodSpec(
            [Container("debugger", "tools", tag_in_spec(tag), [*COMMAND])],
            node_name="node1",
            host_pid=True,
        )
        meta = ObjectMeta(
            name="node-debugger-1", namespace="shop", uid="pod-2", creation_timestamp="2026-11-23T12:00:00Z"
        )
        rig.containers.pod_changed(None, Pod(meta, spec))
    container_starts(rig)
    return rig


def request_of(cell: Cell) -> AuditSession:
    verb: Literal["exec", "attach", "portforward", "debug"] = "exec"
    resource, target = "pods/exec", Target("shop", "web", "app")
    match cell.kind:
        case "attach":
            verb, resource = "attach", "pods/attach"
        case "port-forward":
            verb, resource = "portforward", "pods/portforward"
        case "debug":
            verb, resource, target = "debug", "pods/ephemeralcontainers", Target("shop", "web", "debugger")
        case "debug node":
            verb, resource = "debug", "pods"
            target = Target("shop", "node-debugger-1", "debugger", node="node1")
    tag = "env" if cell.mode == "unseen" else cell.mode
    command = [*COMMAND] if cell.kind in STARTS else []
    time = "2026-11-23T12:00:00.000000Z"
    spec = SessionSpec(User("alice"), verb, resource, target, time, command, cell.kind == "exec -it", tag=tag)
    return AuditSession(ObjectMeta(name=UID), spec)


def own(cell: Cell) -> list[ExecEvent]:
    """The request's own process, with what the webhook gave it."""
    if cell.kind not in STARTS:
        return []
    tag = ("env", f"SPO_EXEC_REQUEST_UID={UID}") if cell.mode in ("env", "unseen") and cell.kind in EXECS else ()
    event = execute(OWN, *tag, *COMMAND)
    return [event if cell.kind in EXECS else replace(event, cgroup=MADE_PLACE)]


def intruder(cell: Cell) -> ExecEvent:
    command = COMMAND if "very" in cell.way else ("sh", "-c", "evil")
    borrowed = ("env", f"SPO_EXEC_REQUEST_UID={UID}")
    match cell.way:
        case "an exec of mallory's own, the borrowed tag behind her own":
            return execute(INTRUDER, "env", f"SPO_EXEC_REQUEST_UID={OTHER_UID}", *borrowed, *command)
        case "the borrowed tag, another command" | "the borrowed tag, the very command":
            return execute(INTRUDER, *borrowed, *command)
        case "a made-up tag":
            return execute(INTRUDER, "env", f"SPO_EXEC_REQUEST_UID={MADE_UP}", *COMMAND)
        case "nsenter, the borrowed tag":
            return replace(execute(INTRUDER, *borrowed, *COMMAND), entered_by_namespace=True)
        case "another container, the borrowed tag in its spec":
            return replace(execute(INTRUDER, *COMMAND), cgroup=OTHER_PLACE)
    return execute(INTRUDER, *command)


def mallorys(cell: Cell) -> list[AuditSession]:
    if "own" not in cell.way:
        return []
    command = ["env", f"SPO_EXEC_REQUEST_UID={UID}", "sh", "-c", "evil"]
    target, time = Target("shop", "web", "app"), "2026-11-23T12:00:00.200000Z"
    spec = SessionSpec(User("mallory"), "exec", "pods/exec", target, time, command, tag="env")
    return [AuditSession(ObjectMeta(name=OTHER_UID), spec)]


@cache
def happens(cell: Cell) -> list[Record]:
    """Everything in its turn, each half a second after what came before it, and then a program more of each."""
    rig = node(cell)
    if cell.mode != "unseen":
        ask(rig, request_of(cell))
    ask(rig, *mallorys(cell))
    turns: dict[Time, list[list[ExecEvent]]] = {
        "before": [[intruder(cell)], own(cell)],
        "with": [[intruder(cell), *own(cell)]],
        "after": [own(cell), [intruder(cell)]],
    }
    now = 0.0
    for number, turn in enumerate(turns[cell.time]):
        rig.happen(*(at_request(rig, event, 500 + 700 * number) for event in turn), now=now)
        now += 0.7
        rig.wait(now)
    for event in (intruder(cell), *own(cell)):
        rig.happen(replace(at_request(rig, event, 3_000), argv=f"later-{event.process.pid}\0".encode()), now=now)
    rig.wait(now + 0.7)
    return rig.records


def name_of(records: list[Record], process: Process) -> Name:
    """What the last program of a process stands in the trail with."""
    (record,) = [each for each in records if each.argv == [f"later-{process.pid}"]]
    return Name(record.user, record.state, "user" in (record.weak or ()))


@pytest.mark.parametrize("cell", CELLS, ids=", ".join)
def test_each_process_has_the_name_that_the_rules_give_it(cell: Cell) -> None:
    records = happens(cell)

    rule = rule_for(cell, INTRUDERS)
    assert name_of(records, INTRUDER) == rule.name, rule.says
    if own(cell):
        rule = rule_for(cell, OWNERS)
        assert name_of(records, OWN) == rule.name, rule.says


@pytest.mark.parametrize("cell", CELLS, ids=", ".join)
def test_no_line_proves_a_name_to_a_process_that_did_not_come_of_that_users_request(cell: Cell) -> None:
    came_of = {"alice": {OWN.pid}, "mallory": {INTRUDER.pid} if "own" in cell.way else set()}

    proven = [(str(record.user), record.pid) for record in happens(cell) if is_proven(record)]

    # Until the own process has come as well, who has its UID and its command cannot be told from it: SECURITY.md.
    is_limit = fits_as_well(cell) and cell.time == "before"
    assert {pid for user, pid in proven if pid not in came_of[user]} == ({INTRUDER.pid} if is_limit else set())


def is_proven(record: Record) -> bool:
    return record.user is not None and record.state == "confirmed" and "user" not in (record.weak or ())


@pytest.mark.parametrize("rules", [INTRUDERS, OWNERS], ids=["intruders", "owners"])
def test_each_rule_says_something(rules: list[Rule]) -> None:
    used = {rule_for(cell, rules).says for cell in CELLS}

    assert [rule.says for rule in rules if rule.says not in used] == []


def test_the_intruder_who_came_first_is_said_to_be_in_doubt() -> None:
    cell = Cell("exec", "env", "the borrowed tag, the very command", "before")

    records = happens(cell)

    reasons = [(each.pid, each.reason) for each in records if each.kind == "session" and each.state == "forged"]
    assert reasons == [(OWN.pid, "uid-contested")]
    assert INIT.pid not in {each.pid for each in records if each.user}
