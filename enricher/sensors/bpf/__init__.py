"""The sensor `bpf`: the kernel reports every fork, exec and exit in the node's pods through an eBPF program."""
