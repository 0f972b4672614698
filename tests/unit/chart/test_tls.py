"""Where the webhook's certificate comes from, and that the API server trusts the same."""

import base64
import copy

import pytest
import trustme

from tests.unit.chart.live_cluster import installed
from tests.unit.chart.rendered import Document, HelmTemplate, container, mounts, only, pod_spec
from webhook.options import parser

CA = trustme.CA().cert_pem.bytes().decode()
EXISTING = {"tls": {"mode": "existingSecret", "existingSecret": {"name": "own", "caBundle": CA}}}


def certificates(documents: list[Document]) -> list[Document]:
    return [each for each in documents if each["apiVersion"].startswith("cert-manager.io/")]


def bundles(documents: list[Document]) -> list[str | None]:
    """The CA of each entry."""
    return [
        each["clientConfig"].get("caBundle") for each in only(documents, "MutatingWebhookConfiguration")["webhooks"]
    ]


def test_a_secret_of_ones_own_is_mounted_and_each_entry_trusts_its_ca(helm_template: HelmTemplate) -> None:
    documents = helm_template(EXISTING)
    mounted = mounts(pod_spec(documents, "webhook"), "webhook")["/tls"]["volume"]
    assert mounted == {"name": "tls", "secret": {"secretName": "own"}}
    assert {base64.b64decode(each or "").decode() for each in bundles(documents)} == {CA.strip()}


KUBEVIRT = {
    "apiGroups": ["subresources.kubevirt.io"],
    "apiVersions": ["v1"],
    "resources": ["virtualmachineinstances/console"],
}
SELF_MANAGED = {"tls": {"mode": "self-managed"}}


def test_what_issues_its_own_gets_an_empty_secret_that_no_upgrade_can_empty(helm_template: HelmTemplate) -> None:
    documents = helm_template(SELF_MANAGED, release="prod", namespace="audit")
    (secret,) = [each for each in documents if each["kind"] == "Secret" and "tls" in each["metadata"]["name"]]
    assert (secret["metadata"]["name"], secret["metadata"]["namespace"]) == ("prod-exectrail-self-managed-tls", "audit")
    assert not {"data", "stringData", "immutable"} & secret.keys()
    spec = pod_spec(documents, "webhook")
    assert "/tls" not in str(spec.get("volumes"))
    webhook = container(spec, "webhook")
    expected = {
        "--self-managed-secret=prod-exectrail-self-managed-tls",
        f"--webhook-configuration={only(documents, 'MutatingWebhookConfiguration')['metadata']['name']}",
        "--server-name=prod-exectrail-webhook.audit.svc",
        "--tls-duration=8760h",
        "--tls-renew-before=720h",
        "--tls-ca-duration=87600h",
        "--tls-ca-renew-before=17520h",
    }
    assert expected <= set(webhook["args"])
    assert set(bundles(documents)) == {None}


def test_the_defaults_of_the_chart_and_of_the_webhook_are_the_same(helm_template: HelmTemplate) -> None:
    args = container(pod_spec(helm_template(SELF_MANAGED), "webhook"), "webhook")["args"]
    found = vars(parser().parse_args(["--namespace", "x", *[arg for arg in args if arg.startswith("--tls-")]]))
    assert found == vars(parser().parse_args(["--namespace", "x"]))


def test_what_issues_its_own_may_write_its_secret_and_its_configuration_by_name(helm_template: HelmTemplate) -> None:
    documents = helm_template(SELF_MANAGED)
    rules = {
        (rule["resources"][0], *rule.get("resourceNames", [])): rule["verbs"]
        for kind in ("ClusterRole", "Role")
        for rule in only(documents, kind, "webhook")["rules"]
    }
    assert rules["secrets", "exectrail-self-managed-tls"] == ["list", "watch", "patch"]
    assert rules["mutatingwebhookconfigurations", "exectrail"] == ["list", "watch", "patch"]


@pytest.mark.parametrize("values", [EXISTING, SELF_MANAGED], ids=["existingSecret", "self-managed"])
def test_without_cert_manager_nothing_is_asked_of_it(helm_template: HelmTemplate, values: Document) -> None:
    documents = helm_template(values)
    assert certificates(documents) == []
    assert "annotations" not in only(documents, "MutatingWebhookConfiguration")["metadata"]


def test_every_key_is_p_256(helm_template: HelmTemplate) -> None:
    keys = [each["spec"]["privateKey"] for each in certificates(helm_template()) if each["kind"] == "Certificate"]
    assert [(key["algorithm"], key["size"]) for key in keys] == [("ECDSA", 256)] * 2


def test_durations_are_those_of_the_values(helm_template: HelmTemplate) -> None:
    values = {"duration": "48h", "renewBefore": "12h", "ca": {"duration": "480h", "renewBefore": "96h"}}
    found = {
        bool(each["spec"].get("isCA")): (each["spec"]["duration"], each["spec"]["renewBefore"])
        for each in certificates(helm_template({"tls": values}))
        if each["kind"] == "Certificate"
    }
    assert found == {True: ("480h", "96h"), False: ("48h", "12h")}


@pytest.mark.parametrize(("value", "version"), [("1.2", "1.2"), ("1.3", "1.3"), (1.3, "1.3")])
def test_the_webhook_speaks_no_older_tls_than_the_values_say(
    helm_template: HelmTemplate, value: object, version: str
) -> None:
    webhook = container(pod_spec(helm_template({"tls": {"minVersion": value}}), "webhook"), "webhook")
    assert f"--tls-min-version={version}" in webhook["args"]


@pytest.mark.parametrize("mode", ["cert-manager", "self-managed"])
def test_a_secret_path_has_an_empty_secret_and_rights_by_name(helm_template: HelmTemplate, mode: str) -> None:
    documents = helm_template({"webhook": {"secretPath": {"enabled": True}}, "tls": {"mode": mode}}, release="prod")
    (secret,) = [each for each in documents if each["kind"] == "Secret" and "path" in each["metadata"]["name"]]
    assert secret.keys() == {"apiVersion", "kind", "metadata", "type"}
    webhook = container(pod_spec(documents, "webhook"), "webhook")
    assert f"--path-secret={secret['metadata']['name']}" in webhook["args"]
    assert webhook["args"].count("--webhook-configuration=prod-exectrail") == 1
    rules = [rule for kind in ("ClusterRole", "Role") for rule in only(documents, kind, "webhook")["rules"]]
    named = {name: rule["verbs"] for rule in rules for name in rule.get("resourceNames", [])}
    assert named["prod-exectrail-webhook-path"] == named["prod-exectrail"] == ["list", "watch", "patch"]


def test_the_secret_of_a_path_stays_in_the_webhook_configuration_alone(helm_template: HelmTemplate) -> None:
    values = {"webhook": {"secretPath": {"enabled": True}, "consoles": [KUBEVIRT]}}
    fresh = helm_template(values)
    live = installed(only(copy.deepcopy(fresh), "MutatingWebhookConfiguration"))
    for each in live["webhooks"]:
        each["clientConfig"]["service"]["path"] += "/hunter2"

    upgraded = helm_template(values, live=[live])

    assert only(upgraded, "MutatingWebhookConfiguration")["webhooks"] == live["webhooks"]
    others = [[each for each in these if "Webhook" not in each["kind"]] for these in (upgraded, fresh)]
    assert "hunter2" not in str(others[0])
    # Nor does a new token replace the pods of the controller.
    assert others[0] == others[1]


def test_by_default_the_webhook_has_no_right_to_its_configuration(helm_template: HelmTemplate) -> None:
    documents = helm_template()
    assert "mutatingwebhookconfigurations" not in str(only(documents, "ClusterRole", "webhook"))
    assert "--webhook-configuration" not in str(pod_spec(documents, "webhook"))


@pytest.mark.parametrize("cidrs", [[], ["10.0.0.1/32", "fd00::/64"]])
def test_admission_is_reached_from_the_api_servers_alone_where_the_values_name_them(
    helm_template: HelmTemplate, cidrs: list[str]
) -> None:
    documents = helm_template({"networkPolicy": {"enabled": True, "apiServerCIDRs": cidrs}})
    rules = {
        port["port"]: [each["ipBlock"]["cidr"] for each in rule.get("from", [])]
        for rule in only(documents, "NetworkPolicy", "webhook")["spec"]["ingress"]
        for port in rule["ports"]
    }
    assert rules == {"https": cidrs, "metrics": []}
