"""The sensor `proc`: SECCOMP events say that a process executes a program, and /proc which one."""
