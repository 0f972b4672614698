"""Puts an enricher together from what its flags say."""

import argparse
import logging
import time
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from enricher import inputs
from enricher.agent import Agent
from enricher.attribute import command_key, uncovered
from enricher.attribute.asked import Asked
from enricher.attribute.attached import Attached
from enricher.attribute.containers import Containers
from enricher.attribute.env_binary import EnvReport, look_into
from enricher.attribute.sessions import Sessions
from enricher.clock import Clock
from enricher.compose import Composer
from enricher.ledgers.proc import Proc
from enricher.losses import Losses
from enricher.node_status import NodeStatus
from enricher.outlet import Outlet
from enricher.pipeline import Pipeline
from enricher.quota import Quota
from enricher.report import Reporter
from enricher.restart.keeper import Keeper
from enricher.restart.memory import Memory
from enricher.restart.resumption import Requests
from enricher.trail import storage
from enricher.trail.chain import State
from enricher.trail.writer import Writer
from exectrail.filter_file import FilterFile
from exectrail.kube import Client
from exectrail.mirror import Mirror
from exectrail.session import AuditSession

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
        LedgerUnavailable, SourceUnavailable: What the flags ask for cannot be had.

    """
    client = Client.in_cluster()
    clock, containers, asked = Clock(), Containers(), Asked()
    attached = Attached(clock.stamp(time.time_ns() // 1_000_000))
    requests = inputs.Requests(client, args.namespace, _both(asked.changed, attached.changed), args.node)
    watched = inputs.watch_node(client, args.node, containers.pod_changed, containers.namespace_changed)
    # The agent does not wait for this one: without it, pods of classes with telling names are reported all the same.
    classes = Mirror(client, uncovered.PATH, uncovered.RuntimeClass)
    containers.ready = _synced([*watched, requests])
    reporter = Reporter(client, args.node, args.namespace)

    # Their locks first: while the enricher before is at work still, two would tell the same.
    keeper, sink = Keeper(args.state_dir, Proc().boot_id()), storage.open_sink(args)
    state = State(args.state_dir / "chain.json")

    # Then at once the ledger: what happens before it is attached is in the hole that the restart leaves.
    chosen = inputs.choose_source(args, containers.ready)
    provider = inputs.open_provider(args, containers, clock, chosen.source)

    writer = Writer(sink, state, args.audit_log_interval_seconds)
    writer.start()

    sessions = Sessions(requests.get, asked, clock.wall_ms)
    sessions.on_ambiguous = lambda uids, time: reporter.ambiguous(uids, clock.stamp(clock.wall_ms(time)))
    composer, quota = Composer(args.node, Proc().boot_id(), clock, provider.name), Quota(args.quota, args.quota * 10)
    outlet = Outlet(
        containers, sessions, composer, writer.write, quota, on_start=reporter.started, on_end=reporter.ended
    )
    filters = outlet.filters = FilterFile(args.filters) if args.filters else None
    pipeline = Pipeline(
        provider.places,
        containers,
        sessions,
        clock,
        outlet,
        args.hold_ms / 1000,
        failures_told=provider.failures_told,
        records_come=chosen.source is not None,
    )

    memory = Memory(keeper, sessions, outlet, pipeline, writer, clock)
    running = Requests(containers.ready, lambda: requests.running_on(args.node), reporter.ended)
    memory.take_up(provider, sink.last_lines, running, chain_unreadable=state.unreadable)

    env = EnvReport(look_into) if args.look_for_env else None
    losses = Losses(provider, chosen.source, inputs.open_kernel_lost(asked=args.ask_kernel_lost), outlet, writer)
    status = NodeStatus(
        provider,
        chosen,
        pipeline,
        writer,
        losses,
        clock,
        reporter,
        env,
        uncovered=lambda: uncovered.uncovered(containers.recorded_pods(), classes.objects),
        heartbeat=args.heartbeat,
    )
    agent = Agent(provider, chosen.source, pipeline, outlet, writer, losses, status, clock, memory, filters, attached)

    mirrors = [*watched, requests, classes]

    def start() -> None:
        for mirror in mirrors:
            mirror.start()
        reporter.start()
        if args.command_key_secret:
            command_key.follow(client, args.namespace, args.command_key_secret, asked)
        if env:
            env.start()
        log.info("recording on %s with %s, source %s: %s", args.node, provider.name, chosen.name, chosen.reason)

    return Enricher(agent, reporter, containers.ready, mirrors, start)


def _both(one: OnRequest, other: OnRequest) -> OnRequest:
    def on_request(old: AuditSession | None, new: AuditSession | None) -> None:
        one(old, new)
        other(old, new)

    return on_request


def _synced(mirrors: list[Mirror[Any]]) -> Callable[[], bool]:
    return lambda: all(mirror.synced.is_set() for mirror in mirrors)
