"""Measurement scripts (`python -m benchmarks.NAME`), and the PyTorch twin for comparison."""
