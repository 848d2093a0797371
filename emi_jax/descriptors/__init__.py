"""Encoders that need no weights: deterministic descriptors of voice, face and words, as functions of NumPy arrays."""
