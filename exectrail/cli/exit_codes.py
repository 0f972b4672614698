"""The exit codes of `exectrail`, as its help and docs/reference/commands.md list them."""

OK, NOT_FOUND, CANNOT_LOOK, INCOMPLETE, INTERRUPTED = 0, 1, 2, 3, 130
FOUND = 1
"""There are untracked entries, or findings of the doctor."""
