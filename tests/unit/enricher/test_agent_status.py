"""What an agent says of its node: in NodeTrail, and to Prometheus."""

from types import SimpleNamespace

import pytest
from prometheus_client.samples import Sample

from enricher.agent import Agent
from enricher.audit.choice import Choice
from enricher.metrics import AgentCollector
from enricher.netlink import SocketCounters
from enricher.status.losses import Losses
from enricher.status.node_status import NodeStatus
from exectrail.contracts.nodetrail import MOST_UNCOVERED, UncoveredPod
from tests.unit.enricher.rig import Rig


@pytest.fixture
def found() -> list[UncoveredPod]:
    """What cannot be recorded."""
    return []


@pytest.fixture
def agent(rig: Rig, found: list[UncoveredPod]) -> Agent:
    sensor = SimpleNamespace(name="bpf", weak=(), lost=lambda: {"ring-full": 5}, lost_per_cpu=lambda: [2, 3])
    sensor.unmarked, sensor.socket, sensor.behind = lambda: 7, SocketCounters, False
    tracker = SimpleNamespace(sensor=sensor, advance=lambda _now: None, maintain=lambda _now: None)
    writer = SimpleNamespace(seq=41, failures=0, full=True, removed=list, waiting_bytes=4711, commit=lambda: None)
    chosen = Choice(None, "disabled by --audit-source=none")
    losses = Losses(sensor, None, None, rig.emitter, writer)  # type: ignore[arg-type]
    parts = (sensor, chosen, rig.correlator, writer, losses, rig.clock)
    status = NodeStatus(*parts, uncovered=lambda: list(found))  # type: ignore[arg-type]
    return Agent(tracker, None, rig.correlator, rig.emitter, writer, losses, status, rig.clock)  # type: ignore[arg-type]


def pods(count: int) -> list[UncoveredPod]:
    return [UncoveredPod(f"shop/web-{number}", "sandboxed", "runsc") for number in range(count)]


def test_it_says_since_when_it_runs_and_that_does_not_move(agent: Agent) -> None:
    first, later = agent.status.now(), agent.status.now()

    assert first.since == later.since
    assert first.since <= first.heartbeat <= later.heartbeat


def test_each_round_takes_the_wall_clock_as_it_is_now(agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enricher.clock.boot_to_wall_ns", lambda: 4_711_000_000)

    agent._round(0.0)

    assert agent._clock.wall_ms(0) == 4_711


def test_it_names_the_pods_that_it_cannot_record(agent: Agent, found: list[UncoveredPod]) -> None:
    found += pods(2)
    agent._each_second(0.0)

    status = agent.status.now()

    assert ([each.pod for each in status.uncovered], status.uncovered_pods) == (["shop/web-0", "shop/web-1"], 2)


def test_of_very_many_it_names_some_and_counts_all(agent: Agent, found: list[UncoveredPod]) -> None:
    found += pods(MOST_UNCOVERED + 1)
    agent._each_second(0.0)

    status = agent.status.now()

    assert (len(status.uncovered), status.uncovered_pods) == (MOST_UNCOVERED, MOST_UNCOVERED + 1)


def collected(agent: Agent) -> list[Sample]:
    reporter = SimpleNamespace(waiting=12, dropped=3)
    collector = AgentCollector(agent, reporter, [])  # type: ignore[arg-type] # as much of it as is asked
    return [sample for family in collector.collect() for sample in family.samples]


def test_what_was_lost_is_reported_as_a_sum_and_by_cause(agent: Agent) -> None:
    agent.correlator.tally.lost["undecided"] = 2

    status = agent.status.now()

    assert (status.lost, status.lost_by_cause) == (7, {"ring-full": 5, "undecided": 2})


def test_it_counts_what_was_refused_at_its_sockets_and_what_waits(agent: Agent) -> None:
    agent.source = SimpleNamespace(name="netlink", socket=lambda: SocketCounters(forged=4, overruns=6))

    found = {(sample.name, *sample.labels.values()): sample.value for sample in collected(agent)}

    assert found["exectrail_enricher_forged_total", "netlink"] == 4
    assert found["exectrail_enricher_overruns_total", "netlink"] == 6
    assert found["exectrail_enricher_unwritten_bytes",] == 4711
    assert found["exectrail_enricher_statuses_waiting",] == 12
    assert found["exectrail_enricher_statuses_dropped_total",] == 3


def test_it_counts_what_the_ring_had_no_room_for_by_cpu_and_processes_without_a_mark(agent: Agent) -> None:
    samples = collected(agent)

    full = {sample.labels["cpu"]: sample.value for sample in samples if sample.name.endswith("ring_full_total")}
    unmarked = [sample.value for sample in samples if sample.name.endswith("processes_unmarked_total")]
    assert (full, unmarked) == ({"0": 2, "1": 3}, [7])
