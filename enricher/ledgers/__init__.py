"""Who says which process is which: eBPF, the proc connector, or what is left without both."""
