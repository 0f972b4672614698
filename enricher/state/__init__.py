"""State over a restart: checkpoints are written and restored; what neither run saw becomes a gap."""
