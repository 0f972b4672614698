"""From a process to its container and its request."""
