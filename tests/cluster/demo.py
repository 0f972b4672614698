"""`make demo`: a real cluster, the chart, a real `kubectl exec` by alice, and the chain that it left."""

import json
import shlex
import shutil
import sys
import time
from pathlib import Path

from .cluster import Cluster, Failed, eventually
from .node import sigterm
from .node.alone import alone
from .node.config import kubeconfig
from .node.errors import NodeError
from .node.paths import REPOSITORY
from .node.run import say, step
from .node.up import up_with_product
from .product import TRAIL, install, looked_into, may_enter, namespace, pod

COMMAND = "id; ls / | head -2; (sleep 0.1; true) & wait; exit 3"
_SHOP = "shop"
_LEFT = REPOSITORY / "build/demo/trail.jsonl"
_REPORT = _LEFT.with_name("report.html")


def main() -> int:
    """Run the demo; 0 if the chain is there."""
    began = time.monotonic()
    sigterm.obey()
    try:
        with alone():
            uid = _demo()
    except (NodeError, Failed) as error:
        say(f"\nerror: {error}")
        return 1
    _look_around(uid, time.monotonic() - began)
    return 0


def _demo() -> str:
    up_with_product()
    admin, alice = Cluster(), Cluster("alice")
    with step("exectrail installed"):
        install(admin)
    with step("alice's namespace and pod"):
        admin.apply(namespace(_SHOP, record="true", profile="process-audit"), *may_enter(_SHOP), pod(_SHOP))
        admin.kubectl("wait", "-n", _SHOP, "pod/web", "--for=condition=Ready", "--timeout=60s")
    with step("node looked into the pod"):
        looked_into(f"{_SHOP}/web/app")
    say(f"\nalice$ kubectl exec -n {_SHOP} web -- sh -c {shlex.quote(COMMAND)}")
    before = set(_session_names(admin))
    done = alice.kubectl("exec", "-n", _SHOP, "web", "--", "sh", "-c", COMMAND, check=False)
    say(f"{done.stdout}{done.stderr}".rstrip())
    uid = eventually(lambda: _closed(admin, set(_session_names(admin)) - before))
    say(f"\nadmin$ exectrail show {uid}\n")
    print(admin.exectrail("show", uid).stdout)
    _LEFT.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(TRAIL, _LEFT)
    admin.exectrail("report", uid, "--html", str(_REPORT), "--force")
    return uid


def _session_names(admin: Cluster) -> list[str]:
    return [item["metadata"]["name"] for item in admin.get("auditsessions", "-A")["items"]]


def _closed(admin: Cluster, fresh: set[str]) -> str:
    """Alice's new session, once its end is known."""
    for session in admin.get("auditsessions", "-A")["items"]:
        name, by = session["metadata"]["name"], session["spec"]["user"]["username"]
        if name in fresh and by == "alice" and session.get("status", {}).get("phase") == "Closed":
            return str(name)
    return ""


def _look_around(uid: str, seconds: float) -> None:
    here = Path.cwd()
    trail, report = (file.relative_to(here) if file.is_relative_to(here) else file for file in (_LEFT, _REPORT))
    records = sum(json.loads(line).get("requestUID") == uid for line in _LEFT.read_text().splitlines())
    say(f"""\
The demo took {seconds:.0f} s. The trail is in {trail} ({records} records of this session).

Look around:
  eval "$(python3 -m tests.cluster.node env)"
  export KUBECONFIG={shlex.quote(str(kubeconfig("admin")))}
  kubectl get auditsessions -A
  kubectl get nodetrails
  {shlex.quote(sys.executable)} -m exectrail sessions
  {shlex.quote(sys.executable)} -m exectrail show {uid} {trail}

Tear down:
  make cluster-down

The session as a page for any browser: {report}""")


if __name__ == "__main__":
    sys.exit(main())
