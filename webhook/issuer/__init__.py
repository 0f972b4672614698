"""Certificates without cert-manager: the webhook issues its own, and has the API server trust them."""
