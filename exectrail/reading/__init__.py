"""Reading trails: segments, sessions, process trees, from files or from a cluster."""
