"""Runs: built from a config, a dataset and a folder; trained, scored and used for prediction."""
