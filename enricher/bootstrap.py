"""Puts an enricher together from what its flags say: in phases, each of which needs what the one before it made."""

import argparse
import logging
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from msgspec import Struct

from enricher import config
from enricher.agent import Agent
from enricher.clock import Clock
from enricher.containers import uncovered
from enricher.containers.containers import Containers
from enricher.containers.env_binary import EnvReport, look_into
from enricher.containers.unfound import Unfound
from enricher.core import Core
from enricher.correlate import command_key
from enricher.correlate.attaches import Attached
from enricher.correlate.correlator import Correlator
from enricher.correlate.request_index import RequestIndex
from enricher.correlate.sessions import Sessions
from enricher.correlate.tracker import ContainerTracker
from enricher.emit.emitter import Emitter
from enricher.emit.quota import Quota
from enricher.emit.record_builder import RecordBuilder
from enricher.node_inputs import NodeInputs
from enricher.procfs import Proc
from enricher.state.checkpoint_writer import CheckpointWriter
from enricher.state.restart import Memory
from enricher.state.resumption import Requests
from enricher.status.losses import Losses
from enricher.status.node_status import NodeStatus
from enricher.status.reporter import Reporter
from enricher.tally import Tally
from enricher.trail import storage
from enricher.trail.chain import State
from enricher.trail.sink import Sink
from enricher.trail.writer import Writer
from exectrail.contracts.session import AuditSession
from exectrail.k8s.client import Client
from exectrail.k8s.mirror import Mirror

log = logging.getLogger("enricher")


class Enricher(Struct):
    """An agent, and the threads beside it that speak with the API."""

    agent: Agent
    reporter: Reporter
    ready: Callable[[], bool]
    """Whether the API has said what is to be recorded."""
    mirrors: list[Mirror[Any]]
    start: Callable[[], None]
    """Have the threads work."""


class _Api:
    """What is known of the API: copies that are not kept up yet."""

    def __init__(self, args: argparse.Namespace, clock: Clock) -> None:
        self.client = client = Client.in_cluster()
        self.containers, self.asked = Containers(args.node_debug_labels), RequestIndex()
        self.attached = Attached(clock.stamp(clock.now_ms()))
        self.requests = config.Requests(client, args.namespace, self._request_changed, args.node)
        pod_changed, namespace_changed = self.containers.pod_changed, self.containers.namespace_changed
        debugs_node = self.containers.debugs_node
        watched = config.watch_node(client, args.node, pod_changed, namespace_changed, debugs_node)
        self._needed = [*watched, self.requests]
        # The agent does not wait for this one: without it, pods of classes with telling names are reported as well.
        self.classes = Mirror(client, uncovered.PATH, uncovered.RuntimeClass)
        self.mirrors: list[Mirror[Any]] = [*self._needed, self.classes]
        self.reporter = Reporter(client, args.node, args.namespace)

    def ready(self) -> bool:
        """Whether it is known what is recorded."""
        return all(mirror.synced.is_set() for mirror in self._needed)

    def _request_changed(self, old: AuditSession | None, new: AuditSession | None) -> None:
        self.asked.changed(old, new)
        self.attached.changed(old, new)


class _Storage:
    """What the enricher before left. Its locks keep that one out: two at work would report the same."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.checkpoints = CheckpointWriter(args.state_dir, Proc().boot_id())
        self.sink: Sink = storage.open_sink(args)
        self.chain = State(args.state_dir / "chain.json")
        self.source = config.source_state(args)


def assemble(args: argparse.Namespace, stack: ExitStack) -> Enricher:
    """Open everything, take up what the enricher before left, and start the writer; `stack` closes it.

    Raises:
        OSError: A file or folder cannot be used.
        FilterError: The filters cannot be used.
        SensorUnavailable, SourceUnavailable: What the flags ask for cannot be had.

    """
    clock = Clock()
    api, kept = _Api(args, clock), _Storage(args)
    # At once after the locks: what happens before the sensor is attached is in the gap that the restart leaves.
    chosen = config.choose_source(args, kept.source, api.ready)
    sensor, cgroups = config.open_sensor(args, clock, chosen.source)
    stack.callback(sensor.close)
    writer = Writer(kept.sink, kept.chain, args.audit_log_interval_seconds)
    writer.start()
    filters, level = config.follow_settings(args)
    tally, sessions = Tally(), Sessions(api.requests.get, api.asked, clock.wall_ms)
    losses = Losses(sensor, chosen.source, config.open_kernel_lost(asked=args.ask_kernel_lost), tally)
    emitter = Emitter(
        api.containers,
        sessions,
        RecordBuilder(args.node, Proc().boot_id(), clock, sensor.name),
        writer.write,
        Quota(args.quota, args.quota * 10),
        tally,
        losses.by_cause,
        api.reporter.started,
        api.reporter.ended,
        lambda uids, time: api.reporter.ambiguous(uids, clock.stamp(clock.wall_ms(time))),
        lambda: not writer.full,
        filters,
    )
    correlator = Correlator(
        cgroups,
        api.containers,
        sessions,
        clock,
        tally,
        args.hold_ms / 1000,
        reports_failed_execs=sensor.reports_failed_execs,
        has_audit_source=chosen.source is not None,
        is_ready=api.ready,
    )
    tracker = ContainerTracker(sensor, cgroups, api.containers, correlator)
    memory = Memory(kept.checkpoints, sessions, emitter, correlator, writer, clock)
    running = Requests(api.ready, lambda: api.requests.running_on(args.node), api.reporter.ended)
    memory.take_up(tracker, kept.sink.last_lines, running, chain_unreadable=kept.chain.unreadable)
    unfound = Unfound(cgroups)
    env = EnvReport(look_into) if args.look_for_env else None
    status = NodeStatus(
        sensor,
        chosen,
        correlator,
        writer,
        losses,
        clock,
        api.reporter,
        filters,
        lambda: kept.checkpoints.failures,
        env,
        lambda: uncovered.uncovered(api.containers.recorded_pods(), api.classes.objects, unfound),
        args.heartbeat,
    )
    inputs = NodeInputs(tracker, correlator, clock, chosen.source.read if chosen.source else lambda _now: [])
    core = Core(inputs, correlator, emitter, clock, memory.settle)
    agent = Agent(core, sensor, chosen.source, writer, losses, status, clock, memory, filters, api.attached, level)

    def start() -> None:
        for mirror in api.mirrors:
            mirror.start()
        api.reporter.start()
        if args.command_key_secret:
            command_key.follow(api.client, args.namespace, args.command_key_secret, api.asked)
        if env:
            env.start()
        log.info("recording on %s with %s, source %s: %s", args.node, sensor.name, chosen.name, chosen.reason)

    return Enricher(agent, api.reporter, api.ready, api.mirrors, start)
