"""The admission webhook: binds seccomp profiles to pods, tags requests, keeps the ledger of who asked."""
