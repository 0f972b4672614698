"""HTTP and TLS, bounded: no caller can take memory or time from others."""
