"""Seccomp profiles: the Security Profiles Operator's form and the runtime's, how bases are merged, what is allowed."""
