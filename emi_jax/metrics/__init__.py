"""Metrics on the host: regression, retrieval, bootstrap intervals."""
