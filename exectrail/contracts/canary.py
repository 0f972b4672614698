"""The canary: a request of our own that must come back changed by the webhook.

It is a dry run, so that nothing is stored, of a Lease in the release's namespace: the controller may make Leases, and
needs no further right. It carries a random word, which the webhook writes into the answer. So it takes the way of every
exec: the API server's configuration, certificates, the network, and a replica that answers in time.
"""

LABEL = "exectrail.io/canary"
"""Label of the Lease, `true`: the entry of the webhook's configuration matches it alone."""

ASKED = "exectrail.io/canary"
"""Annotation with the word."""

ANSWERED = "exectrail.io/canary-answer"
"""Annotation that the webhook adds, with the same word."""

ENTRY = "canary.exectrail.io"
"""The entry's name."""
