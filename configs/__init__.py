"""Run configs: a file a stage, presets by name after a colon."""
