"""Hugging Face folders: files, names, layouts, facts of preprocessing."""
