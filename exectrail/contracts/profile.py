"""The built-in seccomp profiles by name, and where the kubelet finds them.

`localhostProfile` is relative to the kubelet's seccomp folder (`/var/lib/kubelet/seccomp`).
"""

BUILT_IN = {"process-audit": "exectrail/process-audit.json"}
