"""Which agents watch an AuditSession: its labels, as the webhook writes them, and the selector of a node's agent.

An agent watches one shard of the sessions of nodes, so that what is sent for a request hardly grows with the number of
nodes. The selector names the other shards, for a selector that takes an absent label as well has no other form: what an
older webhook wrote, and what was written before its node was known, reaches all agents. A second watch for these would
cost the API server as much again: most of what it does for a watch is to look whether a change concerns it.
"""

import hashlib
import re

NODE_LABEL = "exectrail.io/node"
"""The node of what an AuditSession aims at, for people to select by; absent where it is not known."""
SHARD_LABEL = "exectrail.io/shard"
"""The shard of that node; absent where the node is not known, so that all agents watch the session."""

NO_SHARD = "none"
"""The shard of what concerns no node: no agent watches it."""
SHARDS = 64
"""How many there are: of 5,000 nodes, 78 share one. The API server compares each change with the whole selector, for
each agent: with 256 that took it more CPU than what it then need not send."""

_LABEL_VALUE = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def node_label(node: str) -> str:
    """A node's name as a label's value: itself, or a hash of what is no such value (longer than 63, or no name)."""
    return node if _LABEL_VALUE.fullmatch(node) else f"sha256-{_digest(node)[:40]}"


def shard(node: str) -> str:
    """The shard of a node."""
    return _shard(int(_digest(node), 16) % SHARDS)


def labels(node: str) -> dict[str, str]:
    """The labels of an AuditSession whose process is on this node, or nowhere."""
    return {NODE_LABEL: node_label(node), SHARD_LABEL: shard(node)}


def selector(node: str) -> str:
    """The label selector of a node's agent: its shard, and all without one."""
    own = shard(node)
    others = (each for each in (*map(_shard, range(SHARDS)), NO_SHARD) if each != own)
    return f"{SHARD_LABEL} notin ({','.join(others)})"


def _shard(number: int) -> str:
    return f"{number:02x}"


def _digest(node: str) -> str:
    return hashlib.sha256(node.encode()).hexdigest()
