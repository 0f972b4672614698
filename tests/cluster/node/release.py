"""The distribution's release: the node's packages and the base image are of it."""

import platform

from .errors import NodeError

# Older ones lack Python 3.11 or libbpf 1. Those to come are taken as they are.
_OLDEST = {"debian": [12], "ubuntu": [24, 4]}
_SUPPORTED = "Debian 12 or 13, or Ubuntu 24.04 or newer"


def require() -> None:
    """Raises NodeError on a system that the node cannot be made of."""
    release = platform.freedesktop_os_release()
    oldest = _OLDEST.get(release.get("ID", ""))
    # Debian's testing has no number: it is newer than all that have one.
    version = [int(number) for number in release.get("VERSION_ID", "999").split(".")]
    if oldest is None or "VERSION_CODENAME" not in release or version < oldest:
        system = release.get("PRETTY_NAME", "this system")
        raise NodeError(f"{system}: the node's packages and base image need {_SUPPORTED}")


def distribution() -> str:
    """`debian` or `ubuntu`."""
    return platform.freedesktop_os_release().get("ID", "")


def codename() -> str:
    """As in `bookworm`. Raises NodeError as `require`."""
    require()
    return platform.freedesktop_os_release()["VERSION_CODENAME"]
