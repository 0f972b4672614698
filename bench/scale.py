"""`python -m bench.scale`: what a request costs the API server in a large cluster; needs `make parts`.

A real API server and etcd, and one simulated agent for each node: the enricher's own mirror of AuditSessions, with a
connection of its own. Requests come at a steady pace, each with what it causes: the webhook asks for its pod and writes
its AuditSession, the node's agent writes twice how it goes. Four rounds: no agents; some that all watch all (as without
labels); many, each of which watches its node's shard; and no agents again. From these follow what an agent costs that
is only there, what one costs that gets the change, and so what 5,000 nodes take.
"""

import argparse
import logging
import os
import random
import signal
import statistics
import subprocess
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Raw, Struct

from bench.figures import Figure, keep, seen, show
from bench.own_api import NAMESPACE, OwnApi, cpu_seconds, own_api
from enricher.config import Requests
from exectrail.contracts import node_label
from exectrail.contracts.meta import ObjectMeta
from exectrail.contracts.session import AuditSession, SessionSpec, Target, User
from exectrail.k8s.client import Client
from webhook.cluster.env_reports import EnvReports
from webhook.cluster.places import Places
from webhook.cluster.session_labels import SessionLabels

_LARGE = 5_000
"""Nodes, of the cluster that is extrapolated to."""
_CHANGES = 3
"""Of an AuditSession: made, running, closed."""
_STARTS = 10
_WRITERS = 8
_WATCHING_SECONDS = 120
_STARTING = 8
"""Agents that start at the same time."""
_PATH = f"/apis/exectrail.io/v1alpha1/namespaces/{NAMESPACE}/auditsessions"
_EVENTS = "apiserver_watch_events_sizes"
_OURS = {"group": "exectrail.io", "resource": "auditsessions"}
_WATCHES = "apiserver_longrunning_requests"


class Round(Struct, frozen=True):
    """What one request took, on average."""

    cpu_ms: float
    """Of the API server; what it takes without requests is not in it."""
    etcd_ms: float
    deliveries: float
    """Changes that were sent to agents."""
    kb: float
    """Bytes of those, before TLS."""


def main() -> None:
    """Measure, show and keep."""
    parser = argparse.ArgumentParser(prog="python -m bench.scale", description=__doc__)
    add = parser.add_argument
    add("--agents", type=int, default=1_000, help="each of which watches its node's shard (default %(default)s)")
    add(
        "--all",
        type=int,
        default=100,
        metavar="AGENTS",
        help="that watch all: two cores take 100 (default %(default)s)",
    )
    add("--requests", type=float, default=20.0, help="requests a second (default %(default)s)")
    add("--seconds", type=int, default=300, help="of each round (default %(default)s)")
    add("--as-agents", choices=("all", "shard"), help=argparse.SUPPRESS)
    add("--api", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.as_agents:
        _be_agents(args.api, args.agents, shards=args.as_agents == "shard")
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started ends as well
    with own_api() as api:
        found = list(figures(api, {"all": args.all, "shard": args.agents}, args.requests, args.seconds))
    show(found)
    keep(found)


def figures(api: OwnApi, numbers: dict[str, int], rate: float, seconds: int) -> Iterator[Figure]:
    """Of the rounds with so many agents each, and what they come to in a large cluster."""
    most = max(numbers.values())
    _make_pods(api.client(), most)
    first = _round(api, most, rate, seconds)
    rounds = {}
    for name, number in numbers.items():
        with _agents(api, number, name):
            rounds[name] = _round(api, number, rate, seconds)
    last = _round(api, most, rate, seconds)
    # A machine that others use as well changes its mind: what is compared with is of before and after.
    alone = Round(*(statistics.mean(pair) for pair in zip(*map(msgspec.structs.astuple, (first, last)), strict=True)))
    how = f"{rate:g} requests a second for {seconds} s; on one machine with its clients"
    yield seen("scale-api-cpu-alone", alone.cpu_ms, "ms", f"CPU of the API server for a request without agents; {how}")
    yield seen("scale-etcd-cpu", alone.etcd_ms, "ms", f"CPU of etcd for a request; {how}")
    titles = {"all": "each of which watches all", "shard": "each of which watches its node's shard"}
    for name, each in rounds.items():
        what = f"{numbers[name]} agents, {titles[name]}"
        yield seen(f"scale-api-cpu-{name}", each.cpu_ms, "ms", f"CPU of the API server for a request; {what}; {how}")
        yield seen(f"scale-sent-{name}", each.kb, "kB", f"sent to agents for a request, before TLS; {what}; {how}")
        yield seen(
            f"scale-deliveries-{name}", each.deliveries, "", f"changes sent to agents for a request; {what}; {how}"
        )
    yield from _extrapolated(alone, rounds, numbers, rate)
    yield from _starts(api)
    sizes = api.sizes("/registry/exectrail.io/auditsessions/")
    yield seen("scale-etcd-session", statistics.mean(sizes), "bytes", "a closed AuditSession in etcd, on average")


def _extrapolated(alone: Round, rounds: dict[str, Round], numbers: dict[str, int], rate: float) -> Iterator[Figure]:
    """What an agent costs that is only there (`idle`) and what a delivery costs: two equations, of the two rounds."""
    # Of both: idle * agents + delivery * deliveries = more
    every, own = rounds["all"], rounds["shard"]
    more = every.cpu_ms - alone.cpu_ms, own.cpu_ms - alone.cpu_ms
    divisor = numbers["all"] * own.deliveries - numbers["shard"] * every.deliveries
    idle = (more[0] * own.deliveries - more[1] * every.deliveries) / divisor
    delivery = (numbers["all"] * more[1] - numbers["shard"] * more[0]) / divisor
    kb = every.kb / every.deliveries
    deliveries = {"all": _CHANGES * _LARGE, "shard": _CHANGES * (1 + (_LARGE - 1) / node_label.SHARDS)}
    how = f"of {_LARGE} nodes at {rate:g} requests a second, by {1000 * delivery:.1f} us of CPU for a change that is "
    how += f"sent, and {1000 * idle:.2f} us for each agent that watches, for a request"
    for name, number in deliveries.items():
        cores = (alone.cpu_ms + idle * _LARGE + delivery * number) * rate / 1000
        yield seen(f"scale-large-cores-{name}", cores, "cores", f"CPU of the API server, extrapolated: {how}")
        yield seen(
            f"scale-large-sent-{name}", number * kb * rate / 1000, "MB/s", f"sent to agents, extrapolated: {how}"
        )


def _starts(api: OwnApi) -> Iterator[Figure]:
    """What the API server does for an agent that starts, while it has all these sessions."""
    client = api.client()
    total = client.count(_PATH)
    titles = {"pages": "by pages", "memory": "from the API server's memory"}
    for name, title in titles.items():
        before = cpu_seconds(api.server_pid)
        for each in range(_STARTS):
            chosen = node_label.selector(_node(each))
            for page in client.pages(_PATH, AuditSession, few=name == "memory", labelSelector=chosen):
                deque(page.items, maxlen=0)
        took = 1000 * (cpu_seconds(api.server_pid) - before) / _STARTS
        how = f"CPU of the API server for the list of an agent that starts, {title}, with {total} AuditSessions"
        yield seen(f"scale-start-{name}", took, "ms", how)


def _round(api: OwnApi, agents: int, rate: float, seconds: int) -> Round:
    pids = (api.server_pid, api.etcd_pid)
    quiet = max(5, seconds // 6)
    before = [cpu_seconds(pid) for pid in pids]
    time.sleep(quiet)
    still = [(cpu_seconds(pid) - was) / quiet for pid, was in zip(pids, before, strict=True)]
    sent = [api.metric(f"{_EVENTS}_{what}", **_OURS) for what in ("count", "sum")]
    before = [cpu_seconds(pid) for pid in pids]
    began = time.monotonic()
    done = _load(api, agents, rate, seconds)
    took = time.monotonic() - began
    cpu = [cpu_seconds(pid) - was - took * idle for pid, was, idle in zip(pids, before, still, strict=True)]
    time.sleep(2)  # for what is still on its way; its CPU is that of a moment
    now = [api.metric(f"{_EVENTS}_{what}", **_OURS) for what in ("count", "sum")]
    return Round(
        1000 * cpu[0] / done,
        1000 * cpu[1] / done,
        (now[0] - sent[0]) / done,
        (now[1] - sent[1]) / done / 1000,
    )


def _load(api: OwnApi, agents: int, rate: float, seconds: int) -> int:
    """Requests at a steady pace, as many as fit; how many those were."""
    client = api.client()
    labels = SessionLabels(Places(client, EnvReports()))
    number = int(rate * seconds)
    began = time.monotonic()
    with ThreadPoolExecutor(_WRITERS) as writers:
        waiting = []
        for each in range(number):
            time.sleep(max(0.0, began + each / rate - time.monotonic()))
            waiting.append(writers.submit(_request, client, labels, random.randrange(agents)))  # noqa: S311 - a load
        for one in waiting:
            one.result()
    return number


def _request(client: Client, labels: SessionLabels, node: int) -> None:
    uid, now = str(uuid.uuid4()), datetime.now(UTC)
    user = User("alice@example.com", groups=["dev", "on-call", "system:authenticated"])
    command = ["sh", "-c", "cd /srv/app && ./manage check --verbose --since yesterday"]
    # The pods were made a moment ago, and what is that young is left to all agents.
    time_of_it = (now + timedelta(hours=1)).isoformat(timespec="microseconds").replace("+00:00", "Z")
    target = Target("default", f"web-{node}", "app")
    spec = SessionSpec(user, "exec", "pods/exec", target, time_of_it, command, command_hash="0" * 32, tag="env")
    session = AuditSession(ObjectMeta(name=uid, namespace=NAMESPACE), msgspec.structs.replace(spec, recorded=True))
    client.create(_PATH, Raw(labels.added(msgspec.json.encode(session))))
    status: dict[str, Any] = {"phase": "Running", "node": _node(node), "startTime": time_of_it}
    client.patch(f"{_PATH}/{uid}/status", {"status": status})
    closed = {"phase": "Closed", "outcome": "completed", "exit": {"code": 0}, "endTime": time_of_it, "processes": 3}
    client.patch(f"{_PATH}/{uid}/status", {"status": closed | {"durationMs": 1200}})


def _make_pods(client: Client, number: int) -> None:
    path = "/api/v1/namespaces/default/pods"
    with ThreadPoolExecutor(_WRITERS) as writers:
        list(writers.map(partial(client.create, path), map(_pod, range(number))))


def _pod(number: int) -> dict[str, Any]:
    spec = {"nodeName": _node(number), "containers": [{"name": "app", "image": "registry.example/web:1.2.3"}]}
    return {"metadata": {"name": f"web-{number}", "labels": {"app": "web"}}, "spec": spec}


def _node(number: int) -> str:
    return f"node-{number}"


@contextmanager
def _agents(api: OwnApi, number: int, what: str) -> Iterator[None]:
    """The agents, in a process of their own, once all of them watch; they end with the block."""
    where = [api.url, str(api.ca), str(api.token)]
    command = [sys.executable, "-m", "bench.scale", "--as-agents", what, "--agents", str(number), "--api", *where]
    pipe = subprocess.PIPE
    with ExitStack() as stack:
        process = stack.enter_context(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("no pipes")
        stack.callback(process.stdin.close)
        if not process.stdout.readline():
            raise RuntimeError("the agents ended early")
        deadline = time.monotonic() + _WATCHING_SECONDS
        while api.metric(_WATCHES, resource="auditsessions", verb="WATCH") < number:
            if time.monotonic() > deadline:
                raise RuntimeError(f"not all of {number} agents watch after {_WATCHING_SECONDS} s")
            time.sleep(0.2)
        yield
        watching = api.metric(_WATCHES, resource="auditsessions", verb="WATCH")
        if watching < 0.95 * number:
            raise RuntimeError(
                f"only {watching:.0f} of {number} agents still watch: the machine is too slow for so many"
            )


def _be_agents(where: list[str], number: int, *, shards: bool) -> None:
    threading.Thread(target=_end_with_input, daemon=True).start()
    url, ca, token = where
    mirrors: list[Requests] = []
    for each in range(number):
        mirrors.append(Requests(Client(url, ca, Path(token)), NAMESPACE, None, _node(each) if shards else None))
        mirrors[-1].start()
        mirrors[max(0, each - _STARTING)].synced.wait()  # as a DaemonSet rolls out, not all at once
    for mirror in mirrors:
        mirror.synced.wait()
    logging.disable()  # the API server goes before them, of which they would complain
    print("ready", flush=True)
    threading.Event().wait()


def _end_with_input() -> None:
    sys.stdin.read()
    os._exit(0)


if __name__ == "__main__":
    main()
