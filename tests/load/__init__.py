"""What the webhook bears: attacks on its port, and the largest bodies. No privileges needed, but a minute or two."""
