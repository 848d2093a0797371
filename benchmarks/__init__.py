"""Measurements, each a script of its own (`python -m benchmarks.NAME`), and the PyTorch twin they compare with."""
