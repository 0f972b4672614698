"""Who may do what: the whole table, so that a wider one cannot pass unseen."""

from tests.unit.chart.rendered import Document, HelmTemplate

EXPECTED = {
    ("ClusterRole", "webhook"): {
        "namespaces": "list watch",
        "pods": "get list watch",
        "nodetrails.exectrail.io": "list watch",
        "profilebindings.security-profiles-operator.x-k8s.io": "list watch",
        "seccompprofiles.security-profiles-operator.x-k8s.io": "list watch",
    },
    ("Role", "webhook"): {
        "auditsessions.exectrail.io": "create",
        "secrets exectrail-command-key": "get patch",
        "configmaps exectrail-unwritten-sessions": "get patch",
    },
    ("ClusterRole", "controller"): {
        "pods": "get list watch",
        "nodetrails.exectrail.io": "get",
        "nodes": "get list watch",
        "seccompprofiles.security-profiles-operator.x-k8s.io": "list watch patch",
        "profilebindings.security-profiles-operator.x-k8s.io": "list watch patch",
        "seccompprofiles/status.security-profiles-operator.x-k8s.io": "patch",
        "profilebindings/status.security-profiles-operator.x-k8s.io": "patch",
        "securityprofilenodestatuses.security-profiles-operator.x-k8s.io": "list watch delete",
        "events": "create",
        "mutatingwebhookconfigurations.admissionregistration.k8s.io exectrail": "get",
    },
    ("Role", "controller"): {
        "auditsessions.exectrail.io": "list watch delete",
        "auditsessions/status.exectrail.io": "patch",
        "securityprofilesoperatordaemons.security-profiles-operator.x-k8s.io": "create list watch",
        "securityprofilesoperatordaemons/status.security-profiles-operator.x-k8s.io": "patch",
        "daemonsets.apps exectrail-enricher exectrail-node": "list watch",
        "configmaps exectrail-spod": "list watch patch",
        "configmaps security-profiles-operator-profile": "list watch",
        "leases.coordination.k8s.io": "create",
        "leases.coordination.k8s.io exectrail-controller": "get update",
        "configmaps exectrail-webhook-outages": "get patch",
    },
    ("Role", "test"): {"leases.coordination.k8s.io": "create"},
    ("ClusterRole", "enricher"): {
        "namespaces": "list watch",
        "pods": "list watch",
        "runtimeclasses.node.k8s.io": "list watch",
        "nodetrails.exectrail.io": "create list",
        "nodetrails/status.exectrail.io": "patch",
    },
    ("Role", "enricher"): {
        "auditsessions.exectrail.io": "get list watch",
        "auditsessions/status.exectrail.io": "patch",
        "secrets exectrail-command-key": "get",
    },
    ("ClusterRole", "node"): {
        "pods": "list watch",
        "seccompprofiles.security-profiles-operator.x-k8s.io": "list watch",
        "securityprofilenodestatuses.security-profiles-operator.x-k8s.io": "create get list patch delete",
        "securityprofilenodestatuses/status.security-profiles-operator.x-k8s.io": "patch",
    },
}


def granted(role: Document) -> dict[str, str]:
    """Verbs by `resource.group name`."""
    return {
        " ".join([f"{resource}.{group}".rstrip("."), *rule.get("resourceNames", [])]): " ".join(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def test_each_part_may_do_what_it_does_and_nothing_else(helm_template: HelmTemplate) -> None:
    roles = {
        (document["kind"], document["metadata"]["name"].removeprefix("exectrail-")): granted(document)
        for document in helm_template()
        if document["kind"] in {"ClusterRole", "Role"}
    }
    assert roles == EXPECTED


def test_each_role_is_bound_to_the_account_of_its_part(helm_template: HelmTemplate) -> None:
    bindings = [d for d in helm_template(namespace="audit") if d["kind"].endswith("RoleBinding")]
    assert len(bindings) == len(EXPECTED)
    for binding in bindings:
        name = binding["metadata"]["name"]
        assert binding["roleRef"]["kind"] + "Binding" == binding["kind"]
        assert binding["roleRef"]["name"] == name
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": name, "namespace": "audit"}]
