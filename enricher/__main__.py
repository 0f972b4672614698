"""Starts the enricher: `python -m enricher`."""

import argparse
import logging
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from enricher.agent import Agent
from enricher.clock import Clock
from enricher.compose import Composer
from enricher.containers import Containers
from enricher.metrics import AgentCollector
from enricher.netlink import AuditSource, SourceUnavailable
from enricher.pipeline import Pipeline
from enricher.pods import Namespace, Pod
from enricher.proc import Proc
from enricher.provider_bpf import BpfProvider
from enricher.provider_proc import ProcProvider
from enricher.report import Reporter
from enricher.sessions import Sessions
from enricher.sink import FileSink, StdoutSink
from enricher.unavailable import LedgerUnavailable
from enricher.writer import State, Writer
from exectrail import logs
from exectrail.kube import Client
from exectrail.mirror import Mirror
from exectrail.serving import serve
from exectrail.session import GROUP_VERSION, PLURAL, AuditSession

_STUCK_AFTER = 30.0
_DRAIN = 5.0

log = logging.getLogger("enricher")


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; 0 when everything that was read is written, 2 for a bad configuration."""
    args = _parser().parse_args(argv)
    logs.setup(args.log_level)
    try:
        return _run(args)
    except (OSError, RuntimeError, LedgerUnavailable, SourceUnavailable) as error:
        log.error("cannot start: %s", error)
        return 2


def _run(args: argparse.Namespace) -> int:
    client = Client.in_cluster()
    containers = Containers()
    requests = Mirror(client, f"/apis/{GROUP_VERSION}/namespaces/{args.namespace}/{PLURAL}", AuditSession)
    mirrors: list[Mirror[Any]] = [
        Mirror(client, "/api/v1/namespaces", Namespace, containers.namespace_changed),
        Mirror(client, "/api/v1/pods", Pod, containers.pod_changed, fieldSelector=f"spec.nodeName={args.node}"),
        requests,
    ]
    containers.ready = lambda: all(mirror.synced.is_set() for mirror in mirrors)
    reporter = Reporter(client, args.node, args.namespace)
    clock = Clock()
    source = _source(args.receive_buffer)
    provider = _provider(args, containers, clock, source)
    sink = StdoutSink() if args.trail == "-" else FileSink(Path(args.trail))
    writer = Writer(sink, State(args.state_dir / "chain.json"))
    composer = Composer(args.node, Proc().boot_id(), clock, provider.name)
    pipeline = Pipeline(
        provider.places,
        containers,
        Sessions(lambda uid: requests.objects.get(f"{args.namespace}/{uid}")),
        composer,
        clock,
        writer.write,
        args.hold_ms / 1000,
        on_start=reporter.started,
        on_end=reporter.ended,
    )
    agent = Agent(provider, source, pipeline, composer, writer, reporter, clock)
    _serve(args.metrics_address, agent, mirrors)
    for mirror in mirrors:
        mirror.start()
    reporter.start()
    _stop_on_signals(agent)
    log.info("recording on %s with %s and %s", args.node, provider.name, "netlink" if source else "no audit source")
    agent.run()
    reporter.drain(_DRAIN)
    log.info("stopped; the last record is %d", writer.seq)
    return 0


def _source(receive_buffer: int) -> AuditSource | None:
    try:
        return AuditSource.open(receive_buffer)
    except SourceUnavailable as error:
        log.error("no SECCOMP records: %s", error)
        return None


def _provider(
    args: argparse.Namespace, containers: Containers, clock: Clock, source: AuditSource | None
) -> BpfProvider | ProcProvider:
    if args.ledger in ("auto", "bpf"):
        try:
            return BpfProvider(args.cgroup_root, containers)
        except LedgerUnavailable as error:
            if args.ledger == "bpf":
                raise
            log.warning("no eBPF ledger: %s; going on with SECCOMP records and /proc, which are weak", error)
    if source is None:
        raise LedgerUnavailable("neither eBPF nor the audit netlink can be read: there is nothing to record from")
    return ProcProvider(containers, clock)


def _serve(address: str, agent: Agent, mirrors: list[Mirror[Any]]) -> None:
    def stuck() -> str | None:
        silent = time.monotonic() - agent.progress
        return f"the reader made no progress for {silent:.0f} s" if silent > _STUCK_AFTER else None

    def unready() -> str | None:
        if agent.writer.full:
            return "the trail's storage takes nothing"
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
    parser = argparse.ArgumentParser(prog="python -m enricher", description=sys.modules["enricher"].__doc__)
    add = parser.add_argument
    add("--trail", default="-", metavar="FILE", help="where the trail goes; - is standard output (default)")
    add("--state-dir", type=Path, default=Path("/var/lib/exectrail"), help="where the chain's end is kept")
    add("--cgroup-root", type=Path, default=Path("/sys/fs/cgroup"), help="the node's cgroup tree")
    add("--ledger", choices=("auto", "bpf", "proc"), default="auto", help="who says which process is which")
    add("--hold-ms", type=_positive, default=500, help="how long a record waits for what explains it")
    add("--receive-buffer", type=_positive, default=4 << 20, metavar="BYTES", help="of the audit netlink socket")
    add("--metrics-address", type=_address, default="127.0.0.1:9464", help="serves /metrics, /healthz, /readyz")
    add("--node", default=os.environ.get("NODE_NAME", socket.gethostname()), help="this node's name ($NODE_NAME)")
    add("--namespace", default=os.environ.get("POD_NAMESPACE", "exectrail"), help="of AuditSessions ($POD_NAMESPACE)")
    add("--log-level", choices=logs.LEVELS, default="info")
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text} is not above 0")
    return number


def _address(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no HOST:PORT")
    return text


if __name__ == "__main__":
    sys.exit(main())
