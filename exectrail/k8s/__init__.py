"""A lean Kubernetes client, and live copies of collections of the API."""
