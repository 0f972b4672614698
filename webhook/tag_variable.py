"""The tag as a container's variable: for containers that a request makes, whose command stays as it is."""

from typing import Any

from msgspec import Struct

from exectrail.session import TAG_VARIABLE
from webhook.admission import Operation


class Container(Struct, frozen=True):
    """A container of any kind, as far as a tag and the ledger are concerned."""

    name: str
    command: list[str] = []
    args: list[str] = []
    env: list[dict[str, Any]] = []
    tty: bool = False
    stdin: bool = False


def set_variable(path: str, container: Container, uid: str) -> Operation:
    """The container's variables with ours as the last, and the only one of its name.

    Args:
        path: The container's in its pod (JSON pointer, RFC 6901).
        container: What it is now.
        uid: The request's UID.

    """
    others = [variable for variable in container.env if variable.get("name") != TAG_VARIABLE]
    return Operation(f"{path}/env", [*others, {"name": TAG_VARIABLE, "value": uid}])
