"""The node's cluster as its users see it: kubectl, Helm and the exectrail command, as real processes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from .node.config import kubeconfig
from .node.paths import AUDIT_LOG, BIN, CONTAINERD_SOCKET, REPOSITORY

T = TypeVar("T")


class Failed(AssertionError):
    """A command failed that was to succeed, or something did not come true in time."""


class Cluster:
    """The cluster, as one user sees it.

    Args:
        user: Whose client certificate to use: `admin`, or `alice`, who has the groups `dev` and `oncall`.

    """

    audit_log = AUDIT_LOG

    def __init__(self, user: str = "admin") -> None:
        self.user = user
        self.env: Mapping[str, str] = {
            **os.environ,
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "KUBECONFIG": str(kubeconfig(user)),
            "PYTHONPATH": str(REPOSITORY),
            "CONTAINERD_ADDRESS": str(CONTAINERD_SOCKET),
            "CONTAINERD_NAMESPACE": "k8s.io",
        }

    def run(
        self, *argv: str, stdin: str | None = None, check: bool = True, timeout: float = 180
    ) -> subprocess.CompletedProcess[str]:
        """Run a program to its end; `Failed` with what it wrote where it fails and `check` is set."""
        done = subprocess.run(
            argv, env=self.env, input=stdin, capture_output=True, text=True, check=False, timeout=timeout
        )
        if check and done.returncode != 0:
            raise Failed(f"exit code {done.returncode}: {' '.join(argv)}\n{done.stdout}{done.stderr}")
        return done

    def start(self, *argv: str) -> subprocess.Popen[str]:
        """Start a program; the caller ends it."""
        pipe = subprocess.PIPE
        return subprocess.Popen(argv, env=self.env, stdin=pipe, stdout=pipe, stderr=pipe, text=True)

    def kubectl(self, *args: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run kubectl."""
        return self.run("kubectl", *args, stdin=stdin, check=check)

    def helm(self, *args: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run Helm."""
        return self.run("helm", *args, check=check, timeout=300)

    def exectrail(self, *args: str, stdin: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the exectrail command."""
        return self.run(sys.executable, "-m", "exectrail", *args, stdin=stdin, check=check)

    def get(self, *args: str) -> Any:
        """What `kubectl get -o json` answers."""
        return json.loads(self.kubectl("get", *args, "-o", "json").stdout)

    def apply(self, *objects: dict[str, Any]) -> None:
        """Create or change objects."""
        self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))


def eventually(look: Callable[[], T], seconds: float = 30, every: float = 0.1) -> T:
    """What `look` returns once that is true and no assertion in it fails any more.

    Raises:
        Failed: It was not so in time; with the last assertion's words.

    """
    deadline = time.monotonic() + seconds
    while True:
        wrong: AssertionError | None = None
        try:
            if found := look():
                return found
        except AssertionError as error:
            wrong = error
        if time.monotonic() > deadline:
            raise Failed(f"not so after {seconds} s: {wrong or look}") from wrong
        time.sleep(every)
