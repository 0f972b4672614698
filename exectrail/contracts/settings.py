"""Settings that change while the parts run: keys of a ConfigMap, which agents of nodes have as files of a folder.

The controller writes there what the Security Profiles Operator's `spod` asks for. A file goes before the argument that
it stands for; where there is none, the argument counts.
"""

FILTERS = "filters.json"
"""A filter set, for `--filters` of the enricher."""

ALLOWED_SYSCALLS = "allowed-syscalls"
ALLOWED_ACTIONS = "allowed-seccomp-actions"
"""Words with commas between them, for `--allowed-syscalls` and `--allowed-actions` of the installer."""

LOG_LEVEL = "log-level"
"""A word, for `--log-level` of both."""
