"""Entries that no admission was asked about: they have no AuditSession and no user."""

import ssl
import subprocess
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

from exectrail.contracts.record import Record

from .cluster import Cluster, eventually
from .node import pki
from .product import container_id
from .sessions import auditsessions, enter_by_nodes_proxy, enter_by_the_runtime, trail


def enter_by_the_kubelets_own_api(admin: Cluster, namespace: str, *command: str) -> None:
    context = ssl.create_default_context(cafile=str(pki.CA))
    context.load_cert_chain(pki.file(admin.user, "crt"), pki.file(admin.user, "key"))
    # No proxy of the environment: this is an address of this machine.
    handlers = (urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context))
    url = f"https://{pki.NODE_ADDRESS}:10250/run/{namespace}/web/app?cmd={quote(' '.join(command))}"
    with urllib.request.build_opener(*handlers).open(urllib.request.Request(url, method="POST"), timeout=10) as answer:
        answer.read()


WAYS_IN: tuple[Callable[..., None], ...] = (enter_by_nodes_proxy, enter_by_the_kubelets_own_api, enter_by_the_runtime)


def execs_with(word: str) -> list[Record]:
    return [record for record in trail() if record.kind == "exec" and word in (record.argv or [])]


def test_an_entry_past_admission_is_untracked_and_has_no_user(admin: Cluster, recorded: str) -> None:
    asked = {each["metadata"]["name"] for each in auditsessions()}
    words = [str(uuid.uuid4()) for _ in WAYS_IN]
    for enter, word in zip(WAYS_IN, words, strict=True):
        enter(admin, recorded, "true", word)

    def seen() -> list[Record]:
        records = [record for word in words for record in execs_with(word)]
        assert [record.argv for record in records] == [["true", word] for word in words]
        return records

    for record in eventually(seen):
        assert record.resource
        assert (record.resource.pod, record.resource.container) == ("web", "app")
        assert (record.origin, record.user, record.request_uid, record.state) == ("untracked", None, None, None)
        assert (record.outside, record.entered_from) == (None, None)
    assert {each["metadata"]["name"] for each in auditsessions()} <= asked


def test_an_entry_by_namespaces_is_untracked_and_has_where_it_comes_from(admin: Cluster, recorded: str) -> None:
    listed = admin.run("ctr", "task", "ls").stdout
    (init,) = [line.split()[1] for line in listed.splitlines() if line.startswith(container_id(recorded))]
    word = f"/{uuid.uuid4()}"
    enter = ["nsenter", "-t", init, "-m", "-p", "cat", "-", word]
    with subprocess.Popen(enter, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as intruder:
        (record,) = eventually(lambda: [each for each in execs_with(word) if each.program == "/usr/bin/cat"])
        intruder.communicate(timeout=30)

    assert record.resource
    assert (record.resource.pod, record.resource.container) == ("web", "app")
    assert (record.origin, record.user, record.request_uid, record.outside) == ("untracked", None, None, "namespace")
    assert record.entered_from
    assert record.entered_from.argv == enter
    own = [line.split(":", 2)[2] for line in Path("/proc/self/cgroup").read_text().splitlines()]
    assert record.entered_from.cgroup in own
