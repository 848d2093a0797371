"""Run configs: one file for each stage or study, with named presets after a colon; and what `run.py` and `emi` do."""
