"""The controller: closes AuditSessions that no node closes, and bounds their number."""
