"""Starts the enricher: `python -m enricher`."""

import argparse
import importlib
import logging
import signal
import sys
import time
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from enricher import inputs
from enricher.agent import Agent
from enricher.attribute import command_key
from enricher.attribute.asked import Asked
from enricher.attribute.containers import Containers
from enricher.attribute.env_binary import EnvReport
from enricher.attribute.sessions import Sessions
from enricher.clock import Clock
from enricher.compose import Composer
from enricher.ledgers.proc import Proc
from enricher.ledgers.unavailable import LedgerUnavailable
from enricher.metrics import AgentCollector
from enricher.outlet import Outlet
from enricher.pipeline import Pipeline
from enricher.quota import Quota
from enricher.report import Reporter
from enricher.sources.netlink import AuditSource, SourceUnavailable
from enricher.trail import storage
from enricher.trail.chain import State
from enricher.trail.writer import Writer
from exectrail import logs
from exectrail.filter import FilterError
from exectrail.filter_file import FilterFile
from exectrail.kube import Client
from exectrail.mirror import Mirror
from exectrail.serving import serve

_COMMANDS = ("capture", "replay")
"""Modules with a `main` of their own; without one of these words the enricher runs, and pays for neither."""
_STUCK_AFTER = 30.0
_DRAIN = 5.0

log = logging.getLogger("enricher")


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; 0 when everything that was read is written, 2 for a bad configuration."""
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in _COMMANDS:
        return int(importlib.import_module(f"enricher.support.{words[0]}").main(words[1:]))
    args = _parser().parse_args(words)
    logs.setup(args.log_level)
    try:
        return _run(args)
    except (OSError, RuntimeError, FilterError, LedgerUnavailable, SourceUnavailable) as error:
        log.error("cannot start: %s", error)
        return 2


def _run(args: argparse.Namespace) -> int:
    client = Client.in_cluster()
    containers = Containers()
    asked = Asked()
    requests = inputs.Requests(client, args.namespace, asked.changed)
    watched = inputs.watch_node(client, args.node, containers.pod_changed, containers.namespace_changed)
    mirrors = [*watched, requests]
    containers.ready = lambda: all(mirror.synced.is_set() for mirror in mirrors)
    reporter = Reporter(client, args.node, args.namespace)
    clock = Clock()
    source = inputs.open_source(args.receive_buffer, AuditSource)
    provider = inputs.open_provider(args, containers, clock, source)
    state = State(args.state_dir / "chain.json")
    writer = Writer(storage.open_sink(args), state, args.audit_log_interval_seconds)
    writer.start()
    sessions = Sessions(requests.get, asked, clock.wall_ms)
    outlet = Outlet(
        containers,
        sessions,
        Composer(args.node, Proc().boot_id(), clock, provider.name),
        writer.write,
        Quota(args.quota, args.quota * 10),
        on_start=reporter.started,
        on_end=reporter.ended,
    )
    filters = FilterFile(args.filters) if args.filters else None
    outlet.filters = filters
    pipeline = Pipeline(
        provider.places,
        containers,
        sessions,
        clock,
        outlet,
        args.hold_ms / 1000,
        failures_told=provider.failures_told,
    )
    env = EnvReport() if args.look_for_env else None
    agent = Agent(provider, source, pipeline, outlet, writer, reporter, clock, env, filters)
    _serve(args.metrics_address, agent, mirrors)
    for mirror in mirrors:
        mirror.start()
    reporter.start()
    if args.command_key_secret:
        command_key.follow(client, args.namespace, args.command_key_secret, asked)
    if env:
        env.start()
    _stop_on_signals(agent)
    log.info("recording on %s with %s and %s", args.node, provider.name, "netlink" if source else "no audit source")
    agent.run()
    reporter.drain(_DRAIN)
    log.info("stopped; the last record is %d", writer.seq)
    return 0


def _serve(address: str, agent: Agent, mirrors: list[Mirror[Any]]) -> None:
    def stuck() -> str | None:
        silent = time.monotonic() - agent.progress
        return f"the reader made no progress for {silent:.0f} s" if silent > _STUCK_AFTER else None

    def unready() -> str | None:
        if wrong := agent.writer.wrong():
            return wrong
        return None if all(mirror.synced.is_set() for mirror in mirrors) else "the API has not been read yet"

    host, _, port = address.rpartition(":")
    registry = CollectorRegistry()
    registry.register(AgentCollector(agent))
    serve(host.strip("[]"), int(port), stuck, unready, registry)


def _stop_on_signals(agent: Agent) -> None:
    # The loop notices at its next turn, a second later at most: select goes on after a handler (PEP 475).
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: agent.stop())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m enricher",
        description=sys.modules["enricher"].__doc__,
        epilog="For support cases: `python -m enricher capture --help`, `python -m enricher replay --help`.",
    )
    inputs.add_flags(parser)
    storage.add_flags(parser)
    add = parser.add_argument
    add("--state-dir", type=Path, default=Path("/var/lib/exectrail"), help="where the chain's end is kept")
    add("--hold-ms", type=inputs.positive, default=500, help="how long a record waits for what explains it")
    quota_help = "records a second of one container; ten times as many at once"
    add("--quota", type=inputs.positive, default=10_000, metavar="N", help=quota_help)
    key_help = "Secret with the key of command hashes, for commands that are too long to be compared by their text"
    add("--command-key-secret", metavar="NAME", help=key_help)
    filters_help = "JSON file that says what the trail is not to have; read anew when it changes"
    add("--filters", type=Path, metavar="FILE", help=filters_help)
    add("--look-for-env", action="store_true", help="report which containers have a program `env`")
    add("--metrics-address", type=_address, default="127.0.0.1:9464", help="serves /metrics, /healthz, /readyz")
    add("--log-level", choices=logs.LEVELS, default="info")
    return parser


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT")
    return text


if __name__ == "__main__":
    sys.exit(main())
