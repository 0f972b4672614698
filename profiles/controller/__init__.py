"""The controller: closes AuditSessions that no node closes, bounds their number, and keeps profiles' status."""
