"""Audit sources: SECCOMP events from the kernel's audit netlink, or from auditd's log."""
