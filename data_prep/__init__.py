"""Turns a corpus of clips on disk into the TFDS dataset `emi`: `python -m data_prep --help`."""
