"""Looks at a cluster: a few lists, in parallel, none of which has to be allowed.

The first call is alone: a credential plugin may ask for a login, and is to ask once.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from exectrail.contracts import nodetrail, spo
from exectrail.contracts.session import opted_in
from exectrail.contracts.unreadable import UNREADABLE
from exectrail.doctor.finding import NotChecked
from exectrail.doctor.objects import (
    COMPONENT_LABEL,
    INJECTED,
    INSTANCE_LABEL,
    NAME_LABEL,
    PRODUCT,
    Binding,
    Certificate,
    ConfigMap,
    Configuration,
    Meta,
    Namespace,
    Node,
    Pod,
    PodMeta,
    Trail,
    Workload,
)
from exectrail.doctor.seen import Answer, Release, Seen
from exectrail.reading.kubectl import Kubectl, KubectlError, NotFound, Unreachable
from exectrail.reading.listing import decoded, listed

_PAGE = 500
"""Objects of one answer: a pod has up to some ten KiB."""
_AT_ONCE = 4
"""A call of kubectl takes a tenth of a second of a processor, and 50 MB."""
_OURS = {"labelSelector": f"{NAME_LABEL}={PRODUCT}"}
_ENDED = ("Succeeded", "Failed")
_expiry = re.compile(rb"^exectrail_webhook_certificate_expiry_timestamp_seconds (\S+)$", re.MULTILINE).search

T = TypeVar("T")


class NoRelease(Exception):
    """No part of exectrail was found in the cluster."""


class _Asked(Struct, frozen=True):
    metadata: Meta


def look(kubectl: Kubectl, namespace: str | None = None) -> Seen:
    """See what there is.

    Args:
        kubectl: The cluster.
        namespace: Of the release; where it is not given, the release is looked for.

    Raises:
        KubectlError: Nothing could be looked at.
        NoRelease: There is no release.

    """
    now, clock = _time(kubectl)
    api = _Api(kubectl)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        try:
            return _look(api, pool, namespace, now, clock)
        except BaseException:
            kubectl.end()
            raise


def _look(
    api: "_Api", pool: ThreadPoolExecutor, namespace: str | None, now: datetime, clock: NotChecked | None
) -> Seen:
    deployments = pool.submit(api.list, "/apis/apps/v1/deployments", Workload, "Deployments of exectrail", _OURS)
    daemon_sets = pool.submit(api.list, "/apis/apps/v1/daemonsets", Workload, "DaemonSets of exectrail", _OURS)
    namespaces = pool.submit(api.list, "/api/v1/namespaces", Namespace, "namespaces")
    nodes = pool.submit(api.list, "/api/v1/nodes", Node, "nodes")
    trails = pool.submit(api.list, f"/apis/{nodetrail.GROUP_VERSION}/{nodetrail.PLURAL}", Trail, "NodeTrails")
    path = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations"
    configurations = pool.submit(api.list, path, Configuration, "MutatingWebhookConfigurations")
    bindings = pool.submit(api.bindings)
    chosen = {each.metadata.name for each in namespaces.result().items if opted_in(each.metadata.labels)}
    pods = api.pods(chosen)
    own_pods = Answer([pod for pod in pods.items if pod.metadata.labels.get(NAME_LABEL) == PRODUCT], pods.problem)
    workloads = _together(deployments.result(), daemon_sets.result())
    if api.errors and not any(each.known for each in (*_results(nodes, namespaces, trails), pods, workloads)):
        raise api.errors[0]
    releases = _releases(workloads, own_pods, namespace, configurations.result())
    if not releases:
        where = f"in namespace {namespace}" if namespace else "in this cluster"
        raise NoRelease(f"no release of exectrail is found {where} (label {NAME_LABEL}={PRODUCT})")
    release = releases[0]
    seen = Seen(
        now=now,
        clock=clock,
        release=release,
        others=releases[1:],
        workloads=_of(release, workloads),
        own_pods=_of(release, own_pods),
        nodes=nodes.result(),
        trails=trails.result(),
        namespaces=namespaces.result(),
        pods=Answer([pod for pod in pods.items if pod.metadata.namespace in chosen], pods.problem),
        configurations=configurations.result(),
        bindings=bindings.result(),
    )
    place = f"namespaces/{release.namespace}"
    mine = {"labelSelector": f"{_OURS['labelSelector']},{INSTANCE_LABEL}={release.instance}"}
    maps = pool.submit(api.list, f"/api/v1/{place}/configmaps", ConfigMap, "ConfigMaps of the release", mine)
    if _by_cert_manager(seen):
        return msgspec.structs.replace(seen, config_maps=maps.result(), certificates=api.certificates(seen))
    return msgspec.structs.replace(seen, config_maps=maps.result(), expiries=api.expiries(seen))


def _results(*futures: Any) -> Iterator[Answer[Any]]:  # noqa: ANN401 - of several kinds
    yield from (future.result() for future in futures)


def _together(*answers: Answer[T]) -> Answer[T]:
    problems = [each.problem for each in answers if each.problem]
    return Answer([item for each in answers for item in each.items], problems[0] if problems else None)


def _time(kubectl: Kubectl) -> tuple[datetime, NotChecked | None]:
    """The API server's clock: it stamps the answer about who asks, which every user may ask."""
    try:
        answer = kubectl.ask("auth", "whoami", "--request-timeout=20s", "--output=json")
        stamp = decoded(answer, _Asked).metadata.creation_timestamp
        return datetime.fromisoformat(stamp), None
    except Unreachable:
        raise
    except (KubectlError, ValueError) as error:
        return datetime.now(UTC), NotChecked("the API server's clock (this machine's is taken)", str(error))


def _releases(
    workloads: Answer[Workload], pods: Answer[Pod], namespace: str | None, configurations: Answer[Configuration]
) -> list[Release]:
    """All of them, first those that the API server calls, and of these the one with most parts.

    Anyone can label workloads of their own namespace so; only administrators can have the API server call a webhook.
    """
    called = {
        (entry.get("clientConfig", {}).get("service") or {}).get("namespace")
        for each in configurations.items
        if each.metadata.labels.get(NAME_LABEL) == PRODUCT
        for entry in each.webhooks
    }
    parts: dict[Release, set[str]] = {}
    metas: list[Meta | PodMeta] = [*(each.metadata for each in workloads.items), *(pod.metadata for pod in pods.items)]
    for meta in metas:
        if INSTANCE_LABEL in meta.labels and namespace in (None, meta.namespace):
            release = Release(meta.namespace, meta.labels[INSTANCE_LABEL])
            parts.setdefault(release, set()).add(meta.labels.get(COMPONENT_LABEL, ""))
    return sorted(parts, key=lambda it: (it.namespace not in called, -len(parts[it]), it.namespace, it.instance))


def _of(release: Release, answer: Answer[T]) -> Answer[T]:
    def mine(item: Any) -> bool:  # noqa: ANN401 - any object
        return release == Release(item.metadata.namespace, item.metadata.labels.get(INSTANCE_LABEL, ""))

    return Answer([item for item in answer.items if mine(item)], answer.problem)


def _by_cert_manager(seen: Seen) -> bool:
    if seen.configuration:
        return INJECTED in seen.configuration.metadata.annotations
    webhook = seen.workload("webhook")
    return not (webhook and webhook.argument("self-managed-secret"))


class _Api:
    """Lists objects; what cannot be listed is said in the answer."""

    def __init__(self, kubectl: Kubectl) -> None:
        self._kubectl = kubectl
        self.errors: list[KubectlError] = []
        """Why lists are not there."""

    def list(
        self,
        path: str,
        kind: type[T],
        what: str,
        query: Mapping[str, str] | None = None,
        keep: Callable[[T], bool] = lambda _: True,
    ) -> Answer[T]:
        """The objects of a kind that are to be kept; where the cluster does not know the kind, none."""
        decoder = msgspec.json.Decoder(kind)
        kept: list[T] = []
        damaged = 0
        try:
            for raw in listed(self._kubectl, path, _PAGE, **query or {}):
                try:
                    item = decoder.decode(raw)
                except UNREADABLE:
                    damaged += 1
                    continue
                if keep(item):
                    kept.append(item)
        except NotFound:
            return Answer(kept)
        except KubectlError as error:
            self.errors.append(error)
            return Answer(kept, NotChecked(what, str(error)))
        return Answer(kept, NotChecked(what, f"{damaged} of them cannot be read") if damaged else None)

    def pods(self, namespaces: set[str]) -> Answer[Pod]:
        """Those of the namespaces, and exectrail's own, that neither have ended nor are about to."""

        def keep(pod: Pod) -> bool:
            ours = pod.metadata.labels.get(NAME_LABEL) == PRODUCT
            over = pod.status.phase in _ENDED or pod.metadata.deletion_timestamp is not None
            return (ours or pod.metadata.namespace in namespaces) and not over

        return self.list("/api/v1/pods", Pod, "pods", keep=keep)

    def bindings(self) -> Answer[Binding]:
        """By the newest version that the cluster serves."""
        answers = (self.list(path, Binding, "ProfileBindings") for path in spo.paths(spo.PROFILE_BINDINGS))
        return next((each for each in answers if each.items or not each.known), Answer())

    def certificates(self, seen: Seen) -> Answer[Certificate]:
        """The release's, and the one that its configuration names."""
        mine = {NAME_LABEL: PRODUCT, INSTANCE_LABEL: seen.release.instance}.items()

        def keep(each: Certificate) -> bool:
            # One that someone made in the place of the chart's has no labels.
            return each.key == seen.certificate or mine <= each.metadata.labels.items()

        path = f"/apis/cert-manager.io/v1/namespaces/{seen.release.namespace}/certificates"
        return self.list(path, Certificate, "Certificates", keep=keep)

    def expiries(self, seen: Seen) -> Answer[tuple[str, float]]:
        """What the replicas of the webhook say in their metrics."""
        webhook = seen.workload("webhook")
        port = (webhook and webhook.argument("metrics-port")) or "9080"
        found: list[tuple[str, float]] = []
        for pod in seen.own_pods_of("webhook"):
            path = f"/api/v1/namespaces/{pod.metadata.namespace}/pods/{pod.metadata.name}:{port}/proxy/metrics"
            try:
                page = self._kubectl.get("--raw", path)
            except KubectlError as error:
                return Answer(found, NotChecked("the webhook's certificate", str(error)))
            if said := _expiry(page):
                found.append((pod.key, float(said[1])))
        return Answer(found)
