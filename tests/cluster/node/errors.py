"""The one error that ends a command with a message instead of a traceback."""


class NodeError(Exception):
    """The node can't be made or kept; the message names what was found and what to do about it."""
