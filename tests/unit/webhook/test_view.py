"""The webhook knows namespaces and labelled pods by live copies, and is ready once it has them."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from exectrail.contracts.meta import ObjectMeta
from exectrail.k8s.client import ApiError, Client
from tests.unit.exectrail.api_server import ApiServer
from tests.unit.waiting import until
from webhook.cluster.view import View


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def view(api: ApiServer) -> Iterator[View]:
    """Not started yet; its threads end with the test."""
    view = View(Client(api.url))
    yield view
    for mirror in view.mirrors:
        mirror.stop()
    view.places.stop()


def start(view: View) -> None:
    assert [holds() for holds in view.conditions().values()] == [False, False, False]
    view.start()
    until(lambda: all(holds() for holds in view.conditions().values()))


def test_what_is_known_is_what_the_api_server_has(api: ApiServer, view: View) -> None:
    api.set("shop", **{"exectrail.io/record": "true"})
    start(view)

    assert view.known("shop", "web").namespace == {"exectrail.io/record": "true"}
    assert view.known("desk", "web").namespace is None
    assert view.known("shop", "web").has_env("app") is None

    api.set("shop", **{"exectrail.io/record": "false"})
    until(lambda: view.known("shop", "web").namespace == {"exectrail.io/record": "false"})


def test_of_a_namespaces_annotations_only_the_reason_to_break_the_glass_is_kept(api: ApiServer, view: View) -> None:
    annotations = {"exectrail.io/break-glass": "etcd is full", "example.org/large": "x" * 1000}
    api.put({"metadata": {"name": "shop", "annotations": annotations}})
    api.set("desk")
    start(view)

    assert view.known("shop", "web").break_glass == "etcd is full"
    assert view.known("desk", "web").break_glass == view.known("nowhere", "web").break_glass == ""
    assert "example.org" not in str(view.mirrors[0].objects)


def test_of_pods_only_those_with_a_tag_mode_are_asked_for(api: ApiServer, view: View) -> None:
    api.set("web", "shop", **{"exectrail.io/tag": "match"})
    start(view)

    assert view.known("shop", "web").pod == {"exectrail.io/tag": "match"}
    assert view.known("desk", "web").pod == {}
    asked = {asked.query.get("labelSelector") for asked in api.asked if asked.path == "/api/v1/pods"}
    assert asked == {"exectrail.io/tag"}


def test_a_containers_env_is_known_from_the_node_that_its_pod_is_on(api: ApiServer, view: View) -> None:
    path = "/api/v1/namespaces/shop/pods/web"
    status = {"heartbeat": datetime.now(UTC).isoformat(), "env": {"shop/web/app": True}}
    api.created[path] = b'{"spec": {"nodeName": "n2"}}'
    api.put({"metadata": {"name": "n1"}, "status": status})
    start(view)
    until(lambda: path in {each.path for each in api.asked})
    assert view.known("shop", "web").has_env("app") is None

    api.created[path] = b'{"spec": {"nodeName": "n1"}}'
    view.places.ask("shop", "web", 5, anew=True)
    assert view.known("shop", "web").has_env("app") is True


GROUP = "/apis/security-profiles-operator.x-k8s.io"
BINDINGS, PROFILES = (f"{GROUP}/v1/{plural}" for plural in ("profilebindings", "seccompprofiles"))
OLD_BINDINGS, OLD_PROFILES = f"{GROUP}/v1alpha1/profilebindings", f"{GROUP}/v1beta1/seccompprofiles"


def bind(name: str, image: str, **annotations: str) -> dict[str, Any]:
    spec = {"image": image, "profileRef": {"kind": "SeccompProfile", "name": "p"}, "podSelector": {"matchLabels": None}}
    return {"metadata": {"name": name, "namespace": "shop", "annotations": annotations}, "spec": spec}


def names(view: View, namespace: str = "shop") -> list[str]:
    bindings = view.policies(namespace).bindings
    assert bindings is not None
    return [each.name for each in bindings]


def test_a_namespaces_bindings_come_in_the_order_in_which_they_are_asked(api: ApiServer, view: View) -> None:
    api.set("shop", **{"spo.x-k8s.io/enable-binding": "true"})
    api.put(bind("all", "*", **{"exectrail.io/enforce": "true", "kubectl.kubernetes.io/last": "{}"}))
    api.put(bind("web", "nginx"))
    start(view)

    assert names(view) == ["web", "all"]
    assert [each.enforce for each in view.policies("shop").bindings or ()] == [False, True]
    assert view.policies("shop").labels == {"spo.x-k8s.io/enable-binding": "true"}
    assert names(view, "desk") == []
    assert view.policies("desk").labels is None

    api.put(bind("web", "redis@sha256:1"))
    api.delete("all")
    until(lambda: names(view) == ["web"])
    api.delete("web")
    until(lambda: names(view) == [])


@pytest.mark.parametrize("allowed", [False, True])
def test_whether_the_profile_that_refuses_nothing_is_installed_is_an_option(api: ApiServer, allowed: bool) -> None:
    view = View(Client(api.url), allow_unconfined=allowed)
    assert view.policies("shop").allow_unconfined is allowed


def test_of_a_profile_only_what_is_used_is_kept(api: ApiServer, view: View) -> None:
    available = {"type": "Available", "status": "True", "reason": "FileInPlace", "message": "nodes"}
    status = {"status": "Error", "localhostProfile": "operator/p.json", "conditions": [available]}
    metadata = {"name": "p", "annotations": {"syscalls": "x" * 1000}, "labels": {"a": "b"}}
    api.put({"metadata": metadata, "spec": {"defaultAction": "SCMP_ACT_LOG"}, "status": status})
    start(view)

    kept = view.policies("shop").profiles["p"]

    assert kept.metadata == ObjectMeta(name="p")
    assert (kept.status.binds, kept.status.localhost_profile) == (True, "operator/p.json")


def test_a_cluster_without_these_kinds_is_one_without_bindings(api: ApiServer, view: View) -> None:
    api.set("shop", **{"exectrail.io/profile": "process-audit"})
    api.absent |= {BINDINGS, PROFILES, OLD_BINDINGS, OLD_PROFILES}
    start(view)

    assert names(view) == []


def test_definitions_that_serve_only_old_versions_are_read_by_those(api: ApiServer, view: View) -> None:
    api.absent |= {BINDINGS, PROFILES}
    api.put(bind("web", "nginx"))
    api.put({"metadata": {"name": "p"}, "status": {"status": "Installed", "localhostProfile": "operator/p.json"}})
    start(view)
    assert names(view) == ["web"]
    assert view.policies("shop").profiles["p"].status.status == "Installed"

    api.put(bind("api", "redis"))
    until(lambda: names(view) == ["api", "web"])


def test_bindings_that_cannot_be_read_are_unknown_and_do_not_make_the_webhook_unready(
    api: ApiServer, view: View, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise ApiError(403, "Forbidden", "no")

    for mirror in view.mirrors[-2:]:
        monkeypatch.setattr(mirror, "_list", refused)
    api.set("shop", **{"spo.x-k8s.io/enable-binding": "true"})
    start(view)

    assert view.policies("shop").bindings is None
