"""Whether a SeccompProfile is one that no node is to have: its owner disabled it, or a recording left it unfinished."""

from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

PARTIAL_LABEL = "spo.x-k8s.io/partial"
"""On a SeccompProfile, with any value: a part of a recording, that the Security Profiles Operator was to merge."""

Withheld = Literal["", "Disabled", "Partial"]
"""The state of such a profile; empty for all others."""


class Switch(Struct, frozen=True):
    """The fields of a `spec` that say it. Read by themselves: a disabled profile may be wrong otherwise."""

    state: str = "Enabled"
    disabled: bool = False
    """The form of `state` in manifests from before the operator's 1.0."""


def withheld(spec: Switch, labels: Mapping[str, str]) -> Withheld:
    """Why no node is to have a profile, in the operator's order."""
    if spec.disabled or spec.state == "Disabled":
        return "Disabled"
    return "Partial" if PARTIAL_LABEL in labels else ""
