"""Where a namespace requires a record, an exec has one when it returns, or it is refused; and there is a way out."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from subprocess import CompletedProcess
from typing import Any

import pytest

from . import subresources
from .cluster import Cluster, eventually
from .product import NAMESPACE
from .sessions import Person, auditsessions, closed

_ANNOTATION = "exectrail.io/break-glass"
_REASON = "etcd is full"
_QUOTA = {
    "apiVersion": "v1",
    "kind": "ResourceQuota",
    "metadata": {"name": "no-sessions", "namespace": NAMESPACE},
    "spec": {"hard": {"count/auditsessions.exectrail.io": "0"}},
}


@contextmanager
def _no_room(admin: Cluster) -> Iterator[None]:
    """The API server takes no AuditSession."""
    admin.apply(_QUOTA)
    try:
        eventually(lambda: admin.get("resourcequota", "-n", NAMESPACE, "no-sessions").get("status", {}).get("hard"))
        yield
    finally:
        admin.kubectl("delete", "resourcequota", "-n", NAMESPACE, "no-sessions")


@contextmanager
def _no_webhook(admin: Cluster) -> Iterator[None]:
    """No replica of the webhook answers."""
    deployment = ("deployment/exectrail-webhook", "-n", NAMESPACE)
    selector = "app.kubernetes.io/component=webhook"
    admin.kubectl("scale", *deployment, "--replicas=0")
    try:
        admin.kubectl("wait", "pod", "-n", NAMESPACE, "-l", selector, "--for=delete", "--timeout=60s")
        yield
    finally:
        admin.kubectl("scale", *deployment, "--replicas=2")
        admin.kubectl("rollout", "status", *deployment, "--timeout=120s")


def _exec(person: Person, namespace: str) -> CompletedProcess[str]:
    return person.cluster.kubectl("exec", "-n", namespace, "web", "-c", "app", "--", "true", check=False)


def _passes(person: Person, namespace: str) -> CompletedProcess[str]:
    done = _exec(person, namespace)
    assert done.returncode == 0, done.stderr
    return done


def _refused(person: Person, namespace: str) -> str:
    done = _exec(person, namespace)
    assert done.returncode != 0
    return done.stderr


def _sessions(namespace: str, **spec: str) -> dict[str, dict[str, Any]]:
    """The AuditSessions of a namespace whose specs say so, by UID."""
    return {
        each["metadata"]["name"]: each
        for each in auditsessions()
        if each["spec"]["target"]["namespace"] == namespace and spec.items() <= each["spec"].items()
    }


def _unwritten(admin: Cluster) -> list[dict[str, str]]:
    """What the replicas list as not written."""
    data = admin.get("configmap", "-n", NAMESPACE, "exectrail-unwritten-sessions").get("data", {})
    return [each for text in data.values() for each in json.loads(text)["sessions"]]


def test_the_session_is_there_the_moment_the_exec_returns(alice: Person, required: str) -> None:
    for _ in range(5):
        before = _sessions(required).keys()
        _passes(alice, required)
        (fresh,) = _sessions(required).keys() - before
        assert closed(fresh)["outcome"] == "completed"


def test_without_room_for_its_session_an_exec_is_refused_unless_the_glass_is_broken(
    alice: Person, required: str, plain: str
) -> None:
    admin = alice.admin
    glass = ("annotate", "namespace", required, "--as=carol", "--as-group=system:masters")
    try:
        with _no_room(admin):
            sentence = eventually(lambda: _refused(alice, required))
            assert "requires a record of this request" in sentence
            assert f"annotation {_ANNOTATION}=<reason>" in sentence
            assert "exceeded quota" in sentence
            _passes(alice, plain)

            assert "recorded" in admin.kubectl(*glass, f"{_ANNOTATION}={_REASON}").stderr
            eventually(lambda: _passes(alice, required))
            admin.kubectl(*glass, f"{_ANNOTATION}-")
            eventually(lambda: _refused(alice, required))
    finally:
        admin.kubectl("annotate", "namespace", required, f"{_ANNOTATION}-")

    # What waited is written now; what was refused is listed.
    passed = eventually(lambda: _sessions(required, verb="exec", breakGlass=_REASON)).values()
    assert {each["spec"]["user"]["username"] for each in passed} == {"alice"}
    broken = eventually(lambda: _sessions(required, verb="break-glass", breakGlass=_REASON))
    (uid,) = broken
    assert broken[uid]["spec"]["user"]["username"] == "carol"
    assert closed(uid)["outcome"] == "not-recorded"
    eventually(
        lambda: [each for each in _sessions(required, verb="break-glass").values() if "breakGlass" not in each["spec"]]
    )
    causes = {"user": "alice", "namespace": required, "verb": "exec", "cause": "require-audit"}
    eventually(lambda: [each for each in _unwritten(admin) if causes.items() <= each.items()], seconds=90)
    assert "break-glass" not in eventually(lambda: _passes(alice, required)).stderr


@pytest.mark.parametrize("sub", subresources.OF_NAMESPACE)
def test_who_breaks_the_glass_by_a_subresource_of_the_namespace_is_recorded(
    admin: Cluster, plain: str, sub: str
) -> None:
    reason = f"by {sub}"
    try:
        metadata = {"annotations": {_ANNOTATION: reason}}
        done = subresources.change(admin, plain, sub, metadata, "--as=carol", "--as-group=system:masters")
        assert done.returncode == 0, done.stderr
        assert admin.get("namespace", plain)["metadata"]["annotations"][_ANNOTATION] == reason
    finally:
        admin.kubectl("annotate", "namespace", plain, f"{_ANNOTATION}-")

    (broken,) = eventually(lambda: _sessions(plain, verb="break-glass", breakGlass=reason)).values()
    assert broken["spec"]["user"]["username"] == "carol"
    assert broken["spec"]["resource"] == f"namespaces/{sub}"


def test_while_the_webhook_is_down_only_namespaces_that_require_a_record_are_closed(
    alice: Person, required: str, plain: str
) -> None:
    label = ("label", "namespace", required, "--overwrite")
    with _no_webhook(alice.admin):
        sentence = eventually(lambda: _refused(alice, required))
        assert "requireaudit.exectrail.io" in sentence
        _passes(alice, plain)
        try:
            alice.admin.kubectl(*label, "exectrail.io/require-audit-")
            eventually(lambda: _passes(alice, required))
        finally:
            alice.admin.kubectl(*label, "exectrail.io/require-audit=true")
    eventually(lambda: _passes(alice, required))
