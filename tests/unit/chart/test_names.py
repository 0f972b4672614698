"""Any release in any namespace: names, labels, selectors."""

import json
import re
from typing import Any

import pytest

from tests.unit.chart.rendered import CLUSTER_SCOPED, HelmTemplate, component_of, only, pod_template, workloads

LONG = "a" * 53
"""As long as a release's name may be."""


def test_two_releases_share_no_cluster_scoped_object_but_the_definitions(helm_template: HelmTemplate) -> None:
    def cluster_scoped(release: str, namespace: str) -> set[tuple[str, str]]:
        documents = helm_template(release=release, namespace=namespace)
        return {
            (document["kind"], document["metadata"]["name"])
            for document in documents
            if "namespace" not in document["metadata"]
        }

    shared = cluster_scoped("exectrail", "exectrail") & cluster_scoped("other", "elsewhere")
    assert {kind for kind, _ in shared} == {"CustomResourceDefinition"}


def test_everything_else_is_in_the_releases_namespace(helm_template: HelmTemplate) -> None:
    for document in helm_template(namespace="elsewhere"):
        expected = None if document["kind"] in CLUSTER_SCOPED else "elsewhere"
        assert document["metadata"].get("namespace") == expected, document["kind"]


@pytest.mark.parametrize(
    ("release", "values"),
    [
        (LONG, {}),
        (LONG, {"nameOverride": "b" * 63}),
        ("exectrail", {"fullnameOverride": "c" * 80}),
        ("v1.2.3", {}),
        ("1st", {}),
        ("123", {}),
    ],
)
def test_names_are_valid_for_any_release(helm_template: HelmTemplate, release: str, values: dict[str, Any]) -> None:
    documents = helm_template({**values, "logs": {"mode": "pvc"}, "networkPolicy": {"enabled": True}}, release=release)
    names = [document["metadata"]["name"] for document in documents if document["kind"] != "CustomResourceDefinition"]
    for name in names:
        assert re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name), name
    keys = [(document["kind"], document["metadata"]["name"]) for document in documents]
    assert len(keys) == len(set(keys))


def test_a_namespace_whose_name_looks_like_a_number_stays_text(helm_template: HelmTemplate) -> None:
    documents = helm_template(release="123", namespace="456")
    assert {document["metadata"].get("namespace") for document in documents} == {None, "456"}
    assert {document["metadata"]["labels"]["app.kubernetes.io/instance"] for document in documents} == {"123"}


@pytest.mark.parametrize("name", ["null", "true", "on"])
def test_a_full_name_that_yaml_takes_for_something_else_stays_text(helm_template: HelmTemplate, name: str) -> None:
    values = {"webhook": {"secretPath": {"enabled": True}}, "networkPolicy": {"enabled": True}}
    plain = json.dumps(helm_template(values | {"fullnameOverride": "plain"}))
    assert json.dumps(helm_template(values | {"fullnameOverride": name})) == plain.replace("plain", name)


@pytest.mark.parametrize("mode", ["file", "pvc"])
@pytest.mark.parametrize("odd", ["a: b", "a #b", 'a "b"', "it's", "back\\slash"])
def test_a_path_that_yaml_takes_for_something_else_stays_text(helm_template: HelmTemplate, mode: str, odd: str) -> None:
    def rendered(word: str) -> str:
        values = {
            "logs": {"mode": mode, "auditLogPath": f"/srv/{word}/{word}.jsonl"},
            "enricher": {"auditLog": {"path": f"/srv/{word}/{word}.log"}},
            "node": {"kubeletDir": f"/srv/{word}"},
        }
        # An argument of the controller is JSON, where these words are quoted once more.
        documents = [each for each in helm_template(values) if component_of(each) != "controller"]
        return json.dumps(documents)

    assert rendered(odd) == rendered("plain").replace("plain", json.dumps(odd)[1:-1])


def test_a_release_named_like_the_chart_does_not_say_it_twice(helm_template: HelmTemplate) -> None:
    assert only(helm_template(release="exectrail"), "Service")["metadata"]["name"] == "exectrail-webhook"
    assert only(helm_template(release="prod"), "Service")["metadata"]["name"] == "prod-exectrail-webhook"


@pytest.mark.parametrize("component", ["webhook", "controller", "enricher", "node"])
@pytest.mark.parametrize(
    "values",
    [
        {},
        {"image": {"tag": "9.9.9"}, "logLevel": "debug"},
        {"nameOverride": "other"},
        {"commonLabels": {"team": "a", "app.kubernetes.io/name": "mine", "app.kubernetes.io/component": "mine"}},
    ],
    ids=["default", "new version", "renamed", "with labels"],
)
def test_pods_are_selected_by_three_labels_that_no_value_changes(
    helm_template: HelmTemplate, component: str, values: dict[str, Any]
) -> None:
    workload = workloads(helm_template(values))[component]
    selector = workload["spec"]["selector"]["matchLabels"]
    assert selector == {
        "app.kubernetes.io/name": "exectrail",
        "app.kubernetes.io/instance": "exectrail",
        "app.kubernetes.io/component": component,
    }
    assert selector.items() <= workload["spec"]["template"]["metadata"]["labels"].items()


def test_the_users_labels_and_annotations_reach_the_pods(helm_template: HelmTemplate) -> None:
    for component in ("webhook", "controller", "enricher", "node"):
        values = {
            "commonLabels": {"team": "a"},
            component: {"podLabels": {"tier": "b"}, "podAnnotations": {"note": "c"}},
        }
        metadata = pod_template(helm_template(values), component)["metadata"]
        assert {"team": "a", "tier": "b"}.items() <= metadata["labels"].items()
        assert metadata["annotations"]["note"] == "c"


def test_common_labels_are_on_every_object(helm_template: HelmTemplate) -> None:
    for document in helm_template({"commonLabels": {"team": "a"}, "networkPolicy": {"enabled": True}}):
        assert document["metadata"]["labels"]["team"] == "a", document["kind"]


def test_every_service_and_budget_selects_pods_that_are_there(helm_template: HelmTemplate) -> None:
    documents = helm_template({"networkPolicy": {"enabled": True}})
    pods = [workload["spec"]["template"]["metadata"]["labels"] for workload in workloads(documents).values()]
    selectors = [only(documents, "Service")["spec"]["selector"]]
    selectors += [only(documents, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]]
    selectors += [d["spec"]["podSelector"]["matchLabels"] for d in documents if d["kind"] == "NetworkPolicy"]
    assert len(selectors) == 5
    for selector in selectors:
        assert sum(selector.items() <= labels.items() for labels in pods) == 1
