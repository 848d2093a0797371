"""Measurements, each a script (`python -m benchmarks.NAME`), and the PyTorch twin that they compare with."""
