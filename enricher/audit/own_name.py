"""Whether a name in auditd's log is this node's: an auditd that collects for others has their lines in its log, too."""

import socket
import threading
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address


def canonical(hostname: str) -> str:
    """The name with its domain, by the same question that auditd asks for `name_format = fqd`; "" without an answer."""
    try:
        return socket.getaddrinfo(hostname, None, flags=socket.AI_CANONNAME)[0][3]
    except (OSError, UnicodeError):
        return ""


def ours(node: str, hostname: str, look_up: Callable[[str], str] = canonical) -> Callable[[str], bool]:
    """A check whether `node=NAME` is this node, whatever `name_format` of auditd.conf(5) says.

    Whole names are compared; a name without a domain, with what our own begin with. Only while no domain of ours is
    known, one of any domain counts if it begins so.

    Args:
        node: The node's name in the cluster.
        hostname: Its own.
        look_up: Finds the hostname with its domain. It may take its time: a thread asks it.

    """
    own = frozenset({_whole(node), _whole(hostname)})

    def learn() -> None:
        nonlocal own
        if name := look_up(hostname):
            own |= {_whole(name)}

    threading.Thread(target=learn, name="own-name", daemon=True).start()
    return lambda name: _is_ours(name, own)


@lru_cache(maxsize=64)  # names are the senders' choice
def _is_ours(name: str, own: frozenset[str]) -> bool:
    name = _whole(name)
    if name in own or _is_local(name):
        return True
    hosts = [each for each in own if not _is_address(each)]
    if _is_address(name) or ("." in name and any("." in each for each in hosts)):
        return False
    return name.partition(".")[0] in {each.partition(".")[0] for each in hosts}


def _whole(name: str) -> str:
    try:
        return str(ip_address(name))
    except ValueError:
        return name.lower().rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_local(name: str) -> bool:
    """Whether it is an address (`name_format = numeric`) of this node: no other can be bound."""
    try:
        address = ip_address(name)
        if address.is_unspecified:
            return False
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((name, 0))
    except (OSError, ValueError):
        return False
    return True
