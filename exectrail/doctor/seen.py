"""What was seen of a cluster, and what could not be."""

from collections.abc import Iterator
from datetime import datetime
from typing import Generic, TypeVar

from msgspec import Struct

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
    Namespace,
    Node,
    Pod,
    Trail,
    Workload,
)

T = TypeVar("T")


class Answer(Struct, Generic[T], frozen=True):
    """The objects of a kind."""

    items: list[T] = []
    problem: NotChecked | None = None
    """Why they could not be listed, or not all of them."""

    @property
    def known(self) -> bool:
        """Whether what is not among them is not there."""
        return self.problem is None


class Release(Struct, frozen=True):
    """Where the chart is installed."""

    namespace: str
    instance: str
    """The release's name."""

    def __str__(self) -> str:
        return f"release {self.instance} in namespace {self.namespace}"


class Seen(Struct, frozen=True, kw_only=True):
    """All that the areas decide by."""

    now: datetime
    """By the API server's clock, or by this machine's where that could not be asked."""
    clock: NotChecked | None = None
    release: Release
    others: list[Release] = []
    """Further releases."""
    workloads: Answer[Workload] = Answer()
    """Of the release."""
    own_pods: Answer[Pod] = Answer()
    """The same."""
    nodes: Answer[Node] = Answer()
    trails: Answer[Trail] = Answer()
    namespaces: Answer[Namespace] = Answer()
    pods: Answer[Pod] = Answer()
    """Those of opted-in namespaces that have not ended."""
    configurations: Answer[Configuration] = Answer()
    bindings: Answer[Binding] = Answer()
    config_maps: Answer[ConfigMap] = Answer()
    """Of the release."""
    certificates: Answer[Certificate] = Answer()
    """Those of its namespace that are the release's, where cert-manager makes them."""
    expiries: Answer[tuple[str, float]] = Answer()
    """Where it does not: of each replica of the webhook the end of its certificate, in Unix time."""

    def workload(self, component: str) -> Workload | None:
        """The release's part of this name."""
        return next((each for each in self.workloads.items if each.component == component), None)

    def own_pods_of(self, component: str) -> list[Pod]:
        """The pods of a part of the release."""
        return [pod for pod in self.own_pods.items if pod.metadata.labels.get(COMPONENT_LABEL) == component]

    @property
    def trails_of_nodes(self) -> list[Trail]:
        """The NodeTrails whose nodes are there still."""
        names = {each.metadata.name for each in self.nodes.items}
        return [each for each in self.trails.items if not self.nodes.known or each.metadata.name in names]

    @property
    def configuration(self) -> Configuration | None:
        """The release's MutatingWebhookConfiguration."""
        # A release may have other charts beside this one, with the same instance.
        mine = {NAME_LABEL: PRODUCT, INSTANCE_LABEL: self.release.instance}.items()
        return next((each for each in self.configurations.items if mine <= each.metadata.labels.items()), None)

    @property
    def certificate(self) -> str:
        """The Certificate that cert-manager makes the configuration's `caBundle` of; empty where it makes none."""
        return self.configuration.metadata.annotations.get(INJECTED, "") if self.configuration else ""

    def not_checked(self) -> Iterator[NotChecked]:
        """What could not be looked at."""
        answers: list[Answer[object]] = [
            value for name in self.__struct_fields__ if isinstance(value := getattr(self, name), Answer)
        ]
        # Pods are listed once, and are in two answers.
        yield from dict.fromkeys(each for each in (self.clock, *(answer.problem for answer in answers)) if each)
