"""A synthetic corpus of real mp4 files with exactly known labels and a known upper bound of a model's score."""
