"""What the webhook knows of the cluster, as live copies."""
