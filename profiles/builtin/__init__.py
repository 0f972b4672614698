"""The built-in seccomp profiles, and what makes them."""
