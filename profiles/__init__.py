"""Seccomp profiles in the cluster: the built-in ones, their files on nodes, and the sessions' retention."""
