"""The process ledger by eBPF: every fork, exec and exit in the node's pods, told by the kernel itself."""
