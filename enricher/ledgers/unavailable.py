"""Why a process ledger cannot be had on this node."""


class LedgerUnavailable(Exception):
    """This node does not let the ledger work; the message is the reason, for the log and for NodeTrail's status."""
