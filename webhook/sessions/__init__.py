"""Writes AuditSessions, and keeps the key of command hashes."""
