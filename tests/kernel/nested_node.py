"""A node that is a container itself, as with kind: `python -m tests.kernel.nested_node FOLDER` in own namespaces.

It plays the node of `test_restart`, says which pids it has seen, waits for a line, and says what the enricher made of
it.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from enricher.audit.netlink_socket import SourceUnavailable
from enricher.audit.progress import SourceState
from enricher.clock import Clock
from enricher.config import SENSORS, choose_source
from enricher.sensors.unavailable import SensorUnavailable
from tests.kernel.test_restart import SHELL, Node, until


def main(folder: Path) -> None:
    subprocess.run(["mount", "-t", "cgroup2", "cgroup2", "/sys/fs/cgroup"], check=True)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    node = Node(folder, init=("sh", "-c", SHELL))
    init = node.container.started[0]
    node.start("auto", "--audit-source", "auto", "--heartbeat", "1")
    assert init.stdin
    init.stdin.write(b"/bin/true before; false\n")
    init.stdin.flush()
    node.ran("/bin/true", "before")
    shell = node.enters()
    shell.does("/bin/true within", "exit 5")
    shell.process.wait(10)
    until(lambda: any(each.phase == "end" for each in node.records()))
    _say({"init": init.pid, "shell": shell.process.pid, "uid": shell.uid, "cgroup": str(node.container.folder)})

    sys.stdin.readline()
    lost = until(lambda: _trail(node).get("lostByCause"))
    _say(
        {
            "records": [msgspec.to_builtins(each) for each in node.records()],
            "lost": lost,
            "trail": _trail(node),
            "log": node.log(),
            "refusals": _refusals(folder),
        }
    )


def _trail(node: Node) -> dict[str, Any]:
    """The newest NodeTrail."""
    lines = [json.loads(line) for line in (node.api / "told.jsonl").read_text().splitlines()]
    found: list[dict[str, Any]] = [
        line["status"] for line in lines if line["path"].endswith("/nodetrails/node1/status")
    ]
    return found[-1] if found else {}


def _refusals(folder: Path) -> list[str]:
    """Why nothing else works here."""
    log = folder / "audit.log"
    log.touch()
    args = argparse.Namespace(
        audit_log=log, audit_source="auditlog", node="node1", receive_buffer=1 << 20, cgroup_root=None
    )
    state = SourceState(folder / "source.json", "boot", 0)
    said: list[str] = []
    tries: tuple[Callable[[], object], ...] = (
        lambda: choose_source(args, state, lambda: True),
        lambda: SENSORS["procconn"](args, Clock(), None),
    )
    for opens in tries:
        try:
            opens()
        except (SourceUnavailable, SensorUnavailable) as error:
            said.append(str(error))
    return said


def _say(what: dict[str, Any]) -> None:
    print(json.dumps(what), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
