"""The sensor `procconn`: the kernel's proc connector reports who did something, and /proc what it was."""
