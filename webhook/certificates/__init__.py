"""What a certificate says and how one is made. `cryptography` does both, in a process of its own (`apart`)."""
