"""Encoders: families by name, Hugging Face folders in and out, and where the encoders of a run come from."""
