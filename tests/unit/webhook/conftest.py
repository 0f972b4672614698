"""Reviews as a real API server (1.33) sent them, and what it would make of our answers."""

import base64
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonpatch
import msgspec
import pytest
import trustme

from exectrail.contracts.session import AuditSession
from tests.unit.exectrail.api_server import ApiServer
from tests.unit.webhook.process import EMPTY_SECRET, KEY_SECRET, Process
from webhook.app import Health, Webhook
from webhook.cluster.catch_up import CatchUp
from webhook.reviews.profile_bindings import Policies
from webhook.reviews.session_spec import DEFAULT_EXTRA_KEYS, Rules
from webhook.reviews.tag_mode import Known

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def review() -> Callable[..., dict[str, Any]]:
    """A captured AdmissionReview; `object_changes` go into its object, `changes` into its request."""

    def load(name: str, object_changes: dict[str, Any] | None = None, /, **changes: object) -> dict[str, Any]:
        body: dict[str, Any] = json.loads((DATA / f"{name}.json").read_text())
        body["request"] |= changes
        body["request"]["object"] |= object_changes or {}
        return body

    return load


@pytest.fixture(scope="session")
def patched() -> Callable[[dict[str, Any], list[Any]], dict[str, Any]]:
    """The object of a review after a patch, by the reference implementation of RFC 6902."""

    def apply(review: dict[str, Any], patch: list[Any]) -> dict[str, Any]:
        after: dict[str, Any] = jsonpatch.apply_patch(review["request"]["object"], msgspec.to_builtins(patch))
        return after

    return apply


@pytest.fixture(scope="session")
def patch_of() -> Callable[[dict[str, Any]], list[Any]]:
    """The patch in a response's JSON."""

    def decode(answer: dict[str, Any]) -> list[Any]:
        assert answer["response"]["patchType"] == "JSONPatch"
        operations: list[Any] = json.loads(base64.b64decode(answer["response"]["patch"]))
        return operations

    return decode


@pytest.fixture
def sessions() -> list[AuditSession]:
    """The sessions that the webhook recorded."""
    return []


@pytest.fixture
def namespaces() -> dict[str, dict[str, str]]:
    """The labels of each namespace that the webhook knows."""
    return {"default": {"exectrail.io/record": "true", "exectrail.io/profile": "process-audit"}}


@pytest.fixture
def health() -> Health:
    return Health({"namespaces known": lambda: True})


@pytest.fixture(scope="session")
def rules() -> Rules:
    """What an installation says by default, once its key is there."""
    return Rules(frozenset(DEFAULT_EXTRA_KEYS), b"k" * 32, "env")


@pytest.fixture
def webhook(sessions: list[AuditSession], namespaces: dict[str, dict[str, str]], rules: Rules) -> Webhook:
    async def written(required: list[AuditSession]) -> str | None:
        sessions.extend(required)
        return None

    return Webhook(
        known=lambda namespace, _pod: Known(namespaces.get(namespace)),
        policies=lambda namespace: Policies(namespaces.get(namespace)),
        catch_up=CatchUp(namespaces.__contains__, lambda: None, seconds=0).wait,
        rules=lambda: rules,
        record=sessions.append,
        record_late=sessions.append,
        write=written,
        refused=lambda _session: None,
        namespace="exectrail",
    )


@pytest.fixture
def tls_dir(tmp_path: Path) -> Path:
    ca = trustme.CA()
    leaf = ca.issue_cert("localhost")
    leaf.private_key_pem.write_to_path(tmp_path / "tls.key")
    leaf.cert_chain_pems[0].write_to_path(tmp_path / "tls.crt")
    ca.cert_pem.write_to_path(tmp_path / "ca.crt")
    return tmp_path


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        server.created[KEY_SECRET] = EMPTY_SECRET
        yield server


@pytest.fixture
def run(tls_dir: Path, api: ApiServer) -> Iterator[Callable[..., Process]]:
    running: list[Process] = []

    def start(*arguments: str) -> Process:
        running.append(Process(tls_dir, api.url, *arguments))
        return running[-1]

    yield start
    for each in running:
        each.process.kill()
        each.process.communicate()
