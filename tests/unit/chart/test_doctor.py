"""The doctor knows the objects of the chart: of a release as it is rendered, it finds nothing missing or changed."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from exectrail.doctor import objects, release, requests, webhook
from exectrail.doctor.seen import Answer, Release, Seen
from tests.unit.chart.rendered import Document, HelmTemplate
from tests.unit.exectrail.covered_cluster import ca

NOW = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
UNWRITTEN = '{"sessions": [{"uid":"u","user":"a","namespace":"n","pod":"p","verb":"exec","time":"t","cause":"c"}]}'
DATA = {"webhook-outages": {"reached": "2026-11-29T11:59:50Z"}, "unwritten-sessions": {"replica": UNWRITTEN}}


def of(documents: list[Document], *kinds: str) -> list[Any]:
    return [document for document in documents if document["kind"] in kinds]


def live(documents: list[Document], name: str) -> Seen:
    """The release once it runs: with a CA, ready replicas, and what its parts write into ConfigMaps."""
    configurations = of(documents, "MutatingWebhookConfiguration")
    bundle = ca()
    for entry in configurations[0]["webhooks"]:
        entry["clientConfig"]["caBundle"] = bundle
    workloads = of(documents, "Deployment", "DaemonSet")
    for each in workloads:
        each["status"] = {"readyReplicas": each["spec"].get("replicas", 0)}
    maps = of(documents, "ConfigMap")
    for each in maps:
        each["data"] = next((data for end, data in DATA.items() if each["metadata"]["name"].endswith(end)), {})
    return Seen(
        now=NOW,
        release=Release("audit", name),
        workloads=Answer(msgspec.convert(workloads, list[objects.Workload])),
        configurations=Answer(msgspec.convert(configurations, list[objects.Configuration])),
        config_maps=Answer(msgspec.convert(maps, list[objects.ConfigMap])),
    )


@pytest.mark.parametrize("name", ["exectrail", "a-release-with-a-name-that-is-as-long-as-helm-lets-it"])
@pytest.mark.parametrize("values", [{}, {"webhook": {"failurePolicy": "Fail"}}, {"nameOverride": "other"}], ids=str)
def test_a_release_as_it_is_rendered_is_whole(helm_template: HelmTemplate, values: Document, name: str) -> None:
    seen = live(helm_template(values, release=name, namespace="audit"), name)

    assert release.check(seen).findings == []
    assert webhook.check(seen).findings == []
    assert f"failurePolicy of execs: {values.get('webhook', {}).get('failurePolicy', 'Ignore')}" in (
        webhook.check(seen).summary
    )


def test_its_configuration_is_compared_with_the_charts(helm_template: HelmTemplate) -> None:
    seen = live(helm_template(release="exectrail", namespace="audit"), "exectrail")
    for entry in seen.configurations.items[0].webhooks:
        entry["timeoutSeconds"] = 1

    (found,) = webhook.check(seen).findings

    assert (found.name, len(found.found)) == ("configuration-changed", len(seen.configurations.items[0].webhooks))


def test_the_lists_that_its_parts_write_are_found_by_the_names_of_their_configmaps(helm_template: HelmTemplate) -> None:
    seen = live(helm_template(release="exectrail", namespace="audit"), "exectrail")
    (outages,) = [each for each in seen.config_maps.items if "reached" in each.data]
    outages.data.clear()

    assert [each.name for each in webhook.check(seen).findings] == ["not-watched"]
    assert [each.name for each in requests.check(seen).findings] == ["unwritten-sessions"]
