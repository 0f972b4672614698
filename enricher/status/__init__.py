"""What the node reports of itself: NodeTrail, session status, metrics and losses."""
