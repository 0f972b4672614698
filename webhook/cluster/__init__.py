"""What the webhook knows of the cluster: live copies, and where pods are."""
