"""Puts an enricher together from what its flags say."""

import argparse
import logging
import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from enricher import config
from enricher.agent import Agent
from enricher.clock import Clock
from enricher.containers import uncovered
from enricher.containers.containers import Containers
from enricher.containers.env_binary import EnvReport, look_into
from enricher.correlate import command_key
from enricher.correlate.attaches import Attached
from enricher.correlate.correlator import Correlator
from enricher.correlate.request_index import RequestIndex
from enricher.correlate.sessions import Sessions
from enricher.correlate.tracker import ContainerTracker
from enricher.emit.emitter import Emitter
from enricher.emit.quota import Quota
from enricher.emit.record_builder import RecordBuilder
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
from enricher.trail.writer import Writer
from exectrail.contracts.session import AuditSession
from exectrail.filter.file import FilterFile
from exectrail.k8s.client import Client
from exectrail.k8s.mirror import Mirror

OnRequest = Callable[[AuditSession | None, AuditSession | None], None]

log = logging.getLogger("enricher")


class Enricher(Struct):
    """An agent, and the threads beside it that speak with the API."""

    agent: Agent
    reporter: Reporter
    ready: Callable[[], bool]
    """Whether the API has told what is to be recorded."""
    mirrors: list[Mirror[Any]]
    start: Callable[[], None]
    """Have the threads work."""


def assemble(args: argparse.Namespace) -> Enricher:
    """Open everything, take up what the enricher before left, and start the writer.

    Raises:
        OSError: A file or folder cannot be used.
        FilterError: The filters cannot be used.
        SensorUnavailable, SourceUnavailable: What the flags ask for cannot be had.

    """
    client = Client.in_cluster()
    clock, containers, asked = Clock(), Containers(), RequestIndex()
    attached = Attached(clock.stamp(time.time_ns() // 1_000_000))
    requests = config.Requests(client, args.namespace, _both(asked.changed, attached.changed), args.node)
    watched = config.watch_node(client, args.node, containers.pod_changed, containers.namespace_changed)
    # The agent does not wait for this one: without it, pods of classes with telling names are reported all the same.
    classes = Mirror(client, uncovered.PATH, uncovered.RuntimeClass)
    containers.ready = _synced([*watched, requests])
    reporter = Reporter(client, args.node, args.namespace)

    # Their locks first: while the enricher before is at work still, two would tell the same.
    checkpoint_writer, sink = CheckpointWriter(args.state_dir, Proc().boot_id()), storage.open_sink(args)
    state = State(args.state_dir / "chain.json")

    # Then at once the sensor: what happens before it is attached is in the gap that the restart leaves.
    chosen = config.choose_source(args, containers.ready)
    sensor, cgroups = config.open_sensor(args, clock, chosen.source)

    writer = Writer(sink, state, args.audit_log_interval_seconds)
    writer.start()

    sessions = Sessions(requests.get, asked, clock.wall_ms)
    record_builder = RecordBuilder(args.node, Proc().boot_id(), clock, sensor.name)
    quota = Quota(args.quota, args.quota * 10)
    tally = Tally()
    emitter = Emitter(
        containers,
        sessions,
        record_builder,
        writer.write,
        quota,
        tally,
        on_start=reporter.started,
        on_end=reporter.ended,
        on_ambiguous=lambda uids, time: reporter.ambiguous(uids, clock.stamp(clock.wall_ms(time))),
    )
    filters = emitter.filters = FilterFile(args.filters) if args.filters else None
    correlator = Correlator(
        cgroups,
        containers,
        sessions,
        clock,
        tally,
        args.hold_ms / 1000,
        reports_failed_execs=sensor.reports_failed_execs,
        has_audit_source=chosen.source is not None,
    )

    tracker = ContainerTracker(sensor, cgroups, containers, correlator)
    memory = Memory(checkpoint_writer, sessions, emitter, correlator, writer, clock)
    running = Requests(containers.ready, lambda: requests.running_on(args.node), reporter.ended)
    memory.take_up(tracker, sink.last_lines, running, chain_unreadable=state.unreadable)

    env = EnvReport(look_into) if args.look_for_env else None
    losses = Losses(sensor, chosen.source, config.open_kernel_lost(asked=args.ask_kernel_lost), emitter, writer)
    status = NodeStatus(
        sensor,
        chosen,
        correlator,
        writer,
        losses,
        clock,
        reporter,
        filters,
        lambda: checkpoint_writer.failures,
        env,
        uncovered=lambda: uncovered.uncovered(containers.recorded_pods(), classes.objects),
        heartbeat=args.heartbeat,
    )
    agent = Agent(tracker, chosen.source, correlator, emitter, writer, losses, status, clock, memory, filters, attached)

    mirrors = [*watched, requests, classes]

    def start() -> None:
        for mirror in mirrors:
            mirror.start()
        reporter.start()
        if args.command_key_secret:
            command_key.follow(client, args.namespace, args.command_key_secret, asked)
        if env:
            env.start()
        log.info("recording on %s with %s, source %s: %s", args.node, sensor.name, chosen.name, chosen.reason)

    return Enricher(agent, reporter, containers.ready, mirrors, start)


def _both(one: OnRequest, other: OnRequest) -> OnRequest:
    def on_request(old: AuditSession | None, new: AuditSession | None) -> None:
        one(old, new)
        other(old, new)

    return on_request


def _synced(mirrors: list[Mirror[Any]]) -> Callable[[], bool]:
    return lambda: all(mirror.synced.is_set() for mirror in mirrors)
