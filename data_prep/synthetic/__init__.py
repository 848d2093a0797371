"""A made corpus of real mp4 files whose labels, and the best score a model can reach on them, are known exactly."""
