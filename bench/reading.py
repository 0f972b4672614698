"""What the `exectrail` command costs on a large trail: time as a person waits for it, and memory."""

import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

from bench.figures import Figure, at_most
from exectrail.contracts.record import VERSION, Exit, Kind, Node, Record, Request, Resource, UserInfo, encode

_SESSIONS = 91_000
_EACH = 11
"""Records of a session: its start and end, and a shell that runs two programs."""
_PACKED = 200_000
"""Records of the compressed file."""
_PROCESSES = 10_000
"""Of the session that is reported."""
_AUDIT_SESSIONS = 10_000
_USERS = ("alice", "bob", "system:serviceaccount:ci-runners:deployer", "oidc:zoe@example.com")
_ARGUMENTS = "--selector=app.kubernetes.io/name=checkout,app.kubernetes.io/part-of=shop " * 9


class Run(NamedTuple):
    """One run of a program."""

    seconds: float
    mib: float


def figures() -> Iterator[Figure]:
    """Of a plain trail of a million records and a gigabyte, of a compressed one, of a session with very many processes,
    and of many AuditSessions.
    """
    yield at_most(0.15, "exectrail-help", _run("--help").seconds, "s", "wall time, with the interpreter's start")
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        folder = Path(name)
        trail, packed = folder / "trail.jsonl", folder / "packed.jsonl.gz"
        _write(trail, packed)
        uid = str(_uid(_SESSIONS // 2))
        size = trail.stat().st_size / 1e9
        how = f"{_SESSIONS * _EACH} records of {_SESSIONS} sessions, {size:.2f} GB, in the page cache"
        _run("summary", trail, "--top", "1")  # into the page cache
        for form in ("table", "json"):
            run = _run("sessions", trail, "-o", form)
            yield at_most(3, f"sessions-{form}-million-records", run.seconds, "s", how)
            yield at_most(100, f"sessions-{form}-memory", run.mib, "MiB", how)
        run = _run("sessions", trail, "--limit", "1")
        yield at_most(0.3, "sessions-limit-1", run.seconds, "s", how)
        run = _run("show", uid, trail)
        yield at_most(2, "show-plain-gigabyte", run.seconds, "s", how)
        yield at_most(50, "show-plain-memory", run.mib, "MiB", how)
        zcat = _run_program(["zcat", str(packed)])
        run = _run("show", str(_uid(1000)), packed)
        how = f"{_PACKED} records, compressed to {packed.stat().st_size / 1e6:.0f} MB; zcat took {zcat.seconds:.2f} s"
        yield at_most(1.5, "show-gzip-over-zcat", run.seconds / zcat.seconds, "times", how)
        long = folder / "long.jsonl"
        long.write_bytes(b"".join(map(encode, _long_session())))
        run = _run("report", _uid(0), long, "--html", "-")
        how = f"a session of {_PROCESSES} processes, {long.stat().st_size / 1e6:.0f} MB of records, as one HTML file"
        yield at_most(4, "report-html-10000-processes", run.seconds, "s", how)
        yield at_most(160, "report-html-memory", run.mib, "MiB", how)
        with _kubectl(folder) as kubectl:
            run = _run("sessions", KUBECTL=str(kubectl))
        how = f"{_AUDIT_SESSIONS} AuditSessions, in pages; kubectl and the API server are files here"
        yield at_most(1.5, "sessions-from-the-api", run.seconds, "s", how)


def _run(*arguments: object, **env: str) -> Run:
    return _run_program([sys.executable, "-m", "exectrail", *map(str, arguments)], **env)


def _run_program(command: list[str], **env: str) -> Run:
    """Time and memory of a program whose output goes nowhere; the better of two."""
    return min(_once(command, env) for _ in range(2))


def _once(command: list[str], env: dict[str, str]) -> Run:
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=os.environ | env) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command}: exit code {process.returncode}")
    return Run(time.perf_counter() - began, usage.ru_maxrss / 1024)


def _uid(session: int) -> UUID:
    return UUID(int=(session * 0x9E3779B97F4A7C15F39CC0605CEDC835) % (1 << 128), version=4)


def _write(trail: Path, packed: Path) -> None:
    """Write both; the compressed one has the beginning."""
    with trail.open("wb") as plain, gzip.open(packed, "wb", compresslevel=6) as small:
        for session in range(_SESSIONS):
            for record in _records(session):
                line = encode(record)
                plain.write(line)
                if record.seq < _PACKED:
                    small.write(line)


def _records(session: int) -> Iterator[Record]:
    """A shell that runs two programs."""
    entry = _key(session)
    command = ["sh", "-c", f"kubectl get pods {_ARGUMENTS}; id"]
    told = _told(command)
    yield _record(session, 0, "session", entry, phase="start", image="docker.io/library/debian:12-slim", **told)
    runs = [(entry, command), (f"{entry}-a", ["kubectl", "get", "pods", *_ARGUMENTS.split()]), (f"{entry}-b", ["id"])]
    for number, (key, argv) in enumerate(runs):
        yield from _process(session, 1 + 3 * number, key, argv)
    end = {"outcome": "completed", "exit": Exit(session % 3), "duration_ms": 126}
    yield _record(session, _EACH - 1, "session", entry, phase="end", **end)


def _long_session() -> Iterator[Record]:
    """A shell whose loop runs very many programs."""
    entry = _key(0)
    told = _told(["sh", "-c", "while read each; do kubectl label pod $each team=shop; done"])
    yield _record(0, 0, "session", entry, phase="start", image="docker.io/library/debian:12-slim", **told)
    for number in range(_PROCESSES):
        argv = ["kubectl", "label", "pod", f"checkout-7d9c5b8f6d-{number:05}", "team=shop"]
        yield from _process(0, 1 + 3 * number, f"{entry}-{number}" if number else entry, argv)
    end = {"outcome": "completed", "exit": Exit(0), "duration_ms": 30 * _PROCESSES, "processes": _PROCESSES}
    yield _record(0, 1 + 3 * _PROCESSES, "session", entry, phase="end", **end)


def _process(session: int, step: int, key: str, argv: list[str]) -> Iterator[Record]:
    """Its creation, its program and its end."""
    call = {"uid": 0, "gid": 0, "executable": "/usr/bin/dash", "program": "/usr/bin/kubectl", "cwd": "/"}
    yield _record(session, step, "clone", key, parent_key=_key(session))
    yield _record(session, step + 1, "exec", key, argv=argv, cmd_line=" ".join(argv), syscalls=["execve"], **call)
    yield _record(session, step + 2, "exit", key, exit=Exit(0), duration_ms=7)


def _key(session: int) -> str:
    """Of a session's first process."""
    return f"669e1086-{session + 1000}-671898"


def _told(command: list[str]) -> dict[str, Any]:
    return {"request": Request("exec", "pods/exec", command), "user_info": UserInfo(["dev", "system:authenticated"])}


def _record(session: int, step: int, kind: Kind, key: str, **fields: object) -> Record:
    at = datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=20 * session, milliseconds=10 * step)
    return Record(
        version=VERSION,
        kind=kind,
        audit_id=str(UUID(int=session * _EACH + step, version=4)),
        timestamp=at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        node=Node("worker-a1"),
        resource=Resource("shop", f"checkout-7d9c5b8f6d-{session % 50:05}", "app"),
        container_id="fc3abe57ef7b423a540fa1547baa3bed17391a2f9b03003596835d1a4c335aa0",
        pid=session + 1000,
        process_key=key,
        entry_key=_key(session),
        origin="session",
        user=_USERS[session % len(_USERS)],
        request_uid=str(_uid(session)),
        state="confirmed",
        source="bpf+netlink",
        seq=session * _EACH + step,
        prev="567ad242719cc1fa5deeb2bdf7bb655127aeb9d1cc410a071c2e3904a3616a3c",
        **fields,  # type: ignore[arg-type] # by keyword
    )


@contextmanager
def _kubectl(folder: Path) -> Iterator[Path]:
    """A kubectl that prints pages of AuditSessions."""
    size = 2000
    for page in range(_AUDIT_SESSIONS // size):
        more = page + 1 < _AUDIT_SESSIONS // size
        items = [_audit_session(page * size + number) for number in range(size)]
        content = {"items": items, "metadata": {"continue": f"page-{page + 1}" if more else ""}}
        (folder / f"page-{page}").write_text(json.dumps(content))
    program = folder / "kubectl"
    program.write_text(
        '#!/bin/sh\ncase "$*" in *continue=*) page="${*##*continue=}" page="${page%%&*}";; *) page=page-0;; esac\n'
        f'exec cat "{folder}/$page"\n'
    )
    program.chmod(0o755)
    yield program


def _audit_session(number: int) -> dict[str, Any]:
    at = (datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=number)).isoformat().replace("+00:00", "Z")
    return {
        "apiVersion": "exectrail.io/v1alpha1",
        "kind": "AuditSession",
        "metadata": {
            "name": str(_uid(number)),
            "namespace": "exectrail",
            "managedFields": [{"manager": "webhook", "fieldsV1": {f"f:{n}": {} for n in range(60)}}],
        },
        "spec": {
            "user": {"username": _USERS[number % len(_USERS)], "groups": ["dev", "system:authenticated"]},
            "verb": "exec",
            "resource": "pods/exec",
            "target": {"namespace": "shop", "pod": f"checkout-7d9c5b8f6d-{number % 50:05}", "container": "app"},
            "time": at,
            "command": ["sh", "-c", f"kubectl get pods {_ARGUMENTS}; id"],
        },
        "status": {"phase": "Closed", "outcome": "completed", "exit": {"code": 0}, "node": "worker-a1", "endTime": at},
    }
