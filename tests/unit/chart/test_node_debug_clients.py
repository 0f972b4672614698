"""Which clients' pods are for debugging their node: the same for the chart's entry, the webhook and the enricher."""

import json
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

import cel
import msgspec
import pytest

from enricher.containers.containers import CgroupRef, Containers
from enricher.containers.pods import Namespace, Pod
from exectrail.contracts.meta import ObjectMeta
from exectrail.service.label_flag import labels
from tests.unit.chart.rendered import HelmTemplate, container, only, pod_spec
from webhook.reviews.exec_metadata import decide
from webhook.reviews.review import decode
from webhook.reviews.session_spec import Rules
from webhook.reviews.tag_mode import Known

REVIEW = json.loads((Path(__file__).parents[1] / "webhook/data/pod-node-debug.json").read_text())
SITE = {"example.org/node-shell": "true"}
SOURCE = "debug.openshift.io/source-resource"
OC = {"debug.openshift.io/managed-by": "oc-debug"}
ROOT = [{"name": "host", "hostPath": {"path": "/"}}]
ALL_HOST = {"hostPID": True, "hostNetwork": True, "hostIPC": True}
PRIVILEGED: dict[str, Any] = {"name": "c", "securityContext": {"privileged": True}}
NSENTER = PRIVILEGED | {"command": ["nsenter"], "args": ["-t", "1", "-m", "-u", "-i", "-n", "sleep", "14000"]}
OWNER = [{"apiVersion": "apps/v1", "kind": "DaemonSet", "name": "agent", "uid": "1", "controller": True}]


def pod(name: str = "x", *, labels: Any = None, annotations: Any = None, owners: Any = None, **spec: Any) -> Any:
    metadata = {"labels": labels, "annotations": annotations, "ownerReferences": owners}
    return {
        "metadata": {"name": name, "namespace": "desk"} | {key: value for key, value in metadata.items() if value},
        "spec": {"nodeName": "node1", "containers": [{"name": "c"}]} | spec,
    }


DEBUGGERS = {
    "kubectl 1.34": pod("node-debugger-a-x", labels={"app.kubernetes.io/managed-by": "kubectl-debug"}),
    "kubectl, profile legacy": pod("node-debugger-a-x", **ALL_HOST, volumes=ROOT),
    "kubectl, profile netadmin": pod("node-debugger-a-x", **ALL_HOST),
    "kubectl, profile sysadmin": pod("node-debugger-a-x", **ALL_HOST, volumes=ROOT, containers=[PRIVILEGED]),
    "oc": pod("a-debug-x", labels=OC, annotations={SOURCE: "/v1, Resource=nodes/a"}, hostPID=True, volumes=ROOT),
    "oc, older": pod("a-debug", annotations={SOURCE: "/v1, Resource=nodes/a"}, hostNetwork=True, volumes=ROOT),
    "oc, of a node in the words of a user": pod("a-debug", annotations={SOURCE: "nodes/a"}),
    "oc, without its annotation": pod("a-debug", labels=OC),
    "OpenShift's console": pod("a-debug", annotations={SOURCE: "/v1, Resource=nodes/a"}, containers=[PRIVILEGED]),
    "k9s": pod("k9s-shell-4711", hostPID=True, hostNetwork=True, volumes=ROOT, containers=[PRIVILEGED]),
    "Lens": pod("node-shell-5b2e8a3c", **ALL_HOST, containers=[NSENTER]),
    "kubectl-node-shell": pod("nsenter-x7k2p9", hostPID=True, hostNetwork=True, containers=[NSENTER]),
    "kubectl run with overrides": pod("node-access", hostPID=True, containers=[{"name": "a"}, NSENTER]),
    "by an init container": pod("x", hostPID=True, initContainers=[PRIVILEGED]),
    "a copy's words do not hide it": pod("x", annotations={SOURCE: "pods/web"}, hostPID=True, containers=[PRIVILEGED]),
    "the site's own": pod("shell", labels=SITE),
}
OTHERS = {
    "an ordinary one": pod("web"),
    "oc debug deploy/x --node-name=N": pod(
        "web-debug", labels=OC, annotations={SOURCE: "apps/v1, Resource=deployments/web"}
    ),
    "oc debug pod/x": pod("web-debug", labels=OC, annotations={SOURCE: "/v1, Resource=pods/nodes"}),
    "a debugger's name alone": pod("node-debugger-a-x", volumes=ROOT),
    "a copy of kubectl debug": pod("web-copy"),
    "privileged": pod("web", containers=[PRIVILEGED]),
    "on the host's network": pod("web", hostNetwork=True, containers=[PRIVILEGED]),
    "among the node's processes": pod("web", hostPID=True),
    "a DaemonSet's agent": pod("agent-x7k2p", owners=OWNER, **ALL_HOST, volumes=ROOT, containers=[PRIVILEGED]),
    "another value of the site's label": pod("shell", labels={"example.org/node-shell": "false"}),
    "another tool's": pod("web", labels={"app.kubernetes.io/managed-by": "Helm"}),
}
CASES = [
    pytest.param(each, expected, id=name)
    for table, expected in ((DEBUGGERS, True), (OTHERS, False))
    for name, each in table.items()
]


@pytest.fixture(scope="module")
def conditions(helm_template: HelmTemplate) -> list[str]:
    documents = helm_template({"nodeDebug": {"match": SITE}})
    entries = only(documents, "MutatingWebhookConfiguration")["webhooks"]
    (entry,) = [each for each in entries if each["name"] == "nodedebug.exectrail.io"]
    return [each["expression"] for each in entry["matchConditions"]]


@pytest.mark.parametrize(("made", "expected"), CASES)
def test_the_chart_has_the_webhook_asked(conditions: list[str], made: Any, expected: bool) -> None:
    assert all(cel.evaluate(each, {"object": made}) for each in conditions) is expected


@pytest.mark.parametrize(("made", "expected"), CASES)
def test_the_webhook_writes_a_session_and_tags_it(made: Any, expected: bool) -> None:
    request = REVIEW["request"] | {"object": made, "name": made["metadata"]["name"], "namespace": "desk"}
    rules = Rules(frozenset(), b"k" * 32, "env", SITE)

    decision = decide(decode(json.dumps(REVIEW | {"request": request}).encode()), Known({}), rules, "now")

    assert decision.reason == ("tagged" if expected else "no-node-debug")


@pytest.mark.parametrize(("made", "expected"), CASES)
def test_the_enricher_records_it_in_every_namespace_and_the_node_meanwhile(made: Any, expected: bool) -> None:
    containers = Containers(SITE)
    containers.namespace_changed(None, Namespace(ObjectMeta(name="desk")))
    read = msgspec.json.decode(json.dumps(made), type=Pod)
    metadata = msgspec.structs.replace(read.metadata, uid="1")
    containers.pod_changed(None, msgspec.structs.replace(read, metadata=metadata))

    assert containers.look(CgroupRef("a" * 64, "1")).recorded is expected
    assert containers.look(CgroupRef(on_node=True)).recorded is expected


@pytest.mark.parametrize("made", [pod("x"), {"metadata": {}, "spec": {"nodeName": "", "containers": []}}], ids=str)
def test_no_condition_fails_for_a_field_that_is_missing(conditions: list[str], made: Any) -> None:
    assert not all(cel.evaluate(each, {"object": made}) for each in conditions)


def test_a_pod_that_the_scheduler_is_to_place_is_not_asked_about(conditions: list[str]) -> None:
    made = pod("shell", labels=SITE)
    del made["spec"]["nodeName"]
    assert not all(cel.evaluate(each, {"object": made}) for each in conditions)


def test_the_sites_labels_reach_both_programs(helm_template: HelmTemplate) -> None:
    documents = helm_template({"nodeDebug": {"match": SITE | {"team": "sre"}}})
    for component in ("webhook", "enricher"):
        args = container(pod_spec(documents, component), component)["args"]
        (flag,) = [each for each in args if each.startswith("--node-debug-labels=")]
        assert labels(flag.partition("=")[2]) == SITE | {"team": "sre"}


@pytest.mark.parametrize("text", ["team", "=sre", "team=a b", "a=b,c"])
def test_what_is_no_label_is_refused_by_name(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match=r"'.*' is no label: expected KEY=VALUE"):
        labels(text)
