"""Many identical execs at once: each process is one request's, or names all that it can be.

Thirty, because on two busy cores the runtime needs half a minute for more, and an exec that starts later than that is
`forged`. Two hundred are in tests/kernel/test_many_at_once.py.
"""

# mypy: allow-untyped-calls
# (most of the official client has no types)

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kubernetes import client, config
from kubernetes.stream import stream

from exectrail.contracts.record import Record

from .cluster import Cluster, eventually
from .node.config import kubeconfig
from .product import pod
from .sessions import Person, auditsessions, check_equation, trail

MANY = 30


def execute_at_once(namespace: str, name: str, *command: str) -> None:
    """So many execs side by side, as alice: by the API itself, as many kubectls would take minutes to start."""

    def execute(_number: int) -> None:
        with config.new_client_from_config(config_file=str(kubeconfig("alice"))) as api:
            core = client.CoreV1Api(api)
            asked = {"command": list(command), "stdout": True, "_preload_content": False}
            running = stream(core.connect_get_namespaced_pod_exec, name, namespace, **asked)
            running.run_forever(timeout=60)
            running.sock.shutdown()  # its `close` leaves the socket open where the server was first

    with ThreadPoolExecutor(MANY) as threads:
        list(threads.map(execute, range(MANY)))


def asked_of(admin: Cluster, name: str) -> dict[str, dict[str, Any]]:
    """The status of each AuditSession of a pod, by UID."""
    every = auditsessions()
    of_pod = [each for each in every if each["spec"]["target"]["pod"] == name]
    return {each["metadata"]["name"]: each.get("status", {}) for each in of_pod}


def entered(admin: Cluster, namespace: str, mode: str) -> str:
    """A new pod for commands that are tied to their request in this way."""
    made = pod(namespace, f"crowded-{uuid.uuid4().hex[:8]}")
    made["metadata"]["labels"] = {"exectrail.io/tag": mode}
    name = str(made["metadata"]["name"])
    admin.apply(made)
    admin.kubectl("wait", "-n", namespace, f"pod/{name}", "--for=condition=Ready", "--timeout=60s")
    execute_at_once(namespace, name, "true")
    return name


def entries(name: str) -> list[Record]:
    """What the commands became, once all of them are there."""
    found = [record for record in trail() if record.argv == ["true"] and in_pod(record, name)]
    assert len(found) == MANY
    return found


def test_of_many_execs_with_a_tag_each_has_its_own_process(alice: Person, recorded: str) -> None:
    name = entered(alice.admin, recorded, "env")

    ran = eventually(lambda: entries(name))
    uids = asked_of(alice.admin, name).keys()
    starts = [record for record in trail() if record.phase == "start" and in_pod(record, name)]
    assert Counter(record.request_uid for record in ran) == dict.fromkeys(uids, 1)
    assert len({(record.request_uid, record.entry_key) for record in starts}) == MANY
    assert len({record.entry_key for record in starts}) == MANY
    assert {record.state for record in starts} <= {"confirmed", "unconfirmed"}
    check_equation()


def test_of_many_execs_without_a_tag_none_is_given_to_one_of_them_alone(alice: Person, recorded: str) -> None:
    name = entered(alice.admin, recorded, "match")

    ran = eventually(lambda: entries(name))
    asked = asked_of(alice.admin, name)
    bound = [record.request_uid for record in ran if record.request_uid]
    assert len(bound) == len(set(bound))
    for record in ran:
        whose = {record.request_uid, *(record.candidates or [])} - {None}
        assert whose <= asked.keys()
        assert (record.origin == "untracked") == (whose == set())  # its request showed after the hold time
    ambiguous = [uid for uid, status in asked.items() if status.get("outcome") == "ambiguous"]
    assert ambiguous
    assert "started by this request or by another" in alice.admin.exectrail("show", ambiguous[0]).stdout
    check_equation()


def in_pod(record: Record, name: str) -> bool:
    return record.resource is not None and record.resource.pod == name
