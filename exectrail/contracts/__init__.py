"""The contracts between the parts: record, AuditSession, NodeTrail, and how they are hashed and sealed."""
