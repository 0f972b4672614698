"""Writes AuditSessions, and makes the key of command hashes."""
