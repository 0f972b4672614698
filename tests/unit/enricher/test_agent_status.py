"""What an agent says of its node: in NodeTrail, and to Prometheus."""

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from prometheus_client.samples import Sample

from enricher.agent import Agent
from enricher.audit.choice import Choice
from enricher.core import Core
from enricher.metrics import AgentCollector
from enricher.netlink import SocketCounters
from enricher.status.losses import Losses
from enricher.status.node_status import NodeStatus
from exectrail.contracts.nodetrail import MOST_UNCOVERED, NodeTrailStatus, UncoveredPod
from tests.unit.enricher.rig import Rig


@pytest.fixture
def found() -> list[UncoveredPod]:
    """What cannot be recorded."""
    return []


class OwnedSensor:
    """A sensor that belongs to the thread that made it, and to no thread once it is closed."""

    name, weak, behind = "bpf", (), False

    def __init__(self) -> None:
        self._owner: int | None = threading.get_ident()

    def close(self) -> None:
        self._owner = None

    def _asked(self) -> None:
        assert threading.get_ident() == self._owner

    def lost(self) -> dict[str, int]:
        self._asked()
        return {"ring-full": 5}

    def lost_per_cpu(self) -> list[int]:
        self._asked()
        return [2, 3]

    def unmarked(self) -> int:
        self._asked()
        return 7

    def socket(self) -> SocketCounters:
        self._asked()
        return SocketCounters()


class NoInputs:
    def feed(self, now: float) -> None:
        pass

    def maintain(self, now: float) -> None:
        pass


@pytest.fixture
def sensor() -> OwnedSensor:
    return OwnedSensor()


@pytest.fixture
def agent(rig: Rig, found: list[UncoveredPod], sensor: OwnedSensor) -> Agent:
    source = SimpleNamespace(name="netlink", socket=lambda: SocketCounters(forged=4, overruns=6))
    source.lost, source.behind, source.read, source.gaps, source.keep = dict, False, lambda _: [], list, lambda: None
    writer = SimpleNamespace(seq=50, written=41, failures=0, full=True, removed=list)
    writer.waiting_bytes, writer.commit = 4711, lambda: None
    chosen = Choice(source, "nothing else listens")
    losses = Losses(sensor, None, None, rig.correlator.tally)  # type: ignore[arg-type]
    parts = (sensor, chosen, rig.correlator, writer, losses, rig.clock)
    filters = SimpleNamespace(filters=SimpleNamespace(hits={None: 3, 0: 8}), failures=2, refresh=lambda: False)
    beside = {"filters": filters, "checkpoint_failures": lambda: 4}
    status = NodeStatus(*parts, **beside, uncovered=lambda: list(found))  # type: ignore[arg-type]
    core = Core(NoInputs(), rig.correlator, rig.emitter, rig.clock)
    return Agent(core, sensor, chosen.source, writer, losses, status, rig.clock)  # type: ignore[arg-type]


def pods(count: int) -> list[UncoveredPod]:
    return [UncoveredPod(f"shop/web-{number}", "sandboxed", "runsc") for number in range(count)]


def test_it_says_since_when_it_runs_and_that_does_not_move(agent: Agent) -> None:
    first = agent.status.snapshot.trail
    agent.status.publish(1.0)
    later = agent.status.snapshot.trail

    assert first.since == later.since
    assert first.since <= first.heartbeat <= later.heartbeat


def test_it_reports_the_last_record_that_is_written_because_the_next_agent_goes_on_from_there(agent: Agent) -> None:
    agent.status.publish(1.0)

    assert agent.status.snapshot.trail.seq == agent.writer.written


def test_each_round_takes_the_wall_clock_as_it_is_now(rig: Rig, agent: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("enricher.clock.boot_to_wall_ns", lambda: 4_711_000_000)

    agent.round(0.0)

    assert rig.clock.wall_ms(0) == 4_711


def test_it_names_the_pods_that_it_cannot_record(agent: Agent, found: list[UncoveredPod]) -> None:
    found += pods(2)
    agent.status.publish(5.0)

    status = agent.status.snapshot.trail

    assert ([each.pod for each in status.uncovered], status.uncovered_pods) == (["shop/web-0", "shop/web-1"], 2)


def test_of_very_many_it_names_some_and_counts_all(agent: Agent, found: list[UncoveredPod]) -> None:
    found += pods(MOST_UNCOVERED + 1)
    agent.status.publish(5.0)

    status = agent.status.snapshot.trail

    assert (len(status.uncovered), status.uncovered_pods) == (MOST_UNCOVERED, MOST_UNCOVERED + 1)


def collected(agent: Agent) -> list[Sample]:
    reporter = SimpleNamespace(waiting=12, dropped=3)
    collector = AgentCollector(agent.status, reporter, [])  # type: ignore[arg-type] # as much of it as is asked
    return [sample for family in collector.collect() for sample in family.samples]


def test_what_was_lost_is_reported_as_a_sum_and_by_cause(rig: Rig, agent: Agent) -> None:
    rig.correlator.tally.lost["undecided"] = 2
    agent.status.publish(1.0)

    status = agent.status.snapshot.trail

    assert (status.lost, status.lost_by_cause) == (7, {"ring-full": 5, "undecided": 2})


def test_it_counts_what_was_refused_at_its_sockets_and_what_waits(agent: Agent) -> None:
    found = {(sample.name, *sample.labels.values()): sample.value for sample in collected(agent)}

    assert found["exectrail_enricher_forged_total", "netlink"] == 4
    assert found["exectrail_enricher_overruns_total", "netlink"] == 6
    assert found["exectrail_enricher_unwritten_bytes",] == 4711
    assert found["exectrail_enricher_statuses_waiting",] == 12
    assert found["exectrail_enricher_statuses_dropped_total",] == 3


def test_it_counts_filters_that_were_refused_and_checkpoints_that_could_not_be_written(agent: Agent) -> None:
    found = {(sample.name, *sample.labels.values()): sample.value for sample in collected(agent)}

    assert found["exectrail_enricher_filter_reloads_refused_total",] == 2
    assert found["exectrail_enricher_checkpoint_failures_total",] == 4
    assert found["exectrail_enricher_filter_hits_total", "none"] == 3


def test_it_counts_what_the_ring_had_no_room_for_by_cpu_and_processes_without_a_mark(agent: Agent) -> None:
    samples = collected(agent)

    full = {sample.labels["cpu"]: sample.value for sample in samples if sample.name.endswith("ring_full_total")}
    unmarked = [sample.value for sample in samples if sample.name.endswith("processes_unmarked_total")]
    assert (full, unmarked) == ({"0": 2, "1": 3}, [7])


def test_a_scrape_asks_no_part_of_the_agent_and_finds_the_last_figures_after_its_end(
    agent: Agent, sensor: OwnedSensor
) -> None:
    sensor.close()

    with ThreadPoolExecutor(1) as scraper:
        samples = scraper.submit(collected, agent).result()

    lost = {each.labels["cause"]: each.value for each in samples if each.name == "exectrail_enricher_lost_total"}
    assert {cause: count for cause, count in lost.items() if count} == {"ring-full": 5}


def test_what_a_scrape_reads_does_not_change_while_it_reads(rig: Rig, agent: Agent) -> None:
    scraped = agent.status.snapshot
    rig.correlator.tally.read["process"] += 1

    agent.status.publish(1.0)

    assert (scraped.tally.read["process"], agent.status.snapshot.tally.read["process"]) == (1, 2)


class Reported:
    """Stands in for the reporter of a cluster of many nodes."""

    def __init__(self) -> None:
        self.nodes, self.trails = 5000, list[NodeTrailStatus]()

    def node(self, trail: NodeTrailStatus) -> None:
        self.trails.append(trail)


def test_in_a_large_cluster_it_reports_more_rarely_and_says_so(agent: Agent) -> None:
    reporter = Reported()
    agent.status._reporter = reporter  # type: ignore[assignment]

    for now in range(1000, 1091):
        agent.status.publish(now)
    assert [each.heartbeat_seconds for each in reporter.trails] == [100]

    for now in range(1091, 1112):
        agent.status.publish(now)
    assert len(reporter.trails) == 2
