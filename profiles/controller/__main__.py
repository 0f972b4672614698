"""The controller: closes the AuditSessions that no node will close, bounds their number, keeps profiles' status, and
watches whether the webhook is reached.

`python -m profiles.controller`, two replicas or more; one acts, chosen by a Lease.
"""

import argparse
import logging
import os
import signal
import socket
import sys
import threading
from datetime import timedelta
from typing import Any

import msgspec
from kubernetes import client
from kubernetes.config import ConfigException

from exectrail.contracts.unreadable import UNREADABLE
from exectrail.k8s.client import Client
from exectrail.k8s.mirror import Mirror
from exectrail.service import logs, threads
from exectrail.service.serving import bind, serve
from profiles.controller import health, requests, session_api
from profiles.controller.lease import Lease
from profiles.controller.profile_api import ProfileApi
from profiles.controller.profiles import Profiles
from profiles.controller.reachability import Reachability, WebhookNames
from profiles.controller.retention import Policy, Session
from profiles.controller.rounds import Rounds
from profiles.controller.spod import Names, Spod
from profiles.controller.spod_api import SpodApi

log = logging.getLogger(__name__)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, not {number}")
    return number


def _object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except UNREADABLE as error:
        raise argparse.ArgumentTypeError(f"must be a JSON object: {error}") from error


def _entries(text: str) -> list[dict[str, Any]]:
    try:
        return msgspec.json.decode(text, type=list[dict[str, Any]])
    except UNREADABLE as error:
        raise argparse.ArgumentTypeError(f"must be a JSON list of objects: {error}") from error


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    env = os.environ
    parser = argparse.ArgumentParser(
        prog="python -m profiles.controller",
        description="Close AuditSessions that no node can close, delete old ones, and keep the status of profiles.",
    )
    add = parser.add_argument
    help_ = "age in days after which AuditSessions are deleted (default %(default)s)"
    add("--retention-days", type=_positive, default=30, metavar="DAYS", help=help_)
    help_ = "number of AuditSessions to keep; who has most of them loses the oldest (default %(default)s)"
    add("--retention-count", type=_positive, default=10_000, metavar="N", help=help_)
    help_ = "time that an exec may take to start, in seconds (default %(default)s)"
    add("--start-grace", type=_positive, default=120, metavar="SECONDS", help=help_)
    help_ = "the same for an ephemeral container, whose image may have to be pulled (default %(default)s)"
    add("--debug-grace", type=_positive, default=600, metavar="SECONDS", help=help_)
    help_ = "interval between two rounds, in seconds (default %(default)s)"
    add("--interval", type=_positive, default=15, metavar="SECONDS", help=help_)
    help_ = "port for /healthz, /readyz and /metrics, plain HTTP (default %(default)s)"
    add("--metrics-port", type=int, default=9081, metavar="PORT", help=help_)
    help_ = "Lease that makes one replica lead (default %(default)s)"
    add("--lease-name", default="exectrail-controller", metavar="NAME", help=help_)
    help_ = "DaemonSet that installs profiles; its pods' nodes count in their status (default %(default)s)"
    add("--installer-daemonset", default="exectrail-node", metavar="NAME", help=help_)
    help_ = "DaemonSet of the enricher (default %(default)s)"
    add("--enricher-daemonset", default="exectrail-enricher", metavar="NAME", help=help_)
    help_ = "ConfigMap for what enrichers and installers are to follow without a restart (default %(default)s)"
    add("--settings-configmap", default="exectrail-spod", metavar="NAME", help=help_)
    help_ = "the chart's values by their paths, as JSON: SecurityProfilesOperatorDaemon is compared with them"
    add("--release-values", type=_object, default="{}", metavar="JSON", help=help_)
    help_ = "interval between two looks whether the webhook is reached, in seconds (default %(default)s)"
    add("--canary-interval", type=_positive, default=30, metavar="SECONDS", help=help_)
    help_ = "the webhook's MutatingWebhookConfiguration (default %(default)s)"
    add("--webhook-configuration", default="exectrail", metavar="NAME", help=help_)
    help_ = "the chart's entries of that, as JSON, to compare it with; nothing is compared without"
    add("--webhooks", type=_entries, default="[]", metavar="JSON", help=help_)
    help_ = "ConfigMap that keeps when the webhook was not reached (default %(default)s)"
    add("--webhook-outages", default="exectrail-webhook-outages", metavar="NAME", help=help_)
    help_ = "namespace of AuditSessions (default $POD_NAMESPACE)"
    add("--namespace", default=env.get("POD_NAMESPACE"), metavar="NAME", help=help_)
    help_ = "name of this replica in the Lease (default $POD_NAME or the host's name)"
    add("--identity", default=env.get("POD_NAME") or socket.gethostname(), metavar="NAME", help=help_)
    help_ = "least important level to log (default $LOG_LEVEL or info)"
    add("--log-level", default=env.get("LOG_LEVEL", "info"), choices=logs.LEVELS, help=help_)
    arguments = parser.parse_args(argv)
    if not arguments.namespace:
        parser.error("--namespace is empty: set it or POD_NAMESPACE to the namespace of the release")
    return arguments


def main(argv: list[str] | None = None) -> int:
    """Run until SIGTERM; 1 when the configuration cannot work."""
    arguments = _arguments(argv)
    logs.setup(arguments.log_level)
    threads.end_process_on_fault()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    pulse, pulse_of_profiles = health.Pulse(), health.Pulse()

    def wrong() -> str | None:
        return pulse.wrong() or pulse_of_profiles.wrong()

    try:
        api_client, watching = requests.connect(), Client.in_cluster()
        serve(bind("", arguments.metrics_port), wrong, wrong)
    except (ConfigException, RuntimeError) as error:
        log.error("no cluster to work for: %s; run in a pod of the cluster", error)
        return 1
    except OSError as error:
        log.error("cannot serve at --metrics-port %d: %s", arguments.metrics_port, error)
        return 1
    lease = Lease(client.CoordinationV1Api(api_client), arguments.namespace, arguments.lease_name, arguments.identity)
    lease.start()
    writes = ProfileApi(api_client, arguments.identity)
    daemonset, beat = arguments.installer_daemonset, pulse_of_profiles.beat
    profiles = Profiles(watching, writes, arguments.namespace, daemonset, lease.held, beat)
    names = Names(arguments.namespace, arguments.settings_configmap, (arguments.enricher_daemonset, daemonset))
    spod_writes = SpodApi(api_client, names.namespace, names.config_map)
    spod = Spod(watching, spod_writes, names, arguments.release_values, lease.held)
    of_webhook = WebhookNames(
        arguments.namespace, arguments.webhook_configuration, arguments.webhook_outages, arguments.identity
    )
    reachability = Reachability(Client.in_cluster, of_webhook, arguments.webhooks, lease.held)
    workers = [
        threading.Thread(target=reachability.run, args=(arguments.canary_interval, stop), name="reachability"),
        threading.Thread(target=profiles.run, args=(stop,), name="profiles"),
        threading.Thread(target=_once_served, args=(profiles.served, spod, stop), name="spod"),
    ]
    for worker in workers:
        worker.start()
    sessions = session_api.mirror(watching, arguments.namespace)
    sessions.start()
    if _listed(sessions, pulse, stop):
        rounds = Rounds(
            session_api.SessionApi(api_client, arguments.namespace, sessions),
            _policy(arguments),
            lease.held,
            pulse.beat,
        )
        rounds.run(arguments.interval, stop)
    for worker in workers:
        worker.join()
    lease.give_back()
    return threads.exit_code()


def _once_served(served: threading.Event, spod: Spod, stop: threading.Event) -> None:
    while not stop.is_set():
        if served.wait(1.0):
            spod.run(stop)


def _listed(mirror: Mirror[Session], pulse: health.Pulse, stop: threading.Event) -> bool:
    """Wait until all AuditSessions are known: to count fewer than there are would keep too many."""
    while not stop.is_set():
        pulse.beat()
        if mirror.synced.wait(1.0):
            return True
    return False


def _policy(arguments: argparse.Namespace) -> Policy:
    return Policy(
        keep_for=timedelta(days=arguments.retention_days),
        keep_most=arguments.retention_count,
        start_grace=timedelta(seconds=arguments.start_grace),
        debug_grace=timedelta(seconds=arguments.debug_grace),
    )


if __name__ == "__main__":
    sys.exit(main())
