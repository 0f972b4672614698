"""The admission webhook: binds seccomp profiles to pods, tags requests, writes an AuditSession for each."""
