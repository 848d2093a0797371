"""Encoders: building them by family, loading and saving Hugging Face folders, choosing which ones a run starts from."""
