"""What an uninstalled release leaves behind: the page on it says all of it."""

import re

from exectrail.contracts import session, spo
from tests.unit.chart.rendered import CHART, Document, HelmTemplate, mounts, pod_spec

PAGE = (CHART.parent / "docs/tasks/install.md").read_text()
STAYS = PAGE.partition("\n## How do I remove it, and what stays?\n")[2]
TABLE = STAYS.partition("\n### ")[0]


def kept(documents: list[Document]) -> list[Document]:
    """What Helm is told to keep."""
    return [
        each for each in documents if each["metadata"].get("annotations", {}).get("helm.sh/resource-policy") == "keep"
    ]


def test_every_object_that_is_kept_is_on_the_page(helm_template: HelmTemplate) -> None:
    found = kept(helm_template({"logs": {"mode": "pvc"}, "profiles": {"allowUnconfined": True}}))
    definitions = {each["spec"]["names"]["plural"] for each in found if each["kind"] == "CustomResourceDefinition"}
    others = {each["metadata"]["name"] for each in found if each["kind"] != "CustomResourceDefinition"}

    assert {"seccompprofiles", "nodetrails"} <= definitions
    assert {name for name in definitions if f"`{name}`" not in TABLE} == set()
    assert {name for name in others if name not in TABLE} == set()


def test_every_folder_that_a_node_keeps_is_on_the_page(helm_template: HelmTemplate) -> None:
    documents = helm_template()
    state = mounts(pod_spec(documents, "enricher"), "enricher")["/state"]["volume"]["hostPath"]["path"]
    profiles = mounts(pod_spec(documents, "node"), "installer")["/host/spo"]["volume"]["hostPath"]["path"]

    assert (f"`{state}`" in TABLE, f"`{profiles}`" in TABLE) == (True, True)
    assert f"`seccomp/{spo.FOLDER}`" in TABLE


def test_the_page_removes_every_label_and_annotation_of_a_namespace() -> None:
    labels = {session.RECORD_LABEL, session.PROFILE_LABEL, session.TAG_LABEL, session.REQUIRE_AUDIT_LABEL}
    removed = {name for words in re.findall(r"`kubectl (?:label|annotate) (.*)`", TABLE) for name in words.split()[2:]}

    assert {name.removesuffix("-") for name in removed} == labels | {spo.BINDING_LABEL, session.BREAK_GLASS_ANNOTATION}


def test_the_page_and_the_values_say_what_holds_a_seccompprofile() -> None:
    keep = (CHART / "values.yaml").read_text().partition("\ncrds:")[2].partition("keep: true")[0]

    assert f"`{spo.IN_USE_FINALIZER}`" in STAYS
    assert """kubectl patch seccompprofiles --type=merge -p '{"metadata":{"finalizers":null}}'""" in STAYS
    assert "finalizer" in keep


def test_the_definitions_of_a_release_have_the_labels_that_the_page_deletes_them_by(
    helm_template: HelmTemplate,
) -> None:
    (selector,) = re.findall(r"kubectl delete crd -l (\S+)", STAYS)
    wanted = dict(each.split("=") for each in selector.split(","))
    definitions = [each for each in helm_template() if each["kind"] == "CustomResourceDefinition"]

    assert len(definitions) == 6
    assert all(wanted.items() <= each["metadata"]["labels"].items() for each in definitions)
