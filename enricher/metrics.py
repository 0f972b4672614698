"""The enricher's metrics, read from its counters at each scrape: counting costs the pipeline nothing."""

from collections.abc import Iterator, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from enricher.agent import Agent
from enricher.status.reporter import Reporter
from exectrail.k8s.mirror import Mirror

_STAGES = {
    "read": "Events read from the kernel",
    "made": "Records that the enricher makes itself",
    "written": "Lines in the trail",
    "merged": "SECCOMP events that became part of a process event's record",
    "filtered": "Events that are not written to the trail",
    "suppressed": "Repetitions that were only counted",
}


class AgentCollector(Collector):
    """Shows an agent's tally, its losses and how far it is behind; and how far its reporter and its mirrors are."""

    def __init__(self, agent: Agent, reporter: Reporter, mirrors: Sequence[Mirror[Any]]) -> None:
        self._agent, self._reporter, self._mirrors = agent, reporter, mirrors

    def collect(self) -> Iterator[Metric]:
        """All of it, as of now."""
        status, correlator = self._agent.status.now(), self._agent.correlator
        sensor = InfoMetricFamily("exectrail_enricher_sensor", "The sensor in use")
        sensor.add_metric([], {"sensor": status.sensor})
        yield sensor
        source = InfoMetricFamily("exectrail_enricher_audit_source", "The audit source in use, and why")
        source.add_metric([], {"audit_source": status.audit_source, "reason": status.audit_source_reason})
        yield source
        for stage, text in _STAGES.items():
            counts = getattr(correlator.tally, stage)
            yield _counter(f"exectrail_enricher_{stage}", f"{text}, by kind", "kind", dict(counts))
        yield self._lost()
        yield from self._sockets()
        per_cpu = {str(cpu): count for cpu, count in enumerate(self._agent.sensor.lost_per_cpu())}
        yield _counter("exectrail_enricher_ring_full", "Events that found the ring full, by CPU", "cpu", per_cpu)
        unmarked = {"": self._agent.sensor.unmarked()}
        text = "Processes that can no longer be followed if they leave their cgroup"
        yield _counter("exectrail_enricher_processes_unmarked", text, None, unmarked)
        if filters := self._agent.filters:
            hits = {"none" if rule is None else str(rule): count for rule, count in filters.filters.hits.items()}
            yield _counter("exectrail_enricher_filter_hits", "Records that a filter rule decided", "rule", hits)
        failures = {"": self._agent.writer.failures}
        yield _counter("exectrail_enricher_write_failures", "Writes that the trail's storage refused", None, failures)
        yield _gauge(
            "exectrail_enricher_held", "Events that wait for their SECCOMP event, container or request", correlator.held
        )
        waiting = self._agent.writer.waiting_bytes
        yield _gauge("exectrail_enricher_unwritten_bytes", "Lines that wait for the trail's storage", waiting)
        waiting = self._reporter.waiting
        yield _gauge("exectrail_enricher_statuses_waiting", "Statuses of AuditSessions that wait for the API", waiting)
        dropped, text = {"": self._reporter.dropped}, "Statuses of AuditSessions that the API never got"
        yield _counter("exectrail_enricher_statuses_dropped", text, None, dropped)
        yield _gauge("exectrail_enricher_processes", "Live processes that are followed", len(correlator.tree))
        evicted = {"": correlator.tree.evicted}
        yield _counter(
            "exectrail_enricher_processes_evicted",
            "Live processes dropped from memory because there were too many",
            None,
            evicted,
        )
        uncovered = status.uncovered_pods
        yield _gauge("exectrail_enricher_uncovered_pods", "Pods that are to be recorded and cannot be", uncovered)
        yield _gauge("exectrail_enricher_lag_seconds", "How long the oldest held event has waited", status.lag_ms / 1e3)
        text = "Time since the API server last sent anything about a resource; about a minute where nothing changes"
        ages = GaugeMetricFamily("exectrail_enricher_mirror_age_seconds", text, labels=["resource"])
        for mirror in self._mirrors:
            ages.add_metric([mirror.resource], mirror.age())
        yield ages
        yield _gauge("exectrail_enricher_sequence", "Number of the last record of this node's trail", status.seq)

    def _lost(self) -> CounterMetricFamily:
        """By stage, because only what was read counts in the equation of `enricher.tally`."""
        text = "What is missing in the trail, by cause; stage `source` was never read"
        family = CounterMetricFamily("exectrail_enricher_lost", text, labels=["stage", "cause"])
        for cause, count in self._agent.losses.before_reading().items():
            family.add_metric(["source", cause], count)
        for cause, count in dict(self._agent.correlator.tally.lost).items():  # the agent goes on meanwhile
            family.add_metric(["pipeline", cause], count)
        return family

    def _sockets(self) -> Iterator[CounterMetricFamily]:
        sockets = {each.name: each.socket() for each in (self._agent.source, self._agent.sensor) if each}
        forged = {name: socket.forged for name, socket in sockets.items()}
        text = "Messages that were not sent by the kernel, and refused"
        yield _counter("exectrail_enricher_forged", text, "by", forged)
        overruns = {name: socket.overruns for name, socket in sockets.items()}
        yield _counter("exectrail_enricher_overruns", "How often a socket's buffer was full", "by", overruns)


def _counter(name: str, text: str, label: str | None, counts: dict[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label] if label else [])
    for value, count in counts.items():
        family.add_metric([value] if label else [], count)
    return family


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=value)
