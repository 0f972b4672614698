"""Variables in an exec probe's command, as the kubelet puts their values in before it has the command run.

It takes the values of the container's spec alone, and does so for probes, not for lifecycle hooks
(pkg/kubelet/prober/prober.go, `ExpandContainerCommandOnlyStatic`; third_party/forked/golang/expansion).
"""

import re
from collections.abc import Mapping
from typing import Final

_OPERATOR = re.compile(r"\$(?:\$|\(([^)]*)\)|.)", re.DOTALL)
"""`$$`, which is `$`; `$(NAME)`; or any other, which stays as it is with the character after it."""
_MOST: Final = 4096
"""Characters of values in a command: `$(NAME)` many times, and anyone's pod would take any amount of memory."""

Variables = Mapping[str, str]
"""Values by name: of two with the same name, the later one counts."""


def expand(command: list[str], variables: Variables) -> tuple[str, ...]:
    """The words that run. `$(NAME)` stays as it is where there is no such variable.

    A command that would have too many characters of values stays as it is, and no process is known by it.
    """
    named = (match[1] for word in command for match in _OPERATOR.finditer(word))
    if sum(len(variables.get(name, "")) for name in named if name) > _MOST:
        return tuple(command)
    return tuple(_OPERATOR.sub(lambda match: _expanded(match, variables), word) for word in command)


def names_in(command: list[str]) -> set[str]:
    """The variables that it names."""
    return {match[1] for word in command for match in _OPERATOR.finditer(word) if match[1]}


def _expanded(match: re.Match[str], variables: Variables) -> str:
    return "$" if match[0] == "$$" else variables.get(match[1] or "", match[0])
