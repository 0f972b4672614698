"""RuntimeDefault: what a container runtime allows a container that names no profile of its own.

`runtime_default.json` is containerd's, which names its source and version. `syscalls` are its rules for any container;
`capabilities` are the system calls that it allows besides with each of them. The strictest release is the measure: a
container must not lose protection by taking a profile of ours, whatever its node's containerd.
"""

from functools import cache
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from exectrail.seccomp.profile import Action, Architecture, Profile, Rule

Kind = Literal["amd64", "arm64"]

_FILE = Path(__file__).with_name("runtime_default.json")
_NO_NAMESPACES = frozenset({"clone", "clone3"})
"""Their rules forbid new namespaces; with SYS_ADMIN they are not there."""


class Published(Struct, rename="camel", frozen=True):
    """The file."""

    source: str
    default_action: Action
    architectures: dict[Kind, list[Architecture]]
    syscalls: dict[Literal[Kind, "both"], list[Rule]]
    capabilities: dict[str, list[str]]


@cache
def published() -> Published:
    """Read the file, once."""
    return msgspec.json.decode(_FILE.read_bytes(), type=Published)


def runtime_default(capabilities: frozenset[str] = frozenset()) -> Profile:
    """RuntimeDefault of a container that adds these capabilities, for x86-64 and arm64 nodes in one.

    Args:
        capabilities: Names without `CAP_`, besides those that the runtime gives any container (SYS_CHROOT is one).

    """
    of = published()
    rules = [
        rule
        for kind in ("both", "amd64", "arm64")
        for rule in of.syscalls[kind]
        if "SYS_ADMIN" not in capabilities or _NO_NAMESPACES.isdisjoint(rule.names)
    ]
    adding = sorted({"SYS_CHROOT", *capabilities} & of.capabilities.keys())
    rules.extend(Rule(of.capabilities[capability], "SCMP_ACT_ALLOW") for capability in adding)
    architectures = [each for kind in of.architectures.values() for each in kind]
    return Profile(of.default_action, architectures=architectures, syscalls=rules)
