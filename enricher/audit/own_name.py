"""Whether a name in auditd's log is this node's: an auditd that collects for others has their lines in its log, too."""

import socket
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address


def ours(node: str, hostname: str) -> Callable[[str], bool]:
    """A check whether `node=NAME` is this node, whatever `name_format` of auditd.conf(5) says.

    Args:
        node: The node's name in the cluster.
        hostname: Its own.

    """
    own = {_host(node), _host(hostname)}

    @lru_cache(maxsize=64)  # names are the senders' choice
    def is_ours(name: str) -> bool:
        return _host(name) in own or _is_local(name)

    return is_ours


def _host(name: str) -> str:
    """A name without its domain; an address is whole."""
    try:
        return str(ip_address(name))
    except ValueError:
        return name.lower().partition(".")[0]


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
