"""`python -m enricher capture`: writes down what an enricher is given here, for `replay` (see `recording`).

It does the enricher's work once more, beside the one that runs, and its records go nowhere. So a recording holds what
a pipeline was given, when, and what the node said at that moment.
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

from enricher import config
from enricher.clock import Clock
from enricher.containers.containers import Containers
from enricher.core import Core
from enricher.correlate.sessions import Sessions
from enricher.correlate.tracker import ContainerTracker
from enricher.emit.emitter import Emitter
from enricher.emit.quota import Quota
from enricher.emit.record_builder import RecordBuilder
from enricher.node_inputs import NodeInputs
from enricher.procfs import Proc
from enricher.sensors.unavailable import SensorUnavailable
from enricher.support.recorder import Recorder, Tables, TappedCorrelator, TappedSource, TappedTree
from enricher.tally import Tally
from exectrail.k8s.client import Client
from exectrail.k8s.mirror import Mirror
from exectrail.service import logs

_HOLD = 0.5
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
        return 0  # the reader has enough
    except (OSError, RuntimeError, SensorUnavailable) as error:
        log.error("cannot capture: %s", error)
        return 2
    sys.stderr.write(f"{lines} lines\n")
    return 0


def _capture(args: argparse.Namespace, file: BinaryIO, over: threading.Event) -> int:
    client, clock, recorder = Client.in_cluster(), Clock(), Recorder(file)
    containers = Containers(args.node_debug_labels)
    tables = Tables(recorder, containers)
    requests = config.Requests(client, args.namespace, tables.session_changed)
    pod_changed, namespace_changed = tables.pod_changed, tables.namespace_changed
    watched = config.watch_node(client, args.node, pod_changed, namespace_changed, containers.debugs_node)
    source = config.open_source(args.receive_buffer, TappedSource)
    if source:
        source.recorder = recorder
    sensor, cgroups = config.open_sensor(args, clock, source)
    reports_failed_execs = sensor.reports_failed_execs
    source_name = "netlink" if source else "none"
    recorder.begin(args.node, sensor.name, source_name, reports_failed_execs=reports_failed_execs)
    # What waits in the kernel until then is separated from what is not opted in, which is not written down.
    _wait_for([*watched, requests])
    record_builder = RecordBuilder(args.node, Proc().boot_id(), clock, sensor.name)
    tally, sessions = Tally(), Sessions(requests.get)
    emitter = Emitter(containers, sessions, record_builder, lambda _: True, Quota(1, 1), tally)
    tree = TappedTree(recorder)
    correlator = TappedCorrelator(
        cgroups, containers, sessions, clock, tally, _HOLD, reports_failed_execs=reports_failed_execs, tree=tree
    )
    correlator.record_into(recorder, source)
    tracker = ContainerTracker(sensor, cgroups, containers, correlator)
    read = source.read if source else list
    core = Core(NodeInputs(tracker, correlator, clock, lambda _now: read()), correlator, emitter, clock)
    until = time.monotonic() + args.seconds
    while (now := time.monotonic()) < until and not over.wait(_ROUND):
        recorder.turn()
        if core.step(now):
            recorder.clock()
            recorder.lost(sensor.lost() | {"netlink-overrun": source.dropped() if source else 0})
        recorder.flush()
    sensor.close()
    return recorder.lines


def _wait_for(mirrors: list[Mirror[Any]]) -> None:
    for mirror in mirrors:
        mirror.start()
    for mirror in mirrors:
        if not mirror.synced.wait(_API_WITHIN):
            raise RuntimeError(f"the API has not answered within {_API_WITHIN:.0f} s")


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
        type=config.positive,
        default=60,
        help="duration in seconds, unless SIGINT comes (default %(default)s)",
    )
    config.add_flags(parser)
    return parser
