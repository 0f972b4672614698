"""The installer: keeps the built-in seccomp profiles in the kubelet's folder."""
