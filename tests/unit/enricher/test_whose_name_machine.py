"""Whose name, in any order of things: requests, entries and restarts as they come, with the truth beside them.

The machine knows of each process which request it came of. No line may prove a user's name to any other process, and a
user's own process is to be named in the end, or its request to be named as one that it may have come of.

The unit tests run the same examples each time; `WHOSE_NAME_EXAMPLES` asks for so many others (`make fuzz`).
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from msgspec.structs import replace

from enricher.containers.containers import CgroupRef
from enricher.containers.pods import (
    Container,
    ContainerState,
    ContainerStatus,
    EnvVar,
    Pod,
    PodSpec,
    PodStatus,
    Started,
)
from enricher.correlate.backfill import backfill
from enricher.emit.gap import Gap
from enricher.events import ExecEvent, ExitEvent, ForkEvent, Process, ProcessEvent
from enricher.procfs import Proc, ProcessInfo
from enricher.state import checkpoint
from enricher.state.restore import restore
from enricher.state.resumption import Requests, Resumption
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.record import Record
from exectrail.contracts.session import TAG_VARIABLE, AuditSession, SessionSpec, Target, User
from tests.unit.enricher.rig import Rig
from webhook.reviews.tag_mode import looks_tagged

Words = tuple[str, ...]

USERS = ("alice", "bob", "mallory")
COMMANDS: tuple[Words, ...] = (("sh", "-c", "id"), ("ls",))
TAGS = ("env", "match")
NAMES = ("debugger", "debugger-2")
MADE_UP = "99999999-0000-4000-8000-000000000000"
RUNTIME = Process(1, 1)
LATEST_S = 500
"""How late a request may show, in seconds, and its process is named all the same: docs/concepts/tags.md says ten
minutes."""

users, commands, tags = st.sampled_from(USERS), st.sampled_from(COMMANDS), st.sampled_from(TAGS)
some, names = st.integers(0, 99), st.sampled_from(NAMES)
"""Which of those that there are."""


@dataclass
class Asked:
    """A request, and what the webhook and the API server did with it."""

    uid: str
    user: str
    container: str
    words: Words
    tag: str
    at: float
    is_debug: bool = False
    shown_at: float | None = None
    own: "Ran | None" = None


@dataclass
class Ran:
    """A process, and the request that it came of."""

    process: Process
    argv: Words
    cgroup: int
    at: float
    asked: Asked | None
    is_entry: bool
    like: Asked | None = None
    """The request whose own process it looks like in all that can be seen: the limit that SECURITY.md names."""
    alive: bool = True
    forgotten: bool = False
    """Whether an enricher ended that knew more of it than the next one can know."""


@dataclass
class Made:
    """An ephemeral container in the pod's spec."""

    name: str
    words: Words
    variable: str | None
    asked: Asked | None
    at: float
    started: bool = False


@dataclass
class Home:
    """A container that runs."""

    name: str
    id: str
    init: Process
    since: float
    cgroup: int = field(default=0)


def tagged(uid: str, words: Words) -> Words:
    return ("env", f"{TAG_VARIABLE}={uid}", *words)


class LiveProcesses(Proc):
    """What /proc shows of the machine's processes."""

    def __init__(self, infos: list[ProcessInfo]) -> None:
        self._infos = {info.process.pid: info for info in infos}

    def process(self, pid: int) -> ProcessInfo | None:
        return self._infos.get(pid)

    def processes(self) -> Iterator[ProcessInfo]:
        return iter(self._infos.values())


class WhoseName(RuleBasedStateMachine):
    """A pod with a container to enter, the API, and an enricher."""

    @initialize()
    def begins(self) -> None:
        self.now = 0.0
        """In seconds, by every clock."""
        self.pids = 100
        self.asked: list[Asked] = []
        self.ran: list[Ran] = []
        self.made: list[Made] = []
        self.homes: list[Home] = []
        self.records: list[Record] = []
        self.reported: list[tuple[str, str]] = []
        self.resumption: Resumption | None = None
        self.rig = self._enricher()
        self._starts("app", ("sleep", "inf"))

    # ---- requests ----

    @rule(user=users, words=commands, tag=tags, shows=st.booleans())
    def is_asked(self, user: str, words: Words, tag: str, shows: bool) -> None:
        self._asks(Asked(self._uid(), user, "app", words, tag, self.now), shows=shows)

    @precondition(lambda self: self.asked)
    @rule(user=users, tag=tags, other=some, shows=st.booleans())
    def is_asked_with_the_tag_of_another(self, user: str, tag: str, other: int, shows: bool) -> None:
        borrowed = self.asked[other % len(self.asked)]
        words = tagged(borrowed.uid, borrowed.words)
        tag = "env" if looks_tagged([*words]) else tag
        self._asks(Asked(self._uid(), user, "app", words, tag, self.now), shows=shows)

    @rule(user=users, words=commands, tag=tags, name=names, other=some, stored=st.booleans(), shows=st.booleans())
    def is_asked_to_debug(
        self, user: str, words: Words, tag: str, name: str, other: int, stored: bool, shows: bool
    ) -> None:
        if any(made.name == name for made in self.made):
            return
        asked = Asked(self._uid(), user, name, words, tag, self.now, is_debug=True)
        variable = asked.uid if tag == "env" else self._other(other)
        self._asks(asked, shows=shows)
        if stored:  # else another admission, or a conflict, has refused it
            self._makes(Made(name, words, variable, asked, self.now))

    @precondition(lambda self: any(each.shown_at is None for each in self.asked))
    @rule(other=some)
    def shows(self, other: int) -> None:
        hidden = [each for each in self.asked if each.shown_at is None]
        self._shows(hidden[other % len(hidden)])

    # ---- what comes of them, and what does not ----

    @precondition(lambda self: self._to_come())
    @rule(other=some)
    def own_comes(self, other: int) -> None:
        to_come = self._to_come()
        asked = to_come[other % len(to_come)]
        argv = tagged(asked.uid, asked.words) if asked.tag == "env" else asked.words
        asked.own = self._enters(argv, asked)

    @rule(words=commands, other=some)
    def intruder_comes(self, words: Words, other: int) -> None:
        """Past the API server: with no tag, one that is made up, or another's with its command or one of their own."""
        uid = self._other(other)
        self._enters(tagged(uid, words) if uid else words, None)

    @precondition(lambda self: self.asked)
    @rule(other=some)
    def intruder_comes_as(self, other: int) -> None:
        borrowed = self.asked[other % len(self.asked)]
        self._enters(tagged(borrowed.uid, borrowed.words), None)

    @rule(name=names, words=commands, other=some)
    def container_is_made_unasked(self, name: str, words: Words, other: int) -> None:
        """While no webhook answers."""
        if all(made.name != name for made in self.made):
            self._makes(Made(name, words, self._other(other), None, self.now))

    @precondition(lambda self: any(not made.started for made in self.made))
    @rule(other=some)
    def made_container_starts(self, other: int) -> None:
        waiting = [made for made in self.made if not made.started]
        made = waiting[other % len(waiting)]
        made.started = True
        ran = self._starts(made.name, made.words, made.asked)
        if made.asked:
            made.asked.own = ran
        else:
            ran.like = self._like_made(made)

    @rule(other=some, words=commands)
    def container_restarts(self, other: int, words: Words) -> None:
        """With a command that its author has chosen since."""
        for ran in self._alive("app"):
            self._ends(ran)
        uid = self._other(other)
        self._starts("app", tagged(uid, words) if uid else words)

    @precondition(lambda self: self._alive())
    @rule(other=some)
    def forks(self, other: int) -> None:
        parent = self._one_alive(other)
        child = Ran(self._process(), parent.argv, parent.cgroup, self.now, parent.asked, False, parent.like)
        self.ran.append(child)
        self._happens(ForkEvent(self._ns(), parent.cgroup, "", parent.process, child.process, 0, 0))

    @precondition(lambda self: self._alive())
    @rule(other=some, borrowed=some, words=commands)
    def runs(self, other: int, borrowed: int, words: Words) -> None:
        ran, uid = self._one_alive(other), self._other(borrowed)
        ran.argv = tagged(uid, words) if uid else words
        self._happens(self._exec(ran, RUNTIME))

    @precondition(lambda self: self._alive())
    @rule(other=some)
    def ends(self, other: int) -> None:
        ran = self._one_alive(other)
        if ran.process not in [home.init for home in self.homes]:
            self._ends(ran)

    @rule(seconds=st.sampled_from([0.2, 0.6, 6.0, 40.0]))
    def time_goes_by(self, seconds: float) -> None:
        self.now += seconds
        self._advance()

    @rule(forgets=st.booleans())
    def enricher_restarts(self, forgets: bool) -> None:
        """It ends as it is told to; its checkpoint may be lost."""
        self.rig.flush()
        self._check()
        tree, sessions = self.rig.correlator.tree, self.rig.sessions
        kept = checkpoint.take("boot", 0, tree.nodes(), self.rig.emitter.open_sessions(), sessions.bound())
        before, self.rig = self.rig, self._enricher()
        self.reported += before.reported
        proc = LiveProcesses([self._info(ran) for ran in self.ran if ran.alive])
        open_before = []
        if not forgets:
            kept = checkpoint.decode(checkpoint.encode(kept))
            open_before = restore(kept, self.rig.correlator.tree, proc).sessions
            self.rig.sessions.restore(kept.bound, open_before)
        for home in self.homes:
            infos = [self._info(ran) for ran in self.ran if ran.alive and ran.cgroup == home.cgroup]
            backfill(self.rig.correlator.tree, home.id, infos)
        for ran in self.ran:
            is_open = ran.asked is None or (ran.asked.tag == "env" and ran.asked.shown_at is not None)
            ran.forgotten |= forgets or not (ran.alive and is_open)
        gap = Gap("restart", at_ms=self._ms(), since_ms=self._ms())
        self.resumption = Resumption(
            gap, open_before, list, self.rig.sessions, self.rig.emitter, self.rig.correlator, self.rig.clock,
            Requests(lambda: True, list, lambda _session, _record: None),
        )  # fmt: skip
        self.now += 0.1
        self._advance()

    # ---- what must hold ----

    def teardown(self) -> None:
        if not hasattr(self, "rig"):
            return
        for asked in self.asked:
            if asked.shown_at is None:
                self._shows(asked)
        for seconds in (1.0, 36.0, 6.0, 6.0):
            self.now += seconds
            self._advance()
        self.reported += self.rig.reported
        for asked in self.asked:
            assert asked.own is None or self._is_known(asked, asked.own), f"{asked} is nobody's"

    def _check(self) -> None:
        """No line proves a name to a process that did not come of that user's request."""
        fresh, self.rig.records[:] = [*self.rig.records], []
        self.records += fresh
        whose = {ran.process.pid: ran for ran in self.ran}
        user_of = {asked.uid: asked.user for asked in self.asked}
        for record in fresh:
            if record.user is None:
                continue
            assert user_of.get(record.request_uid or "") == record.user, record
            if record.state == "confirmed" and "user" not in (record.weak or ()):
                ran = whose[record.pid or 0]
                may_be = {each.uid for each in (ran.asked, ran.like) if each}
                assert record.request_uid in may_be, f"{record} of {ran}"

    def _is_known(self, asked: Asked, own: Ran) -> bool:
        if own.forgotten or (asked.shown_at or 0.0) - own.at > LATEST_S:
            return True
        of_own = [record for record in self.records if record.pid == own.process.pid]
        if any(record.user == asked.user and record.request_uid == asked.uid for record in of_own):
            return True
        if any(asked.uid in (record.candidates or ()) for record in of_own):
            return True
        if ("ambiguous", asked.uid) in self.reported:
            return True
        if any(record.reason == "uid-contested" and record.request_uid == asked.uid for record in of_own):
            return True
        # Without a tag, another request or process with the same words was the first; nothing is proven of that.
        weak = [record for record in self.records if record.user and "user" in (record.weak or ())]
        return asked.tag == "match" and any(
            record.request_uid == asked.uid or record.pid == own.process.pid for record in weak
        )

    # ---- the API ----

    def _uid(self) -> str:
        return f"{len(self.asked):08x}-0000-4000-8000-000000000000"

    def _other(self, other: int) -> str | None:
        """The UID of a request, a made-up one, or none."""
        return [None, MADE_UP, *(each.uid for each in self.asked)][other % (len(self.asked) + 2)]

    def _asks(self, asked: Asked, *, shows: bool) -> None:
        self.asked.append(asked)
        if shows:
            self._shows(asked)

    def _shows(self, asked: Asked) -> None:
        asked.shown_at = self.now
        self._knows(self.rig, asked)
        self._advance()

    def _knows(self, rig: Rig, asked: Asked) -> None:
        resource = "pods/ephemeralcontainers" if asked.is_debug else "pods/exec"
        spec = SessionSpec(
            User(asked.user),
            "debug" if asked.is_debug else "exec",
            resource,
            Target("shop", "web", asked.container),
            datetime.fromtimestamp(self._ms(asked.at) / 1000, UTC).isoformat(),
            [*asked.words],
            tag="env" if asked.tag == "env" else "match",
        )
        made = AuditSession(ObjectMeta(name=asked.uid), spec)
        rig.requests[asked.uid] = made
        rig.asked.changed(None, made)

    def _makes(self, made: Made) -> None:
        before = self._pod()
        self.made.append(made)
        self.rig.containers.pod_changed(before, self._pod())
        self._advance()

    def _pod(self) -> Pod:
        made = [
            Container(each.name, "tools", [EnvVar(TAG_VARIABLE, each.variable)] if each.variable else [], [*each.words])
            for each in self.made
        ]
        statuses = [self._status(home) for home in self.homes if home.name == "app"][-1:]
        others = [self._status(home) for home in self.homes if home.name != "app"]
        status = PodStatus(statuses, ephemeral_container_statuses=others)
        meta = ObjectMeta(name="web", namespace="shop", uid="pod-1")
        return Pod(meta, PodSpec([Container("app", "shop:1")], ephemeral_containers=made), status)

    def _status(self, home: Home) -> ContainerStatus:
        since = datetime.fromtimestamp(self._ms(home.since) // 1000, UTC).isoformat()
        return ContainerStatus(home.name, f"containerd://{home.id}", ContainerState(Started(since)))

    # ---- the node ----

    def _enricher(self) -> Rig:
        rig = Rig({"exectrail.io/record": "true"}, replace(self._pod(), spec=PodSpec([Container("app", "shop:1")])))
        rig.containers.now_ms = self._ms
        rig.started_ms = rig.wall_ms
        rig.correlator._cgroups = self  # it says where each cgroup is
        self.clock = rig.clock
        for made in self.made:  # as if it had watched: what it cannot know of their age makes names weak
            self.now, at = made.at, self.now
            rig.containers.pod_changed(self._pod(), self._pod())
            self.now = at
        for asked in self.asked:
            if asked.shown_at is not None:
                self._knows(rig, asked)
        return rig

    def of(self, event: ProcessEvent) -> CgroupRef:
        """Where a process is."""
        home = self.homes[event.cgroup]
        return CgroupRef(home.id, "pod-1", name=home.name)

    again = of

    def _ms(self, at: float | None = None) -> int:
        clock = getattr(self, "clock", None)
        base = clock.wall_ms(0) if clock else 0
        return base + 10_000_000 + round((self.now if at is None else at) * 1000)

    def _ns(self) -> int:
        return self.clock.boot_ns(self._ms())

    def _process(self) -> Process:
        self.pids += 1
        return Process(self.pids, self._ns() // 10_000_000)

    def _starts(self, name: str, words: Words, asked: Asked | None = None) -> Ran:
        """A container of this name starts."""
        before, number = self._pod(), len(self.homes)
        init = self._process()
        self.homes.append(Home(name, f"{number:064x}", init, self.now, number))
        self.rig.containers.pod_changed(before, self._pod())
        ran = Ran(init, words, number, self.now, asked, True)
        self.ran.append(ran)
        self._happens(self._exec(ran, RUNTIME))
        return ran

    def _enters(self, argv: Words, asked: Asked | None) -> Ran:
        """The runtime sends a process into the container `app`."""
        (home,) = [home for home in self.homes if home.name == "app"][-1:]
        ran = Ran(self._process(), argv, home.cgroup, self.now, asked, True)
        ran.like = self._like(argv) if asked is None else None
        self.ran.append(ran)
        self._happens(self._exec(ran, RUNTIME))
        return ran

    def _like(self, argv: Words) -> Asked | None:
        """The request whose own process would look the same."""
        may_be = (each for each in self.asked if not each.is_debug and each.tag == "env" and self.now - each.at <= 30)
        return next((each for each in may_be if argv == tagged(each.uid, each.words)), None)

    def _like_made(self, made: Made) -> Asked | None:
        may_be = (each for each in self.asked if each.is_debug and each.tag == "env" and made.at - each.at <= 60)
        return next(
            (e for e in may_be if (e.uid, e.container, e.words) == (made.variable, made.name, made.words)), None
        )

    def _to_come(self) -> list[Asked]:
        own = [each for each in self.asked if not each.is_debug and each.own is None]
        return [each for each in own if self.now - each.at < 25]

    def _exec(self, ran: Ran, parent: Process) -> ExecEvent:
        joined = b"".join(word.encode() + b"\0" for word in ran.argv)
        return ExecEvent(self._ns(), ran.cgroup, "", ran.process, parent, 0, 0, False, b"/bin/x", joined, False)

    def _ends(self, ran: Ran) -> None:
        ran.alive = False
        self._happens(ExitEvent(self._ns(), ran.cgroup, ran.process, 0, None))

    def _alive(self, name: str | None = None) -> list[Ran]:
        return [ran for ran in self.ran if ran.alive and name in (None, self.homes[ran.cgroup].name)]

    def _one_alive(self, other: int) -> Ran:
        alive = self._alive()
        return alive[other % len(alive)]

    def _info(self, ran: Ran) -> ProcessInfo:
        home = self.homes[ran.cgroup]
        argv = b"".join(word.encode() + b"\0" for word in ran.argv)
        cgroup = f"0::/kubepods/podx/{home.id}\n"
        ns_pid = 1 if ran.process == home.init else ran.process.pid
        return ProcessInfo(ran.process, 1, 0, 0, ns_pid, False, argv, False, cgroup, ran.process.pid)

    def _happens(self, event: ProcessEvent) -> None:
        self.rig.correlator.take(event, self.now)
        self._advance()

    def _advance(self) -> None:
        if self.resumption and self.resumption.settle(self.now):
            self.resumption = None
        if self.resumption is None or self.resumption.taken_up:
            self.rig.advance(self.now)
        self.rig.emitter.tick(self.now, self._ms())
        self.rig.check_equation()
        self._check()


EXAMPLES = os.environ.get("WHOSE_NAME_EXAMPLES")

TestWhoseName = WhoseName.TestCase
TestWhoseName.settings = settings(
    settings.default,
    max_examples=int(EXAMPLES or 100),
    stateful_step_count=30,
    derandomize=EXAMPLES is None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
