"""The admission policies, evaluated: what they let through and what they refuse, by whom.

The evaluator lacks the API server's own library `authorizer`: variables stand in for the questions asked of it, about
the caller and about a pod's ServiceAccount.
"""

import re

import cel
import pytest

from exectrail.contracts.node_label import node_label
from tests.unit.chart.live_cluster import installed
from tests.unit.chart.rendered import Document, HelmTemplate, RunHelm, container, pod_spec

ACCOUNTS = "system:serviceaccount:exectrail:exectrail-"
WEBHOOK, CONTROLLER, ENRICHER, INSTALLER = (
    f"{ACCOUNTS}{each}" for each in ("webhook", "controller", "enricher", "node")
)
CLEANUP = "system:serviceaccount:kube-system:namespace-controller"
ALL: Document = {
    "policies": {"namespaceLabels": {"users": ["alice"], "groups": ["sre"]}},
    "profiles": {"allowUnconfined": True},
}
"""Values with all policies."""
NODE_NAME = "authentication.kubernetes.io/node-name"


@pytest.fixture(scope="module")
def policies(helm_template: HelmTemplate) -> dict[str, Document]:
    """The policies' specs by name, with those that are off by default."""
    return of_release(helm_template(ALL))


def of_release(documents: list[Document]) -> dict[str, Document]:
    found = (each for each in documents if each["kind"] == "ValidatingAdmissionPolicy")
    return {each["metadata"]["name"].removeprefix("exectrail-"): each["spec"] for each in found}


def refused(
    policy: Document,
    operation: str,
    user: str,
    new: Document | None,
    old: Document | None = None,
    *,
    node: str = "",
    sub: str = "",
    groups: list[str] | None = None,
    administers: bool = False,
    account_may: bool = False,
    labels: dict[str, str] | None = None,
) -> bool:
    """Whether the policy has something against a request that its rules match."""
    info = {"username": user, "groups": groups or [], "extra": {NODE_NAME: [node]} if node else {}}
    known = {
        # As the API server has it: a member that is empty is not there.
        "request": {"operation": operation, "userInfo": info} | ({"subResource": sub} if sub else {}),
        "object": new,
        "oldObject": old,
        "namespaceObject": {"metadata": {"name": "shop"} | ({"labels": labels} if labels else {})},
        "administers": administers,
        "account_may": account_may,
        "variables": {},
    }

    def holds(expression: str) -> object:
        expression = re.sub(r"authorizer\.serviceAccount[^ ]*\.allowed\(\)", "account_may", expression)
        expression = re.sub(r"authorizer\.[^ ]*\.allowed\(\)", "administers", expression)
        return cel.evaluate(expression, known)

    if not all(holds(each["expression"]) for each in policy.get("matchConditions", [])):
        return False
    for variable in policy.get("variables", []):
        known["variables"] = {**known["variables"], variable["name"]: holds(variable["expression"])}  # type: ignore[dict-item]
    return not all(holds(each["expression"]) for each in policy["validations"])


def trail(node: str, seq: int | None = None) -> Document:
    return {"metadata": {"name": node}} | ({"status": {"seq": seq}} if seq is not None else {})


@pytest.mark.parametrize(
    ("operation", "user", "token", "new", "old", "wrong"),
    [
        ("CREATE", ENRICHER, "a", trail("a"), None, False),
        ("CREATE", ENRICHER, "b", trail("a"), None, True),
        ("CREATE", ENRICHER, "", trail("a"), None, True),
        ("UPDATE", ENRICHER, "a", trail("a", 0), trail("a"), False),
        ("UPDATE", ENRICHER, "a", trail("a", 7), trail("a", 7), False),
        ("UPDATE", ENRICHER, "a", trail("a", 8), trail("a", 7), False),
        ("UPDATE", ENRICHER, "a", trail("a", 6), trail("a", 7), True),
        ("UPDATE", ENRICHER, "a", trail("a"), trail("a", 7), True),
        ("UPDATE", ENRICHER, "b", trail("a", 8), trail("a", 7), True),
        ("UPDATE", "admin", "", trail("a", 6), trail("a", 7), False),
    ],
)
def test_an_enricher_writes_its_own_trails_state_and_never_takes_records_back(
    policies: dict[str, Document],
    operation: str,
    user: str,
    token: str,
    new: Document,
    old: Document | None,
    wrong: bool,
) -> None:
    assert refused(policies["nodetrails"], operation, user, new, old, node=token) is wrong


def node_status(node: str) -> Document:
    return {"metadata": {"name": f"audit-{node}"}, "spec": {"nodeName": node}}


@pytest.mark.parametrize(
    ("operation", "user", "token", "new", "old", "wrong"),
    [
        ("CREATE", INSTALLER, "a", "a", None, False),
        ("CREATE", INSTALLER, "b", "a", None, True),
        ("CREATE", INSTALLER, "", "a", None, True),
        ("UPDATE", INSTALLER, "a", "a", "a", False),
        ("UPDATE", INSTALLER, "b", "a", "a", True),
        ("UPDATE", INSTALLER, "a", "a", "b", True),
        ("DELETE", INSTALLER, "a", None, "a", False),
        ("DELETE", INSTALLER, "b", None, "a", True),
        ("DELETE", CONTROLLER, "b", None, "a", False),
    ],
)
def test_an_installer_speaks_for_its_own_node(
    policies: dict[str, Document],
    operation: str,
    user: str,
    token: str,
    new: str | None,
    old: str | None,
    wrong: bool,
) -> None:
    objects = [node_status(each) if each else None for each in (new, old)]
    assert refused(policies["nodestatuses"], operation, user, *objects, node=token) is wrong


def audit_session(node: str = "", *, label: str = "", debugs: str = "") -> Document:
    """A session on a node, labelled with one, of a request to debug one; what is empty is not there."""
    status = {"phase": "Running", "node": node} if node else {"phase": "Open"}
    labels = {"labels": {"exectrail.io/node": label}} if label else {}
    target = {"namespace": "shop", "pod": "web"} | ({"node": debugs} if debugs else {})
    return {"metadata": {"name": "s"} | labels, "spec": {"target": target}, "status": status}


OPEN, ON_A = audit_session(), audit_session("a")


@pytest.mark.parametrize(
    ("operation", "sub", "user", "token", "new", "wrong"),
    [
        ("CREATE", "", WEBHOOK, "a", OPEN, False),
        ("CREATE", "", CONTROLLER, "a", OPEN, True),
        ("CREATE", "", "mallory", "", OPEN, True),
        ("UPDATE", "", WEBHOOK, "a", OPEN, True),
        ("UPDATE", "status", CONTROLLER, "b", ON_A, False),
        ("UPDATE", "status", ENRICHER, "a", ON_A, False),
        ("UPDATE", "status", ENRICHER, "b", ON_A, True),
        ("UPDATE", "status", ENRICHER, "a", OPEN, True),
        ("UPDATE", "status", WEBHOOK, "a", ON_A, True),
        ("UPDATE", "status", "mallory", "", ON_A, True),
        ("DELETE", "", CONTROLLER, "b", None, False),
        ("DELETE", "", WEBHOOK, "b", None, True),
        ("DELETE", "", "mallory", "", None, True),
        ("DELETE", "", CLEANUP, "", None, False),
        ("CREATE", "", CLEANUP, "", OPEN, True),
    ],
)
def test_only_our_parts_write_sessions_each_its_own_part(
    policies: dict[str, Document], operation: str, sub: str, user: str, token: str, new: Document | None, wrong: bool
) -> None:
    policy, old = policies["auditsessions"], None if operation == "CREATE" else OPEN
    assert refused(policy, operation, user, new, old, node=token, sub=sub) is wrong
    assert not refused(policy, operation, user, new, old, node=token, sub=sub, administers=True)


LONG_NAME = node_label("n" * 64)


@pytest.mark.parametrize(
    ("old", "wrong"),
    [
        (audit_session(), False),
        ({"metadata": {"name": "s"}, "spec": {"target": {}}}, False),
        (audit_session("a"), False),
        (audit_session("b"), True),
        (audit_session(label="a"), False),
        (audit_session(label="b"), True),
        (audit_session("a", label="b"), True),
        (audit_session(label=LONG_NAME), False),
        (audit_session("b", label=LONG_NAME), True),
        (audit_session(label="sha256-is-the-name-of-a-node"), True),
        (audit_session(debugs="a"), False),
        (audit_session(debugs="b"), True),
    ],
)
def test_no_node_takes_over_a_session_that_is_another_nodes(
    policies: dict[str, Document], old: Document, wrong: bool
) -> None:
    new = {**old, "status": ON_A["status"]}
    assert refused(policies["auditsessions"], "UPDATE", ENRICHER, new, old, node="a", sub="status") is wrong
    assert not refused(policies["auditsessions"], "UPDATE", CONTROLLER, new, old, node="c", sub="status")


@pytest.mark.parametrize("node", ["a", None])
def test_a_node_goes_on_with_what_the_controller_closed_meanwhile(
    policies: dict[str, Document], node: str | None
) -> None:
    status: Document = {"phase": "Closed", "outcome": "never-started"} | ({"node": node} if node else {})
    old = {**audit_session(label="a"), "status": status}
    assert not refused(policies["auditsessions"], "UPDATE", ENRICHER, {**old, **ON_A}, old, node="a", sub="status")


@pytest.mark.parametrize(
    ("options", "administers", "wrong"),
    [
        ({"container": "reader"}, False, False),
        ({"container": "enricher"}, False, True),
        ({"container": "enricher"}, True, False),
        ({}, False, True),
    ],
)
def test_an_exec_in_the_releases_namespace_goes_into_the_reader(
    policies: dict[str, Document], options: Document, administers: bool, wrong: bool
) -> None:
    assert refused(policies["exec"], "CONNECT", "bob", options, administers=administers) is wrong


def namespace(**labels: str) -> Document:
    return {"metadata": {"name": "shop", "labels": {f"exectrail.io/{key}": text for key, text in labels.items()}}}


def annotated(**annotations: str) -> Document:
    written = {f"exectrail.io/{key.replace('_', '-')}": text for key, text in annotations.items()}
    return {"metadata": {"name": "shop", "annotations": {"team": "shop", **written}}}


BARE: Document = {"metadata": {"name": "shop"}}
OTHER: Document = {"metadata": {"name": "shop", "labels": {"team": "shop"}}}


@pytest.mark.parametrize(
    ("new", "old", "changes"),
    [
        (BARE, None, False),
        (OTHER, BARE, False),
        (namespace(record="true"), namespace(record="true"), False),
        (namespace(record="true"), None, True),
        (namespace(record="true"), BARE, True),
        (namespace(record="false"), namespace(record="true"), True),
        (namespace(), namespace(record="true"), True),
        (BARE, namespace(record="true"), True),
        (annotated(), BARE, False),
        (annotated(break_glass="a"), annotated(break_glass="a"), False),
        (annotated(break_glass="a"), BARE, True),
        (annotated(break_glass="b"), annotated(break_glass="a"), True),
        (BARE, annotated(break_glass="a"), True),
    ],
)
def test_only_those_who_may_change_what_is_recorded_of_a_namespace(
    policies: dict[str, Document], new: Document, old: Document | None, changes: bool
) -> None:
    policy, operation = policies["namespacelabels"], "UPDATE" if old else "CREATE"
    for sub in ("", "status", "finalize") if old else ("",):
        assert refused(policy, operation, "bob", new, old, groups=["dev"], sub=sub) is changes
        assert not refused(policy, operation, "alice", new, old, sub=sub)
        assert not refused(policy, operation, "carol", new, old, groups=["dev", "sre"], sub=sub)


def test_a_namespace_is_looked_at_whichever_of_its_subresources_is_updated(policies: dict[str, Document]) -> None:
    (rule,) = policies["namespacelabels"]["matchConstraints"]["resourceRules"]
    assert set(rule["resources"]) == {"namespaces", "namespaces/status", "namespaces/finalize"}
    assert set(rule["operations"]) == {"CREATE", "UPDATE"}


@pytest.mark.parametrize(
    ("sub", "change"),
    [
        ("finalize", {"spec": {"finalizers": []}}),
        ("status", {"status": {"phase": "Terminating", "conditions": [{"type": "NamespaceContentRemaining"}]}}),
    ],
)
def test_kubernetes_deletes_a_namespace_with_our_labels(
    policies: dict[str, Document], sub: str, change: Document
) -> None:
    old: Document = {
        "metadata": {**namespace(record="true")["metadata"], **annotated(break_glass="a")["metadata"]},
        "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Terminating"},
    }
    assert not refused(policies["namespacelabels"], "UPDATE", CLEANUP, old | change, old, sub=sub)


ONLY = "exectrail/process-audit-only.json"


def seccomp(file: str) -> Document:
    return {"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": file}}}


def new_pod(**spec: object) -> Document:
    return {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "app"}], "serviceAccountName": "web"} | spec}


NAMES_IT: list[Document] = [
    seccomp(ONLY),
    {"containers": [{"name": "app"}, {"name": "other"} | seccomp(ONLY)]},
    {"initContainers": [{"name": "first", "securityContext": {"runAsUser": 1}}, {"name": "second"} | seccomp(ONLY)]},
    *(seccomp(file) for file in (f"./{ONLY}", "exectrail//process-audit-only.json", ".//exectrail/./././" + ONLY[10:])),
    seccomp(f"{ONLY}/"),
]
DOES_NOT: list[Document] = [
    {},
    {"securityContext": {}},
    {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}},
    {"initContainers": []},
    *(seccomp(file) for file in ("exectrail/process-audit.json", f"operator/{ONLY}", f"{ONLY}.json", ONLY[10:])),
]


@pytest.mark.parametrize(
    ("spec", "names"), [*((each, True) for each in NAMES_IT), *((each, False) for each in DOES_NOT)]
)
def test_only_those_who_may_make_pods_with_the_profile_that_refuses_nothing(
    policies: dict[str, Document], spec: Document, names: bool
) -> None:
    policy, made = policies["unconfinedprofile"], new_pod(**spec)
    assert refused(policy, "CREATE", "bob", made) is names
    assert refused(policy, "CREATE", "bob", made, labels={"exectrail.io/profile": "process-audit"}) is names
    assert not refused(policy, "CREATE", "bob", made, administers=True)
    assert not refused(policy, "CREATE", "bob", made, account_may=True)
    assert not refused(policy, "CREATE", "bob", made, labels={"exectrail.io/profile": "process-audit-only"})


@pytest.mark.parametrize(
    ("before", "after", "wrong"),
    [
        (None, [{"name": "debug"}], False),
        (None, [{"name": "debug"} | seccomp(ONLY)], True),
        ([{"name": "debug"}], [{"name": "debug"}, {"name": "more"} | seccomp(ONLY)], True),
        ([{"name": "debug"} | seccomp(ONLY)], [{"name": "debug"} | seccomp(ONLY), {"name": "more"}], False),
    ],
)
def test_of_a_pod_that_runs_only_new_ephemeral_containers_count(
    policies: dict[str, Document], before: list[Document] | None, after: list[Document], wrong: bool
) -> None:
    old = new_pod(**seccomp(ONLY), **({"ephemeralContainers": before} if before else {}))
    new = new_pod(**seccomp(ONLY), ephemeralContainers=after)
    policy = policies["unconfinedprofile"]
    assert refused(policy, "UPDATE", "bob", new, old, sub="ephemeralcontainers") is wrong
    assert not refused(policy, "UPDATE", "bob", new, old, sub="ephemeralcontainers", administers=True)


def test_the_profile_that_refuses_nothing_goes_with_its_policy(helm_template: HelmTemplate, run_helm: RunHelm) -> None:
    for allowed in (False, True):
        documents = helm_template({"profiles": {"allowUnconfined": allowed}})
        assert ("unconfinedprofile" in of_release(documents)) is allowed
        assert "process-audit-only" not in str(documents) or allowed
        for component, name in (("node", "installer"), ("webhook", "webhook")):
            assert ("--allow-unconfined" in container(pod_spec(documents, component), name)["args"]) is allowed
    done = run_helm({"profiles": {"allowUnconfined": True}, "policies": {"enabled": False}})
    assert done.returncode != 0
    assert "set policies.enabled to true, or profiles.allowUnconfined to false" in done.stderr


UNCONFINED: Document = {"profiles": {"allowUnconfined": True}}


def guards(documents: list[Document]) -> list[Document]:
    """The policy of the profile that refuses nothing, and its binding."""
    return [each for each in documents if each["metadata"]["name"] == "exectrail-unconfinedprofile"]


@pytest.mark.parametrize("values", [{}, {"policies": {"enabled": False}}, UNCONFINED], ids=["off", "no policies", "on"])
def test_what_guards_the_profile_that_refuses_nothing_stays_once_it_was_there(
    helm_template: HelmTemplate, values: Document
) -> None:
    before = guards(helm_template(UNCONFINED))
    assert guards(helm_template(values, live=[installed(each) for each in before])) == before


def test_helm_keeps_that_guard_alone_when_the_release_goes(helm_template: HelmTemplate) -> None:
    policies = [each for each in helm_template(ALL) if "ValidatingAdmissionPolicy" in each["kind"]]
    kept = [each for each in policies if "helm.sh/resource-policy" in each["metadata"].get("annotations", {})]
    assert len(kept) == 2
    assert kept == guards(policies)


def test_a_guard_that_another_release_left_is_not_taken_over(helm_template: HelmTemplate, run_helm: RunHelm) -> None:
    left = [installed(each, namespace="elsewhere") for each in guards(helm_template(UNCONFINED))]
    assert guards(helm_template(live=left)) == []
    done = run_helm(UNCONFINED, live=left)
    assert done.returncode != 0
    assert 'ValidatingAdmissionPolicy "exectrail-unconfinedprofile"' in done.stderr
    assert "exists and cannot be imported into the current release" in done.stderr


def test_each_policy_denies_and_fails_closed(helm_template: HelmTemplate) -> None:
    documents = helm_template(ALL)
    bindings = [each for each in documents if each["kind"] == "ValidatingAdmissionPolicyBinding"]
    assert {each["spec"]["policyName"].removeprefix("exectrail-") for each in bindings} == of_release(documents).keys()
    assert all(each["spec"]["validationActions"] == ["Deny"] for each in bindings)
    assert {each["failurePolicy"] for each in of_release(documents).values()} == {"Fail"}


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ({}, {"nodetrails", "nodestatuses", "auditsessions", "exec"}),
        ({"policies": {"enabled": False, "namespaceLabels": {"users": ["alice"]}}}, set()),
    ],
)
def test_policies_can_be_left_out(helm_template: HelmTemplate, values: Document, names: set[str]) -> None:
    assert of_release(helm_template(values)).keys() == names


def test_a_policy_of_the_releases_namespace_reaches_no_other(policies: dict[str, Document]) -> None:
    selector = policies["exec"]["matchConstraints"]["namespaceSelector"]
    assert selector == {"matchLabels": {"kubernetes.io/metadata.name": "exectrail"}}


def test_only_our_parts_write_sessions_in_any_namespace(policies: dict[str, Document]) -> None:
    assert "namespaceSelector" not in policies["auditsessions"]["matchConstraints"]


def test_sessions_of_other_releases_are_left_to_their_policies(helm_template: HelmTemplate) -> None:
    policies = of_release(helm_template({"policies": {"otherReleases": ["second", "third"]}}))
    (expression,) = policies["auditsessions"]["matchConstraints"]["namespaceSelector"]["matchExpressions"]
    assert expression == {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["second", "third"]}
