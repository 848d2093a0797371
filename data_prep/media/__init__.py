"""Reads media files: pictures (upright) and sound (normalised) on one clock, within limits."""
