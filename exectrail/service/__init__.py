"""What every long-running part shares: logs, health and metrics, threads."""
