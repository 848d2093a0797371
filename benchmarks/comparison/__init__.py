"""The comparison with PyTorch: the twin, both sides, and the cases."""
