"""The webhook's answers without a cluster, for users who test their policies."""
