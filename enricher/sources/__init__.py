"""Where SECCOMP records come from: the audit netlink, or a log of auditd."""
