"""Everything that was read or made is somewhere, at every moment and whatever happens in whatever order."""

from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from enricher.containers.pods import Container, PodSpec, SeccompProfile, SecurityContext
from enricher.events import Process, SeccompEvent
from tests.unit.enricher.rig import OTHER_UID, SECOND, UID, Rig, end, execute, failed, fork, pod, request

Step = Callable[[Rig, float], object]

PROCESSES = [Process(100 + number, 1000 + number) for number in range(5)]
COMMANDS = [
    ("sleep", "600"),
    ("env", f"SPO_EXEC_REQUEST_UID={UID}", "sh"),
    ("env", f"SPO_EXEC_REQUEST_UID={OTHER_UID}", "sh"),
    ("cat", "/ready"),
    ("runc", "init"),
]
SPEC = PodSpec(
    containers=[Container("app", "shop:1")],
    security_context=SecurityContext(SeccompProfile("Localhost", "exectrail/process-audit.json")),
)


def record(rig: Rig, pid: int, syscall: int) -> SeccompEvent:
    return SeccompEvent(
        rig.wall_ms(10 * SECOND), 1, pid, 0, 0, None, None, b"sh", b"/bin/sh", 0, 0xC000003E, syscall, 0x7FFC0000
    )


PROCESS = st.sampled_from(PROCESSES)
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(lambda parent, child: lambda rig, now: rig.happen(fork(parent, child), now=now), PROCESS, PROCESS),
    st.builds(
        lambda process, argv: lambda rig, now: rig.happen(execute(process, *argv, time=10 * SECOND), now=now),
        PROCESS,
        st.sampled_from(COMMANDS),
    ),
    st.builds(lambda process: lambda rig, now: rig.happen(failed(process, "/bin/nothing"), now=now), PROCESS),
    st.builds(lambda process: lambda rig, now: rig.happen(end(process), now=now), PROCESS),
    st.builds(
        lambda process, syscall: lambda rig, now: rig.correlator.take_seccomp(record(rig, process.pid, syscall), now),
        PROCESS,
        st.sampled_from([2, 56, 59]),
    ),
    st.builds(
        lambda process: lambda rig, _: rig.correlator.take_earlier_seccomp(record(rig, process.pid, 59)), PROCESS
    ),
    st.just(lambda rig, _: rig.requests.setdefault(UID, request())),
    st.just(lambda rig, now: rig.emitter.tick(now, 0)),
    st.just(lambda rig, _: rig.emitter.losses_since({"ring-full": 1}, 0)),
    st.just(lambda rig, _: rig.correlator.forget_container(rig.cgroups.place.container_id)),
    st.just(lambda rig, _: setattr(rig, "room", not rig.room)),
    st.just(lambda rig, _: rig.containers.pod_changed(None, pod(spec=SPEC))),
)


@settings(max_examples=300)
@given(st.lists(st.tuples(STEPS, st.floats(0, 0.4)), max_size=40), st.booleans())
def test_read_and_made_is_what_became_of_it(steps: list[tuple[Step, float]], profiled: bool) -> None:
    rig = Rig({"exectrail.io/record": "true"}, pod(spec=SPEC) if profiled else pod())
    now = 0.0
    for step, pause in steps:
        step(rig, now)
        assert rig.correlator.tally.difference(rig.correlator.held) == 0
        now += pause
        rig.advance(now)
        assert rig.correlator.tally.difference(rig.correlator.held) == 0

    rig.flush()

    assert rig.correlator.held == 0
    assert rig.correlator.tally.difference(0) == 0
    assert rig.correlator.tally.written.total() >= len(rig.records)
