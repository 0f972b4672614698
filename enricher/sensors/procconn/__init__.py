"""The sensor `procconn`: the kernel's proc connector reports which process did something, /proc shows what."""
