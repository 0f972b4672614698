"""How a process is to be tied to its request: what a namespace or a pod asks for by the label `exectrail.io/tag`.

`env` puts the tag into the command, `match` changes nothing and leaves it to the node to find the process by its
container, its command's hash and the time. `auto`, the default, is `env` where the namespace is opted in and the
container is known to have a program `env`, so that an exec that works without exectrail works with it.
"""

from collections.abc import Callable
from typing import Literal, get_args

from msgspec import Struct

from exectrail.contracts.session import TAG_LABEL, TAG_VARIABLE, TagMode, opted_in

Unknown = Literal["env", "match"]
"""What `auto` is where no node has reported whether the container has `env`."""


def _not_reported(_container: str) -> bool | None:
    return None


class Known(Struct, frozen=True):
    """What is known of a request's target, from copies that may be a moment behind."""

    namespace: dict[str, str] | None
    """The namespace's labels; `None` when it is not known."""
    pod: dict[str, str] = {}
    """The pod's labels, if it has the label for its tag mode."""
    has_env: Callable[[str], bool | None] = _not_reported
    """Whether a container of the pod has `env`; `None` when no node has reported it."""
    break_glass: str = ""
    """The reason that the namespace gives for requests to pass that cannot be recorded, where it gives one."""

    def not_opted_in(self) -> str | None:
        """Why the target's processes are not recorded, or may not be; `None` when they are."""
        if self.namespace is None:
            return "namespace-unknown"
        return None if opted_in(self.namespace) else "not-opted-in"


def mode_of(known: Known) -> tuple[TagMode, list[str]]:
    """The mode that the labels ask for, the pod's before its namespace's; and a warning where it is none."""
    for whose, labels in (("pod", known.pod), ("namespace", known.namespace or {})):
        match labels.get(TAG_LABEL):
            case None:
                continue
            case ("auto" | "env" | "match") as mode:
                return mode, []
            case other:
                allowed = ", ".join(get_args(TagMode))
                return "auto", [f"exectrail: label {TAG_LABEL} of the {whose}: no mode {other!r}; allowed: {allowed}"]
    return "auto", []


def untagged_exec(mode: TagMode, known: Known, container: str, command: list[str], unknown: Unknown) -> str | None:
    """Why an exec's command is left as it is; `None` when the tag goes in front of it."""
    if not command or not command[0]:
        return "empty-command"  # env alone prints the environment
    if looks_tagged(command) and known.not_opted_in() != "not-opted-in":
        return _unprefixable(command)
    if mode == "match":
        return "match"
    if mode == "auto" and (out := known.not_opted_in()):
        return out
    if reason := _unprefixable(command):
        return reason
    return _without_env(known.has_env(container), unknown) if mode == "auto" else None


def looks_tagged(command: list[str]) -> bool:
    """Whether a command begins with a tag before it has one: without ours in front, its process would pass for another.

    It needs the program `env` anyway, so ours takes nothing from it.
    """
    return len(command) > 1 and command[0].rpartition("/")[2] == "env" and command[1].startswith(f"{TAG_VARIABLE}=")


def untagged_debug(mode: TagMode, known: Known) -> str | None:
    """Why an ephemeral container gets no variable; it needs no program for it."""
    if mode == "match":
        return "match"
    return known.not_opted_in() if mode == "auto" else None


def _without_env(has_env: bool | None, unknown: Unknown) -> str | None:
    if has_env is None:
        return "env-unknown" if unknown == "match" else None
    return None if has_env else "no-env"


def _unprefixable(command: list[str]) -> str | None:
    """Why `env` in front would make of this command another one."""
    if "=" in command[0]:
        return "assignment-command"  # env takes it for one more variable
    if any("\ufffd" in word for word in command):
        # Bytes that are not UTF-8 came here as U+FFFD, and a patch would send that on in their place.
        return "not-utf8"
    return None
