"""Container runtimes that put containers elsewhere than the kubelet asks for, as nodes of users have them.

Each is runc behind a script that changes `linux.cgroupsPath` of the bundle. A pod has one by its RuntimeClass.
"""

import sys
from pathlib import Path

from .paths import RUN

MIXED_DRIVERS, FOREIGN = "runc-mixed-drivers", "runc-foreign-layout"

GROUPS = {
    # containerd with the driver cgroupfs, asked for a slice by a kubelet with the driver systemd.
    MIXED_DRIVERS: "/exectrail-containerd.service/kubepods-{qos}pod{uid}.slice:cri-containerd:{id}",
    # Another tool's, which says nothing of pods.
    FOREIGN: "/exectrail-elsewhere/libpod-{id}.scope",
}
"""By handler, the cgroup of a container."""
TOPS = tuple(group.split("/")[1] for group in GROUPS.values())
"""The folders that these make at the top of each cgroup hierarchy."""

_SCRIPT = """\
#!{python}
import json, os, re, sys
from pathlib import Path
if "create" in sys.argv:
    bundle = Path(sys.argv[sys.argv.index("--bundle") + 1], "config.json")
    spec = json.loads(bundle.read_text())
    asked = re.fullmatch(r"/kubepods/(?:(\\w+)/)?pod([^/]+)/([^/]+)", spec["linux"]["cgroupsPath"])
    qos, uid, container = asked.groups()
    names = dict(qos=qos + "-" if qos else "", uid=uid.replace("-", "_"), id=container)
    spec["linux"]["cgroupsPath"] = "{group}".format(**names)
    bundle.write_text(json.dumps(spec))
os.execvp("runc", ["runc", *sys.argv[1:]])
"""


def write() -> dict[str, Path]:
    """Write the programs; returns them by handler."""
    RUN.mkdir(parents=True, exist_ok=True)
    programs = {handler: RUN / handler for handler in GROUPS}
    for handler, program in programs.items():
        program.write_text(_SCRIPT.format(python=sys.executable, group=GROUPS[handler]))
        program.chmod(0o755)
    return programs
