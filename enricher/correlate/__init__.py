"""Correlates events: the process tree, SECCOMP events with execs, entries with their requests."""
