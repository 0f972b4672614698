"""The exit codes of `exectrail`, as its help and docs/reference/commands.md list them."""

OK, NOT_FOUND, CANNOT_LOOK, INTERRUPTED = 0, 1, 2, 130
