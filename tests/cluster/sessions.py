"""What people do in the cluster, and what the product has of it afterwards."""

import json
import subprocess
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from prometheus_client.parser import text_string_to_metric_families

from exectrail.contracts.record import Record, decode

from . import equation
from .cluster import Cluster, eventually
from .node import api
from .node.pki import NODE_NAME
from .product import TRAIL, container_id, looked_into

ANNOTATION = "execmetadata.exectrail.io/SPO_EXEC_REQUEST_UID"


class Person:
    """A user, and an admin who looks at what they did."""

    def __init__(self, admin: Cluster, cluster: Cluster) -> None:
        self.admin = admin
        self.cluster = cluster

    def does(self, *args: str, check: bool = True) -> tuple[subprocess.CompletedProcess[str], dict[str, Any]]:
        """Run kubectl; returns what came of it and the one AuditSession that it made."""
        done, fresh = self.does_all(*args, check=check, sessions=1)
        return done, fresh[0]

    def does_all(
        self, *args: str, check: bool = True, sessions: int
    ) -> tuple[subprocess.CompletedProcess[str], list[dict[str, Any]]]:
        """Run kubectl; returns what came of it and the AuditSessions, so many, that it made."""
        before = self._sessions()
        done = self.cluster.kubectl(*args, check=check)

        def fresh() -> list[dict[str, Any]]:
            now = self._sessions()
            made = [now[name] for name in now.keys() - before.keys()]
            assert len(made) >= sessions, f"{len(made)} new sessions of {self.cluster.user}"
            return made

        made = eventually(fresh)
        assert len(made) == sessions
        return done, sorted(made, key=lambda each: str(each["spec"]["time"]))

    def executes(
        self, namespace: str, *command: str, container: str = "app", code: int = 0
    ) -> tuple[str, list[Record]]:
        """`kubectl exec` into pod `web`, tagged; returns the request's UID and the records, once the end is there."""
        looked_into(f"{namespace}/web/{container}")
        done, session = self.does("exec", "-n", namespace, "web", "-c", container, "--", *command, check=False)
        assert done.returncode == code, done.stderr
        return self.trail_of(session)

    def trail_of(self, session: dict[str, Any]) -> tuple[str, list[Record]]:
        """The request's UID and the session's records, once its end is among them."""
        uid = str(session["metadata"]["name"])

        def complete() -> list[Record]:
            records = records_of(uid)
            assert any(record.phase == "end" for record in records), f"no end among {len(records)} records"
            return records

        return uid, eventually(complete)

    def _sessions(self) -> dict[str, dict[str, Any]]:
        every = auditsessions()
        return {
            each["metadata"]["name"]: each for each in every if each["spec"]["user"]["username"] == self.cluster.user
        }


def enter_by_the_runtime(admin: Cluster, namespace: str, *command: str) -> None:
    """What root on the node can do: enter a container of pod `web` without asking the API server."""
    admin.run("ctr", "task", "exec", "--exec-id", "intruder", container_id(namespace), *command)


def enter_by_nodes_proxy(admin: Cluster, namespace: str, *command: str) -> None:
    """What the right to `nodes/proxy` is enough for: the kubelet runs it in `web`; by default no webhook is asked."""
    words = quote(" ".join(command))  # where the kubelet parts it again
    path = f"/api/v1/nodes/{NODE_NAME}/proxy/run/{namespace}/web/app?cmd={words}"
    admin.kubectl("create", "--raw", path, "-f", "/dev/null")


def auditsessions() -> list[dict[str, Any]]:
    """The release's AuditSessions; asked without kubectl, which takes longer the more there are."""
    # On a busy machine it may not answer in time once.
    listed = eventually(lambda: api.get("/apis/exectrail.io/v1alpha1/namespaces/exectrail/auditsessions"))
    assert listed
    items: list[dict[str, Any]] = listed["items"]
    return items


def trail(path: str = TRAIL) -> list[Record]:
    """The node's trail."""
    return list(_decoded(whole_lines(Path(path).read_bytes())))


def _decoded(lines: Iterable[bytes]) -> Iterator[Record]:
    """The records in lines; a line that an enricher was killed at ends where it was, and is left out as by readers."""
    for line in lines:
        try:
            yield decode(line)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            assert not line.endswith(b"}"), line


def whole_lines(of_file: bytes) -> list[bytes]:
    """The lines of a file that others write to: the last one may be there in part."""
    *whole, _ = of_file.split(b"\n")
    return whole


def records_of(uid: str, path: str = TRAIL) -> list[Record]:
    """The records of a session."""
    # Asked many times a test, and the trail is long: only lines that name it are read.
    lines = (line for line in whole_lines(Path(path).read_bytes()) if uid.encode() in line)
    return [record for record in _decoded(lines) if record.request_uid == uid]


def programs(records: list[Record]) -> list[str]:
    """The first word of every command that was run, in order."""
    return [record.argv[0] for record in records if record.kind == "exec" and record.argv]


def closed(uid: str, seconds: float = 30) -> dict[str, Any]:
    """An AuditSession's status, once it is closed."""

    def status() -> dict[str, Any]:
        named = {each["metadata"]["name"]: each for each in auditsessions()}
        found: dict[str, Any] = named[uid].get("status", {})
        assert found.get("phase") == "Closed", found
        return found

    return eventually(status, seconds)


def api_audit_event(admin: Cluster, uid: str, annotation: str = ANNOTATION) -> dict[str, Any]:
    """The API server's own audit event that has this UID in its annotation."""
    for line in whole_lines(admin.audit_log.read_bytes()):
        event: dict[str, Any] = json.loads(line)
        if event.get("annotations", {}).get(annotation) == uid:
            return event
    raise AssertionError(f"no event of the API server's audit log has the annotation {annotation}={uid}")


def check_equation() -> dict[str, float]:
    """Everything that the enricher read is somewhere: see `enricher.tally`. Returns the sums by stage."""
    with urllib.request.urlopen("http://127.0.0.1:9464/metrics", timeout=10) as answer:
        families = text_string_to_metric_families(answer.read().decode())
        sums = equation.sums(sample for family in families for sample in family.samples)
    assert equation.missing(sums) == 0, sums
    return sums
