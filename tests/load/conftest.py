from tests.unit.webhook.conftest import api, namespaces, patch_of, review, rules, run, sessions, tls_dir, webhook

__all__ = ["api", "namespaces", "patch_of", "review", "rules", "run", "sessions", "tls_dir", "webhook"]
