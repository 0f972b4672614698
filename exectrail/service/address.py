"""Addresses that a part serves at: of IPv4, IPv6, or both."""

import socket


def bound(host: str, port: int) -> socket.socket:
    """Take a TCP port at a host's address; at all of IPv4 and IPv6 where no host is named.

    A pod may have addresses of one family alone, and the kubelet probes it there.

    Raises:
        OSError: The address is taken, or not this machine's.

    """
    both = not host and socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both or ":" in host else socket.AF_INET
    taken = socket.socket(family)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:  # else the node's `net.ipv6.bindv6only` decides
            taken.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not both)
        taken.bind((host, port))
    except OSError:
        taken.close()
        raise
    return taken
