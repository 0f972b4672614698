"""Process sensors: each yields events of fork, exec and exit, and knows nothing of pods."""
