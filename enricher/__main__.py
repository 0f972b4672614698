"""Starts the enricher: `python -m enricher`."""

import argparse
import gc
import importlib
import logging
import signal
import socket
import sys
import time
from contextlib import ExitStack
from http.server import ThreadingHTTPServer
from pathlib import Path

from prometheus_client import CollectorRegistry

from enricher import config
from enricher.agent import Agent
from enricher.audit.netlink_socket import SourceUnavailable
from enricher.bootstrap import Enricher, assemble
from enricher.metrics import AgentCollector
from enricher.sensors.unavailable import SensorUnavailable
from enricher.trail import storage
from exectrail.filter.filters import FilterError
from exectrail.service import logs, threads
from exectrail.service.serving import bind, serve

_COMMANDS = ("capture", "replay")
"""Modules with a `main` of their own; without one of these words the enricher runs, and pays for neither."""
_STUCK_AFTER = 30.0
_COLLECT_AFTER = 20_000
"""New objects between two garbage collections: ours go by reference count, and hardly any is in a cycle."""
_DRAIN = 5.0
_WAIT_FOR_ADDRESS = 10.0

log = logging.getLogger("enricher")


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT.

    Returns 0 when everything that was read is written, 1 when some of it could not be, 2 for a bad configuration.
    """
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in _COMMANDS:
        return int(importlib.import_module(f"enricher.support.{words[0]}").main(words[1:]))
    args = _parser().parse_args(words)
    logs.setup(args.log_level)
    threads.end_process_on_fault()
    try:
        return _run(args)
    except (OSError, RuntimeError, FilterError, SensorUnavailable, SourceUnavailable) as error:
        log.error("cannot start: %s", error)
        return 2


def _run(args: argparse.Namespace) -> int:
    with ExitStack() as stack:
        # First: the enricher before serves there until its process has ended. To fail here after its state is taken up
        # would leave a gap for nothing.
        address = stack.enter_context(_bind(args.metrics_address))
        enricher = assemble(args, stack)
        agent = enricher.agent
        stack.callback(_serve(address, enricher).shutdown)
        enricher.start()
        _stop_on_signals(agent)
        gc.freeze()  # what is there by now stays, and need not be looked at again
        gc.set_threshold(_COLLECT_AFTER)
        agent.run()
        enricher.reporter.drain(_DRAIN)
    log.info("stopped; the last record is %d", agent.writer.seq)
    return threads.exit_code(1 if agent.unwritten else 0)


def _bind(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    try:
        return bind(host.strip("[]"), int(port), _WAIT_FOR_ADDRESS)
    except OSError as error:
        raise OSError(f"--metrics-address {address}: {error.strerror}; choose another port") from error


def _serve(address: socket.socket, enricher: Enricher) -> ThreadingHTTPServer:
    agent = enricher.agent

    def stuck() -> str | None:
        silent = time.monotonic() - agent.status.snapshot.at
        return f"the reader made no progress for {silent:.0f} s" if silent > _STUCK_AFTER else None

    def unready() -> str | None:
        if wrong := agent.writer.wrong():
            return wrong
        return None if enricher.ready() else "the API has not been read yet"

    registry = CollectorRegistry()
    registry.register(AgentCollector(agent.status, enricher.reporter, enricher.mirrors))
    return serve(address, stuck, unready, registry)


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
    config.add_flags(parser)
    config.add_source_flags(parser)
    storage.add_flags(parser)
    add = parser.add_argument
    state_help = "folder for the chain's end and open sessions (default %(default)s)"
    add("--state-dir", type=Path, default=Path("/var/lib/exectrail"), help=state_help)
    hold_help = "hold time in milliseconds: how long an event waits for its SECCOMP event, container and request "
    add("--hold-ms", type=config.positive, default=500, help=f"{hold_help}(default %(default)s)")
    quota_help = "records a second of one container, ten times as many at once (default %(default)s)"
    add("--quota", type=config.positive, default=10_000, metavar="N", help=quota_help)
    key_help = "Secret with the key of command hashes; without it commands are compared by their text"
    add("--command-key-secret", metavar="NAME", help=key_help)
    filters_help = "JSON file with filters, read anew when it changes; records that match a None rule are dropped"
    add("--filters", type=Path, metavar="FILE", help=filters_help)
    settings_help = "folder of the settings: its files, read anew when they change, go before --filters and --log-level"
    add("--settings-dir", type=Path, metavar="DIR", help=settings_help)
    heartbeat_help = "shortest interval between two reports to NodeTrail, in seconds (default %(default)s)"
    add("--heartbeat", type=config.positive, default=30, metavar="SECONDS", help=heartbeat_help)
    add("--look-for-env", action="store_true", help="report which containers have a program `env`")
    metrics_help = "address for /healthz, /readyz and /metrics, plain HTTP (default %(default)s)"
    add("--metrics-address", type=_address, default="127.0.0.1:9464", help=metrics_help)
    level_help = "least important level to log (default %(default)s)"
    add("--log-level", choices=logs.LEVELS, default="info", help=level_help)
    return parser


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT")
    return text


if __name__ == "__main__":
    sys.exit(main())
