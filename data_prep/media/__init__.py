"""Media files: their pictures and sound, by one clock, upright and level, within limits."""
