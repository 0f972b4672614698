"""The enricher at work on the real node: loads in real pods, and what its process spends on them."""

import time
from collections.abc import Iterator

from bench import full_node, load, many_sessions
from bench.agent import Agent, Counters
from bench.figures import Figure, at_least, at_most, seen
from bench.memory import private_mib
from bench.trail import Tail
from tests.cluster.cluster import Cluster
from tests.cluster.node.product import build_product
from tests.cluster.node.up import up
from tests.cluster.product import install, namespace, pod

_BURST = 10
_RATE, _OUTSIDE_RATE = 800, 1000
_SETTLE = 3.0
"""Seconds after a load until all that came of it is in the trail."""
_NAMESPACES = {"bench-record": {"record": "true"}, "bench-profile": {"profile": "process-audit"}, "bench-plain": {}}


def figures(seconds: int, soak_minutes: int, *, installed: bool) -> Iterator[Figure]:
    """Idle, steady loads, a burst, memory; with the release as it is where it is `installed`."""
    up()
    cluster = Cluster()
    if not installed:
        build_product()
        install(cluster)
    _make_workloads(cluster)
    agent = Agent(cluster)
    yield _idle(agent, seconds)
    yield _outside(cluster, agent, seconds)
    for name in ("bench-record", "bench-profile"):
        yield from _steady(cluster, agent, name, seconds)
    yield from _burst(cluster)
    agent.cpu()  # still the same process
    yield at_most(40, "memory-of-the-enricher", private_mib(agent.pid), "MiB", "private memory, after these loads")
    yield from full_node.figures(cluster, agent)
    yield from many_sessions.figures(cluster, seconds)
    if soak_minutes:
        yield from _soak(cluster, agent, soak_minutes)
    if not installed:
        yield from _without_bpf(cluster, seconds)
    cluster.kubectl("delete", "namespace", "--wait=false", *_NAMESPACES)


def _make_workloads(cluster: Cluster) -> None:
    cluster.apply(*(namespace(name, **labels) for name, labels in _NAMESPACES.items()))
    for name in _NAMESPACES:
        cluster.kubectl("wait", "-n", name, "--for=create", "serviceaccount/default", "--timeout=30s")
    cluster.apply(*(pod(name) for name in _NAMESPACES))
    for name in _NAMESPACES:
        cluster.kubectl("wait", "-n", name, "pod/web", "--for=condition=Ready", "--timeout=60s")
    time.sleep(_SETTLE)


def _idle(agent: Agent, seconds: int) -> Figure:
    with agent.watched() as spent:
        time.sleep(seconds)
    return at_most(0.2, "idle-cpu-share", spent.share, "% of a core", f"over {seconds} s, with no load")


def _outside(cluster: Cluster, agent: Agent, seconds: int) -> Figure:
    with agent.watched() as spent:
        ran = load.paced(cluster, "bench-plain", "outside", _OUTSIDE_RATE, seconds)
    # The share at the rate that was asked for, also where the machine made fewer: it grows with the rate at most.
    share = spent.share * max(1.0, _OUTSIDE_RATE / ran.rate)
    how = f"at {_OUTSIDE_RATE} exec/s, from {ran.rate:.0f} for {ran.seconds:.0f} s in a pod that did not opt in"
    return at_most(1, "outside-cpu-share", share, "% of a core", how)


def _steady(cluster: Cluster, agent: Agent, name: str, seconds: int) -> Iterator[Figure]:
    tail, before = Tail(), Counters()
    with agent.watched() as spent:
        ran = load.paced(cluster, name, "steady", _RATE, seconds)
        time.sleep(_SETTLE)
    found, after = tail.of(ran), Counters()
    how = f"{ran.rate:.0f} exec/s for {ran.seconds:.0f} s in one pod of {name}"
    yield at_least(1, f"{name}-argv-complete", found.execs / ran.execs, "share", how)
    yield at_least(1, f"{name}-exit-codes-right", found.exits / ran.execs, "share", how)
    yield at_most(0, f"{name}-lost", after.lost() - before.lost(), "events", how)
    yield at_most(150, f"{name}-cpu-per-exec", spent.cpu / ran.execs * 1e6, "us", f"{how}: fork, exec and exit")
    lines = after.total("written") - before.total("written")
    yield seen(f"{name}-cpu-per-line", spent.cpu / lines * 1e6, "us", how)


def _without_bpf(cluster: Cluster, seconds: int) -> Iterator[Figure]:
    """The same load with the sensor that comes next: what it is too late for has to say so."""
    install(cluster, "enricher.capabilities.bpf=false", "enricher.capabilities.netAdmin=true")
    time.sleep(_SETTLE)
    agent, tail, before = Agent(cluster), Tail(), Counters()
    with agent.watched() as spent:
        ran = load.paced(cluster, "bench-record", "procconn", _RATE, seconds)
        time.sleep(_SETTLE)
    found, lost = tail.of(ran), Counters().lost() - before.lost()
    how = f"{ran.rate:.0f} exec/s for {ran.seconds:.0f} s without eBPF; {found.weak} marked weak, {lost:.0f} lost"
    yield seen("procconn-argv-reported", found.execs / ran.execs, "share", how)
    yield at_most(0, "procconn-wrong", found.wrong, "execs", f"{how}; arguments that were not run")
    silent = max(0, ran.execs - found.execs - found.weak - lost)
    yield at_most(0, "procconn-silent", silent, "execs", f"{how}; neither told, nor marked, nor counted")
    yield seen("procconn-cpu-per-exec", spent.cpu / ran.execs * 1e6, "us", how)
    install(cluster)


def _burst(cluster: Cluster) -> Iterator[Figure]:
    tail, before = Tail(), Counters()
    ran = load.free(cluster, "bench-profile", "burst", _BURST)
    time.sleep(_SETTLE)
    after = Counters()
    made = sum(each.execs for each in ran)
    lost, written = after.lost() - before.lost(), sum(tail.execs(each) for each in ran)
    how = f"two shells for {_BURST} s: {made / _BURST:.0f} exec/s, {lost:.0f} events lost and counted"
    yield at_most(0, "burst-unexplained", abs(after.unexplained()), "events", f"{how}; what the equation misses")
    # A shell may have started one more exec than it counted when the time was over.
    silent = max(0, made - written - lost)
    yield at_most(0, "burst-lost-silently", silent, "execs", f"{how}; execs neither in the trail nor counted")
    yield seen("burst-written", written / made, "share", f"{how}; share of the execs in the trail")


def _soak(cluster: Cluster, agent: Agent, minutes: int) -> Iterator[Figure]:
    load.paced(cluster, "bench-record", "warm", _RATE, 300)
    early = private_mib(agent.pid)
    load.paced(cluster, "bench-record", "soak", _RATE, minutes * 60)
    grown = private_mib(agent.pid) - early
    how = f"growth of private memory from 5 minutes of load on, over {minutes} minutes"
    yield at_most(1, "soak-memory-growth", grown, "MiB", how)
