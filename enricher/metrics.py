"""The enricher's metrics, made of the agent's latest snapshot at each scrape: counting costs the pipeline nothing."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from enricher.status.node_status import NodeStatus
from enricher.status.reporter import Reporter
from enricher.status.snapshot import Snapshot
from enricher.tally import LOST
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

    def __init__(self, status: NodeStatus, reporter: Reporter, mirrors: Sequence[Mirror[Any]]) -> None:
        self._status, self._reporter, self._mirrors = status, reporter, mirrors

    def collect(self) -> Iterator[Metric]:
        """All of it, as of the agent's last look."""
        seen = self._status.snapshot
        trail = seen.trail
        sensor = InfoMetricFamily("exectrail_enricher_sensor", "The sensor in use")
        sensor.add_metric([], {"sensor": trail.sensor})
        yield sensor
        source = InfoMetricFamily("exectrail_enricher_audit_source", "The audit source in use, and why")
        source.add_metric([], {"audit_source": trail.audit_source, "reason": trail.audit_source_reason})
        yield source
        for stage, text in _STAGES.items():
            yield _counter(f"exectrail_enricher_{stage}", f"{text}, by kind", "kind", getattr(seen.tally, stage))
        yield _lost(seen)
        forged = {name: socket.forged for name, socket in seen.sockets.items()}
        text = "Messages that were not sent by the kernel, and refused"
        yield _counter("exectrail_enricher_forged", text, "by", forged)
        overruns = {name: socket.overruns for name, socket in seen.sockets.items()}
        yield _counter("exectrail_enricher_overruns", "How often a socket's buffer was full", "by", overruns)
        per_cpu = {str(cpu): count for cpu, count in enumerate(seen.ring_full)}
        yield _counter("exectrail_enricher_ring_full", "Events that found the ring full, by CPU", "cpu", per_cpu)
        if seen.filter_hits is not None:
            text = "Records that a filter rule decided"
            yield _counter("exectrail_enricher_filter_hits", text, "rule", seen.filter_hits)
        refused, text = {"": seen.filter_reloads_refused}, "Changed filters that could not be used: the old ones stay"
        yield _counter("exectrail_enricher_filter_reloads_refused", text, None, refused)
        for name, text, count in (
            (
                "processes_unmarked",
                "Processes that can no longer be followed if they leave their cgroup",
                seen.unmarked,
            ),
            ("write_failures", "Writes that the trail's storage refused", seen.write_failures),
            ("checkpoint_failures", "Writes of the checkpoint that the disk refused", seen.checkpoint_failures),
            ("statuses_dropped", "Statuses of AuditSessions that the API never got", self._reporter.dropped),
            ("processes_evicted", "Live processes dropped from memory: there were too many", seen.processes_evicted),
        ):
            yield _counter(f"exectrail_enricher_{name}", text, None, {"": count})
        for name, text, value in (
            ("held", "Events that wait for their SECCOMP event, container or request", seen.held),
            ("unwritten_bytes", "Lines that wait for the trail's storage", seen.unwritten_bytes),
            ("statuses_waiting", "Statuses of AuditSessions that wait for the API", self._reporter.waiting),
            ("processes", "Live processes that are followed", seen.processes),
            ("uncovered_pods", "Pods that are to be recorded and cannot be", trail.uncovered_pods),
            ("lag_seconds", "How long the oldest held event has waited", trail.lag_ms / 1e3),
            ("sequence", "Number of the last record that this node's trail has", trail.seq),
        ):
            yield GaugeMetricFamily(f"exectrail_enricher_{name}", text, value=value)
        text = "Time since the API server last sent anything about a resource; about a minute where nothing changes"
        ages = GaugeMetricFamily("exectrail_enricher_mirror_age_seconds", text, labels=["resource"])
        for mirror in self._mirrors:
            ages.add_metric([mirror.resource], mirror.age())
        yield ages


def _lost(seen: Snapshot) -> CounterMetricFamily:
    """By stage, because only what was read counts in the equation of `enricher.tally`."""
    text = "What is missing in the trail, by cause; stage `source` was never read"
    family = CounterMetricFamily("exectrail_enricher_lost", text, labels=["stage", "cause"])
    for cause, count in seen.lost_before_reading.items():
        family.add_metric(["source", cause], count)
    # Each from the start: who asks for an increase does not see the loss with which a series begins.
    for cause, count in (dict.fromkeys(LOST, 0) | seen.tally.lost).items():
        family.add_metric(["pipeline", cause], count)
    return family


def _counter(name: str, text: str, label: str | None, counts: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label] if label else [])
    for value, count in counts.items():
        family.add_metric([value] if label else [], count)
    return family
