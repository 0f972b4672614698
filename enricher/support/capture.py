"""`python -m enricher capture`: writes down what an enricher is given here, for `replay` (see `recording`).

It does the enricher's work once more, beside the one that runs, and its records go nowhere. So a recording holds what
a pipeline was given, when, and what the node told it at that moment.
"""

import argparse
import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any, BinaryIO

from enricher import inputs
from enricher.attribute.containers import Containers
from enricher.attribute.sessions import Sessions
from enricher.clock import Clock
from enricher.compose import Composer
from enricher.ledgers.proc import Proc
from enricher.ledgers.provider import Provider
from enricher.ledgers.unavailable import LedgerUnavailable
from enricher.outlet import Outlet
from enricher.pipeline import Pipeline
from enricher.quota import Quota
from enricher.support.recorder import Recorder, Tables, TappedPipeline, TappedSource
from exectrail import logs
from exectrail.kube import Client
from exectrail.mirror import Mirror

_HOLD, _TIDY = 0.5, 5.0
_ROUND = 0.02
"""Seconds between two rounds: what comes in between is gathered by the kernel."""
_API_WITHIN = 30.0

log = logging.getLogger("enricher")


def main(argv: list[str]) -> int:
    """Record for the time given; 2 where that cannot be, with the reason on standard error."""
    args = _parser().parse_args(argv)
    logs.setup("warning")
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    try:
        with _output(args.output) as file:
            lines = _capture(args, file, over)
    except BrokenPipeError:
        return 0  # whoever read it has enough
    except (OSError, RuntimeError, LedgerUnavailable) as error:
        log.error("cannot capture: %s", error)
        return 2
    sys.stderr.write(f"{lines} lines\n")
    return 0


def _capture(args: argparse.Namespace, file: BinaryIO, over: threading.Event) -> int:
    client, clock, containers, recorder = Client.in_cluster(), Clock(), Containers(), Recorder(file)
    tables = Tables(recorder, containers)
    requests = inputs.Requests(client, args.namespace, tables.session_changed)
    watched = inputs.watch_node(client, args.node, tables.pod_changed, tables.namespace_changed)
    source = inputs.open_source(args.receive_buffer, TappedSource)
    if source:
        source.recorder = recorder
    provider = inputs.open_provider(args, containers, clock, source)
    told = provider.failures_told
    recorder.begin(args.node, provider.name, "netlink" if source else "none", failures_told=told)
    # What waits in the kernel until then is told from what is not opted in, which is not written down.
    _wait_for([*watched, requests])
    composer = Composer(args.node, Proc().boot_id(), clock, provider.name)
    sessions = Sessions(requests.get)
    outlet = Outlet(containers, sessions, composer, lambda _: True, Quota(1, 1))
    pipeline = TappedPipeline(provider.places, containers, sessions, clock, outlet, _HOLD, failures_told=told)
    pipeline.record_into(recorder, source)
    _follow(provider, source, pipeline, recorder, clock, time.monotonic() + args.seconds, over)
    provider.close()
    return recorder.lines


def _wait_for(mirrors: list[Mirror[Any]]) -> None:
    for mirror in mirrors:
        mirror.start()
    for mirror in mirrors:
        if not mirror.synced.wait(_API_WITHIN):
            raise RuntimeError(f"the API has not answered within {_API_WITHIN:.0f} s")


def _follow(
    provider: Provider,
    source: TappedSource | None,
    pipeline: Pipeline,
    recorder: Recorder,
    clock: Clock,
    until: float,
    over: threading.Event,
) -> None:
    """The agent's rounds."""
    next_second = next_tidy = 0.0
    while (now := time.monotonic()) < until and not over.wait(_ROUND):
        recorder.turn()
        for record in source.read() if source else ():
            provider.seccomp(pipeline, record, now)
        provider.advance(pipeline, now)
        pipeline.advance(now)
        if now >= next_second:
            next_second = now + 1.0
            clock.adjust()
            recorder.clock()
            recorder.lost(provider.lost() | {"netlink-overrun": source.dropped() if source else 0})
        if now >= next_tidy:
            next_tidy = now + _TIDY
            provider.tidy(pipeline, now)
        recorder.flush()


@contextlib.contextmanager
def _output(name: str) -> Iterator[BinaryIO]:
    if name == "-":
        yield sys.stdout.buffer
        return
    # It says what was run in containers: only its owner may read it.
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        yield file


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m enricher capture",
        description="Write down what the enricher receives on this node: events of recorded containers, and "
        "pods, namespaces and requests. The file holds the commands that were run, but no environment.",
    )
    parser.add_argument("--output", default="-", metavar="FILE", help="new file; - is standard output (default -)")
    parser.add_argument(
        "--seconds",
        type=inputs.positive,
        default=60,
        help="duration in seconds, unless SIGINT comes (default %(default)s)",
    )
    inputs.add_flags(parser)
    return parser
