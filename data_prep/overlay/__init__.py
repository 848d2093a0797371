"""Draws what a model says of a clip into the clip."""
