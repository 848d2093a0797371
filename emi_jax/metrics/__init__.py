"""Metrics computed on the host: regression, retrieval, bootstrap intervals."""
