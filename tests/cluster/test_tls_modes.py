"""The webhook's certificate may come from elsewhere, change, or lose its trust: no exec fails and none is missed."""

import base64
import json
import subprocess
from typing import Any

import pytest

from exectrail.contracts.webhook_configuration import parted
from webhook.certificates.pem import blocks

from .cluster import Cluster, eventually
from .execs import executing
from .product import NAMESPACE, RELEASE, Release
from .sessions import Person

SECRET = "exectrail-self-managed-tls"
KEY_SECRET = "exectrail-command-key"
PATH_SECRET = "exectrail-webhook-path"
WEBHOOK = f"system:serviceaccount:{NAMESPACE}:exectrail-webhook"
_SELF_MANAGED = pytest.mark.values("tls.mode=self-managed")
_SETTLED = 120
"""Seconds until a new CA signs: it has to be trusted for one minute."""


def secret(admin: Cluster, name: str = SECRET) -> dict[str, bytes]:
    data = admin.get("secret", name, "-n", NAMESPACE).get("data", {})
    return {key: base64.b64decode(text) for key, text in data.items()}


def trusted(admin: Cluster) -> list[set[bytes]]:
    """Whom each entry trusts."""
    entries = admin.get("mutatingwebhookconfiguration", RELEASE)["webhooks"]
    return [set(blocks(base64.b64decode(each["clientConfig"].get("caBundle", "")))) for each in entries]


def drop(admin: Cluster, *keys: str, name: str = SECRET) -> None:
    """Remove keys of a Secret, which has them made anew."""
    change = json.dumps({"data": dict.fromkeys(keys)})
    admin.kubectl("patch", "secret", name, "-n", NAMESPACE, "--type=merge", f"--patch={change}")


def blank(admin: Cluster) -> None:
    """Take from every entry what it trusts."""
    entries = range(len(trusted(admin)))
    steps = [{"op": "remove", "path": f"/webhooks/{at}/clientConfig/caBundle"} for at in entries]
    patch = f"--patch={json.dumps(steps)}"
    admin.kubectl("patch", "mutatingwebhookconfiguration", RELEASE, "--type=json", patch)


def may(admin: Cluster, verb: str, resource: str, name: str = "") -> bool:
    """Whether the webhook may do that in the release's namespace."""
    what = f"{resource}/{name}" if name else resource
    asked = admin.kubectl("auth", "can-i", verb, what, "-n", NAMESPACE, f"--as={WEBHOOK}", check=False)
    return asked.stdout.strip() == "yes"


def test_an_upgrade_to_self_managed_and_its_rotations_miss_no_exec(alice: Person, release: Release, plain: str) -> None:
    admin = alice.admin
    with executing(alice, plain):
        release.with_values("tls.mode=self-managed")
    first = secret(admin)
    assert all(set(blocks(first["ca.crt"])) <= each for each in trusted(admin))

    with executing(alice, plain):
        drop(admin, "tls.crt", "tls.key")
        eventually(lambda: secret(admin).get("tls.crt", first["tls.crt"]) != first["tls.crt"])
    second = secret(admin)
    assert second["ca.crt"] == first["ca.crt"]

    with executing(alice, plain):
        drop(admin, "ca.crt", "ca.key")
        eventually(lambda: secret(admin).get("ca.crt", first["ca.crt"]) != first["ca.crt"])
        new = set(blocks(secret(admin)["ca.crt"]))
        eventually(lambda: all(new | set(blocks(first["ca.crt"])) <= each for each in trusted(admin)))
        eventually(lambda: secret(admin)["tls.crt"] != second["tls.crt"], _SETTLED)
    assert set(blocks(secret(admin)["tls.crt"])[1:]) == new


@_SELF_MANAGED
def test_replicas_that_are_replaced_take_the_certificate_that_is_there(alice: Person, plain: str) -> None:
    before = secret(alice.admin)
    with executing(alice, plain):
        alice.admin.kubectl("rollout", "restart", "-n", NAMESPACE, "deploy/exectrail-webhook")
        alice.admin.kubectl("rollout", "status", "-n", NAMESPACE, "deploy/exectrail-webhook", "--timeout=90s")

    assert secret(alice.admin) == before


@_SELF_MANAGED
def test_a_blanked_ca_bundle_is_repaired(alice: Person, plain: str) -> None:
    own = set(blocks(secret(alice.admin)["ca.crt"]))
    blank(alice.admin)

    eventually(lambda: all(own <= each for each in trusted(alice.admin)), 10)
    with executing(alice, plain):
        pass


@_SELF_MANAGED
def test_an_upgrade_keeps_the_certificate_and_whom_the_api_server_trusts(
    alice: Person, release: Release, plain: str
) -> None:
    before = secret(alice.admin)
    own = set(blocks(before["ca.crt"]))
    with executing(alice, plain):
        release.with_values("tls.mode=self-managed", "logLevel=debug")

    assert secret(alice.admin) == before
    assert all(own <= each for each in trusted(alice.admin))


def paths(admin: Cluster) -> set[str]:
    """What follows the first part of each entry's path."""
    entries = admin.get("mutatingwebhookconfiguration", RELEASE)["webhooks"]
    return {parted(each["clientConfig"]["service"]["path"])[1] for each in entries}


def set_back(admin: Cluster) -> None:
    """Take from every entry what is secret of its path."""
    entries = admin.get("mutatingwebhookconfiguration", RELEASE)["webhooks"]
    plain = [parted(each["clientConfig"]["service"]["path"])[0] for each in entries]
    steps = [
        {"op": "replace", "path": f"/webhooks/{at}/clientConfig/service/path", "value": path}
        for at, path in enumerate(plain)
    ]
    admin.kubectl("patch", "mutatingwebhookconfiguration", RELEASE, "--type=json", f"--patch={json.dumps(steps)}")


def test_a_secret_path_comes_changes_and_goes_without_an_exec_that_is_missed(
    alice: Person, release: Release, plain: str
) -> None:
    admin = alice.admin
    with executing(alice, plain):
        release.with_values("webhook.secretPath.enabled=true")
    first = secret(admin, PATH_SECRET)["token"].decode()
    assert paths(admin) == {first}

    with executing(alice, plain):
        drop(admin, "token", name=PATH_SECRET)
        eventually(lambda: len(paths(admin)) == 1 and paths(admin) != {first})

    with executing(alice, plain):
        release.with_values("webhook.secretPath.enabled=true", "logLevel=debug")
    second = secret(admin, PATH_SECRET)["token"].decode()
    assert paths(admin) == {second}

    set_back(admin)
    eventually(lambda: paths(admin) == {second}, 10)
    with executing(alice, plain):
        release.with_values()


@_SELF_MANAGED
def test_the_webhook_may_write_its_own_secrets_and_its_own_configuration_alone(admin: Cluster) -> None:
    assert all(may(admin, "patch", "secrets", name) for name in (SECRET, KEY_SECRET))
    assert may(admin, "patch", "mutatingwebhookconfigurations", RELEASE)
    assert not may(admin, "create", "secrets")
    assert not may(admin, "get", "secrets", "exectrail-ca")
    assert not may(admin, "patch", "mutatingwebhookconfigurations", "cert-manager-webhook")
    assert not may(admin, "create", "mutatingwebhookconfigurations")


def test_a_certificate_of_cert_manager_that_is_renewed_misses_no_exec(alice: Person, plain: str) -> None:
    def serial() -> Any:
        return alice.admin.get("secret", "exectrail-webhook-tls", "-n", NAMESPACE)["data"]["tls.crt"]

    before = serial()
    with executing(alice, plain):
        alice.admin.kubectl("delete", "secret", "exectrail-webhook-tls", "-n", NAMESPACE)
        eventually(lambda: serial() != before)


def test_the_key_that_a_release_of_before_has_made_is_kept(admin: Cluster, release: Release) -> None:
    """Such a Secret is not Helm's: it has none of its marks, and Helm refuses to take it over."""
    before = secret(admin, KEY_SECRET)
    # Not helm.sh/resource-policy: this release has the Secret among its objects, which such a one has not.
    marks = ("meta.helm.sh/release-name-", "meta.helm.sh/release-namespace-")
    admin.kubectl("annotate", "secret", KEY_SECRET, "-n", NAMESPACE, *marks)
    by_the_webhook = ("app.kubernetes.io/managed-by=exectrail-webhook", "--overwrite")
    admin.kubectl("label", "secret", KEY_SECRET, "-n", NAMESPACE, *by_the_webhook)
    release.with_values("logLevel=debug")

    assert secret(admin, KEY_SECRET) == before
    metadata = admin.get("secret", KEY_SECRET, "-n", NAMESPACE)["metadata"]
    assert metadata["labels"]["app.kubernetes.io/managed-by"] == "exectrail-webhook"


def test_no_token_of_another_account_can_be_had_through_the_webhooks_own(admin: Cluster) -> None:
    token = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/service-account-token",
        "metadata": {
            "name": "stolen",
            "namespace": NAMESPACE,
            "annotations": {"kubernetes.io/service-account.name": "exectrail-controller"},
        },
    }
    made: subprocess.CompletedProcess[str] = admin.kubectl(
        "create", "--dry-run=server", "-f", "-", f"--as={WEBHOOK}", stdin=json.dumps(token), check=False
    )
    assert made.returncode != 0
    assert "forbidden" in made.stderr
