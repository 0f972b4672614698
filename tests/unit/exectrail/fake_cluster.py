"""A kubectl that answers from a table of files, for commands that read a cluster."""

import json
import sys
from collections.abc import Collection
from pathlib import Path

_PROGRAM = (
    f"#!{sys.executable} -IS\n"
    """
import json, pathlib, sys
here = pathlib.Path(__file__).parent
words = sys.argv[1:]
with open(here / "calls", "a") as calls:
    print(json.dumps(words), file=calls)
namespaces = json.loads((here / "namespaces").read_text())
path, _, query = words[-1].partition("?")
if path in namespaces and "limit=1" in query.split("&"):
    import urllib.parse
    left_out = urllib.parse.parse_qs(query).get("fieldSelector", [""])[0].split(",")
    left = [each for each in namespaces[path] if f"metadata.namespace!={each}" not in left_out]
    print(json.dumps({"items": [{"metadata": {"name": "any", "namespace": each}} for each in left[:1]]}))
    sys.exit()
for pattern, code, out, err in json.loads((here / "answers").read_text()):
    if all(any(word in given for given in words) for word in pattern):
        sys.stdout.buffer.write((here / out).read_bytes() if out else b"")
        sys.stderr.write(err)
        sys.exit(code)
sys.exit("unexpected: " + " ".join(words))
"""
)

Answer = tuple[list[str], int, str, str]
"""Words of the command line, exit code, file with the output, error output."""


class FakeCluster:
    """Gives the first answer whose words all stand in the command line, and keeps the command lines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        program = folder / "kubectl"
        program.write_text(_PROGRAM)
        program.chmod(0o755)
        self._answers: list[Answer] = []
        self.has_namespaces(["audit"])

    def answers(self, words: str, *, code: int = 0, out: bytes | object = b"", err: str = "") -> None:
        name = f"answer-{len(self._answers)}"
        (self.folder / name).write_bytes(out if isinstance(out, bytes) else json.dumps(out).encode())
        self._answers.append((words.split(), code, name, err))
        (self.folder / "answers").write_text(json.dumps(self._answers))

    def has_namespaces(self, pods: Collection[str] = (), audit_sessions: Collection[str] = ()) -> None:
        """Exectrail's pods and AuditSessions are in these, as far as the cluster is asked for an object of each."""
        places = {"/api/v1/pods": list(pods), "/apis/exectrail.io/v1alpha1/auditsessions": list(audit_sessions)}
        (self.folder / "namespaces").write_text(json.dumps(places))

    def hides_namespaces(self) -> None:
        """Who asks for those gets the answers of the table."""
        (self.folder / "namespaces").write_text("{}")

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]

    def has_pods(
        self, mode: str, trail: str, *nodes: str, pending: Collection[str] = (), silent: Collection[str] = ()
    ) -> None:
        """On each node a pod of each DaemonSet, named by both.

        Of those in `pending` no container runs yet; those in `silent` do not say where the trail is.
        """
        annotations = {"exectrail.io/logs-mode": mode, "exectrail.io/trail": trail}
        for component in ("node", "enricher"):
            pods = [
                {
                    "metadata": {
                        "name": f"{component}-{node}",
                        "namespace": "audit",
                        "annotations": {} if f"{component}-{node}" in silent else annotations,
                    },
                    "spec": {"nodeName": node},
                    "status": {"phase": "Pending" if f"{component}-{node}" in pending else "Running"},
                }
                for node in nodes
            ]
            self.answers(f"get pods component%3D{component}", out={"items": pods})

    def changes_pods(self, before: bytes, after: bytes) -> None:
        """Replace this in the answers of `has_pods`."""
        for number in (0, 1):
            answer = self.folder / f"answer-{number}"
            changed = self.folder / "changed"
            changed.write_bytes(answer.read_bytes().replace(before, after))
            changed.rename(answer)  # at once: it may be read meanwhile
