from tests.unit.webhook.conftest import api, ledger, namespaces, patch_of, review, rules, run, tls_dir, webhook

__all__ = ["api", "ledger", "namespaces", "patch_of", "review", "rules", "run", "tls_dir", "webhook"]
