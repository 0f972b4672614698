"""Where the node keeps its things: a cache that stays, a state that `down` removes.

Both follow the XDG Base Directory Specification (https://specifications.freedesktop.org/basedir-spec/).
"""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]


def _base(variable: str, default: str) -> Path:
    # The specification says to ignore relative paths.
    value = os.environ.get(variable, "")
    return Path(value) if value.startswith("/") else Path.home() / default


CACHE = _base("XDG_CACHE_HOME", ".cache") / "exectrail"
STATE = _base("XDG_STATE_HOME", ".local/state") / "exectrail/node"
LOCK = CACHE / "node.lock"

BIN = STATE / "bin"
PKI = STATE / "pki"
LOG = STATE / "log"
PIDS = STATE / "pids"
CONFIG = STATE / "config"
HOST_BEFORE = STATE / "host-before.json"
ENDING = STATE / "ending"
"""There while `down` is at work: one that was interrupted left a part of the node."""
AUDIT_LOG = LOG / "audit.log"

# Mounts, namespaces and sockets: gone after a reboot, and a socket's path has room for 107 bytes only.
RUN = Path("/run/exectrail-node")
CONTAINERD_SOCKET = RUN / "containerd.sock"
