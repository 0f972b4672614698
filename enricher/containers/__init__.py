"""The node's containers: which one a cgroup is, which pod it belongs to, and whether it is recorded."""
